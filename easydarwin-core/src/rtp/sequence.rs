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
