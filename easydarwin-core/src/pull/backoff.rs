use std::time::Duration;

/// Waits between tries that fail: the bound doubles from `first` to `cap`, and something between
/// half of it and the whole is waited, so that sources which fell together do not come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// Bound of the first wait.
    pub first: Duration,
    /// Greatest bound.
    pub cap: Duration,
}

/// How often in a row it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after this failure.
    pub(crate) fn next(&mut self, config: RetryConfig, jitter: &mut Jitter) -> Duration {
        let bound = config.bound(self.failures);
        self.failures = self.failures.saturating_add(1);
        let half = bound / 2;
        half + jitter.below(bound - half)
    }

    /// After a success that lasted.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

impl RetryConfig {
    /// The longest that is waited after `failures` earlier ones in a row.
    pub fn bound(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.min(16));
        doubled.min(self.cap.max(self.first))
    }
}

/// SplitMix64: spread is all that is needed here, not secrecy; a seed makes it repeatable.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: Duration) -> Duration {
        let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.draw() % millis.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_lie_between_half_and_all_of_a_doubling_bound() {
        let config = RetryConfig {
            first: Duration::from_secs(1),
            cap: Duration::from_secs(30),
        };
        let mut sum = Duration::ZERO;
        for seed in 0..200 {
            let (mut backoff, mut jitter) = (Backoff::default(), Jitter::new(seed));
            for bound in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
                let wait = backoff.next(config, &mut jitter);
                assert!(wait >= bound / 2 && wait <= bound, "{wait:?} of {bound:?}");
                sum += wait;
            }
            backoff.reset();
            assert!(backoff.next(config, &mut jitter) <= config.first);
        }
        let mean = sum / 200;
        let expected = Duration::from_secs(91) * 3 / 4;
        assert!(
            mean > expected * 9 / 10 && mean < expected * 11 / 10,
            "{mean:?}"
        );
    }
}
