//! What RTP payloads of H.264 (RFC 6184) and H.265 (RFC 7798) are made of: whole NAL units and
//! fragments of them.

use super::DepacketizeError;
use crate::media::{h264, h265};

/// Payload structures of RFC 6184, table 1.
const STAP_A: u8 = 24;
const STAP_B: u8 = 25;
const FU_A: u8 = 28;
const FU_B: u8 = 29;
/// Payload structures of RFC 7798, 4.4.
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;

/// `payloadType` of a recovery point SEI message (H.264, D.1.8).
const SEI_RECOVERY_POINT: u32 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NalFormat {
    H264,
    H265,
}

/// A NAL unit or a fragment of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    format: NalFormat,
    /// NAL unit header; H.264 uses the first byte only.
    header: [u8; 2],
    /// What follows the header.
    pub(super) body: &'a [u8],
    /// The NAL unit begins here.
    pub(super) start: bool,
    /// The NAL unit ends here.
    pub(super) end: bool,
}

impl Piece<'_> {
    pub(super) fn header(&self) -> &[u8] {
        match self.format {
            NalFormat::H264 => self.header.split_at(1).0,
            NalFormat::H265 => &self.header,
        }
    }

    pub(super) fn nal_type(&self) -> u8 {
        let [first, _] = self.header;
        match self.format {
            NalFormat::H264 => first & 0x1f,
            NalFormat::H265 => (first >> 1) & 0x3f,
        }
    }

    /// A slice, or a part of one.
    pub(super) fn is_vcl(&self) -> bool {
        match self.format {
            NalFormat::H264 => h264::is_vcl(self.nal_type()),
            NalFormat::H265 => h265::is_vcl(self.nal_type()),
        }
    }

    /// Of an IDR or, in H.265, any random access picture.
    pub(super) fn is_key(&self) -> bool {
        match self.format {
            NalFormat::H264 => self.nal_type() == h264::NAL_IDR,
            NalFormat::H265 => h265::is_irap(self.nal_type()),
        }
    }

    pub(super) fn is_rasl(&self) -> bool {
        self.format == NalFormat::H265 && h265::is_rasl(self.nal_type())
    }

    /// The first slice of a picture begins here (`first_mb_in_slice` 0,
    /// `first_slice_segment_in_pic_flag` 1: both are a set first bit).
    pub(super) fn starts_picture(&self) -> bool {
        let has_field = match self.format {
            // Partitions B and C begin with another field.
            NalFormat::H264 => matches!(self.nal_type(), 1 | 2 | h264::NAL_IDR),
            NalFormat::H265 => self.is_vcl(),
        };
        self.start && has_field && self.body.first().is_some_and(|byte| byte & 0x80 != 0)
    }

    /// Precedes the first slice of an access unit: parameter sets, SEI, delimiters, prefixes
    /// (H.264, 7.4.1.2.3; H.265, 7.4.2.4.4).
    pub(super) fn precedes_picture(&self) -> bool {
        match self.format {
            NalFormat::H264 => matches!(self.nal_type(), 6..=9 | 14..=18),
            NalFormat::H265 => {
                matches!(
                    self.nal_type(),
                    h265::NAL_VPS..=h265::NAL_AUD | h265::NAL_PREFIX_SEI
                )
            }
        }
    }

    /// No other picture needs this slice. H.265 knows it of the highest sub-layer only.
    pub(super) fn is_disposable(&self, top_layer: Option<u8>) -> bool {
        let [first, second] = self.header;
        match self.format {
            NalFormat::H264 => first & 0x60 == 0,
            NalFormat::H265 => {
                let layer = (second & 0x07).checked_sub(1);
                self.nal_type() < 16
                    && self.nal_type().is_multiple_of(2)
                    && layer.is_some()
                    && layer == top_layer
            }
        }
    }

    /// An H.264 SEI with a recovery point whose picture can be output at once.
    pub(super) fn is_instant_recovery_point(&self) -> bool {
        self.format == NalFormat::H264
            && self.nal_type() == h264::NAL_SEI
            && self.start
            && has_instant_recovery_point(self.body).unwrap_or(false)
    }
}

/// Walks over SEI messages; `None` where they end.
fn has_instant_recovery_point(body: &[u8]) -> Option<bool> {
    let mut bytes = Unescape {
        data: body,
        zeros: 0,
    };
    loop {
        let payload_type = sei_number(&mut bytes)?;
        let size = sei_number(&mut bytes)?;
        if payload_type == SEI_RECOVERY_POINT {
            // recovery_frame_cnt is ue(v): 0 is a set first bit.
            return Some(bytes.next()? & 0x80 != 0);
        }
        for _ in 0..size {
            bytes.next()?;
        }
    }
}

/// Type and size of SEI messages: bytes of 255 and a last one, added up.
fn sei_number(bytes: &mut Unescape<'_>) -> Option<u32> {
    let mut sum = 0_u32;
    loop {
        let byte = bytes.next()?;
        sum = sum.saturating_add(u32::from(byte));
        if byte != 255 {
            return Some(sum);
        }
    }
}

