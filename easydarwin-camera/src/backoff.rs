use std::time::{Duration, Instant};

use fastrand::Rng;

/// First upper bound of a wait.
const FIRST: Duration = Duration::from_secs(1);
/// Upper bound of a wait in the first minutes: a server that was restarted gets its cameras back
/// soon, but not all in the same moment.
const CAP: Duration = Duration::from_secs(15);
/// Upper bound later on.
const LATE_CAP: Duration = Duration::from_secs(60);
/// When 'later on' begins.
const LATE: Duration = Duration::from_secs(600);
/// Wait after a refusal that more tries do not change: a wrong secret, an unknown serial. The one
/// who can change it is a person.
const REFUSED: Duration = Duration::from_secs(60);
/// The same once it has been refused for [`LATE`].
const LATE_REFUSED: Duration = Duration::from_secs(300);
/// Shortest wait, so that a server which refuses at once is not asked all the time.
const FLOOR: Duration = Duration::from_millis(100);

/// Waits between tries: doubled upper bounds, of which a random part is waited ('full jitter').
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    random: Rng,
    attempts: u32,
    failing_since: Option<Instant>,
}

impl Backoff {
    /// Any seed will do as long as cameras have different ones.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            attempts: 0,
            failing_since: None,
        }
    }

    /// How long to wait after this failure.
    pub(crate) fn next(&mut self, now: Instant) -> Duration {
        let since = *self.failing_since.get_or_insert(now);
        let cap = if now.saturating_duration_since(since) < LATE {
            CAP
        } else {
            LATE_CAP
        };
        let bound = FIRST.saturating_mul(1 << self.attempts.min(16)).min(cap);
        self.attempts = self.attempts.saturating_add(1);
        self.spread(bound).max(FLOOR)
    }

    /// How long to wait after a refusal of somebody who refuses since then.
    pub(crate) fn refused(&mut self, since: Instant, now: Instant) -> Duration {
        let most = if now.saturating_duration_since(since) < LATE {
            REFUSED
        } else {
            LATE_REFUSED
        };
        most / 2 + self.spread(most / 2)
    }

    /// A random part of this time, so that many cameras do not do the same in the same moment.
    pub(crate) fn spread(&mut self, time: Duration) -> Duration {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.u64(..time.max(1)))
    }

    /// Tries since the last success.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// After a success that lasted.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
        self.failing_since = None;
    }
}

/// A number that differs from camera to camera.
pub(crate) fn random_seed() -> u64 {
    // A system without randomness merely loses the spread of its waits.
    getrandom::u64().unwrap_or_else(|_| std::process::id().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_caps() {
        let start = Instant::now();
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            for bound in [1, 2, 4, 8, 15, 15] {
                let wait = backoff.next(start);
                assert!(wait >= FLOOR && wait <= Duration::from_secs(bound));
            }
            let later = start + LATE + Duration::from_secs(1);
            assert!(backoff.next(later) <= LATE_CAP);
            for (now, most) in [(start, REFUSED), (later, LATE_REFUSED)] {
                let wait = backoff.refused(start, now);
                assert!(wait >= most / 2 && wait <= most);
            }
            backoff.reset();
            assert!(backoff.next(later) <= FIRST);
        }
        let waits: Vec<_> = (0..200)
            .map(|seed| {
                let mut backoff = Backoff::new(seed);
                (0..6).map(|_| backoff.next(start)).last().unwrap()
            })
            .collect();
        let mean = waits.iter().sum::<Duration>() / 200;
        assert!(mean > CAP / 3 && mean < CAP * 2 / 3, "{mean:?}");
    }
}
