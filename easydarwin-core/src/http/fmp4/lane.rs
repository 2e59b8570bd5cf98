use std::time::{Instant, SystemTime};

use super::format::FormatReader;
use super::sample::Sample;
use crate::media::{AccessUnit, DtsEstimator, MediaKind, Track};

const NANOS: i128 = 1_000_000_000;
/// A frame's time when the stream does not tell: 25 pictures a second.
const FALLBACK_RATE: i64 = 25;
/// Media time may run ahead of arrival by this much from one unit to the next; more is a jump of
/// the publisher's clock. It also bounds steps back.
const MAX_CLOCK_JUMP_NS: i64 = 5_000_000_000;
/// How fast the relation of two tracks follows their wall clocks: 5 ms per second.
const SLEW_DIVISOR: i64 = 200;

/// One track on its way to samples: maps presentation times to decode times that start at 0 and
/// only grow, and holds one unit back until the next tells its duration.
#[derive(Debug)]
pub(super) struct Lane {
    /// Index in the session description.
    pub(super) track: usize,
    /// Track id in the MP4.
    pub(super) id: u32,
    pub(super) clock_rate: u32,
    pub(super) video: bool,
    pub(super) reader: FormatReader,
    /// When its last unit arrived, used or not.
    pub(super) last_arrival: Option<Instant>,
    estimator: Option<DtsEstimator>,
    /// The reorder depth that the stream turned out to need.
    depth: usize,
    /// Ticks to subtract from a presentation time; unknown before the start and after a jump.
    base: Option<i64>,
    /// Video waits for a key frame; pictures shown before that one are not decodable.
    start_pts: Option<i64>,
    previous: Option<(i64, Instant)>,
    last_dts: Option<u64>,
    last_duration: u32,
    held: Option<Sample>,
}

impl Lane {
    /// A lane for a track that MP4 can carry.
    pub(super) fn new(index: usize, id: u32, track: &Track) -> Option<Self> {
        let reader = FormatReader::new(track)?;
        Some(Self {
            track: index,
            id,
            clock_rate: track.clock_rate,
            video: track.kind == MediaKind::Video,
            reader,
            last_arrival: None,
            estimator: None,
            depth: 0,
            base: None,
            start_pts: None,
            previous: None,
            last_dts: None,
            last_duration: 0,
            held: None,
        })
    }

    /// Whether media time is mapped already.
    pub(super) fn is_anchored(&self) -> bool {
        self.base.is_some()
    }

    /// Whether this unit can be the first after the start, a gap or a jump.
    pub(super) fn can_start(&self, unit: &AccessUnit) -> bool {
        self.reader.format().is_some() && (!self.video || (unit.key && !unit.lossy))
    }

    /// Whether the unit is decodable from where this lane started.
    pub(super) fn accepts(&self, unit: &AccessUnit) -> bool {
        match self.start_pts {
            Some(start) => unit.key || !self.video || unit.pts >= start,
            None => self.can_start(unit),
        }
    }

    /// Waits for the next key frame; media time goes on.
    pub(super) fn restart(&mut self) {
        self.start_pts = None;
        self.estimator = None;
    }

    /// Restarts, and maps media time anew.
    pub(super) fn lose_clock(&mut self) {
        self.restart();
        self.base = None;
        self.previous = None;
    }

    /// Whether the publisher's clock jumped between the unit before and this one.
    pub(super) fn clock_jumped(&self, unit: &AccessUnit) -> bool {
        let Some((pts, arrival)) = self.previous else {
            return false;
        };
        let media = self.nanos(unit.pts.saturating_sub(pts));
        let wall = nanos_between(arrival, unit.arrival);
        media < -MAX_CLOCK_JUMP_NS || media.saturating_sub(wall) > MAX_CLOCK_JUMP_NS
    }

    /// Ticks of this lane's clock.
    pub(super) fn ticks(&self, nanos: i64) -> i64 {
        clamp(i128::from(nanos) * i128::from(self.clock_rate) / NANOS)
    }

    /// Nanoseconds of ticks of this lane's clock.
    pub(super) fn nanos(&self, ticks: i64) -> i64 {
        clamp(i128::from(ticks) * NANOS / i128::from(self.clock_rate.max(1)))
    }

