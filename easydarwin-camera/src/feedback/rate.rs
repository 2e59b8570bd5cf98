use std::time::{Duration, Instant};

use super::meter::Meter;
use super::streams::Streams;
use super::{Advice, Departure, RateConfig, StreamChoice, Uplink};

/// A change is advised when it is at least this part of what was advised before, in percent.
const HYSTERESIS: u64 = 3;
/// A queue stands if it did not fall below the threshold for so long.
const STANDS: Duration = Duration::from_millis(500);
/// And the uplink has room if the queue was short at least once within so long: a key frame may
/// fill it for a moment.
const ROOM: Duration = Duration::from_secs(1);

/// Part of what the uplink carries that is advised when it is congested, in percent.
const SHARE: u64 = 85;
/// Of this, one percent less for so much delay, down to [`LEAST_SHARE`]: the longer the queue, the
/// faster it must drain.
const DELAY_PER_PERCENT: u128 = 40;
const LEAST_SHARE: u64 = 50;
/// The most that is taken away at once, in percent: a stall of a second is no rate.
const MOST_CUT: u64 = 50;
/// Time between two cuts.
const CUT_EVERY: Duration = Duration::from_millis(500);
/// Below the share and still congested: another cut after so long, if the queue does not drain.
const PATIENCE: Duration = Duration::from_secs(2);

/// Growth of one step up, in percent, and the time between two of them.
const STEP: u64 = 8;
const STEP_EVERY: Duration = Duration::from_secs(1);
/// Back to so much of what the uplink was seen to carry, in percent, steps may be so large, in
/// percent: less was advised only for the queue to drain.
const BACK: u64 = 80;
const STEP_BACK: u64 = 50;
/// No step up so soon after a cut.
const REST: Duration = Duration::from_secs(2);
/// Up to this part of what was too much the last time, steps are made at once, in percent.
const SAFE: u64 = 90;
/// Beyond, only after so long a time; doubled whenever it was too much again.
const PROBE_AFTER: Duration = Duration::from_secs(5);
const MOST_PROBE_AFTER: Duration = Duration::from_secs(60);
/// A probe that went well for so long has found room.
const PROBE_PROVEN: Duration = Duration::from_secs(10);
/// No step beyond so many percent of what really was delivered: a scene at rest proves nothing, and
/// encoders that know only some bitrates have them a factor of two apart at most.
const PROVEN: u64 = 220;

/// What the kernel may hold on top of `max_latency`: half of the 200 ms that are allowed, for the
/// ring looks at its limit only with the next frame, and a frame that is being written stays.
const KERNEL_DELAY: Duration = Duration::from_millis(100);

/// Tells the encoder what the uplink carries.
///
/// Feed it with [`tick`](Self::tick), about every 100 ms and after each write; it keeps about a
/// kilobyte and allocates nothing.
///
/// The measure is the delay: age of the oldest frame in the ring, and the time that what the
/// kernel holds takes at the rate with which the peer acknowledges, less the shortest round trip.
///
/// - **Down, fast.** When the delay did not fall below a quarter of `max_latency` (100 to 300 ms)
///   for half a second (half of that while a higher rate is probed), when it reaches 70 % of `max_latency`, or when frames are dropped: to 85 %
///   of what is being delivered (less when the queue is long, so that it drains), at most by half
///   at once, at most every 500 ms. If the queue does not drain within 2 s, 15 % more.
/// - **Up, slowly.** When the delay was below half of that threshold within the last second: 8 %,
///   at most once a second, not within 2 s after a cut; up to 50 % on the way back to 80 % of what
///   the uplink was seen to carry. Above 90 % of what was too much before
///   only after 5 s, a wait that doubles up to 60 s each time it was too much again; never beyond
///   2.2 times what was really delivered.
/// - **Sub stream** when main's least would be too much for 2 s; back after 20 s without
///   congestion at the sub stream's most (or at 1.2 times main's least), a wait that doubles up to
///   300 s each time main did not last for a minute.
/// - Advice differs from the one before by at least 3 %.
#[derive(Debug, Clone)]
pub struct RateController {
    config: RateConfig,
    meter: Meter,
    streams: Streams,
    /// What is aimed at, in bits a second, without what else goes over the uplink.
    target: u64,
    advised: u64,
    told: StreamChoice,
    drops: u64,
    quiet_since: Option<Instant>,
    last_cut: Option<Cut>,
    last_step: Option<Instant>,
    ceiling: Option<Ceiling>,
    probe: Option<Instant>,
    probe_after: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    at: Instant,
    delay: Duration,
}

