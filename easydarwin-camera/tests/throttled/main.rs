//! A camera whose uplink really is narrow: a pair of virtual interfaces in namespaces of the
//! test's own, the kernel's token bucket on the camera's side, our media server on the other.
//!
//! Time is real here, for what is measured is the kernel: how long a picture takes from its capture until its
//! last byte has left the camera's socket, at every picture, and until it is whole on the far side of the narrow link, after
//! that has settled. Both sides are threads of one process and
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
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use self::encoder::Told;
use self::far_side::Arrival;

/// What the ring allows.
const MAX_LATENCY: Duration = Duration::from_secs(1);
/// And the kernel on top of it.
const ALLOWANCE: Duration = Duration::from_millis(200);
/// Beside the time that a picture takes by itself: the time in which nobody can know that the link
/// became narrow, and what was taken in it. A picture that is begun then, and alone is longer than the
/// bound leaves, is finished all the same: half of one is worth nothing.
const UNSEEN: Duration = Duration::from_millis(700);
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

/// What a camera goes through.
#[derive(Debug)]
struct Scene {
    phases: Vec<Phase>,
    /// What the encoder begins with, in bits a second.
    bitrate: u32,
    /// It takes advice.
    obeys: bool,
    /// How TCP finds out what the link carries, if not as the system does by itself.
    congestion: Option<&'static str>,
}

#[test]
fn delay_and_advice_follow_the_link() {
    let scene = Scene {
        phases: vec![
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
        ],
        bitrate: 2_000_000,
        obeys: true,
        congestion: None,
    };
    let Some((arrivals, told)) = run("delay_and_advice_follow_the_link", &scene) else {
        return;
    };
    let mut begin = told.began;
    for phase in &scene.phases {
        let end = begin + phase.lasts;
        check(*phase, begin, end, &arrivals, &told);
        begin = end;
    }
}

#[test]
fn an_encoder_that_takes_no_advice_is_not_late_either() {
    let scene = Scene {
        phases: vec![
            Phase {
                rate: 4_000_000,
                lasts: Duration::from_secs(6),
            },
            Phase {
                rate: 1_000_000,
                lasts: Duration::from_secs(24),
            },
        ],
        bitrate: 3_000_000,
        obeys: false,
        // By losses alone, and every kernel has it.
        congestion: Some("reno"),
    };
    let Some((arrivals, told)) = run("an_encoder_that_takes_no_advice_is_not_late_either", &scene)
    else {
        return;
    };
    // The pictures that there is room for: a key frame every two seconds at least.
    let narrow = told.began + scene.phases[0].lasts;
    let came = arrivals.iter().filter(|arrival| arrival.captured > narrow);
    assert!(came.count() >= 12);
}

/// Runs the scene in a namespace of its own, this test once more, and there asserts that no picture left
/// the camera too late.
fn run(test: &str, scene: &Scene) -> Option<(Vec<Arrival>, Told)> {
    if !link::is_inside() {
        link::run_inside(test);
        return None;
    }
    let start = Instant::now();
    let (ready, thread) = mpsc::channel();
    let (up, is_up) = mpsc::channel();
    let ended = AtomicBool::new(false);
    let server = format!("{}:{}", link::FAR, encoder::PORT).parse().unwrap();
    let (arrivals, told, wire) = std::thread::scope(|threads| {
        let camera = threads.spawn(move || {
            ready.send(link::leave_namespace()).unwrap();
            is_up.recv().unwrap();
            link::configure_near_end(scene.phases[0].rate, scene.congestion);
            encoder::run(start, scene)
        });
        let wire = threads.spawn(|| wire::watch(start, server, &ended));
        link::make(thread.recv().unwrap());
        let arrivals = far_side::watch(start, || up.send(()).unwrap());
        ended.store(true, Ordering::Relaxed);
        (arrivals, camera.join().unwrap(), wire.join().unwrap())
    });
    let total = arrivals.last().unwrap().end;
    let mut latest = (Duration::ZERO, Duration::ZERO);
    for arrival in &arrivals {
        let left = wire.left(arrival.end, total);
        // Before it arrived, whenever that was looked at.
        let left = left.min(arrival.arrived);
        // A camera that does not run is late, and what it had seen of its uplink is old.
        let starved = wire.starved(arrival.captured.saturating_sub(MAX_LATENCY), left);
        let delay = left.saturating_sub(arrival.captured + starved);
        let rate = scene.rate_at(left.saturating_sub(told.began));
        let bits = u64::try_from(arrival.bytes * 8).unwrap();
        let alone = Duration::from_micros(bits * 1_000_000 / u64::from(rate));
        if alone + UNSEEN > MAX_LATENCY + ALLOWANCE {
            latest.1 = latest.1.max(delay.saturating_sub(alone));
        } else {
            latest.0 = latest.0.max(delay);
        }
        assert!(
            delay < (MAX_LATENCY + ALLOWANCE).max(alone + UNSEEN),
            "left after {delay:?} beside {starved:?} without a processor; {alone:?} are its own: \
             {arrival:?}, narrow since {:?}",
            told.began
        );
    }
    println!(
        "{} pictures, latest {:?} to the wire; large ones {:?} beyond their own time",
        arrivals.len(),
        latest.0,
        latest.1
    );
    Some((arrivals, told))
}

impl Scene {
    /// The link's rate so long after media began to flow.
    fn rate_at(&self, at: Duration) -> u32 {
        let mut end = Duration::ZERO;
        let phase = self.phases.iter().find(|phase| {
            end += phase.lasts;
            at < end
        });
        phase.or_else(|| self.phases.last()).unwrap().rate
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
