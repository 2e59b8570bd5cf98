use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::EndReason;
use super::unit::{UNIT_OVERHEAD, Unit, Window, track_bit};

/// Most units of one ring, whatever their size: bounds the handles that a pass copies.
const MAX_UNITS: usize = 16_384;

/// The units of one stream. Not shared: a short mutex around it is (see `StreamInner`).
#[derive(Debug)]
pub(super) struct Ring {
    base: u64,
    units: VecDeque<Arc<Unit>>,
    tracks: Vec<RingTrack>,
    /// Chunks of the stream's own reports.
    reports: Chunks,
    bytes: usize,
    ended: Option<EndReason>,
    group_over_cap: u64,
}

#[derive(Debug, Default)]
struct RingTrack {
    video: bool,
    keyless: bool,
    /// Numbers of the units at which a reader may start.
    starts: VecDeque<u64>,
    /// First of the parameter-set units directly before what comes next.
    params: Option<u64>,
    chunks: Chunks,
    end: Option<TrackEnd>,
}

/// How far a track came: a new publisher continues from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrackEnd {
    /// Greatest timestamp so far and when it came. With B-frames not the last one.
    pub(super) max_ts: i64,
    pub(super) at: Instant,
    /// Sequence number after the last packet.
    pub(super) next_seq: u16,
}

/// Chunks that a track's units lie in, oldest first: number, bytes, units of the ring in it.
#[derive(Debug, Default)]
struct Chunks(VecDeque<(u64, usize, usize)>);

/// What is kept however long nobody reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) cap: usize,
    /// Units that came since then are kept.
    pub(super) since: Instant,
    /// The oldest cursor that may still hold units back.
    pub(super) reader: u64,
}

impl Keep {
    pub(super) fn new(cap: usize, now: Instant, age: Duration, reader: u64) -> Self {
        Self {
            cap,
            since: now.checked_sub(age).unwrap_or(now),
            reader,
        }
    }
}

impl Ring {
    /// `video` says which tracks have key frames.
    pub(super) fn new(video: impl Iterator<Item = bool>) -> Self {
        Self {
            base: 0,
            units: VecDeque::new(),
            tracks: video
                .map(|video| RingTrack {
                    video,
                    ..RingTrack::default()
                })
                .collect(),
            reports: Chunks::default(),
            bytes: 0,
            ended: None,
            group_over_cap: 0,
        }
    }

    /// Number that the next unit will get.
    pub(super) fn head(&self) -> u64 {
        self.base + u64::try_from(self.units.len()).unwrap_or(0)
    }

    pub(super) fn push(&mut self, unit: Unit) {
        let number = self.head();
        let Some(track) = self.tracks.get_mut(unit.track) else {
            return;
        };
        if unit.flags.rtcp {
            self.bytes += self.reports.add(&unit);
        } else {
            self.bytes += track.chunks.add(&unit);
            track.note(number, &unit);
        }
        self.bytes += UNIT_OVERHEAD;
        self.units.push_back(Arc::new(unit));
    }

    /// Lets go of what nobody needs, and of more if that is above the cap.
    pub(super) fn evict(&mut self, keep: Keep) {
        let group = self
            .tracks
            .iter()
            .filter_map(|track| track.starts.back().copied())
            .min()
            .unwrap_or(u64::MAX);
        let wanted = group.min(keep.reader);
        while let Some(oldest) = self.units.front() {
            let over = self.bytes > keep.cap || self.units.len() > MAX_UNITS;
            let needed = self.base >= wanted || oldest.arrival >= keep.since;
            if needed && !over {
                break;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(unit) = self.units.pop_front() else {
            return;
        };
        let number = self.base;
        self.base += 1;
        self.bytes = self.bytes.saturating_sub(UNIT_OVERHEAD);
        let Some(track) = self.tracks.get_mut(unit.track) else {
            return;
        };
        let freed = if unit.flags.rtcp {
            self.reports.remove()
        } else {
            track.chunks.remove()
        };
        self.bytes = self.bytes.saturating_sub(freed);
        while track.starts.front().is_some_and(|start| *start <= number) {
            track.starts.pop_front();
            if track.starts.is_empty() {
                self.group_over_cap += 1;
            }
        }
        if track.params.is_some_and(|params| params <= number) {
            track.params = None;
        }
    }

    pub(super) fn window(&self, from: u64, window: &mut Window) {
        window.base = self.base;
        window.head = self.head();
        window.first = from.clamp(self.base, window.head);
        window.ended = self.ended;
        window.starts.clear();
        window.keyless = 0;
        for (index, track) in self.tracks.iter().enumerate() {
            window.starts.push(track.starts.back().copied());
            if track.keyless {
                window.keyless |= track_bit(index);
            }
        }
        window.units.clear();
        let skip = usize::try_from(window.first - self.base).unwrap_or(usize::MAX);
        window
            .units
            .extend(self.units.range(skip.min(self.units.len())..).cloned());
    }

    /// Number of the newest unit at which a reader of this track may start.
    pub(super) fn newest_start(&self, track: usize) -> Option<u64> {
        self.tracks.get(track)?.starts.back().copied()
    }

    pub(super) fn unit(&self, number: u64) -> Option<&Arc<Unit>> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.units.get(index)
    }

    /// The first unit of a track from `number` on that carries media.
    pub(super) fn first_of(&self, track: usize, number: u64) -> Option<&Arc<Unit>> {
        let skip = usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.units
            .iter()
            .skip(skip)
            .find(|unit| unit.track == track && !unit.flags.rtcp)
    }

    pub(super) fn track_end(&self, track: usize) -> Option<TrackEnd> {
        self.tracks.get(track)?.end
    }

    pub(super) fn set_keyless(&mut self, track: usize, keyless: bool) {
        if let Some(track) = self.tracks.get_mut(track) {
            track.keyless = keyless;
        }
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        self.ended.get_or_insert(reason);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    pub(super) fn group_over_cap(&self) -> u64 {
        self.group_over_cap
    }
}

impl RingTrack {
    fn note(&mut self, number: u64, unit: &Unit) {
        if self.video {
            if unit.flags.key {
                self.starts.push_back(self.params.unwrap_or(number));
                self.params = None;
                self.keyless = false;
            } else if unit.flags.params_only {
                self.params.get_or_insert(number);
            } else {
                self.params = None;
            }
        }
        let packets = u16::try_from(unit.packets & 0xffff).unwrap_or(0);
        let next_seq = unit.seq.wrapping_add(packets);
        let (max_ts, at) = match self.end {
            Some(end) if end.max_ts >= unit.ts => (end.max_ts, end.at),
            _ => (unit.ts, unit.arrival),
        };
        self.end = Some(TrackEnd {
            max_ts,
            at,
            next_seq,
        });
    }
}

impl Chunks {
    /// Counts a unit; returns the bytes that the ring holds more by it.
    fn add(&mut self, unit: &Unit) -> usize {
        if let Some((chunk, _, units)) = self.0.back_mut()
            && *chunk == unit.charge.chunk
        {
            *units += 1;
            return 0;
        }
        self.0.push_back((unit.charge.chunk, unit.charge.bytes, 1));
        unit.charge.bytes
    }

    /// The oldest unit goes; returns the bytes that the ring holds less by it.
    fn remove(&mut self) -> usize {
        let Some((_, bytes, units)) = self.0.front_mut() else {
            return 0;
        };
        *units -= 1;
        if *units > 0 {
            return 0;
        }
        let bytes = *bytes;
        self.0.pop_front();
        bytes
    }
}
