//! NAL units in byte streams (Annex B of H.264 and H.265) and length-prefixed (ISO/IEC 14496-15).

use bytes::{BufMut, Bytes, BytesMut};

use super::BitstreamError;

/// Splits an Annex B byte stream at its start codes (3 or 4 bytes); trailing zero bytes are
/// dropped, empty units skipped, bytes before the first start code ignored. Slices share the
/// memory of `stream`.
pub fn split_annex_b(stream: &Bytes) -> Vec<Bytes> {
    let mut units = Vec::new();
    let mut start = None;
    let mut zeros = 0_usize;
    for (at, &byte) in stream.iter().enumerate() {
        match byte {
            0 => zeros += 1,
            1 if zeros >= 2 => {
                push_unit(stream, start, at - zeros, &mut units);
                start = Some(at + 1);
                zeros = 0;
            }
            _ => zeros = 0,
        }
    }
    push_unit(stream, start, stream.len() - zeros, &mut units);
    units
}

fn push_unit(stream: &Bytes, start: Option<usize>, end: usize, units: &mut Vec<Bytes>) {
    if let Some(start) = start.filter(|&start| start < end && end <= stream.len()) {
        units.push(stream.slice(start..end));
    }
}

/// Appends the units with 4-byte start codes.
pub fn write_annex_b(units: &[Bytes], out: &mut BytesMut) {
    for unit in units {
        out.put_u32(1);
        out.put_slice(unit);
    }
}

/// Splits length-prefixed units with length fields of 1 to 4 bytes; empty units are skipped.
/// Slices share memory.
///
/// # Errors
/// When a length runs past the end or `length_size` is not 1 to 4.
pub fn split_length_prefixed(
    data: &Bytes,
    length_size: usize,
) -> Result<Vec<Bytes>, BitstreamError> {
    if !(1..=4).contains(&length_size) {
        return Err(BitstreamError::OutOfRange("length size of NAL units"));
    }
    let mut units = Vec::new();
    let mut rest = data.clone();
    while !rest.is_empty() {
        if rest.len() < length_size {
            return Err(BitstreamError::Truncated("length of a NAL unit"));
        }
        let field = rest.split_to(length_size);
        let len = field
            .iter()
            .fold(0_usize, |n, &b| (n << 8) | usize::from(b));
        if rest.len() < len {
            return Err(BitstreamError::Truncated("end of a NAL unit"));
        }
        let unit = rest.split_to(len);
        if !unit.is_empty() {
            units.push(unit);
        }
    }
    Ok(units)
}

/// Appends the units with 4-byte lengths, as fMP4 samples want them.
pub fn write_length_prefixed(units: &[Bytes], out: &mut BytesMut) {
    for unit in units {
        // A unit of 4 GiB cannot come to be: access units are bounded far below.
        out.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
        out.put_slice(unit);
    }
}

/// Removes emulation prevention bytes (00 00 03): NAL unit to RBSP.
pub fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0_u8;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 {
            zeros.saturating_add(1)
        } else {
            0
        };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn start_codes_of_three_and_four_bytes() {
        let stream = Bytes::from_static(&[9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 1, 0, 0]);
        let units = split_annex_b(&stream);
        assert_eq!(units, [&[0x67_u8, 1][..], &[0x68, 2]]);
        assert!(split_annex_b(&Bytes::from_static(&[1, 2, 3])).is_empty());
        assert!(split_annex_b(&Bytes::new()).is_empty());
    }

    #[test]
    fn emulation_prevention_is_removed() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3]), [0, 0, 1, 0, 0]);
        assert_eq!(unescape(&[0, 3, 0, 0, 0, 3]), [0, 3, 0, 0, 0]);
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let data = Bytes::from_static(&[0, 0, 0, 2, 1]);
        assert!(split_length_prefixed(&data, 4).is_err());
        assert!(split_length_prefixed(&data, 0).is_err());
        assert!(split_length_prefixed(&data, 5).is_err());
        assert!(split_length_prefixed(&Bytes::from_static(&[0, 0]), 4).is_err());
    }

    fn unit() -> impl Strategy<Value = Bytes> {
        // No zero byte: whatever it is, it cannot look like a start code.
        proptest::collection::vec(1..=255_u8, 1..40).prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn joined_units_are_split_again(units in proptest::collection::vec(unit(), 0..8)) {
            let mut out = BytesMut::new();
            write_annex_b(&units, &mut out);
            prop_assert_eq!(&split_annex_b(&out.freeze()), &units);
            let mut out = BytesMut::new();
            write_length_prefixed(&units, &mut out);
            prop_assert_eq!(&split_length_prefixed(&out.freeze(), 4).unwrap(), &units);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0..4_u8, 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = split_annex_b(&bytes);
            let _ = split_length_prefixed(&bytes, 1);
            let _ = unescape(&bytes);
        }
    }
}
