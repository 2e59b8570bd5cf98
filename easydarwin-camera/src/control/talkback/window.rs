//! How late pieces come, against the one that came fastest lately.

use std::time::{Duration, Instant};

/// Half of what is remembered. A talker's clock that is off by 100 ppm moves 1 ms meanwhile.
const HALF: Duration = Duration::from_secs(5);

/// The least transit and the greatest age of the last 5 to 10 seconds in which something came.
///
/// It moves on by one half at most for each piece: behind a break of any length the pieces that waited
/// in it are still held against what was before.
#[derive(Debug)]
pub(super) struct Window {
    halves: Option<(Half, Half)>,
}

#[derive(Debug, Clone, Copy)]
struct Half {
    since: Instant,
    least: i64,
    oldest: i64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { halves: None }
    }

    /// A piece came with this transit (arrival less its place in the speech, in ms, from any
    /// origin). How much later that is than the fastest, in ms.
    pub(super) fn age(&mut self, transit: i64, now: Instant) -> i64 {
        let new = Half {
            since: now,
            least: transit,
            oldest: 0,
        };
        let (before, current) = self.halves.get_or_insert((new, new));
        if now.saturating_duration_since(current.since) >= HALF {
            *before = *current;
            *current = new;
        }
        current.least = current.least.min(transit);
        transit - current.least.min(before.least)
    }

    /// A piece of this age is used.
    pub(super) fn used(&mut self, age: i64) {
        if let Some((_, current)) = &mut self.halves {
            current.oldest = current.oldest.max(age);
        }
    }

    /// The greatest age of those that were used, in ms.
    pub(super) fn oldest(&self) -> i64 {
        self.halves
            .map_or(0, |(before, current)| before.oldest.max(current.oldest))
    }
}
