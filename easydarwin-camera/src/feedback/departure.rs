use std::time::{Duration, Instant};

use super::meter::time_of;

/// Time between two looks at a kernel that holds enough: every acknowledgement changes it, and none of
/// them wakes anybody.
const LOOK: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(2)..=Duration::from_millis(20);

/// When what is handed to the kernel now would leave, and whether it holds enough.
///
/// Nothing that the kernel took can be taken back. So it is given little at a time, sent or not: the less
/// it holds, the less is late when the uplink shrinks. And a frame that would leave too late must not be
/// begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Departure(Option<Queue>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) at: Instant,
    /// Bytes that are before what comes, without those that the way itself holds.
    pub(super) bytes: u64,
    /// Bits a second with which they leave.
    pub(super) rate: u64,
    /// The rate was seen, and not only that it is no less.
    pub(super) seen: bool,
    /// So many bytes are enough.
    pub(super) enough: u64,
}

impl Departure {
    pub(super) fn new(queue: Queue) -> Self {
        Self(Some(queue))
    }

    /// So many more bytes were handed over.
    pub(crate) fn add(&mut self, bytes: usize, now: Instant) {
        if let Some(queue) = &mut self.0 {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            queue.bytes = queue.left(now).saturating_add(bytes);
            queue.at = now;
        }
    }

    /// How long the last of so many bytes would stay; zero while that is not known.
    pub(crate) fn after(&self, bytes: usize, now: Instant) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let queue = self.0.filter(|queue| queue.seen);
        queue.map_or(Duration::ZERO, |queue| {
            time_of(queue.left(now).saturating_add(bytes), queue.rate)
        })
    }

    /// When the kernel, which holds enough, is to be asked again; nothing is handed to it before.
    pub(crate) fn held(&self, now: Instant) -> Option<Instant> {
        let queue = self.0?;
        let left = queue.left(now);
        let too_much = left.checked_sub(queue.enough).filter(|bytes| *bytes > 0)?;
        let wait = time_of(too_much, queue.rate);
        // A rate that was not seen is perhaps much higher.
        let longest = if queue.seen { LOOK.end() } else { LOOK.start() };
        Some(now + wait.clamp(*LOOK.start(), *longest))
    }
}

impl Queue {
    fn left(&self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.at).as_micros();
        let gone = micros.saturating_mul(self.rate.into()) / 8_000_000;
        self.bytes
            .saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_leaves_first_and_goes_on_leaving() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(Departure::default().after(1 << 20, start), Duration::ZERO);
        assert_eq!(Departure::default().held(start), None);
        // 8 kbit/s: a byte a millisecond.
        let queue = Queue {
            at: start,
            bytes: 300,
            rate: 8_000,
            seen: true,
            enough: 250,
        };
        let mut departure = Departure::new(queue);
        assert_eq!(departure.after(200, at(0)), Duration::from_millis(500));
        assert_eq!(departure.after(200, at(100)), Duration::from_millis(400));
        departure.add(200, at(100));
        assert_eq!(departure.after(0, at(100)), Duration::from_millis(400));
        assert_eq!(departure.after(50, at(900)), Duration::from_millis(50));
        // Enough for 250 ms.
        assert_eq!(departure.held(at(100)), Some(at(120)));
        assert_eq!(departure.held(at(248)), Some(at(250)));
        assert_eq!(departure.held(at(250)), None);
        let unseen = Departure::new(Queue {
            seen: false,
            ..queue
        });
        assert_eq!(unseen.after(1 << 20, start), Duration::ZERO);
        assert_eq!(unseen.held(start), Some(at(2)));
    }
}
