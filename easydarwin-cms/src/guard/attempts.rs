//! Wrong secrets: answered late, later for each from the same address; after too many of them the
//! address is not let in for a while, unless somebody rightful lives there.
//!
//! Checking comes first and costs microseconds, so a right secret is never late.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Source;
use super::addresses::Addresses;

/// An address or serial that was not tried wrongly for this long starts anew.
const WINDOW: Duration = Duration::from_secs(60);

/// Wrong secrets of one address within the window.
const MAX_FAILURES: u32 = 10;

/// An address with so many is not let in for this long.
const BLOCK: Duration = Duration::from_secs(300);

/// The longest delay is this many times the first.
const MAX_STEPS: u32 = 5;

/// Addresses, and serials, that are remembered (about 1.5 MB each). The one that failed longest ago
/// is forgotten for a new one.
const REMEMBERED: usize = 16_384;

/// What a wrong secret costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// How long the answer has to wait.
    pub(crate) delay: Duration,
    /// Over the limit: where the protocol can say so, this is said, and at once.
    pub(crate) retry_after: Option<Duration>,
}

/// Shared by all doors: devices, media nodes, clients, people.
#[derive(Debug)]
pub(crate) struct Attempts {
    first_delay: Duration,
    addresses: Arc<Addresses>,
    hasher: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    addresses: LruCache<u64, Failures>,
    serials: LruCache<u64, Failures>,
}

#[derive(Debug)]
struct Failures {
    since: Instant,
    last: Instant,
    /// Without a quiet window in between: makes the delay.
    in_a_row: u32,
    /// Since `since`: makes the block.
    in_window: u32,
    blocked_until: Option<Instant>,
}

impl Attempts {
    pub(super) fn new(first_delay: Duration, addresses: Arc<Addresses>) -> Self {
        // With a bound they would take their memory at once.
        let tables = Tables {
            addresses: LruCache::unbounded(),
            serials: LruCache::unbounded(),
        };
        Self {
            first_delay,
            addresses,
            hasher: RandomState::new(),
            tables: Mutex::new(tables),
        }
    }

    /// Somebody at this address brought a wrong secret.
    pub(crate) fn failed(&self, peer: IpAddr) -> Wrong {
        self.note(peer, None)
    }

    /// The same, for this device. Tries for one device are slowed wherever they come from.
    pub(crate) fn failed_for(&self, peer: IpAddr, serial: &str) -> Wrong {
        self.note(peer, Some(serial))
    }

    /// Somebody at this address brought a right secret: others there no longer shut him out.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the login of people comes next")
    )]
    pub(crate) fn succeeded(&self, peer: IpAddr) {
        self.addresses.proven(Source::of(peer), Instant::now());
    }

    /// For how long nobody is let in from this address.
    pub(crate) fn blocked(&self, peer: IpAddr) -> Option<Duration> {
        let (source, now) = (Source::of(peer), Instant::now());
        let left = {
            let tables = self.tables.lock();
            tables.addresses.peek(&source.key())?.blocked_for(now)?
        };
        (!self.addresses.is_home(source, now)).then_some(left)
    }

    fn note(&self, peer: IpAddr, serial: Option<&str>) -> Wrong {
        let (source, now) = (Source::of(peer), Instant::now());
        let mut tables = self.tables.lock();
        let of_serial = serial.map_or(0, |serial| {
            let key = self.hasher.hash_one(serial);
            note_in(&mut tables.serials, key, now).in_a_row
        });
        let failures = note_in(&mut tables.addresses, source.key(), now);
        let retry_after = failures.blocked_for(now);
        let steps = failures.in_a_row.max(of_serial).clamp(1, MAX_STEPS);
        let just_full = failures.in_window == MAX_FAILURES;
        drop(tables);
        if just_full {
            let home = self.addresses.is_home(source, now);
            tracing::warn!(
                address = %source,
                shut_out_s = if home { 0 } else { BLOCK.as_secs() },
                "{MAX_FAILURES} wrong secrets within a minute"
            );
        }
        Wrong {
            delay: self.first_delay.saturating_mul(steps),
            retry_after,
        }
    }
}

