/// Makes 16-bit sequence numbers continue over their wrap: reordered ones come out smaller.
#[derive(Debug, Clone, Default)]
pub struct SequenceUnwrapper {
    last: Option<i64>,
}

impl SequenceUnwrapper {
    /// Starts with the first number that it sees.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number nearest to the largest seen so far that ends in these 16 bits.
    pub fn unwrap(&mut self, sequence: u16) -> i64 {
        let value = match self.last {
            None => i64::from(sequence),
            Some(last) => last + i64::from(low_16(sequence.wrapping_sub(bits_16(last)))),
        };
        self.last = Some(self.last.map_or(value, |last| last.max(value)));
        value
    }
}

/// Makes 32-bit timestamps continue over their wrap: earlier ones (B-frames) come out smaller.
#[derive(Debug, Clone, Default)]
pub struct TimestampUnwrapper {
    last: Option<i64>,
}

impl TimestampUnwrapper {
    /// Starts with the first timestamp that it sees, which keeps its value.
    pub fn new() -> Self {
        Self::default()
    }

    /// The timestamp nearest to the one before that ends in these 32 bits.
    pub fn unwrap(&mut self, timestamp: u32) -> i64 {
        let value = match self.last {
            None => i64::from(timestamp),
            Some(last) => last + i64::from(low_32(timestamp.wrapping_sub(bits_32(last)))),
        };
        self.last = Some(value);
        value
    }
}

fn low_16(value: u16) -> i16 {
    value.cast_signed()
}

fn low_32(value: u32) -> i32 {
    value.cast_signed()
}

fn bits_16(value: i64) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn bits_32(value: i64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_go_on_over_the_wrap() {
        let mut unwrapper = SequenceUnwrapper::new();
        let numbers: Vec<_> = [65_534, 65_535, 1, 0, 2, 65_533]
            .into_iter()
            .map(|n| unwrapper.unwrap(n))
            .collect();
        assert_eq!(numbers, [65_534, 65_535, 65_537, 65_536, 65_538, 65_533]);
    }

    #[test]
    fn timestamps_go_on_over_the_wrap_in_both_directions() {
        let mut unwrapper = TimestampUnwrapper::new();
        let times: Vec<_> = [u32::MAX - 10, 20, u32::MAX, 100]
            .into_iter()
            .map(|t| unwrapper.unwrap(t))
            .collect();
        let wrap = i64::from(u32::MAX) + 1;
        assert_eq!(times, [wrap - 11, wrap + 20, wrap - 1, wrap + 100]);
    }
}
