//! NAL units in byte streams (Annex B of H.264 and H.265) and length-prefixed (ISO/IEC 14496-15).

use bytes::{Bytes, BytesMut};

use super::BitstreamError;

/// Splits an Annex B byte stream at its start codes (3 or 4 bytes); trailing zero bytes are
/// dropped, empty units skipped. Slices share the memory of `stream`.
pub fn split_annex_b(_stream: &Bytes) -> Vec<Bytes> {
    todo!()
}

/// Appends the units with 4-byte start codes.
pub fn write_annex_b(_units: &[Bytes], _out: &mut BytesMut) {
    todo!()
}

/// Splits length-prefixed units with length fields of 1 to 4 bytes. Slices share memory.
///
/// # Errors
/// When a length runs past the end or `length_size` is not 1 to 4.
pub fn split_length_prefixed(
    _data: &Bytes,
    _length_size: usize,
) -> Result<Vec<Bytes>, BitstreamError> {
    todo!()
}

/// Appends the units with 4-byte lengths, as fMP4 samples want them.
pub fn write_length_prefixed(_units: &[Bytes], _out: &mut BytesMut) {
    todo!()
}

/// Removes emulation prevention bytes (00 00 03): NAL unit to RBSP.
pub fn unescape(_nal: &[u8]) -> Vec<u8> {
    todo!()
}
