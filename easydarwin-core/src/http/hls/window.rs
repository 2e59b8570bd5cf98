use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::segmenter::{Cut, Segment};
use crate::http::fmp4::Init;

/// Segments that left the playlist stay fetchable this long after, as many as are listed: a
/// player fetches by a playlist that it read a while ago (RFC 8216, 6.2.2).
const KEPT_PER_LISTED: usize = 2;

/// The newest segments of a stream and their playlist, bounded by count and bytes.
#[derive(Debug)]
pub(crate) struct Window {
    listed: usize,
    max_bytes: usize,
    /// Media sequence number of the first segment kept.
    first: u64,
    segments: VecDeque<Segment>,
    inits: VecDeque<(u64, Arc<Init>)>,
    bytes: usize,
    /// Discontinuities among the segments that were removed.
    discontinuities_removed: u64,
    target_secs: u64,
    ended: bool,
}

impl Window {
    /// Lists `listed` segments and keeps at most `max_bytes`.
    pub(crate) fn new(listed: usize, max_bytes: usize, target: Duration) -> Self {
        Self {
            listed: listed.max(1),
            max_bytes,
            first: 0,
            segments: VecDeque::new(),
            inits: VecDeque::new(),
            bytes: 0,
            discontinuities_removed: 0,
            target_secs: ceil_secs(target),
            ended: false,
        }
    }

    /// Takes what the segmenter finished.
    pub(crate) fn push(&mut self, cut: Cut) {
        match cut {
            Cut::Init(number, init) => self.inits.push_back((number, init)),
            Cut::Segment(segment) => {
                // Players derive their waiting times from it: it grows when a picture group is
                // longer than all before, and never shrinks.
                self.target_secs = self.target_secs.max(ceil_secs(segment.duration));
                self.bytes += segment.bytes.len();
                self.segments.push_back(segment);
            }
        }
        self.trim();
    }

    /// No segment follows.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether [`end`](Self::end) was called.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether there is nothing to list yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The announced target duration.
    pub(crate) fn target_duration(&self) -> Duration {
        Duration::from_secs(self.target_secs)
    }

    /// A segment that is still kept.
    pub(crate) fn segment(&self, number: u64) -> Option<Bytes> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        Some(self.segments.get(index)?.bytes.clone())
    }

    /// An init segment that a kept segment needs.
    pub(crate) fn init(&self, number: u64) -> Option<Bytes> {
        let (_, init) = self.inits.iter().find(|(n, _)| *n == number)?;
        Some(init.bytes.clone())
    }

    /// The media playlist (RFC 8216, 4.3).
    pub(crate) fn playlist(&self) -> String {
        let skipped = self.segments.len().saturating_sub(self.listed);
        let first = self.first + u64::try_from(skipped).unwrap_or(0);
        let listed = || self.segments.iter().skip(skipped);
        let removed = self.segments.iter().take(skipped);
        let discontinuities = self.discontinuities_removed + count_discontinuities(removed);

        let mut text = String::with_capacity(1024);
        let mut line = |args: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{args}");
        };
        line(format_args!("#EXTM3U"));
        line(format_args!("#EXT-X-VERSION:7"));
        line(format_args!("#EXT-X-TARGETDURATION:{}", self.target_secs));
        line(format_args!("#EXT-X-MEDIA-SEQUENCE:{first}"));
        if discontinuities > 0 {
            line(format_args!(
                "#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}"
            ));
        }
        if listed().all(|segment| segment.independent) {
            line(format_args!("#EXT-X-INDEPENDENT-SEGMENTS"));
        }
        let mut init = 0;
        for (number, segment) in (first..).zip(listed()) {
            if segment.discontinuity {
                line(format_args!("#EXT-X-DISCONTINUITY"));
            }
            if segment.init != init {
                init = segment.init;
                line(format_args!("#EXT-X-MAP:URI=\"init-{init}.mp4\""));
            }
            if let Some(wall) = segment.wall.and_then(rfc3339) {
                line(format_args!("#EXT-X-PROGRAM-DATE-TIME:{wall}"));
            }
            line(format_args!(
                "#EXTINF:{:.5},\nseg-{number}.m4s",
                segment.duration.as_secs_f64()
            ));
        }
        if self.ended {
            line(format_args!("#EXT-X-ENDLIST"));
        }
        text
    }

    fn trim(&mut self) {
        let most = self.listed * KEPT_PER_LISTED;
        while self.segments.len() > most || (self.bytes > self.max_bytes && self.segments.len() > 1)
        {
            let Some(old) = self.segments.pop_front() else {
                break;
            };
            self.first += 1;
            self.bytes -= old.bytes.len();
            self.discontinuities_removed += u64::from(old.discontinuity);
        }
        if let Some(oldest) = self.segments.front().map(|segment| segment.init) {
            self.inits.retain(|(number, _)| *number >= oldest);
        }
    }
}

fn count_discontinuities<'a>(segments: impl Iterator<Item = &'a Segment>) -> u64 {
    segments
        .map(|segment| u64::from(segment.discontinuity))
        .sum()
}

fn ceil_secs(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// A time in UTC with milliseconds; `None` before 1970.
fn rfc3339(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    ))
}

/// Year, month and day of a number of days after 1970-01-01 in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut left = days;
    let mut year = 1970;
    let is_leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    // A publisher's clock may say anything; 400 years are always 146 097 days.
    year += left / 146_097 * 400;
    left %= 146_097;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}
