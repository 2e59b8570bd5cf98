use std::fmt;
use std::time::{Duration, Instant};

use super::encoder::{Encoder, FRAME_MS, Obeys};
use super::link::{Bounds, Left, Path};
use crate::feedback::{Advice, RateConfig, RateController};
use crate::socket::room_for;

/// As often as the shell asks the kernel while it holds something.
const TICK_MS: u64 = 50;
/// Until it is seen that a link has become narrow, and what was taken before has left.
const OWN: u64 = 700;

/// A link's capacity in bits a second.
#[derive(Debug, Clone, Copy)]
pub(super) enum Capacity {
    Steady(u64),
    /// By the time in milliseconds.
    Varying(fn(u64) -> u64),
}

impl From<u64> for Capacity {
    fn from(steady: u64) -> Self {
        Self::Steady(steady)
    }
}

impl Capacity {
    fn at(self, ms: u64) -> u64 {
        match self {
            Self::Steady(capacity) => capacity,
            Self::Varying(varying) => varying(ms),
        }
    }
}

/// A camera on a link.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) config: RateConfig,
    pub(super) obeys: Obeys,
    pub(super) capacity: Capacity,
    pub(super) rtt: u64,
    /// Bytes that the router before the bottleneck holds.
    pub(super) router: u64,
    pub(super) seed: u64,
    pub(super) seconds: u64,
}

/// What came of it, by second of the run.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The longest time from capture to the far end of the bottleneck, in milliseconds.
    pub(super) delay: Vec<u64>,
    /// Bytes that came through.
    pub(super) bytes: Vec<u64>,
    /// Capacity of the link in bytes.
    pub(super) capacity: Vec<u64>,
    /// Advised bitrate at the end of the second.
    pub(super) advised: Vec<u64>,
    /// All advice with its time in milliseconds.
    pub(super) advice: Vec<(u64, Advice)>,
    /// The frames that were sent.
    pub(super) left: Vec<Left>,
    /// Frames dropped until the end of the second.
    pub(super) drops: Vec<u64>,
}

impl Scene {
    pub(super) fn new(capacity: impl Into<Capacity>, seconds: u64) -> Self {
        Self {
            config: RateConfig::default(),
            obeys: Obeys::After(40),
            capacity: capacity.into(),
            rtt: 40,
            router: 16 * 1024,
            seed: 1,
            seconds,
        }
    }

    pub(super) fn run(&self) -> Report {
        let start = Instant::now();
        let mut controller = RateController::new(self.config);
        let mut encoder = Encoder::new(self.obeys.clone(), controller.bitrate().into(), self.seed);
        let mut path = Path::new(self.rtt, self.router);
        let mut report = Report::default();
        let (mut delay, mut bytes, mut room) = (0, 0, 0);
        let mut bounds = Bounds {
            ring: self.config.max_latency,
            leave: self.config.max_latency + Duration::from_millis(50),
            departure: controller.departure(start),
            held: None,
            low_water: room_for(controller.carried(start)).into(),
            at: start,
        };
        for now in 0..self.seconds * 1000 {
            if now.is_multiple_of(FRAME_MS) {
                let (key, size) = encoder.picture(now);
                path.push(now, key, size);
            }
            let capacity = self.capacity.at(now);
            room += capacity;
            bounds.at = start + Duration::from_millis(now);
            for arrival in path.pass(now, capacity, &mut bounds) {
                delay = delay.max(now - arrival.captured);
                bytes += arrival.bytes;
            }
            let held = bounds.held.is_some_and(|until| until <= bounds.at);
            if now.is_multiple_of(TICK_MS) || held {
                let at = bounds.at;
                if let Some(advice) = controller.tick(at, &path.uplink(now)) {
                    report.advice.push((now, advice));
                    if let Advice::Bitrate(bitrate) = advice {
                        encoder.advise(now, bitrate.into());
                    }
                }
                bounds.ring = controller.ring_limit();
                bounds.departure = controller.departure(at);
                bounds.held = bounds.departure.held(at);
                bounds.low_water = room_for(controller.carried(at)).into();
            }
            if now % 1000 == 999 {
                report.delay.push(std::mem::take(&mut delay));
                report.bytes.push(std::mem::take(&mut bytes));
                report.capacity.push(std::mem::take(&mut room) / 8000);
                report.advised.push(controller.bitrate().into());
                report.drops.push(path.drops());
            }
        }
        report.left = path.left();
        report
    }
}

impl Report {
    /// The longest time from capture until the last byte had left the socket, of all frames but
    /// those that alone take longer than this: of these by how much they took longer, in
    /// milliseconds.
    pub(super) fn latest(&self, capacity: Capacity, bound: u64) -> (u64, u64) {
        let mut latest = (0, 0);
        for frame in &self.left {
            let delay = frame.at - frame.captured;
            let alone = frame.bytes * 8000 / capacity.at(frame.at);
            if alone + OWN > bound {
                latest.1 = latest.1.max(delay.saturating_sub(alone));
            } else {
                latest.0 = latest.0.max(delay);
            }
        }
        latest
    }

    /// Longest delay in these seconds, in milliseconds.
    pub(super) fn worst_delay(&self, seconds: std::ops::Range<usize>) -> u64 {
        *self.delay[seconds].iter().max().unwrap()
    }

    /// Delivered part of the capacity in these seconds, in percent.
    pub(super) fn utilisation(&self, seconds: std::ops::Range<usize>) -> u64 {
        let bytes: u64 = self.bytes[seconds.clone()].iter().sum();
        let capacity: u64 = self.capacity[seconds].iter().sum();
        bytes * 100 / capacity
    }

    /// Number of advices in these seconds.
    pub(super) fn changes(&self, seconds: std::ops::Range<u64>) -> usize {
        let within = |(at, _): &&(u64, Advice)| seconds.contains(&(at / 1000));
        self.advice.iter().filter(within).count()
    }

    /// Turns from up to down in these seconds: advice that is less than the one before, which was
    /// more than the one before that.
    pub(super) fn turns(&self, seconds: std::ops::Range<u64>) -> usize {
        let rates: Vec<u32> = self
            .advice
            .iter()
            .filter(|(at, _)| seconds.contains(&(at / 1000)))
            .filter_map(|(_, advice)| match advice {
                Advice::Bitrate(bitrate) => Some(*bitrate),
                Advice::Stream(_) => None,
            })
            .collect();
        rates
            .windows(3)
            .filter(|three| three[0] < three[1] && three[1] > three[2])
            .count()
    }

    pub(super) fn dropped(&self, seconds: std::ops::Range<usize>) -> u64 {
        self.drops[seconds.end - 1] - self.drops[seconds.start]
    }
}

impl fmt::Display for Report {
    /// A line a second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for second in 0..self.delay.len() {
            let kbit = |bytes: u64| bytes * 8 / 1000;
            writeln!(
                f,
                "{second:4} s: {:5} of {:5} kbit/s, {:5} advised, {:5} ms, {} dropped",
                kbit(self.bytes[second]),
                kbit(self.capacity[second]),
                self.advised[second] / 1000,
                self.delay[second],
                self.drops[second],
            )?;
        }
        Ok(())
    }
}
