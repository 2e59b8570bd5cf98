//! When a shard hands readers of a stream to others, and how many.

use std::time::Duration;

/// Readers of a stream that stay on their shard in any case: waking another shard costs more.
const STAY: usize = 64;
/// Passes that are measured before a decision: a single one may have met a key frame, or have
/// been interrupted.
const PASSES: u32 = 32;

/// How long the passes over a stream's readers take on one shard.
#[derive(Debug, Default)]
pub(super) struct PassTime {
    smooth: Duration,
    passes: u32,
}

impl PassTime {
    /// Notes a pass over `readers`. Returns how many of them are more than `limit` has time for;
    /// none until it is exceeded by a quarter, so that nobody goes to and fro at the limit.
    pub(super) fn surplus(&mut self, spent: Duration, readers: usize, limit: Duration) -> usize {
        self.smooth = match self.passes {
            0 => spent,
            _ => self.smooth * 7 / 8 + spent / 8,
        };
        self.passes += 1;
        let movable = readers.saturating_sub(STAY);
        if self.passes < PASSES || self.smooth <= limit * 5 / 4 || movable == 0 {
            return 0;
        }
        // Fewer readers, other times: what follows is measured anew.
        self.passes = 0;
        let (over, all) = ((self.smooth - limit).as_nanos(), self.smooth.as_nanos());
        let readers = u128::try_from(readers).unwrap_or(u128::MAX);
        let surplus = readers.saturating_mul(over).div_ceil(all.max(1));
        usize::try_from(surplus).unwrap_or(movable).min(movable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(2);

    /// Passes at 10 µs a reader; the surplus of each.
    fn passes(time: &mut PassTime, readers: usize, count: usize) -> Vec<usize> {
        let spent = Duration::from_micros(10) * u32::try_from(readers).unwrap();
        (0..count)
            .map(|_| time.surplus(spent, readers, LIMIT))
            .filter(|surplus| *surplus > 0)
            .collect()
    }

    #[test]
    fn as_many_go_as_are_too_many() {
        let mut time = PassTime::default();
        assert!(passes(&mut time, 400, 31).is_empty());
        assert_eq!(passes(&mut time, 400, 1), [200]);
        // Those who stayed are within the limit.
        assert!(passes(&mut time, 200, 1000).is_empty());
        // A few more do not make it flap.
        assert!(passes(&mut time, 249, 1000).is_empty());
        let mut time = PassTime::default();
        assert_eq!(passes(&mut time, 260, 100), [60, 60, 60]);
    }

    #[test]
    fn few_readers_stay() {
        let mut time = PassTime::default();
        let slow = Duration::from_secs(1);
        assert!((0..100).all(|_| time.surplus(slow, 64, LIMIT) == 0));
        let mut time = PassTime::default();
        assert!((0..100).all(|_| time.surplus(slow, 70, LIMIT) <= 6));
    }

    #[test]
    fn one_slow_pass_moves_nobody() {
        let mut time = PassTime::default();
        passes(&mut time, 150, 100);
        assert_eq!(time.surplus(Duration::from_millis(5), 150, LIMIT), 0);
        assert!(passes(&mut time, 150, 100).is_empty());
    }
}
