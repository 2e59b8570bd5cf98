use std::time::Duration;

use fastrand::Rng;

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
    pub(crate) fn next(&mut self, config: RetryConfig, random: &mut Rng) -> Duration {
        let bound = config.bound(self.failures);
        self.failures = self.failures.saturating_add(1);
        let half = bound / 2;
        let rest = u64::try_from((bound - half).as_millis()).unwrap_or(u64::MAX);
        half + Duration::from_millis(random.u64(..=rest))
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
            let (mut backoff, mut random) = (Backoff::default(), Rng::with_seed(seed));
            for bound in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
                let wait = backoff.next(config, &mut random);
                assert!(wait >= bound / 2 && wait <= bound, "{wait:?} of {bound:?}");
                sum += wait;
            }
            backoff.reset();
            assert!(backoff.next(config, &mut random) <= config.first);
        }
        let mean = sum / 200;
        let expected = Duration::from_secs(91) * 3 / 4;
        assert!(
            mean > expected * 9 / 10 && mean < expected * 11 / 10,
            "{mean:?}"
        );
    }
}
