//! Takes structured things from arbitrary bytes.

/// A cursor over the fuzzer's bytes.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 behind the end.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn long(&mut self) -> u32 {
        u32::from(self.word()) << 16 | u32::from(self.word())
    }

    /// Up to `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind a length of two bytes.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let count = usize::from(self.word());
        self.bytes(count)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Where to cut an input of `len` bytes into reads, from a few bytes: the gaps between the cuts.
pub(crate) fn cuts(len: usize, gaps: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    for gap in gaps {
        at += usize::from(*gap);
        if at >= len {
            break;
        }
        ends.push(at);
    }
    ends.push(len);
    ends
}