    /// Places the unit at `at` nanoseconds of media time: video by its decode time, other media
    /// by its presentation time. Never before what was already used.
    pub(super) fn anchor(&mut self, unit: &AccessUnit, at: i64) {
        let first = self.decode_time(unit.pts);
        // The estimator must see each picture once, and `take` is about to show it this one.
        self.estimator = None;
        let at = self.ticks(at);
        let at = match self.last_dts {
            Some(last) => at.max(i64::try_from(last).unwrap_or(i64::MAX).saturating_add(1)),
            None => at,
        };
        self.base = Some(first.saturating_sub(at));
    }

    /// Presentation time in nanoseconds of media time.
    pub(super) fn presentation(&self, pts: i64) -> Option<i64> {
        Some(self.nanos(pts.saturating_sub(self.base?)))
    }

    /// Moves the mapping towards `want` nanoseconds of media time for this unit, slowly enough
    /// not to be heard.
    pub(super) fn slew(&mut self, unit: &AccessUnit, want: i64) {
        let (Some(have), Some((before, _))) = (self.presentation(unit.pts), self.previous) else {
            return;
        };
        let most = self.nanos(unit.pts.saturating_sub(before)).abs() / SLEW_DIVISOR;
        let step = self.ticks(want.saturating_sub(have).clamp(-most, most));
        self.base = self.base.map(|base| base.saturating_sub(step));
    }

    /// Takes an accepted, anchored unit; gives the one before, whose duration is known now.
    pub(super) fn take(&mut self, unit: AccessUnit) -> Option<Sample> {
        let base = self.base?;
        if self.start_pts.is_none() {
            self.start_pts = Some(unit.pts);
        }
        self.previous = Some((unit.pts, unit.arrival));
        let decode = self.decode_time(unit.pts).saturating_sub(base);
        // What lies before the start of the muxer is not shown.
        let mut dts = u64::try_from(decode).ok()?;
        if let Some(last) = self.last_dts {
            dts = dts.max(last.saturating_add(1));
        }
        self.last_dts = Some(dts);
        let shown = unit.pts.saturating_sub(base);
        let cts = shown.saturating_sub(i64::try_from(dts).unwrap_or(i64::MAX));
        let sample = Sample {
            dts,
            cts: i32::try_from(cts).unwrap_or(0),
            duration: 0,
            key: unit.key,
            ntp: unit.ntp,
            data: self.payload(unit),
            nal_units: self.video,
        };
        let done = self.held.replace(sample);
        done.map(|done| self.finish(done, dts))
    }

    /// The held unit, with the duration of the one before: the stream has ended.
    pub(super) fn flush(&mut self) -> Option<Sample> {
        let mut sample = self.held.take()?;
        sample.duration = self.last_duration;
        Some(sample)
    }

    fn finish(&mut self, mut sample: Sample, next_dts: u64) -> Sample {
        sample.duration = u32::try_from(next_dts.saturating_sub(sample.dts)).unwrap_or(u32::MAX);
        self.last_duration = sample.duration;
        sample
    }

    fn decode_time(&mut self, pts: i64) -> i64 {
        if !self.video {
            return pts;
        }
        let format = self.reader.format();
        let rate = self.clock_rate;
        let known = self.depth;
        let estimator = self.estimator.get_or_insert_with(|| {
            let depth = format.map_or(0, |f| f.reorder_depth());
            let frame = format
                .and_then(|f| f.frame_ticks(rate))
                .unwrap_or(i64::from(rate) / FALLBACK_RATE);
            DtsEstimator::new(depth.max(known), frame)
        });
        // When the depth grows, decode times step back once; `take` keeps them growing, and
        // for some pictures the presentation comes before the decode time instead.
        let time = estimator.push(pts);
        self.depth = estimator.depth();
        time.dts
    }

    fn payload(&self, unit: AccessUnit) -> Vec<bytes::Bytes> {
        let format = self.reader.format();
        let mut data = unit.data;
        data.retain(|part| !part.is_empty() && !format.is_some_and(|f| f.is_redundant(part)));
        data
    }
}

/// Signed nanoseconds from one instant to another.
pub(super) fn nanos_between(from: Instant, to: Instant) -> i64 {
    let (sign, distance) = match to.checked_duration_since(from) {
        Some(later) => (1, later),
        None => (-1, from.saturating_duration_since(to)),
    };
    sign * i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX)
}

/// Signed nanoseconds from one wall-clock time to another.
pub(super) fn wall_nanos_between(from: SystemTime, to: SystemTime) -> i64 {
    match to.duration_since(from) {
        Ok(later) => i64::try_from(later.as_nanos()).unwrap_or(i64::MAX),
        Err(earlier) => -i64::try_from(earlier.duration().as_nanos()).unwrap_or(i64::MAX),
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
