use std::collections::HashMap;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::{BackoffConfig, Pace, Source};

/// Failures by address, and the answers that wait.
#[derive(Debug)]
pub(super) struct Table {
    config: BackoffConfig,
    failures: LruCache<Source, Failures>,
    /// Kept apart from `failures`, whose entries may be forgotten while an answer waits; there
    /// are never more of them than answers that wait.
    waiting: HashMap<Source, usize>,
    waiting_all: usize,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Table {
    pub(super) fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            // With a bound it would take the memory for all addresses at once.
            failures: LruCache::unbounded(),
            waiting: HashMap::new(),
            waiting_all: 0,
        }
    }

    /// When to answer, and how often this address has failed lately.
    pub(super) fn failed(&mut self, source: Source, now: Instant) -> (Pace, u32) {
        let count = self.count(source, now);
        if count <= self.config.free {
            return (Pace::Now, count);
        }
        let here = self.waiting.get(&source).copied().unwrap_or(0);
        if here >= self.config.waiting_per_address || self.waiting_all >= self.config.waiting {
            return (Pace::Close, count);
        }
        self.waiting.insert(source, here.saturating_add(1));
        self.waiting_all = self.waiting_all.saturating_add(1);
        (Pace::After(self.delay(count)), count)
    }

    pub(super) fn answered(&mut self, source: Source) {
        let Some(here) = self.waiting.get_mut(&source) else {
            return;
        };
        *here = here.saturating_sub(1);
        if *here == 0 {
            self.waiting.remove(&source);
        }
        self.waiting_all = self.waiting_all.saturating_sub(1);
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting_all
    }

    pub(super) fn addresses(&self) -> usize {
        self.failures.len()
    }

    fn count(&mut self, source: Source, now: Instant) -> u32 {
        if !self.failures.contains(&source) && self.failures.len() >= self.config.addresses {
            self.failures.pop_lru();
        }
        let fresh = || Failures {
            count: 0,
            last: now,
        };
        let known = self.failures.get_or_insert_mut(source, fresh);
        if now.saturating_duration_since(known.last) >= self.config.window {
            known.count = 0;
        }
        known.last = now.max(known.last);
        known.count = known.count.saturating_add(1);
        known.count
    }

    fn delay(&self, count: u32) -> Duration {
        let doublings = count.saturating_sub(self.config.free).saturating_sub(1);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.config
            .first_delay
            .saturating_mul(factor)
            .min(self.config.max_delay)
    }
}