/// Bytes without emulation prevention, made as they are asked for.
struct Unescape<'a> {
    data: &'a [u8],
    zeros: u8,
}

impl Iterator for Unescape<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.data.split_first()?;
        self.data = rest;
        let mut byte = first;
        if self.zeros >= 2 && byte == 3 {
            let (&next, rest) = rest.split_first()?;
            self.data = rest;
            self.zeros = 0;
            byte = next;
        }
        self.zeros = if byte == 0 {
            self.zeros.saturating_add(1)
        } else {
            0
        };
        Some(byte)
    }
}

/// Iterator over a payload, see [`pieces`].
#[derive(Debug)]
pub(super) enum Pieces<'a> {
    One(Option<Result<Piece<'a>, DepacketizeError>>),
    Aggregate(NalFormat, &'a [u8]),
}

/// The pieces of a payload in order. After an error there are no more.
pub(super) fn pieces(format: NalFormat, payload: &[u8]) -> Pieces<'_> {
    let parsed = match format {
        NalFormat::H264 => h264_pieces(payload),
        NalFormat::H265 => h265_pieces(payload),
    };
    parsed.unwrap_or_else(|error| Pieces::One(Some(Err(error))))
}

fn h264_pieces(payload: &[u8]) -> Result<Pieces<'_>, DepacketizeError> {
    let format = NalFormat::H264;
    let (&indicator, body) = payload
        .split_first()
        .ok_or(DepacketizeError::Truncated("payload"))?;
    match indicator & 0x1f {
        1..=23 => Ok(Pieces::One(Some(whole(format, payload)))),
        STAP_A => Ok(Pieces::Aggregate(format, body)),
        STAP_B => body
            .get(2..)
            .map(|units| Pieces::Aggregate(format, units))
            .ok_or(DepacketizeError::Truncated("STAP-B")),
        kind @ (FU_A | FU_B) => {
            let (&fu, fragment) = body
                .split_first()
                .ok_or(DepacketizeError::Truncated("FU header"))?;
            let order_number = if kind == FU_B { 2 } else { 0 };
            Ok(Pieces::One(Some(Ok(Piece {
                format,
                header: [(indicator & 0xe0) | (fu & 0x1f), 0],
                body: fragment
                    .get(order_number..)
                    .ok_or(DepacketizeError::Truncated("FU-B"))?,
                start: fu & 0x80 != 0,
                end: fu & 0x40 != 0,
            }))))
        }
        other => Err(DepacketizeError::Unsupported(other)),
    }
}

fn h265_pieces(payload: &[u8]) -> Result<Pieces<'_>, DepacketizeError> {
    let format = NalFormat::H265;
    let (&[first, second], body) = payload
        .split_first_chunk::<2>()
        .ok_or(DepacketizeError::Truncated("payload"))?;
    match (first >> 1) & 0x3f {
        0..AGGREGATION => Ok(Pieces::One(Some(whole(format, payload)))),
        AGGREGATION => Ok(Pieces::Aggregate(format, body)),
        FRAGMENTATION => {
            let (&fu, fragment) = body
                .split_first()
                .ok_or(DepacketizeError::Truncated("FU header"))?;
            Ok(Pieces::One(Some(Ok(Piece {
                format,
                header: [(first & 0x81) | ((fu & 0x3f) << 1), second],
                body: fragment,
                start: fu & 0x80 != 0,
                end: fu & 0x40 != 0,
            }))))
        }
        other => Err(DepacketizeError::Unsupported(other)),
    }
}

fn whole(format: NalFormat, nal: &[u8]) -> Result<Piece<'_>, DepacketizeError> {
    let (header, body) = match (format, nal) {
        (NalFormat::H264, [first, body @ ..]) => ([*first, 0], body),
        (NalFormat::H265, [first, second, body @ ..]) => ([*first, *second], body),
        _ => return Err(DepacketizeError::Truncated("NAL unit")),
    };
    Ok(Piece {
        format,
        header,
        body,
        start: true,
        end: true,
    })
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, DepacketizeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Pieces::One(piece) => piece.take(),
            Pieces::Aggregate(format, rest) => {
                let format = *format;
                let item = loop {
                    if rest.is_empty() {
                        return None;
                    }
                    match take_unit(rest) {
                        // Zero bytes as padding are harmless.
                        Ok([]) => {}
                        Ok(nal) => break whole(format, nal),
                        Err(error) => break Err(error),
                    }
                };
                if item.is_err() {
                    *self = Pieces::One(None);
                }
                Some(item)
            }
        }
    }
}

/// A unit of an aggregate: 16 bits of length, then the NAL unit.
fn take_unit<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DepacketizeError> {
    let truncated = DepacketizeError::Truncated("aggregation packet");
    let (&length, after) = rest.split_first_chunk::<2>().ok_or(truncated)?;
    let length = usize::from(u16::from_be_bytes(length));
    let (nal, after) = after.split_at_checked(length).ok_or(truncated)?;
    *rest = after;
    Ok(nal)
}
