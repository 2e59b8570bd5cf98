//! What time it is for a device whose own clock may never have been set.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use easydarwin_core::protocol::ClockQuality;

/// A CMS that believes it is before 2020 or after 9999 has no clock itself.
const PLAUSIBLE_MS: std::ops::Range<u64> = 1_577_836_800_000..253_402_300_800_000;

/// Wall time as monotonic time and an offset. The system's own wall clock is never asked.
///
/// Who sets it moves what is said from then on; nothing that was timed by the monotonic clock moves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WallClock {
    /// A moment of both clocks.
    anchor: Option<(Instant, SystemTime)>,
    quality: ClockQuality,
    /// Whether who told it had shown who he is.
    trusted: bool,
}

impl WallClock {
    pub(crate) fn at(&self, now: Instant) -> Option<SystemTime> {
        let (then, wall) = self.anchor?;
        match now.checked_duration_since(then) {
            Some(since) => wall.checked_add(since),
            None => wall.checked_sub(then.saturating_duration_since(now)),
        }
    }

    pub(crate) fn quality(&self) -> ClockQuality {
        self.quality
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The embedder knows the time.
    pub(crate) fn set(&mut self, wall: SystemTime, quality: ClockQuality, now: Instant) {
        *self = match quality {
            ClockQuality::Unset => Self::default(),
            _ => Self {
                anchor: Some((now, wall)),
                quality,
                trusted: true,
            },
        };
    }

    /// A CMS said what time it was at some moment of the last `round_trip`.
    ///
    /// The clock stays as it is while that can be true, so that the network's jitter does not
    /// make it jump to and fro.
    pub(super) fn told(&mut self, time_ms: u64, round_trip: Duration, trusted: bool, now: Instant) {
        let known_better = self.quality == ClockQuality::Ntp || (self.trusted && !trusted);
        if known_better || !PLAUSIBLE_MS.contains(&time_ms) {
            return;
        }
        let millis = Duration::from_millis;
        let (Some(earliest), Some(latest)) = (
            UNIX_EPOCH.checked_add(millis(time_ms)),
            // The CMS cuts off what is below a millisecond.
            UNIX_EPOCH.checked_add(millis(time_ms.saturating_add(1)).saturating_add(round_trip)),
        ) else {
            return;
        };
        let fits = self
            .at(now)
            .is_some_and(|wall| (earliest..=latest).contains(&wall));
        if !fits {
            self.anchor = Some((now, earliest + round_trip / 2));
        }
        self.quality = ClockQuality::Server;
        self.trusted = trusted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NOON: u64 = 1_795_386_123_000;

    fn wall(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn moves_only_when_it_cannot_be_right() {
        let start = Instant::now();
        let mut clock = WallClock::default();
        assert_eq!(
            (clock.at(start), clock.quality()),
            (None, ClockQuality::Unset)
        );
        clock.told(NOON, 40 * MS, true, start);
        assert_eq!(clock.at(start), Some(wall(NOON + 20)));
        assert_eq!(clock.quality(), ClockQuality::Server);
        // Slow answers that say the same thing, give or take the network.
        for (said, round_trip) in [
            (NOON + 30_015, 5),
            (NOON + 29_000, 1_200),
            (NOON + 30_020, 0),
        ] {
            let now = start + 30_000 * MS;
            clock.told(said, round_trip * MS, true, now);
            assert_eq!(clock.at(now), Some(wall(NOON + 30_020)));
        }
        let now = start + 60_000 * MS;
        clock.told(NOON + 160_000, 10 * MS, true, now);
        assert_eq!(clock.at(now), Some(wall(NOON + 160_005)), "the CMS was set");
        assert_eq!(clock.at(start), Some(wall(NOON + 100_005)));
    }

    #[test]
    fn who_knows_better_is_not_overruled() {
        let start = Instant::now();
        let mut clock = WallClock::default();
        clock.told(NOON, MS, false, start);
        assert!(!clock.is_trusted());
        clock.told(NOON + 5_000, MS, true, start);
        clock.told(NOON + 9_000, MS, false, start);
        assert!(clock.is_trusted());
        assert_eq!(clock.at(start), Some(wall(NOON + 5_000) + MS / 2));

        clock.set(wall(NOON), ClockQuality::Rtc, start);
        assert_eq!(clock.quality(), ClockQuality::Rtc);
        clock.told(NOON + 5_000, MS, true, start);
        assert_eq!(
            clock.quality(),
            ClockQuality::Server,
            "a clock with a battery drifts"
        );
        clock.set(wall(NOON), ClockQuality::Ntp, start);
        clock.told(NOON + 5_000, MS, true, start);
        assert_eq!(
            (clock.at(start), clock.quality()),
            (Some(wall(NOON)), ClockQuality::Ntp)
        );
        clock.set(wall(NOON), ClockQuality::Unset, start);
        assert_eq!(clock.at(start), None);
    }

    #[test]
    fn a_cms_without_a_clock_is_not_believed() {
        let start = Instant::now();
        for said in [0, 86_400_000, u64::MAX] {
            let mut clock = WallClock::default();
            clock.told(said, MS, true, start);
            assert_eq!(clock.quality(), ClockQuality::Unset, "{said}");
        }
    }
}
