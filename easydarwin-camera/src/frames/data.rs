use easydarwin_core::media::{Codec, Track};

/// The bytes of a frame as they lie in the ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data<'a> {
    bytes: &'a [u8],
    lengths: bool,
}

/// What a packetizer is given one after the other: NAL units, or frames.
#[derive(Debug, Clone)]
pub(crate) enum Parts<'a> {
    /// Behind their lengths.
    Lengths(&'a [u8]),
    /// Annex B.
    StartCodes(&'a [u8]),
    One(Option<&'a [u8]>),
}

impl<'a> Data<'a> {
    pub(super) fn new(bytes: &'a [u8], lengths: bool) -> Self {
        Self { bytes, lengths }
    }

    #[cfg(test)]
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Its parts, in the form that this track was described with.
    pub(crate) fn parts(self, track: &Track) -> Parts<'a> {
        if self.lengths {
            return Parts::Lengths(self.bytes);
        }
        match track.codec {
            Codec::H264(_) | Codec::H265(_) => Parts::StartCodes(after_start_code(self.bytes)),
            Codec::Aac(_) => Parts::One(Some(without_adts(self.bytes))),
            _ => Parts::One(Some(self.bytes)),
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Lengths(rest) => {
                let (len, after) = rest.split_first_chunk::<4>()?;
                let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
                let (part, after) = after.split_at_checked(len)?;
                *rest = after;
                Some(part)
            }
            Self::StartCodes(rest) => loop {
                if rest.is_empty() {
                    return None;
                }
                let end = start_code(rest);
                let (unit, after) = rest.split_at(end.unwrap_or(rest.len()));
                *rest = after_start_code(after);
                // Zeros behind a unit are not of it (H.264, B.1.1).
                let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
                let unit = unit.get(..unit.len() - zeros).unwrap_or_default();
                if !unit.is_empty() {
                    return Some(unit);
                }
            },
            Self::One(part) => part.take(),
        }
    }
}

/// Where the next `00 00 01` begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut from = 2;
    while let Some(&third) = bytes.get(from) {
        if third > 1 {
            from += 3;
        } else if third == 1 && bytes.get(from - 2..from) == Some(&[0, 0]) {
            return Some(from - 2);
        } else {
            from += 1;
        }
    }
    None
}

/// What follows the first start code.
fn after_start_code(bytes: &[u8]) -> &[u8] {
    let after = start_code(bytes).and_then(|at| bytes.get(at + 3..));
    after.unwrap_or_default()
}

/// A raw frame out of an ADTS frame (ISO/IEC 14496-3, 1.A.2.2.1); others as they are.
fn without_adts(bytes: &[u8]) -> &[u8] {
    let &[0xff, b1, _, b3, b4, b5, ..] = bytes else {
        return bytes;
    };
    let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
    // Syncword, layer 0, and a length that is true: no raw frame begins like that.
    if b1 & 0xf6 != 0xf0 || len != bytes.len() {
        return bytes;
    }
    let header = if b1 & 1 == 0 { 9 } else { 7 };
    bytes.get(header..).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use easydarwin_core::media::nal::split_annex_b;
    use proptest::prelude::*;

    #[test]
    fn adts_headers_are_taken_off_and_only_those() {
        let adts = [0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 0x21, 0x22];
        assert_eq!(without_adts(&adts), [0x21, 0x22]);
        let mut longer = adts.to_vec();
        longer.push(0);
        assert_eq!(without_adts(&longer), longer);
        assert_eq!(without_adts(&[0x21, 0x22]), [0x21, 0x22]);
    }

    proptest! {
        #[test]
        fn annex_b_is_split_as_core_splits_it(
            bytes in prop::collection::vec(prop_oneof![4 => 0_u8..4, 1 => any::<u8>()], 0..200)
        ) {
            let track = Track::h264(96, Default::default());
            let parts: Vec<_> = Data::new(&bytes, false).parts(&track).collect();
            let expected = split_annex_b(&Bytes::from(bytes.clone()));
            prop_assert_eq!(parts, expected.iter().map(|unit| &unit[..]).collect::<Vec<_>>());
        }
    }
}
