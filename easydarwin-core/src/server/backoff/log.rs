use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Source;

/// Which failures are worth a line: one per address and interval, and not more than so many.
#[derive(Debug)]
pub(super) struct Log {
    interval: Duration,
    lines: u32,
    since: Option<Instant>,
    named: HashSet<Source>,
    unnamed: u64,
}

impl Log {
    pub(super) fn new(interval: Duration, lines: u32) -> Self {
        Self {
            interval,
            lines,
            since: None,
            named: HashSet::new(),
            unnamed: 0,
        }
    }

    pub(super) fn line(&mut self, source: Source, failures: u32, now: Instant) -> Option<String> {
        let over = self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= self.interval);
        let mut before = 0;
        if over {
            self.since = Some(now);
            self.named.clear();
            before = std::mem::take(&mut self.unnamed);
        }
        let full = self.named.len() >= usize::try_from(self.lines).unwrap_or(usize::MAX);
        if self.named.contains(&source) || full {
            self.unnamed = self.unnamed.saturating_add(1);
            return None;
        }
        self.named.insert(source);
        let mut line = format!(
            "{failures} wrong logins from {source}; wrong ones from there are answered late, right ones at once"
        );
        if before > 0 {
            line.push_str(&format!(
                " ({before} more wrong logins were answered late before this line)"
            ));
        }
        Some(line)
    }
}
