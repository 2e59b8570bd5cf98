//! What is done about those who try passwords: their failures are answered late.
//!
//! Only failures are. Whoever brings the right credentials is let in at once, from whatever
//! address and however many others fail there, because checking comes first and costs
//! microseconds: nobody can be locked out by somebody else's mistakes. The delay is a timer of the
//! one connection that waits; of those there are so many at most, further ones are closed with
//! their answer. Memory is bounded by [`BackoffConfig`], whoever comes.

mod log;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::log::Log;
use self::table::Table;

/// How failed logins are slowed down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackoffConfig {
    /// Failures of one address that are answered at once. Default 3: people mistype.
    pub free: u32,
    /// Delay of the failure after those; each further one doubles it. Default 1 s.
    pub first_delay: Duration,
    /// Longest delay. Default 5 s.
    pub max_delay: Duration,
    /// An address without failure for so long starts anew. Default 1 min.
    pub window: Duration,
    /// Addresses remembered; the one that failed longest ago is forgotten for a new one. Default
    /// 16 384 (about 1.5 MiB).
    pub addresses: usize,
    /// Answers of one address that may wait at the same time; further failures are answered at
    /// once and their connections closed. Default 16.
    pub waiting_per_address: usize,
    /// The same for all addresses together. Default 1024.
    pub waiting: usize,
    /// Distance between two lines in the log about the same address. Default 1 min.
    pub log_interval: Duration,
    /// Lines in the log about addresses within that distance, at most. Default 20.
    pub log_lines: u32,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            free: 3,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(5),
            window: Duration::from_secs(60),
            addresses: 16_384,
            waiting_per_address: 16,
            waiting: 1024,
            log_interval: Duration::from_secs(60),
            log_lines: 20,
        }
    }
}

/// What was seen of failed logins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct BackoffStats {
    /// Failed logins since the start.
    pub failures: u64,
    /// Those of them that were answered late.
    pub delayed: u64,
    /// Those whose connection was closed because too many answers waited already.
    pub closed: u64,
    /// Answers that wait now.
    pub waiting: usize,
    /// Addresses remembered now.
    pub addresses: usize,
}

/// Who is meant: an IPv4 address, or the /64 of an IPv6 address, which one household has whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = if self.0.is_ipv4() { 32 } else { 64 };
        write!(f, "{}/{length}", self.0)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When a failed login is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Now,
    /// After that; [`Core::answered`] has to be called then.
    After(Duration),
    /// Now, and then the connection is closed.
    Close,
}

/// The state without clock and lock.
#[derive(Debug)]
pub(super) struct Core {
    table: Table,
    log: Log,
    stats: BackoffStats,
}

/// Shared by all doors of a server.
#[derive(Debug, Clone)]
pub(crate) struct Backoff(Arc<Mutex<Core>>);

/// The right to let an answer wait.
#[derive(Debug)]
pub(super) struct Waiting {
    backoff: Backoff,
    source: Source,
}

impl Core {
    pub(super) fn new(config: BackoffConfig) -> Self {
        Self {
            log: Log::new(config.log_interval, config.log_lines),
            table: Table::new(config),
            stats: BackoffStats::default(),
        }
    }

    /// Notes a failure. The text, if there is one, is for the log.
    pub(super) fn failed(&mut self, source: Source, now: Instant) -> (Pace, Option<String>) {
        let (pace, failures) = self.table.failed(source, now);
        self.stats.failures = self.stats.failures.saturating_add(1);
        let counter = match pace {
            Pace::Now => return (pace, None),
            Pace::After(_) => &mut self.stats.delayed,
            Pace::Close => &mut self.stats.closed,
        };
        *counter = counter.saturating_add(1);
        (pace, self.log.line(source, failures, now))
    }

    /// An answer that waited does so no more.
    pub(super) fn answered(&mut self, source: Source) {
        self.table.answered(source);
    }

    pub(super) fn stats(&self) -> BackoffStats {
        BackoffStats {
            waiting: self.table.waiting(),
            addresses: self.table.addresses(),
            ..self.stats
        }
    }
}

impl Backoff {
    pub(super) fn new(config: BackoffConfig) -> Self {
        Self(Arc::new(Mutex::new(Core::new(config))))
    }

    /// Waits as long as an answer to a failure of this address has to. `false`: the connection is
    /// to be closed.
    pub(super) async fn failed(&self, peer: IpAddr) -> bool {
        let source = Source::of(peer);
        let (pace, line) = self.0.lock().failed(source, Instant::now());
        if let Some(line) = line {
            tracing::warn!("{line}");
        }
        match pace {
            Pace::Now => true,
            Pace::Close => false,
            Pace::After(delay) => {
                // Given back also when the client goes away and this future is dropped.
                let _waiting = Waiting {
                    backoff: self.clone(),
                    source,
                };
                tokio::time::sleep(delay).await;
                true
            }
        }
    }

    pub(crate) fn stats(&self) -> BackoffStats {
        self.0.lock().stats()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.backoff.0.lock().answered(self.source);
    }
}