impl Failures {
    fn blocked_for(&self, now: Instant) -> Option<Duration> {
        let left = self.blocked_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

fn note_in(table: &mut LruCache<u64, Failures>, key: u64, now: Instant) -> &mut Failures {
    if !table.contains(&key) && table.len() >= REMEMBERED {
        table.pop_lru();
    }
    let failures = table.get_or_insert_mut(key, || Failures {
        since: now,
        last: now,
        in_a_row: 0,
        in_window: 0,
        blocked_until: None,
    });
    if now.saturating_duration_since(failures.last) >= WINDOW {
        failures.in_a_row = 0;
    }
    if now.saturating_duration_since(failures.since) >= WINDOW {
        (failures.since, failures.in_window) = (now, 0);
    }
    failures.last = now;
    failures.in_a_row = failures.in_a_row.saturating_add(1);
    failures.in_window = failures.in_window.saturating_add(1);
    if failures.in_window >= MAX_FAILURES {
        failures.blocked_until = Some(now + BLOCK);
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts() -> (Attempts, Arc<Addresses>) {
        let addresses = Arc::new(Addresses::new(256));
        let attempts = Attempts::new(Duration::from_secs(1), addresses.clone());
        (attempts, addresses)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_answered_later_and_later_and_then_not_at_all() {
        let (attempts, _) = attempts();
        let guesser = ip("10.0.0.1");
        let mut seconds = Vec::new();
        for _ in 0..9 {
            let wrong = attempts.failed(guesser);
            assert_eq!(wrong.retry_after, None);
            seconds.push(wrong.delay.as_secs());
        }
        assert_eq!(seconds, [1, 2, 3, 4, 5, 5, 5, 5, 5]);
        assert_eq!(attempts.blocked(guesser), None);
        assert_eq!(attempts.failed(guesser).retry_after, Some(BLOCK));
        assert_eq!(attempts.blocked(guesser), Some(BLOCK));
        assert_eq!(attempts.blocked(ip("10.0.0.2")), None);
        tokio::time::advance(BLOCK).await;
        assert_eq!(attempts.blocked(guesser), None);
        assert_eq!(attempts.failed(guesser).delay, Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_now_and_then_is_never_shut_out() {
        let (attempts, _) = attempts();
        for _ in 0..100 {
            attempts.failed(ip("10.0.0.1"));
            tokio::time::advance(Duration::from_secs(7)).await;
            assert_eq!(attempts.blocked(ip("10.0.0.1")), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_household_of_ipv6_is_one_guesser() {
        let (attempts, _) = attempts();
        for n in 0..10 {
            attempts.failed(ip(&format!("2001:db8::{n}")));
        }
        assert!(attempts.blocked(ip("2001:db8::ffff")).is_some());
        assert!(attempts.blocked(ip("2001:db8:0:1::1")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_shut_out_where_a_rightful_one_lives() {
        let (attempts, addresses) = attempts();
        let site = ip("10.0.0.1");
        let camera = addresses.enter(Source::of(site)).unwrap();
        for _ in 0..20 {
            attempts.failed(site);
        }
        assert!(attempts.blocked(site).is_some());
        camera.proven();
        assert_eq!(attempts.blocked(site), None);
        // Nor when it comes back a while later.
        drop(camera);
        assert_eq!(attempts.blocked(site), None);
        // Somebody who logs in without staying counts, too.
        for _ in 0..10 {
            attempts.failed(ip("10.0.0.2"));
        }
        attempts.succeeded(ip("10.0.0.2"));
        assert_eq!(attempts.blocked(ip("10.0.0.2")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_serial_is_tried_slowly_from_however_many_addresses() {
        let (attempts, _) = attempts();
        let delays: Vec<u64> = (0..6)
            .map(|n| attempts.failed_for(ip(&format!("10.0.0.{n}")), "cam"))
            .map(|wrong| wrong.delay.as_secs())
            .collect();
        assert_eq!(delays, [1, 2, 3, 4, 5, 5]);
        let other = attempts.failed_for(ip("10.0.1.1"), "other");
        assert_eq!(other.delay.as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_has_an_end() {
        let (attempts, _) = attempts();
        for n in 0..40_000_u32 {
            let peer = std::net::Ipv4Addr::from_bits(n).into();
            attempts.failed_for(peer, &n.to_string());
        }
        let tables = attempts.tables.lock();
        assert_eq!(tables.addresses.len(), REMEMBERED);
        assert_eq!(tables.serials.len(), REMEMBERED);
    }
}
