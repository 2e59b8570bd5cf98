//! When the next frame of an encoder is about to come.

/// Irregular by more than this on average, in microseconds: nothing is expected.
const REGULAR_US: u64 = 1_000;
/// Longest time between frames that is one, in microseconds.
const LONGEST_US: u64 = 1_000_000;
/// Parts of the averages that a new value is.
const SHARE: u64 = 8;

/// The time between the frames of a stream, as far as there is one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cadence {
    last_us: Option<u64>,
    interval_us: u64,
    /// How far frames are off, on average; nothing is expected before it is small.
    off_us: u64,
}

impl Cadence {
    /// A frame was pushed at this moment.
    pub(super) fn note(&mut self, at_us: u64) {
        let Some(last_us) = self.last_us.replace(at_us) else {
            return;
        };
        let passed = at_us.saturating_sub(last_us);
        if self.interval_us == 0 || passed > LONGEST_US {
            (self.interval_us, self.off_us) = (passed.min(LONGEST_US), LONGEST_US);
            return;
        }
        let off = passed.abs_diff(self.interval_us).min(LONGEST_US);
        self.off_us = (self.off_us * (SHARE - 1) + off) / SHARE;
        self.interval_us = (self.interval_us * (SHARE - 1) + passed) / SHARE;
    }

    /// When the next frame is expected; `None` when that cannot be said.
    pub(super) fn next_us(&self) -> Option<u64> {
        let regular = self.interval_us > 0 && self.off_us <= REGULAR_US;
        let last_us = self.last_us.filter(|_| regular)?;
        // A timer of milliseconds is late, by one on average and two at most, and so it is there after most
        // frames that are late. Set earlier it comes too soon too often, and that costs a system call.
        Some(last_us + self.interval_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_regular_is_expected_and_a_pause_ends_it() {
        let mut cadence = Cadence::default();
        let mut at = 5_000;
        cadence.note(at);
        assert_eq!(cadence.next_us(), None);
        for number in 0..100 {
            // 40 ms, 200 us more or less.
            at += 39_800 + number % 2 * 400;
            cadence.note(at);
        }
        let next = cadence.next_us().unwrap();
        assert!((at + 39_800..at + 40_300).contains(&next), "{}", next - at);
        at += 400_000;
        cadence.note(at);
        assert_eq!(cadence.next_us(), None);
        for _ in 0..60 {
            at += 40_000;
            cadence.note(at);
        }
        assert!(cadence.next_us().is_some());
        let mut off = 0;
        for number in 0..100_u64 {
            off = number % 2 * 8_000;
            cadence.note(at + number * 40_000 + off);
        }
        assert_eq!(cadence.next_us(), None, "{off}");
    }
}
