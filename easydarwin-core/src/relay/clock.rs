use std::time::{Duration, Instant, SystemTime};

/// Slew of the reports' time base: 2 ms a second. A report each 5 s then moves it by 10 ms, less
/// than an audio frame lasts: ffmpeg, which maps by the newest report alone, never sees an audio
/// frame that is not later than the one before.
const SLEW_PER_SECOND: i64 = 2_000_000;

/// Turns monotonic time into the server's wall clock without its steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallClock {
    instant: Instant,
    nanos: i64,
}

impl WallClock {
    pub(super) fn new(instant: Instant, wall: SystemTime) -> Self {
        let since = wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            instant,
            nanos: nanos(since),
        }
    }

    /// Nanoseconds since 1970.
    pub(super) fn at(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.instant) {
            Some(after) => self.nanos.saturating_add(nanos(after)),
            None => self
                .nanos
                .saturating_sub(nanos(self.instant.saturating_duration_since(at))),
        }
    }
}

/// Nanoseconds since 1970 as system time.
pub(super) fn system_time(nanos: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// System time as nanoseconds since 1970.
pub(super) fn unix_nanos(time: SystemTime) -> i64 {
    nanos(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// One moment in both clocks of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    /// RTP time as readers see it, unwrapped.
    pub(super) ts: i64,
    /// Wall clock, nanoseconds since 1970.
    pub(super) wall: i64,
}

impl Anchor {
    /// The wall clock of a timestamp.
    pub(super) fn wall_of(&self, ts: i64, rate: u32) -> i64 {
        let ticks = i128::from(ts) - i128::from(self.ts);
        let delta = ticks * 1_000_000_000 / i128::from(rate.max(1));
        clamp(i128::from(self.wall) + delta)
    }

    /// The timestamp of a wall clock time.
    pub(super) fn ts_of(&self, wall: i64, rate: u32) -> i64 {
        let delta = i128::from(wall) - i128::from(self.wall);
        let ticks = delta * i128::from(rate) / 1_000_000_000;
        clamp(i128::from(self.ts) + ticks)
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Ticks of a clock in a span of time.
pub(super) fn ticks(span: Duration, rate: u32) -> i64 {
    clamp(i128::from(nanos(span)) * i128::from(rate) / 1_000_000_000)
}

/// The time base of one track's sender reports.
///
/// It maps by arrival at first. Once all tracks had a report of the publisher, the relation
/// between tracks follows the publisher's, slowly, so that nobody sees a jump.
#[derive(Debug, Clone, Default)]
pub(super) struct TrackClock {
    anchor: Option<Anchor>,
    /// Least lateness of a unit against the anchor since the last adjustment.
    lateness: Option<i64>,
    latest_ts: i64,
    publisher: Option<Anchor>,
}

impl TrackClock {
    /// A unit with its arrival on the wall clock.
    pub(super) fn on_unit(&mut self, ts: i64, wall: i64, rate: u32) {
        self.latest_ts = ts;
        match self.anchor {
            None => self.anchor = Some(Anchor { ts, wall }),
            Some(anchor) => {
                let late = wall.saturating_sub(anchor.wall_of(ts, rate));
                self.lateness = Some(self.lateness.map_or(late, |least| least.min(late)));
            }
        }
    }

    /// A sender report of the publisher, its timestamp as readers see it.
    pub(super) fn on_publisher_report(&mut self, ts: i64, ntp: i64) {
        self.publisher = Some(Anchor { ts, wall: ntp });
    }

    /// The publisher's wall clock of a timestamp, if it told.
    pub(super) fn publisher_wall(&self, ts: i64, rate: u32) -> Option<i64> {
        Some(self.publisher?.wall_of(ts, rate))
    }

    pub(super) fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// Media time does not continue.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Adjusts the clocks of all tracks (with their rates) after `elapsed`.
pub(super) fn adjust(clocks: &mut [(&mut TrackClock, u32)], elapsed: Duration) {
    let seconds = nanos(elapsed) / 1_000_000;
    let most = seconds.saturating_mul(SLEW_PER_SECOND) / 1_000;
    let all_told = clocks.len() > 1
        && clocks
            .iter()
            .all(|(clock, _)| clock.publisher.is_some() && clock.anchor.is_some());
    // The first track follows arrivals; it carries the others along.
    let mut lead = None;
    for (clock, rate) in clocks {
        let (Some(anchor), lateness) = (clock.anchor, clock.lateness.take()) else {
            continue;
        };
        let off = match (lead, clock.publisher) {
            (Some(offset), Some(publisher)) if all_told => {
                let aim = publisher
                    .wall_of(clock.latest_ts, *rate)
                    .saturating_add(offset);
                aim.saturating_sub(anchor.wall_of(clock.latest_ts, *rate))
            }
            _ => lateness.unwrap_or(0),
        };
        let anchor = Anchor {
            wall: anchor.wall.saturating_add(off.clamp(-most, most)),
            ..anchor
        };
        clock.anchor = Some(anchor);
        if let (None, Some(publisher)) = (lead, clock.publisher) {
            let ts = clock.latest_ts;
            lead = Some(
                anchor
                    .wall_of(ts, *rate)
                    .saturating_sub(publisher.wall_of(ts, *rate)),
            );
        }
    }
}

/// Pictures of which the shortest step is taken.
const FRAMES: u32 = 16;

/// Finds the time of a picture from timestamps: the least step of some, because pictures that
/// refer to later ones come out of order.
#[derive(Debug, Default)]
pub(super) struct FrameTicks {
    last: Option<i64>,
    least: Option<u64>,
    count: u32,
}

impl FrameTicks {
    /// Takes a unit's timestamp; the ticks of a picture once in a while.
    pub(super) fn on_unit(&mut self, ts: i64) -> Option<u64> {
        let step = self.last.replace(ts)?.abs_diff(ts);
        if step == 0 {
            return None;
        }
        self.least = Some(self.least.map_or(step, |least| least.min(step)));
        self.count += 1;
        if self.count < FRAMES {
            return None;
        }
        self.count = 0;
        self.least.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_by_arrival_and_back() {
        let anchor = Anchor {
            ts: 90_000,
            wall: 5_000_000_000,
        };
        assert_eq!(anchor.wall_of(180_000, 90_000), 6_000_000_000);
        assert_eq!(anchor.wall_of(0, 90_000), 4_000_000_000);
        assert_eq!(anchor.ts_of(6_000_000_000, 90_000), 180_000);
    }

    #[test]
    fn follows_the_publishers_relation_slowly() {
        // Audio arrives 200 ms after the video of the same capture time.
        let (mut video, mut audio) = (TrackClock::default(), TrackClock::default());
        video.on_unit(0, 0, 90_000);
        audio.on_unit(0, 200_000_000, 8_000);
        video.on_publisher_report(0, 1_000_000_000_000);
        audio.on_publisher_report(0, 1_000_000_000_000);
        let relation = |video: &TrackClock, audio: &TrackClock| {
            audio.anchor().unwrap().wall_of(0, 8_000) - video.anchor().unwrap().wall_of(0, 90_000)
        };
        adjust(
            &mut [(&mut video, 90_000), (&mut audio, 8_000)],
            Duration::from_secs(5),
        );
        assert_eq!(relation(&video, &audio), 200_000_000 - 5 * SLEW_PER_SECOND);
        for _ in 0..40 {
            adjust(
                &mut [(&mut video, 90_000), (&mut audio, 8_000)],
                Duration::from_secs(5),
            );
        }
        assert_eq!(relation(&video, &audio), 0);
    }

    #[test]
    fn the_time_of_a_picture_is_found_among_pictures_out_of_order() {
        let mut frames = FrameTicks::default();
        // I P B B P B B ..., two units each.
        let order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14, 18, 16];
        let found: Vec<_> = order
            .iter()
            .flat_map(|picture| [picture * 3600, picture * 3600])
            .filter_map(|ts| frames.on_unit(ts))
            .collect();
        assert_eq!(found, [3600]);
    }
}
