use std::time::{Duration, Instant};

use super::Uplink;
use super::departure::{Departure, Queue};

/// Least distance of two slots; their number times this is how far back the meter sees.
const SLOT: Duration = Duration::from_millis(50);
const SLOTS: usize = 32;
/// What the uplink carries is believed after so long a time in which it had to.
const PROOF: Duration = Duration::from_millis(300);
/// Rates of the encoder are measured over the last such time.
const WINDOW: Duration = Duration::from_secs(1);
/// The best of the last such time is what the uplink carries: TCP pauses after losses.
const LOOK_BACK: Duration = Duration::from_millis(1500);
/// While the kernel has bytes that it cannot send yet, so much time shows what leaves it: a round trip
/// more or less, and longer than TCP's pauses for a probe of the way (BBR: 200 ms) are together
/// with the wait for the second such time.
const GLANCE: Duration = Duration::from_millis(150);
/// More than that is a queue, though all of it was sent.
const BUSY: Duration = Duration::from_millis(50);
/// The kernel holds enough for so long, or for as long as the way takes; an eighth of the rate makes eight
/// times as much of it.
const ENOUGH: Duration = Duration::from_millis(40);
/// Bytes that are never too many.
const LEAST_ENOUGH: u64 = 8 * 1024;
/// What was seen then is believed for so long, if the kernel was always able to send since.
const BELIEVED: Duration = Duration::from_secs(5);
/// When nothing has arrived for so long, it is a pause, which tells nothing of the rate, ...
const PAUSE: Duration = Duration::from_millis(250);
/// ... unless it lasts.
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// How long the shortest round trip counts, at least; twice that at most. A route changes.
const BASE_AGE: Duration = Duration::from_secs(30);
/// Below this a rate is a stall, and the delay it would mean says nothing, in bits a second.
const LEAST_RATE: u64 = 8_000;
/// Longest delay that is told.
const MOST_DELAY: Duration = Duration::from_secs(60);

/// Rate and delay of the uplink out of what the sender sees of it.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    low: Duration,
    slots: [Option<Slot>; SLOTS],
    next: usize,
    /// The least delay since the newest slot.
    least: Duration,
    delivered: u64,
    /// When something arrived the last time.
    progress: Option<Instant>,
    delay: Duration,
    kernel_delay: Duration,
    base: BaseRtt,
    /// Since when the delay has been above `low`: the uplink, not the encoder, sets the pace.
    limited_since: Option<Instant>,
    /// Since when the kernel has had bytes that it cannot send yet, or has sent more than the way holds.
    busy_since: Option<Instant>,
    /// What left the kernel while it had, in bits a second, and when that was seen.
    drain: Option<(u64, Instant)>,
    /// Bytes in the kernel, and those of them that were sent.
    in_kernel: u64,
    in_flight: u64,
    /// The time that the way itself takes, there and back.
    way: Duration,
}

/// One moment, and the least delay from there until the next slot.
#[derive(Debug, Clone, Copy)]
struct Slot {
    at: Instant,
    delivered: u64,
    least: Duration,
}

impl Meter {
    pub(super) fn new(low: Duration) -> Self {
        Self {
            low,
            slots: [None; SLOTS],
            next: 0,
            least: Duration::MAX,
            delivered: 0,
            progress: None,
            delay: Duration::ZERO,
            kernel_delay: Duration::ZERO,
            base: BaseRtt::default(),
            limited_since: None,
            busy_since: None,
            drain: None,
            in_kernel: 0,
            in_flight: 0,
            way: Duration::ZERO,
        }
    }

