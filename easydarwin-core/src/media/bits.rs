use thiserror::Error;

/// A parameter set or configuration that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BitstreamError {
    /// It ends before the field that is being read.
    #[error("bitstream ends before {0}")]
    Truncated(&'static str),
    /// It is of another kind than the reader that was asked.
    #[error("not a {0}")]
    WrongKind(&'static str),
    /// A field has a value that the standard does not allow or that this reader bounds.
    #[error("{0} out of range")]
    OutOfRange(&'static str),
}

/// Reads bits of an RBSP or configuration, most significant first; never past the end.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    /// Next bit.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Bits left.
    pub(crate) fn remaining(&self) -> usize {
        (self.data.len() * 8).saturating_sub(self.at)
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, BitstreamError> {
        let byte = self
            .data
            .get(self.at / 8)
            .ok_or(BitstreamError::Truncated(what))?;
        let bit = (byte >> (7 - self.at % 8)) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// Up to 32 bits.
    pub(crate) fn bits(&mut self, count: u8, what: &'static str) -> Result<u32, BitstreamError> {
        if count > 32 {
            return Err(BitstreamError::OutOfRange(what));
        }
        let mut value = 0_u32;
        for _ in 0..count {
            value = (value << 1) | u32::from(self.flag(what)?);
        }
        Ok(value)
    }

    /// Up to 8 bits.
    pub(crate) fn small(&mut self, count: u8, what: &'static str) -> Result<u8, BitstreamError> {
        u8::try_from(self.bits(count, what)?).map_err(|_| BitstreamError::OutOfRange(what))
    }

    pub(crate) fn skip(&mut self, count: usize, what: &'static str) -> Result<(), BitstreamError> {
        if count > self.remaining() {
            return Err(BitstreamError::Truncated(what));
        }
        self.at += count;
        Ok(())
    }

    /// `ue(v)`: unsigned Exp-Golomb (H.264, 9.1).
    pub(crate) fn ue(&mut self, what: &'static str) -> Result<u32, BitstreamError> {
        let mut zeros = 0_u8;
        while !self.flag(what)? {
            zeros += 1;
            if zeros > 31 {
                return Err(BitstreamError::OutOfRange(what));
            }
        }
        let base = (1_u32 << zeros) - 1;
        Ok(base + self.bits(zeros, what)?)
    }

    /// `ue(v)` that must not exceed `max`.
    pub(crate) fn ue_max(&mut self, max: u32, what: &'static str) -> Result<u32, BitstreamError> {
        let value = self.ue(what)?;
        if value > max {
            return Err(BitstreamError::OutOfRange(what));
        }
        Ok(value)
    }

    /// `se(v)`: signed Exp-Golomb (H.264, 9.1.1).
    pub(crate) fn se(&mut self, what: &'static str) -> Result<i32, BitstreamError> {
        let code = i64::from(self.ue(what)?);
        let value = if code % 2 == 0 {
            -(code / 2)
        } else {
            code / 2 + 1
        };
        i32::try_from(value).map_err(|_| BitstreamError::OutOfRange(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_of_the_standard() {
        // 1, 010, 011, 00100, 00101 are 0, 1, 2, 3, 4.
        let data = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = BitReader::new(&data);
        let values: Vec<_> = (0..5).map(|_| bits.ue("x").unwrap()).collect();
        assert_eq!(values, [0, 1, 2, 3, 4]);
        let mut bits = BitReader::new(&data);
        let values: Vec<_> = (0..5).map(|_| bits.se("x").unwrap()).collect();
        assert_eq!(values, [0, 1, -1, 2, -2]);
    }

    #[test]
    fn the_longest_code_and_the_end_are_errors() {
        let mut bits = BitReader::new(&[0; 8]);
        assert_eq!(bits.ue("x"), Err(BitstreamError::OutOfRange("x")));
        let mut bits = BitReader::new(&[0]);
        assert_eq!(bits.ue("x"), Err(BitstreamError::Truncated("x")));
        assert_eq!(bits.skip(1, "y"), Err(BitstreamError::Truncated("y")));
        assert_eq!(bits.bits(33, "z"), Err(BitstreamError::OutOfRange("z")));
    }
}
