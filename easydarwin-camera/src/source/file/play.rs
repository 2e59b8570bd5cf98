use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use easydarwin_core::media::{AccessUnit, Codec, Track};

use super::annexb;
use super::clip::{Clip, Sample};
use super::movie::MovieError;
use crate::source::pace::Pacer;

/// Largest picture that is read.
const MAX_SAMPLE: u32 = 16 << 20;
/// When the program was held up for longer than this, the file waits for it.
const MAX_LAG: Duration = Duration::from_millis(500);

/// A clip on its way.
#[derive(Debug)]
pub(super) struct Playing {
    frames: Frames<File>,
    /// When media time 0 was due.
    start: Instant,
    pacer: Pacer,
}

/// The frames of a clip in sending order, without end.
#[derive(Debug)]
pub(super) struct Frames<F> {
    clip: Clip,
    file: F,
    next: usize,
    /// Nanoseconds of media before this loop.
    played: i64,
    buffer: BytesMut,
}

impl Playing {
    pub(super) fn new(clip: Clip, file: File) -> Self {
        let start = Instant::now();
        Self {
            frames: Frames::new(clip, file),
            start,
            pacer: Pacer::new(start),
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        unit: &mut AccessUnit,
    ) -> Poll<Result<(), MovieError>> {
        let Some((sample, elapsed)) = self.frames.upcoming() else {
            return Poll::Pending;
        };
        let mut due = self.start + elapsed;
        ready!(self.pacer.poll_until(cx, due));
        let lag = Instant::now().saturating_duration_since(due);
        if lag > MAX_LAG {
            self.start += lag;
            due += lag;
        }
        Poll::Ready(self.frames.take(sample, due, unit))
    }
}

impl<F: Read + Seek> Frames<F> {
    pub(super) fn new(clip: Clip, file: F) -> Self {
        Self {
            clip,
            file,
            next: 0,
            played: 0,
            buffer: BytesMut::new(),
        }
    }

    /// The next sample, and how long after the start it is due. `None`: the clip is empty.
    pub(super) fn upcoming(&mut self) -> Option<(Sample, Duration)> {
        if self.next >= self.clip.samples.len() {
            self.next = 0;
            self.played = self.played.saturating_add(self.clip.length);
        }
        let sample = self.clip.samples.get(self.next).copied()?;
        let elapsed = sample.due.saturating_sub(self.clip.begin) + self.played;
        let elapsed = Duration::from_nanos(u64::try_from(elapsed).unwrap_or(0));
        Some((sample, elapsed))
    }

    /// Reads that sample into `unit` and goes on to the one after it.
    pub(super) fn take(
        &mut self,
        sample: Sample,
        due: Instant,
        unit: &mut AccessUnit,
    ) -> Result<(), MovieError> {
        self.next += 1;
        self.read(sample, due, unit)
    }

    fn read(
        &mut self,
        sample: Sample,
        due: Instant,
        unit: &mut AccessUnit,
    ) -> Result<(), MovieError> {
        let track = self.clip.description.tracks.get(sample.track);
        let clock = track.map_or(0, |track| i128::from(track.clock_rate));
        let before = i128::from(self.played - self.clip.begin) * clock / 1_000_000_000;
        unit.track = sample.track;
        unit.pts = sample.pts + i64::try_from(before).unwrap_or(0);
        unit.arrival = due;
        unit.ntp = None;
        unit.key = sample.key;
        unit.discontinuity = false;
        unit.lossy = false;
        unit.data.clear();
        let bytes = self.bytes(sample)?;
        let length = self.clip.nal_lengths.get(sample.track).copied();
        match length.unwrap_or(0) {
            _ if self.clip.annex_b => {
                let units = annexb::units(&bytes);
                unit.data.extend(units.map(|range| bytes.slice(range)));
            }
            0 => unit.data.push(bytes),
            length => split_units(bytes, length, &mut unit.data)?,
        }
        if sample.key
            && let Some(track) = self.clip.description.tracks.get(sample.track)
        {
            add_parameter_sets(track, &mut unit.data);
        }
        Ok(())
    }

    /// Reads a sample. Blocking, but short: one picture, read in order and so mostly read ahead
    /// by the system.
    fn bytes(&mut self, sample: Sample) -> Result<Bytes, MovieError> {
        if sample.size > MAX_SAMPLE {
            return Err(MovieError::Format(format!(
                "a picture of {} bytes, more than 16 MiB",
                sample.size
            )));
        }
        let size = usize::try_from(sample.size).unwrap_or(0);
        self.file.seek(SeekFrom::Start(sample.offset))?;
        self.buffer.resize(size, 0);
        self.file.read_exact(&mut self.buffer)?;
        Ok(self.buffer.split().freeze())
    }
}

/// Splits length-prefixed NAL units (ISO/IEC 14496-15, 4.3.2).
fn split_units(mut bytes: Bytes, length: usize, out: &mut Vec<Bytes>) -> Result<(), MovieError> {
    while !bytes.is_empty() {
        let damaged = || MovieError::Format("a NAL unit is longer than its sample".to_owned());
        let prefix = bytes.get(..length).ok_or_else(damaged)?;
        let size = prefix
            .iter()
            .fold(0usize, |n, &byte| n << 8 | usize::from(byte));
        let end = length.checked_add(size).filter(|&end| end <= bytes.len());
        let mut unit = bytes.split_to(end.ok_or_else(damaged)?);
        let unit = unit.split_off(length);
        if !unit.is_empty() {
            out.push(unit);
        }
    }
    Ok(())
}

/// Key frames bring their parameter sets, so that a reader can start without the description.
fn add_parameter_sets(track: &Track, units: &mut Vec<Bytes>) {
    let starts_with = |units: &[Bytes], set: fn(u8) -> bool| {
        let first_bytes = units.iter().filter_map(|unit| unit.first().copied());
        first_bytes.into_iter().any(set)
    };
    match &track.codec {
        Codec::H264(params) if !starts_with(units, |byte| byte & 0x1f == 7) => {
            let sets = params.sps.iter().chain(&params.pps);
            let at = usize::from(units.first().is_some_and(|u| u.first() == Some(&0x09)));
            units.splice(at..at, sets.cloned());
        }
        Codec::H265(params) if !starts_with(units, |byte| byte >> 1 & 0x3f == 33) => {
            let sets = params.vps.iter().chain(&params.sps).chain(&params.pps);
            let at = usize::from(units.first().is_some_and(|u| u.first() == Some(&0x46)));
            units.splice(at..at, sets.cloned());
        }
        _ => {}
    }
}
