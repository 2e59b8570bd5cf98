use std::time::{Duration, Instant};

use super::{BitrateRange, StreamChoice};

/// How long the uplink must be too slow for the main stream.
const DOWN_AFTER: Duration = Duration::from_secs(2);
/// How long it must have been quiet before the main stream is tried; doubled with each try that
/// fails.
const UP_AFTER: Duration = Duration::from_secs(20);
/// The longest such wait.
const MOST_UP_AFTER: Duration = Duration::from_secs(300);
/// A try that lasted so long was none that failed.
const PROVEN: Duration = Duration::from_secs(60);

/// Main or sub, from what the controller would advise if it had no lower bound.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    main: BitrateRange,
    sub: BitrateRange,
    choice: StreamChoice,
    since: Option<Instant>,
    too_slow_since: Option<Instant>,
    up_after: Duration,
}

impl Streams {
    pub(super) fn new(main: BitrateRange, sub: Option<BitrateRange>) -> Self {
        Self {
            main,
            // Without a sub stream the main stream's lower bound is never passed.
            sub: sub.unwrap_or(main),
            choice: StreamChoice::Main,
            since: None,
            too_slow_since: None,
            up_after: UP_AFTER,
        }
    }

    pub(super) fn choice(&self) -> StreamChoice {
        self.choice
    }

    /// Within which the controller works.
    pub(super) fn work_range(&self) -> BitrateRange {
        let max = match self.choice {
            StreamChoice::Main => self.main.max,
            StreamChoice::Sub => self.sub.max,
        };
        BitrateRange {
            min: self.sub.min.min(self.main.min),
            max,
        }
    }

    /// Within which the selected stream can be set.
    pub(super) fn range(&self) -> BitrateRange {
        match self.choice {
            StreamChoice::Main => self.main,
            StreamChoice::Sub => self.sub,
        }
    }

    /// Looks at the rate that the uplink allows and at how long it has had room. Returns whether
    /// the choice has changed.
    pub(super) fn update(&mut self, now: Instant, target: u64, quiet: Duration) -> bool {
        let since = *self.since.get_or_insert(now);
        let lasted = now.saturating_duration_since(since);
        match self.choice {
            StreamChoice::Main => {
                if target >= self.main.min.into() {
                    self.too_slow_since = None;
                    return false;
                }
                let slow = *self.too_slow_since.get_or_insert(now);
                if now.saturating_duration_since(slow) < DOWN_AFTER {
                    return false;
                }
                self.up_after = if lasted < PROVEN {
                    (self.up_after * 2).min(MOST_UP_AFTER)
                } else {
                    UP_AFTER
                };
                self.change(now, StreamChoice::Sub);
                true
            }
            StreamChoice::Sub => {
                // More than the sub stream's most, or than main's least with a margin, is not
                // to be seen from here.
                let enough = u64::from(self.sub.max).min(u64::from(self.main.min) * 6 / 5);
                if target < enough || quiet < self.up_after || lasted < self.up_after {
                    return false;
                }
                self.change(now, StreamChoice::Main);
                true
            }
        }
    }

    fn change(&mut self, now: Instant, choice: StreamChoice) {
        self.choice = choice;
        self.since = Some(now);
        self.too_slow_since = None;
    }
}