    /// `assumed` is the rate that counts until the uplink has shown another, in bits a second.
    pub(super) fn update(&mut self, now: Instant, uplink: &Uplink, assumed: u64) {
        let delivered = uplink.delivered();
        if delivered < self.delivered {
            // Acknowledged bytes do not come back: this is another connection.
            *self = Self::new(self.low);
        }
        if delivered > self.delivered || self.progress.is_none() {
            self.progress = Some(now);
        }
        self.delivered = delivered;
        let base = self.base.update(now, uplink.rtt);
        let rate = self
            .capacity(now)
            .unwrap_or_else(|| assumed.max(self.rate(now, WINDOW).unwrap_or(0)));
        self.kernel_delay = time_of(uplink.in_kernel(), rate).saturating_sub(base);
        self.delay = uplink
            .queued
            .saturating_add(self.kernel_delay)
            .min(MOST_DELAY);
        if self.delay <= self.low {
            self.limited_since = None;
        } else {
            self.limited_since.get_or_insert(now);
        }
        if uplink.unsent == 0 && self.kernel_delay < BUSY {
            self.busy_since = None;
        } else {
            self.busy_since.get_or_insert(now);
        }
        if let Some(rate) = self.glance(now) {
            self.drain = Some((rate, now));
        }
        self.in_kernel = uplink.in_kernel();
        self.in_flight = u64::try_from(uplink.in_flight).unwrap_or(u64::MAX);
        self.way = base;
        self.note(now);
    }

    /// Whether the kernel holds more than it can send.
    pub(super) fn is_busy(&self) -> bool {
        self.busy_since.is_some()
    }

    /// What leaves the kernel, in bits a second; `None` while nothing has shown that it is less than
    /// is handed over. Sooner than [`capacity`](Self::capacity), and not as sure.
    pub(super) fn drain_rate(&self, now: Instant) -> Option<u64> {
        let (rate, at) = self.drain?;
        if now.saturating_duration_since(at) >= BELIEVED {
            return None;
        }
        let delivered = self
            .delivery_rate(now)
            .filter(|_| self.busy_since.is_none());
        Some(delivered.map_or(rate, |delivered| rate.max(delivered)))
    }

    /// What the uplink carries, as far as that was seen, in bits a second: at least what was delivered in the
    /// last second, or is `assumed`.
    pub(super) fn carried(&self, now: Instant, assumed: u64) -> u64 {
        let least = || self.delivery_rate(now).unwrap_or(0).max(assumed);
        self.drain_rate(now).unwrap_or_else(least)
    }

    /// What is before whatever is handed to the kernel now.
    pub(super) fn departure(&self, now: Instant, assumed: u64) -> Departure {
        let rate = self.carried(now, assumed);
        let on_the_way = self.in_flight.min(bytes_in(self.way, rate));
        Departure::new(Queue {
            at: now,
            bytes: self.in_kernel - on_the_way,
            rate,
            seen: self.drain_rate(now).is_some(),
            enough: bytes_in(self.way.max(ENOUGH), rate).max(LEAST_ENOUGH),
        })
    }

    /// The best of the latest such times in which the kernel always had bytes to send.
    fn glance(&self, now: Instant) -> Option<u64> {
        let busy = self.busy_since?;
        let pause = now.saturating_duration_since(self.progress?);
        if pause >= PAUSE {
            return None;
        }
        let from = now.checked_sub(GLANCE)?;
        let latest = self.rate_until(now, self.delivered, GLANCE, busy);
        let earlier = self
            .newest_first()
            .take_while(|slot| slot.at >= from)
            .filter_map(|slot| self.rate_until(slot.at, slot.delivered, GLANCE, busy));
        earlier.chain(latest).max()
    }

    /// From capture until the last byte that waits would be with the peer, without the time that
    /// the way itself takes.
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    /// The part of it that what the kernel holds takes.
    pub(super) fn kernel_delay(&self) -> Duration {
        self.kernel_delay
    }

    /// The least delay of this window: what stands, without what bursts add. `None` before
    /// it was watched for so long.
    pub(super) fn standing(&self, now: Instant, window: Duration) -> Option<Duration> {
        let from = now.checked_sub(window)?;
        let mut covered = false;
        let mut least = self.least;
        for slot in self.newest_first() {
            least = least.min(slot.least);
            if slot.at <= from {
                covered = true;
                break;
            }
        }
        covered.then_some(least)
    }

