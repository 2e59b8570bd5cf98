//! A camera whose uplink really is narrow: a pair of virtual interfaces in namespaces of the
//! test's own, the kernel's token bucket on the camera's side, our media server on the other.
//!
//! Time is real here, for what is measured is the kernel: how long a frame takes from its capture
//! until it is whole on the far side of the narrow link. Both sides are threads of one process and
//! read the same clock. Needs `unshare`, `ip` and `tc`: scripts/peers installs them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod encoder;
mod far_side;
mod link;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use self::encoder::Told;
use self::far_side::Arrival;

/// What the ring allows.
const MAX_LATENCY: Duration = Duration::from_secs(1);
/// And the kernel on top of it.
const ALLOWANCE: Duration = Duration::from_millis(200);
/// After a link became narrow: until what the kernel had taken is through, with all that TCP loses
/// on the way, and the encoder knows. A link that shrinks to an eighth just when a key frame was
/// written needs the most.
const SETTLING: Duration = Duration::from_secs(8);
/// The last part of a phase, in which advice is compared with the link.
const STEADY: Duration = Duration::from_secs(5);

/// A time with one rate of the link, in bits a second.
#[derive(Debug, Clone, Copy)]
struct Phase {
    rate: u32,
    lasts: Duration,
}

const PHASES: [Phase; 3] = [
    Phase {
        rate: 1_000_000,
        lasts: Duration::from_secs(14),
    },
    // Up is slow: a probe has to wait, then 8 % a second.
    Phase {
        rate: 4_000_000,
        lasts: Duration::from_secs(28),
    },
    Phase {
        rate: 500_000,
        lasts: Duration::from_secs(20),
    },
];

#[test]
fn delay_and_advice_follow_the_link() {
    if !link::is_inside() {
        return link::run_inside("delay_and_advice_follow_the_link");
    }
    let start = Instant::now();
    let (ready, thread) = mpsc::channel();
    let (up, is_up) = mpsc::channel();
    let camera = std::thread::spawn(move || {
        ready.send(link::leave_namespace()).unwrap();
        is_up.recv().unwrap();
        link::configure_near_end(PHASES[0].rate);
        encoder::run(start)
    });
    link::make(thread.recv().unwrap());
    let arrivals = far_side::watch(start, || up.send(()).unwrap());
    let told = camera.join().unwrap();

    let mut begin = told.began;
    for phase in PHASES {
        let end = begin + phase.lasts;
        check(phase, begin, end, &arrivals, &told);
        begin = end;
    }
}

fn check(phase: Phase, begin: Duration, end: Duration, arrivals: &[Arrival], told: &Told) {
    let settled: Vec<_> = arrivals
        .iter()
        // What is under way when the phase ends is delayed by the next one.
        .filter(|arrival| arrival.captured >= begin + SETTLING && arrival.arrived < end)
        .collect();
    let before = arrivals
        .iter()
        .filter(|arrival| arrival.captured >= begin && arrival.captured < begin + SETTLING);
    let settling = before.map(Arrival::delay).max().unwrap();
    let longest = settled.iter().map(|arrival| arrival.delay()).max().unwrap();
    let bytes: usize = settled.iter().map(|arrival| arrival.bytes).sum();
    let missing: u64 = settled
        .windows(2)
        .map(|two| two[1].number - two[0].number - 1)
        .sum();
    let advised = told.mean(end - STEADY, end);
    let used = u128::try_from(bytes * 8 * 1000).unwrap() / (end - begin - SETTLING).as_millis();
    println!(
        "{} kbit/s: advised {} kbit/s, sent {} kbit/s, longest delay {longest:?} \
         ({settling:?} while settling), {missing} of {} frames missing",
        phase.rate / 1000,
        advised / 1000,
        used / 1000,
        settled.len(),
    );
    assert!(longest < MAX_LATENCY + ALLOWANCE, "{longest:?}");
    assert!(advised >= phase.rate / 10 * 6, "{advised}: {told:?}");
    assert!(advised <= phase.rate / 10 * 11, "{advised}: {told:?}");
    // A probe may find the link's end by a frame.
    let few = u64::try_from(settled.len() / 50).unwrap();
    assert!(
        missing <= few,
        "{missing} frames were dropped after the encoder knew"
    );
}
