use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn source(text: &str) -> Source {
    Source::of(text.parse().unwrap())
}

fn numbered(n: u32) -> Source {
    Source::of(std::net::Ipv4Addr::from(n).into())
}

#[test]
fn failures_are_answered_later_and_later() {
    let mut core = Core::new(BackoffConfig::default());
    let (one, now) = (source("10.0.0.1"), Instant::now());
    let mut paces = Vec::new();
    for _ in 0..8 {
        paces.push(core.failed(one, now).0);
        core.answered(one);
    }
    let after = |seconds| Pace::After(Duration::from_secs(seconds));
    let expected = [
        Pace::Now,
        Pace::Now,
        Pace::Now,
        after(1),
        after(2),
        after(4),
        after(5),
        after(5),
    ];
    assert_eq!(paces, expected);
    // Others are not meant.
    assert_eq!(core.failed(source("10.0.0.2"), now).0, Pace::Now);
    // A window without failure, and it begins anew; one just shorter, and it does not.
    let almost = now + Duration::from_secs(59);
    assert_eq!(core.failed(one, almost).0, after(5));
    let later = almost + Duration::from_secs(60);
    assert_eq!(core.failed(one, later).0, Pace::Now);
    let stats = core.stats();
    assert_eq!((stats.failures, stats.delayed, stats.closed), (11, 6, 0));
}

#[test]
fn only_so_many_answers_wait() {
    let config = BackoffConfig {
        free: 0,
        waiting_per_address: 2,
        waiting: 3,
        ..BackoffConfig::default()
    };
    let mut core = Core::new(config);
    let now = Instant::now();
    let (one, two) = (source("10.0.0.1"), source("10.0.0.2"));
    let waits = |core: &mut Core, source| matches!(core.failed(source, now).0, Pace::After(_));
    assert!(waits(&mut core, one));
    assert!(waits(&mut core, one));
    assert!(!waits(&mut core, one), "limit of one address");
    assert!(waits(&mut core, two));
    assert!(!waits(&mut core, two), "limit of all");
    core.answered(one);
    assert!(waits(&mut core, two));
    let stats = core.stats();
    assert_eq!((stats.waiting, stats.closed, stats.delayed), (3, 2, 4));
}

#[test]
fn a_household_is_one_source_and_mapped_addresses_are_none_of_their_own() {
    assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    assert_eq!(source("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    assert_eq!(source("10.0.0.1").to_string(), "10.0.0.1/32");
}

#[test]
fn the_log_has_a_line_for_each_address_and_not_too_many() {
    let config = BackoffConfig {
        free: 0,
        log_lines: 3,
        ..BackoffConfig::default()
    };
    let mut core = Core::new(config);
    let now = Instant::now();
    let mut lines = Vec::new();
    for _ in 0..2 {
        for n in 0..10 {
            let (_, line) = core.failed(numbered(n), now);
            lines.extend(line);
            core.answered(numbered(n));
        }
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("1 wrong logins from 0.0.0.0/32"));
    let (_, line) = core.failed(numbered(1), now + Duration::from_secs(60));
    assert!(line.unwrap().contains("17 more"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_gives_its_place_back() {
    let config = BackoffConfig {
        free: 0,
        ..BackoffConfig::default()
    };
    let backoff = Backoff::new(config);
    let peer = [10, 0, 0, 1].into();
    let begun = tokio::time::Instant::now();
    assert!(backoff.failed(peer).await);
    assert_eq!(begun.elapsed().as_secs(), 1);
    let waits = tokio::time::timeout(Duration::from_millis(1), backoff.failed(peer));
    assert!(waits.await.is_err());
    let stats = backoff.stats();
    assert_eq!((stats.waiting, stats.delayed), (0, 2));
}

proptest! {
    /// Whatever happens, what is remembered stays within the limits.
    #[test]
    fn memory_is_bounded(
        steps in proptest::collection::vec((0_u32..40, any::<bool>(), 0_u64..20), 0..300),
    ) {
        let config = BackoffConfig {
            addresses: 8,
            free: 1,
            waiting_per_address: 2,
            waiting: 5,
            ..BackoffConfig::default()
        };
        let mut core = Core::new(config.clone());
        let mut now = Instant::now();
        let mut waiting = Vec::new();
        for (n, answer, seconds) in steps {
            now += Duration::from_secs(seconds);
            if answer && !waiting.is_empty() {
                core.answered(waiting.remove(0));
            } else if let (Pace::After(delay), _) = core.failed(numbered(n), now) {
                prop_assert!(delay >= config.first_delay && delay <= config.max_delay);
                waiting.push(numbered(n));
            }
            let stats = core.stats();
            prop_assert_eq!(stats.waiting, waiting.len());
            prop_assert!(stats.waiting <= config.waiting && stats.addresses <= config.addresses);
            for source in &waiting {
                let here = waiting.iter().filter(|other| *other == source).count();
                prop_assert!(here <= config.waiting_per_address);
            }
        }
    }
}
