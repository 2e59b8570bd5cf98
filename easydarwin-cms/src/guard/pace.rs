//! So many per second: a herd that comes back at once is taken one after the other.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Those of so long a time may come together before anybody waits.
const BURST: Duration = Duration::from_millis(50);

/// The queue is counted no further. Whoever is told when to come again is told less.
const LONGEST_QUEUE: Duration = Duration::from_secs(60);

/// Hands out one turn after the other.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    /// Nobody waits longer.
    longest: Duration,
    /// When the turn is that is handed out next.
    next: Mutex<Option<Instant>>,
}

/// When somebody is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Wait this long.
    pub(crate) wait: Duration,
    /// How much later it would be his turn. More than zero: whoever can be told to come again, is.
    pub(crate) beyond: Duration,
}

impl Pace {
    pub(crate) fn new(per_second: u32, longest: Duration) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            longest,
            next: Mutex::default(),
        }
    }

    pub(crate) fn turn(&self) -> Turn {
        let now = Instant::now();
        let mut next = self.next.lock();
        let at = next.map_or(now, |next| next.max(now));
        *next = Some((at + self.interval).min(now + LONGEST_QUEUE));
        let wait = (at - now).saturating_sub(BURST);
        Turn {
            wait: wait.min(self.longest),
            beyond: wait.saturating_sub(self.longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_herd_is_taken_at_the_pace_and_nobody_waits_longer_than_allowed() {
        let pace = Pace::new(1000, Duration::from_secs(10));
        let turns: Vec<Turn> = (0..25_000).map(|_| pace.turn()).collect();
        let wait = |n: usize| turns[n].wait.as_millis();
        assert_eq!(wait(0), 0);
        assert_eq!(wait(50), 0);
        assert_eq!(wait(1050), 1000);
        assert_eq!(wait(10_050), 10_000);
        assert_eq!(turns[10_050].beyond, Duration::ZERO);
        assert_eq!(wait(24_999), 10_000);
        assert_eq!(turns[20_050].beyond, Duration::from_secs(10));
        // When it is over, nobody waits.
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(pace.turn().wait, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_has_an_end() {
        let pace = Pace::new(1000, Duration::from_secs(10));
        for _ in 0..100_000 {
            assert!(pace.turn().beyond <= LONGEST_QUEUE);
        }
        tokio::time::advance(LONGEST_QUEUE).await;
        assert_eq!(pace.turn().wait, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ordinary_day_has_no_queue() {
        let pace = Pace::new(1000, Duration::from_secs(10));
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_millis(2)).await;
            assert_eq!((pace.turn().wait, pace.turn().wait), Default::default());
        }
    }
}
