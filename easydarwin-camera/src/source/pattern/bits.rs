//! Bits, Exp-Golomb codes and NAL units (ITU-T H.264, 7.2, 7.4.1 and 9.1).

use bytes::{BufMut, BytesMut};

/// Writes an RBSP bit by bit into a buffer that is used again for each NAL unit.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// The bits that do not yet fill a byte, in the low end.
    pending: u32,
    count: u32,
}

impl BitWriter {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.pending = 0;
        self.count = 0;
    }

    /// The low `count` bits of `value`, at most 24.
    pub(super) fn bits(&mut self, value: u32, count: u32) {
        debug_assert!(count <= 24);
        self.pending = (self.pending << count) | (value & ((1 << count) - 1));
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let [.., byte] = (self.pending >> self.count).to_be_bytes();
            self.bytes.push(byte);
        }
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.bits(u32::from(value), 1);
    }

    /// ue(v)
    pub(super) fn ue(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.bits(0, length - 1);
        self.bits(value + 1, length);
    }

    /// se(v)
    pub(super) fn se(&mut self, value: i32) {
        let magnitude = value.unsigned_abs();
        self.ue(if value > 0 {
            2 * magnitude - 1
        } else {
            2 * magnitude
        });
    }

    /// Zero bits up to the next byte.
    pub(super) fn align(&mut self) {
        if self.count > 0 {
            self.bits(0, 8 - self.count);
        }
    }

    /// Whole bytes; the writer must be aligned.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0);
        self.bytes.extend_from_slice(bytes);
    }

    /// rbsp_trailing_bits()
    pub(super) fn trailing(&mut self) {
        self.flag(true);
        self.align();
    }

    /// Appends the NAL unit with this header byte, with emulation prevention (7.4.1.1).
    pub(super) fn write_nal(&self, header: u8, out: &mut BytesMut) {
        // Prevention adds at most one byte to two.
        out.reserve(1 + self.bytes.len() + self.bytes.len() / 2);
        out.put_u8(header);
        let mut zeros = 0;
        for &byte in &self.bytes {
            if zeros == 2 && byte <= 3 {
                out.put_u8(3);
                zeros = 0;
            }
            out.put_u8(byte);
            zeros = if byte == 0 { zeros + 1 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes() {
        let mut w = BitWriter::default();
        for value in [0, 1, 2, 3] {
            w.ue(value);
        }
        for value in [1, -1, 2] {
            w.se(value);
        }
        w.trailing();
        // 1 010 011 00100 010 011 00100 1
        assert_eq!(w.bytes, [0b1010_0110, 0b0100_0100, 0b1100_1001]);
    }

    #[test]
    fn emulation_is_prevented() {
        let mut w = BitWriter::default();
        w.bytes(&[0, 0, 0, 0, 0, 1, 5, 0, 0, 3]);
        let mut out = BytesMut::new();
        w.write_nal(0x65, &mut out);
        assert_eq!(&out[..], [0x65, 0, 0, 3, 0, 0, 3, 0, 1, 5, 0, 0, 3, 3]);
    }
}