/// A rate that was too much.
#[derive(Debug, Clone, Copy)]
struct Ceiling {
    rate: u64,
    /// When it may be tried again.
    until: Instant,
}

impl RateController {
    /// Begins with the main stream at `config.start`, which the encoder is set to already.
    pub fn new(config: RateConfig) -> Self {
        let start = config.main.hold(config.start.into());
        Self {
            meter: Meter::new(config.low()),
            streams: Streams::new(config.main, config.sub),
            target: start,
            advised: start,
            told: StreamChoice::Main,
            drops: 0,
            quiet_since: None,
            last_cut: None,
            last_step: None,
            ceiling: None,
            probe: None,
            probe_after: PROBE_AFTER,
            config,
        }
    }

    /// The bitrate that was advised last, in bits a second.
    pub fn bitrate(&self) -> u32 {
        u32::try_from(self.advised).unwrap_or(u32::MAX)
    }

    /// The stream that was advised last.
    pub fn stream(&self) -> StreamChoice {
        self.told
    }

    /// From capture to the peer, without the time that the way itself takes, as of the last tick.
    pub fn delay(&self) -> Duration {
        self.meter.delay()
    }

    /// The age at which the ring should drop frames from now on, so that ring and kernel together
    /// stay below `max_latency` and 200 ms: the kernel's part of the delay, as far as it is above
    /// 100 ms, is taken off; a quarter of `max_latency` is always left.
    pub fn ring_limit(&self) -> Duration {
        let beyond = self.meter.kernel_delay().saturating_sub(KERNEL_DELAY);
        let most = self.config.max_latency;
        most.saturating_sub(beyond).max(most / 4)
    }

    /// What the kernel's room for unsent bytes should be measured by, in bits a second: what
    /// the uplink carries as soon as that is seen, long before advice has changed anything; until then
    /// what was advised, or delivered without advice.
    pub fn carried(&self, now: Instant) -> u32 {
        let carried = self.meter.carried(now, self.on_wire(self.advised));
        u32::try_from(carried).unwrap_or(u32::MAX)
    }

    /// What is before whatever is handed to the kernel now.
    pub(crate) fn departure(&self, now: Instant) -> Departure {
        self.meter.departure(now, self.on_wire(self.advised))
    }

    /// Whether the kernel holds more than it can send.
    pub(crate) fn is_busy(&self) -> bool {
        self.meter.is_busy()
    }

    /// Another connection: its counters begin at zero. What was learned of the uplink stays.
    pub fn reconnected(&mut self) {
        self.meter = Meter::new(self.config.low());
        self.drops = 0;
        self.quiet_since = None;
    }

    /// Looks at the uplink. At most one advice a call; a second one comes with the next.
    pub fn tick(&mut self, now: Instant, uplink: &Uplink) -> Option<Advice> {
        let assumed = self.on_wire(self.target);
        self.meter.update(now, uplink, assumed);
        let dropped = uplink.drops > self.drops;
        self.drops = uplink.drops;
        // A probe is expected to fail: the first sign will do.
        let most = if self.is_probing(now) {
            self.config.low()
        } else {
            self.config.high()
        };
        let stands = self
            .meter
            .standing(now, STANDS)
            .is_some_and(|delay| delay > most);
        if stands || dropped || self.meter.delay() > self.config.severe() {
            self.quiet_since = None;
            self.congested(now, dropped);
        } else if self
            .meter
            .standing(now, ROOM)
            .is_some_and(|delay| delay < self.config.low())
        {
            self.quiet_since.get_or_insert(now);
            self.has_room(now);
        }
        self.choose_stream(now);
        self.advise()
    }

