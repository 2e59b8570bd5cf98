//! AU headers of RFC 3640, 3.2.1: read, and written.

use super::DepacketizeError;
use crate::media::{AacParams, BitReader};

const TRUNCATED: DepacketizeError = DepacketizeError::Truncated("AU headers");
/// Most bytes of an AU header section with one header: two fields of at most 32 bits, and before
/// them their length.
pub(super) const MAX_SECTION: usize = 10;

/// The AU headers of a packet, in order.
#[derive(Debug)]
pub(super) struct AuHeaders<'a> {
    bits: BitReader<'a>,
    /// Bits that are not read yet.
    left: usize,
    size_length: u8,
    index_length: u8,
    index_delta_length: u8,
    /// Number of the next frame after the first of the packet.
    index: i64,
    first: bool,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuHeader {
    /// Bytes of the whole frame, also where the packet has a fragment of it.
    pub(super) size: usize,
    /// Frames from the first of the packet to this one.
    pub(super) index: i64,
}

impl<'a> AuHeaders<'a> {
    /// Reads the section at the front of a payload; returns what follows it as well.
    pub(super) fn parse(
        payload: &'a [u8],
        params: &AacParams,
    ) -> Result<(Self, &'a [u8]), DepacketizeError> {
        let (&length, rest) = payload.split_first_chunk::<2>().ok_or(TRUNCATED)?;
        let left = usize::from(u16::from_be_bytes(length));
        let (headers, data) = rest.split_at_checked(left.div_ceil(8)).ok_or(TRUNCATED)?;
        let headers = Self {
            bits: BitReader::new(headers),
            left,
            size_length: params.size_length,
            index_length: params.index_length,
            index_delta_length: params.index_delta_length,
            index: 0,
            first: true,
        };
        Ok((headers, data))
    }

    /// Whether all headers were read; what remains may be padding.
    pub(super) fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl Iterator for AuHeaders<'_> {
    type Item = AuHeader;

    fn next(&mut self) -> Option<AuHeader> {
        let first = std::mem::replace(&mut self.first, false);
        let index_bits = if first {
            self.index_length
        } else {
            self.index_delta_length
        };
        let need = usize::from(self.size_length) + usize::from(index_bits);
        self.left = self.left.checked_sub(need).filter(|_| need > 0)?;
        let size = self.bits.bits(self.size_length, "AU-size").ok()?;
        let skipped = self.bits.bits(index_bits, "AU-Index").ok()?;
        // The index of the first frame is a serial number that nobody needs.
        if !first {
            self.index += i64::from(skipped) + 1;
        }
        Some(AuHeader {
            size: usize::try_from(size).ok()?,
            index: self.index,
        })
    }
}

/// The section with the one header of a frame of `size` bytes, and how many bytes it has.
pub(super) fn section(size: usize, params: &AacParams) -> ([u8; MAX_SECTION], usize) {
    let (size_length, index_length) = (
        u32::from(params.size_length),
        u32::from(params.index_length),
    );
    let bits = size_length + index_length;
    let size = u64::try_from(size).unwrap_or(0);
    // AU-headers-length in bits, then size and an index of 0, from the top.
    let header = (size << index_length.min(32)) << 64_u32.saturating_sub(bits).min(63);
    let [h0, h1, h2, h3, h4, h5, h6, h7] = header.to_be_bytes();
    let [b0, b1] = u16::try_from(bits).unwrap_or(0).to_be_bytes();
    let used = 2 + usize::try_from(bits.div_ceil(8)).unwrap_or(8);
    (
        [b0, b1, h0, h1, h2, h3, h4, h5, h6, h7],
        used.min(MAX_SECTION),
    )
}
