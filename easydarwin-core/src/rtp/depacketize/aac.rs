use super::units::Units;
use super::{DepacketizeError, MediaPacket};
use crate::media::AacParams;
use crate::media::BitReader;
use crate::rtp::packetize::frame_ticks;

/// Largest frame that is put together of fragments, in bytes: eight channels of 6144 bits need
/// 6144 bytes.
const MAX_FRAME: usize = 64 * 1024;

/// AAC frames of RFC 3640: several in a packet, or one in several.
#[derive(Debug)]
pub(super) struct AacAssembler {
    params: AacParams,
    frame_ticks: i64,
    fragment: Option<Fragment>,
}

#[derive(Debug)]
struct Fragment {
    timestamp: i64,
    size: usize,
    data: Vec<u8>,
}

impl AacAssembler {
    pub(super) fn new(params: &AacParams, clock_rate: u32) -> Self {
        Self {
            frame_ticks: i64::from(frame_ticks(params, clock_rate)),
            params: params.clone(),
            fragment: None,
        }
    }

    pub(super) fn reset(&mut self) {
        self.fragment = None;
    }

    pub(super) fn push(
        &mut self,
        packet: &MediaPacket<'_>,
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        let truncated = DepacketizeError::Truncated("AU headers");
        let (&length, rest) = packet.payload.split_first_chunk::<2>().ok_or(truncated)?;
        let header_bits = usize::from(u16::from_be_bytes(length));
        let (headers, mut data) = rest
            .split_at_checked(header_bits.div_ceil(8))
            .ok_or(truncated)?;
        let continued = self.fragment.take().filter(|_| !packet.lost_before);
        let mut bits = BitReader::new(headers);
        let mut left = header_bits;
        let mut index = 0_i64;
        let mut first = true;
        while let Some((size, skipped)) = self.next_header(&mut bits, &mut left, first) {
            index += skipped + i64::from(!first);
            if let Some(continued) = continued.as_ref().filter(|_| first)
                && continued.timestamp == packet.timestamp
                && continued.size == size
            {
                return self.go_on(continued, packet, data, units);
            }
            let pts = packet
                .timestamp
                .saturating_add(index.saturating_mul(self.frame_ticks));
            match data.split_at_checked(size) {
                Some((frame, after)) => {
                    data = after;
                    if !frame.is_empty() {
                        units.push_frame(packet, pts, frame);
                    }
                }
                // A fragment is alone in its packet.
                None if first && !packet.marker && left == 0 => {
                    return self.begin(packet, size, data);
                }
                None => return Err(DepacketizeError::Truncated("AAC frame")),
            }
            first = false;
        }
        if first {
            return Err(truncated);
        }
        if continued.is_some() {
            // The rest of that frame never came.
            units.mark_lossy();
        }
        Ok(())
    }

    /// Size of the next frame, and how many frames are left out before it.
    fn next_header(
        &self,
        bits: &mut BitReader<'_>,
        left: &mut usize,
        first: bool,
    ) -> Option<(usize, i64)> {
        let index_bits = if first {
            self.params.index_length
        } else {
            self.params.index_delta_length
        };
        let need = usize::from(self.params.size_length) + usize::from(index_bits);
        *left = left.checked_sub(need)?;
        let size = bits.bits(self.params.size_length, "AU-size").ok()?;
        let skipped = bits.bits(index_bits, "AU-Index").ok()?;
        // The index of the first frame is a serial number that nobody needs.
        let skipped = if first { 0 } else { i64::from(skipped) };
        Some((usize::try_from(size).ok()?, skipped))
    }

    fn begin(
        &mut self,
        packet: &MediaPacket<'_>,
        size: usize,
        data: &[u8],
    ) -> Result<(), DepacketizeError> {
        if size > MAX_FRAME {
            return Err(DepacketizeError::TooLarge);
        }
        self.fragment = Some(Fragment {
            timestamp: packet.timestamp,
            size,
            data: data.to_vec(),
        });
        Ok(())
    }

    fn go_on(
        &mut self,
        before: &Fragment,
        packet: &MediaPacket<'_>,
        data: &[u8],
        units: &mut Units,
    ) -> Result<(), DepacketizeError> {
        let mut joined = Vec::with_capacity(before.data.len() + data.len());
        joined.extend_from_slice(&before.data);
        joined.extend_from_slice(data);
        match joined.get(..before.size) {
            Some(frame) => {
                units.push_frame(packet, packet.timestamp, frame);
                Ok(())
            }
            None if packet.marker => Err(DepacketizeError::Truncated("AAC frame")),
            None => {
                self.fragment = Some(Fragment {
                    data: joined,
                    ..*before
                });
                Ok(())
            }
        }
    }
}