    /// What the uplink carries, in bits a second; `None` while it could perhaps carry more, and
    /// in a pause.
    pub(super) fn capacity(&self, now: Instant) -> Option<u64> {
        let limited = now.saturating_duration_since(self.limited_since?);
        let pause = now.saturating_duration_since(self.progress?);
        if limited < PROOF || (PAUSE..MOST_PAUSE).contains(&pause) {
            return None;
        }
        let from = now.checked_sub(limited.min(LOOK_BACK))?;
        let latest = self.rate_until(now, self.delivered, PROOF, from);
        let earlier = self
            .newest_first()
            .take_while(|slot| slot.at >= from)
            .filter_map(|slot| self.rate_until(slot.at, slot.delivered, PROOF, from));
        earlier.chain(latest).max()
    }

    /// The rate up to a moment, over so much time at least; all of it after `from`.
    fn rate_until(
        &self,
        end: Instant,
        delivered: u64,
        over: Duration,
        from: Instant,
    ) -> Option<u64> {
        let latest_start = end.checked_sub(over)?;
        let start = self
            .newest_first()
            .find(|slot| slot.at <= latest_start)
            .filter(|slot| slot.at + SLOT >= from)?;
        bits_per_second(start, end, delivered)
    }

    /// What was delivered in the last second, in bits a second.
    pub(super) fn delivery_rate(&self, now: Instant) -> Option<u64> {
        self.rate(now, WINDOW)
    }

    fn rate(&self, now: Instant, window: Duration) -> Option<u64> {
        let from = now.checked_sub(window)?;
        let slot = self.newest_first().find(|slot| slot.at <= from)?;
        bits_per_second(slot, now, self.delivered)
    }

    fn note(&mut self, now: Instant) {
        self.least = self.least.min(self.delay);
        let newest = self.newest_first().next().map(|slot| slot.at);
        if newest.is_some_and(|at| now.saturating_duration_since(at) < SLOT) {
            return;
        }
        let slot = Slot {
            at: now,
            delivered: self.delivered,
            least: self.delay,
        };
        // What was seen since the slot before belongs to that one.
        let before = (self.next + SLOTS - 1) % SLOTS;
        if let Some(Some(before)) = self.slots.get_mut(before) {
            before.least = before.least.min(self.least);
        }
        if let Some(free) = self.slots.get_mut(self.next) {
            *free = Some(slot);
        }
        self.next = (self.next + 1) % SLOTS;
        self.least = self.delay;
    }

    fn newest_first(&self) -> impl Iterator<Item = &Slot> {
        let (newer, older) = self.slots.split_at(self.next.min(SLOTS));
        newer.iter().rev().chain(older.iter().rev()).flatten()
    }
}

fn bits_per_second(start: &Slot, end: Instant, delivered: u64) -> Option<u64> {
    let micros = end.saturating_duration_since(start.at).as_micros();
    let bits = u128::from(delivered.saturating_sub(start.delivered)) * 8;
    u64::try_from((bits * 1_000_000).checked_div(micros)?).ok()
}

/// What is under way for so long.
fn bytes_in(time: Duration, bits_per_second: u64) -> u64 {
    let bytes = time.as_micros() * u128::from(bits_per_second) / 8_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The time that so many bytes take.
pub(super) fn time_of(bytes: u64, bits_per_second: u64) -> Duration {
    let micros = u128::from(bytes) * 8_000_000 / u128::from(bits_per_second.max(LEAST_RATE));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The shortest round trip of the last 30 to 60 seconds: that of the empty way.
#[derive(Debug, Clone, Copy, Default)]
struct BaseRtt {
    since: Option<Instant>,
    current: Option<Duration>,
    before: Option<Duration>,
}

impl BaseRtt {
    fn update(&mut self, now: Instant, rtt: Option<Duration>) -> Duration {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= BASE_AGE {
            self.before = self.current.take();
            self.since = Some(now);
        }
        self.current = self.current.into_iter().chain(rtt).min();
        let least = self.current.into_iter().chain(self.before).min();
        least.unwrap_or_default()
    }
}
