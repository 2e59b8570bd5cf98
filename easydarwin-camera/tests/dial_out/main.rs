//! Thousands of bad days under virtual time: links that stall, cut and lose, CMS that restart, fall
//! silent, answer half, refuse, send in circles, or are somebody else. Whatever happens, the device
//! is registered again soon after all is well, never tries more often than its back-off allows,
//! never turns on the spot, and gives its secret to nobody.
//!
//! `DIAL_OUT_SEED` plays one schedule, `DIAL_OUT_SCHEDULES` so many (default 3000).
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod cms;
mod device;
mod schedule;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use schedule::World;

const SERIAL: &str = "001001000042";
const KEY: &str = "the-key-that-never-travels";
const TOKEN: &str = "the-token";
const SCHEDULES: u64 = 3000;
/// When the schedules begin, in ms since 1970.
const EPOCH_MS: u64 = 1_795_386_123_000;

/// The clock of every CMS.
fn clock_ms(elapsed: Duration) -> u64 {
    EPOCH_MS + u64::try_from(elapsed.as_millis()).unwrap_or(0)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What some schedules came to.
#[derive(Debug, Default)]
struct Sum {
    dials: u64,
    hops: u64,
    registered: u64,
    time: Duration,
}

fn play(seeds: impl Iterator<Item = u64>) -> Sum {
    let mut sum = Sum::default();
    for seed in seeds {
        let mut world = World::new(seed);
        let figures = catch_unwind(AssertUnwindSafe(|| world.play())).unwrap_or_else(|panic| {
            eprintln!("to repeat it: DIAL_OUT_SEED={seed}");
            resume_unwind(panic)
        });
        sum.dials += figures.dials;
        sum.hops += figures.hops;
        sum.registered += figures.registered;
        sum.time += world.elapsed();
    }
    sum
}

#[test]
fn comes_back_after_every_bad_day() {
    if let Some(seed) = number("DIAL_OUT_SEED") {
        eprintln!("{:?}", play(seed..=seed));
        return;
    }
    let count = number("DIAL_OUT_SCHEDULES").unwrap_or(SCHEDULES);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let sums: Vec<Sum> = thread::scope(|scope| {
        let some = |first| scope.spawn(move || play((first..count).step_by(threads)));
        let all: Vec<_> = (0..threads as u64).map(some).collect();
        all.into_iter()
            .map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    eprintln!("{count} schedules: {sums:?}");
    // It was not all too easy, nor too hard.
    let registered: u64 = sums.iter().map(|sum| sum.registered).sum();
    let hops: u64 = sums.iter().map(|sum| sum.hops).sum();
    assert!(registered >= count && hops * 10 >= count);
}