    fn congested(&mut self, now: Instant, dropped: bool) {
        if self.since_cut(now) < CUT_EVERY {
            return;
        }
        let Some(capacity) = self
            .meter
            .capacity(now)
            .or_else(|| dropped.then(|| self.meter.delivery_rate(now)).flatten())
        else {
            return;
        };
        let delay = self.meter.delay();
        let slower = u64::try_from(delay.as_millis() / DELAY_PER_PERCENT).unwrap_or(u64::MAX);
        let share = SHARE.saturating_sub(slower).max(LEAST_SHARE);
        let fitting = percent(capacity, share).saturating_sub(self.config.other.into());
        let drains = self
            .last_cut
            .is_some_and(|cut| delay < cut.delay * 4 / 5 && !dropped);
        // Too much is what the uplink does not carry, or else what filled it with bursts. If it has just shrunk, the
        // best of the last time was before.
        let seen = self.meter.drain_rate(now).unwrap_or(capacity);
        let (wanted, too_much) = if fitting < percent(self.target, 100 - HYSTERESIS) {
            (fitting, capacity.min(seen))
        } else if self.since_cut(now) >= PATIENCE && !drains {
            let sent = self.on_wire(self.target);
            (percent(self.target, SHARE), capacity.min(sent))
        } else {
            return;
        };
        if self.is_probing(now) {
            self.probe_after = (self.probe_after * 2).min(MOST_PROBE_AFTER);
        }
        self.probe = None;
        self.ceiling = Some(Ceiling {
            rate: too_much,
            until: now + self.probe_after,
        });
        let wanted = wanted.max(percent(self.target, 100 - MOST_CUT));
        self.target = self.streams.work_range().hold(wanted);
        self.last_cut = Some(Cut { at: now, delay });
    }

    fn has_room(&mut self, now: Instant) {
        if self.probe.is_some() && !self.is_probing(now) {
            self.probe = None;
            self.probe_after = PROBE_AFTER;
        }
        let since_step = self
            .last_step
            .map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        if since_step < STEP_EVERY || self.since_cut(now) < REST {
            return;
        }
        let mut wanted = percent(self.target, 100 + STEP);
        if let Some(ceiling) = self.ceiling {
            let other = u64::from(self.config.other);
            let safe = percent(ceiling.rate, SAFE).saturating_sub(other);
            let back = percent(ceiling.rate, BACK).saturating_sub(other);
            wanted = wanted.max(back.min(percent(self.target, 100 + STEP_BACK)));
            if wanted > safe && now < ceiling.until {
                wanted = safe;
            } else if wanted > safe {
                self.ceiling = None;
                self.probe = Some(now);
            }
        }
        let delivered = self.meter.delivery_rate(now).unwrap_or(0);
        let proven = percent(delivered, PROVEN).saturating_sub(self.config.other.into());
        let wanted = self.streams.work_range().hold(wanted.min(proven));
        if wanted > self.target {
            self.target = wanted;
            self.last_step = Some(now);
        }
    }

    fn choose_stream(&mut self, now: Instant) {
        let quiet = self
            .quiet_since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if self.streams.update(now, self.target, quiet) {
            // Main begins with its least; sub with what was found out.
            self.target = match self.streams.choice() {
                StreamChoice::Main => self.streams.range().min.into(),
                StreamChoice::Sub => self.streams.work_range().hold(self.target),
            };
            self.ceiling = None;
            self.probe = None;
            self.quiet_since = None;
        }
    }

    fn advise(&mut self) -> Option<Advice> {
        if self.told != self.streams.choice() {
            self.told = self.streams.choice();
            return Some(Advice::Stream(self.told));
        }
        let range = self.streams.range();
        let bitrate = range.hold(self.target);
        let changed = bitrate.abs_diff(self.advised);
        let at_an_end = [range.min, range.max].map(u64::from).contains(&bitrate);
        if changed == 0 || (changed < percent(self.advised, HYSTERESIS) && !at_an_end) {
            return None;
        }
        self.advised = bitrate;
        Some(Advice::Bitrate(self.bitrate()))
    }

    /// Whether a rate is tried that was too much before.
    fn is_probing(&self, now: Instant) -> bool {
        self.probe
            .is_some_and(|since| now.saturating_duration_since(since) < PROBE_PROVEN)
    }

    fn since_cut(&self, now: Instant) -> Duration {
        self.last_cut
            .map_or(Duration::MAX, |cut| now.saturating_duration_since(cut.at))
    }

    fn on_wire(&self, bitrate: u64) -> u64 {
        bitrate.saturating_add(self.config.other.into())
    }
}

fn percent(rate: u64, percent: u64) -> u64 {
    rate.saturating_mul(percent) / 100
}
