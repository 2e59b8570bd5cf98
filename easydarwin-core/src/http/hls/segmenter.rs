use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::http::fmp4::boxes::{self, BoxError, TrackRun};
use crate::http::fmp4::{Init, Muxed, MuxedSample, Sample};

/// A segment is cut without a key frame when it gets larger than this share of the window's
/// bytes, so that a stream with endless picture groups stays inside its bound.
const MAX_SEGMENT_SHARE: usize = 4;

/// A finished segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Which init segment it needs.
    pub(crate) init: u64,
    pub(crate) duration: Duration,
    /// Another take than the segment before.
    pub(crate) discontinuity: bool,
    /// It begins with a key frame.
    pub(crate) independent: bool,
    /// Wall clock of its first picture, if the publisher told.
    pub(crate) wall: Option<SystemTime>,
    pub(crate) bytes: Bytes,
}

/// What a [`Segmenter`] gives.
#[derive(Debug)]
pub(crate) enum Cut {
    /// A new init segment with its number.
    Init(u64, Arc<Init>),
    Segment(Segment),
}

/// Collects samples into segments that begin at key frames.
#[derive(Debug)]
pub(crate) struct Segmenter {
    target: Duration,
    max_bytes: usize,
    fragment: u32,
    init: u64,
    tracks: Vec<(u32, Vec<Sample>)>,
    bytes: usize,
    discontinuity: bool,
    start: Option<Start>,
    out: Vec<Cut>,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    dts: u64,
    timescale: u32,
    independent: bool,
    wall: Option<SystemTime>,
}

impl Segmenter {
    /// `target`: segments end at the first key frame after it. `window_bytes`: what all segments
    /// of the stream may take.
    pub(crate) fn new(target: Duration, window_bytes: usize) -> Self {
        Self {
            target,
            max_bytes: window_bytes / MAX_SEGMENT_SHARE,
            fragment: 0,
            init: 0,
            tracks: Vec::new(),
            bytes: 0,
            discontinuity: false,
            start: None,
            out: Vec::new(),
        }
    }

    /// Takes what the muxer gave; returns what is finished by it, in order.
    ///
    /// # Errors
    /// When a segment does not fit into MP4's 32-bit fields.
    pub(crate) fn push(&mut self, muxed: Muxed) -> Result<Vec<Cut>, BoxError> {
        match muxed {
            Muxed::Init(init) => {
                self.cut(None)?;
                self.tracks = init.tracks.iter().map(|t| (t.id, Vec::new())).collect();
                self.discontinuity = self.init > 0;
                self.init += 1;
                self.out.push(Cut::Init(self.init, init));
            }
            Muxed::Sample(sample) => self.add(sample)?,
        }
        Ok(std::mem::take(&mut self.out))
    }

    /// Another take begins with the next segment.
    pub(crate) fn discontinuity(&mut self) -> Result<Vec<Cut>, BoxError> {
        self.cut(None)?;
        self.discontinuity = self.init > 0;
        Ok(std::mem::take(&mut self.out))
    }

    /// The stream has ended: what is there becomes the last segment.
    pub(crate) fn finish(&mut self) -> Result<Vec<Cut>, BoxError> {
        self.cut(None)?;
        Ok(std::mem::take(&mut self.out))
    }

    fn add(&mut self, muxed: MuxedSample) -> Result<(), BoxError> {
        let MuxedSample {
            id,
            leading,
            timescale,
            sample,
        } = muxed;
        if leading {
            let full = self.start.is_some_and(|start| {
                let long = between(start.dts, sample.dts, timescale) >= self.target;
                (long && sample.key) || self.bytes > self.max_bytes
            });
            if full {
                self.cut(Some(sample.dts))?;
            }
            self.start.get_or_insert(Start {
                dts: sample.dts,
                timescale,
                independent: sample.key,
                wall: sample.ntp,
            });
        }
        self.bytes += sample.size();
        if let Some((_, samples)) = self.tracks.iter_mut().find(|(track, _)| *track == id) {
            samples.push(sample);
        }
        Ok(())
    }

    /// Ends the open segment; `end` is the decode time of the leading sample that follows.
    fn cut(&mut self, end: Option<u64>) -> Result<(), BoxError> {
        let Some(start) = self.start.take() else {
            return Ok(());
        };
        let end = end.unwrap_or_else(|| self.leading_end(start.dts));
        let mut bytes = boxes::segment_type()?;
        self.fragment = self.fragment.wrapping_add(1);
        let runs: Vec<_> = self
            .tracks
            .iter()
            .map(|(id, samples)| TrackRun { id: *id, samples })
            .collect();
        boxes::fragment(self.fragment, &runs, &mut bytes)?;
        self.out.push(Cut::Segment(Segment {
            init: self.init,
            duration: between(start.dts, end, start.timescale),
            discontinuity: std::mem::take(&mut self.discontinuity),
            independent: start.independent,
            wall: start.wall,
            bytes: bytes.into(),
        }));
        self.bytes = 0;
        for (_, samples) in &mut self.tracks {
            samples.clear();
        }
        Ok(())
    }

    /// Where the samples of the track that begins at `dts` end.
    fn leading_end(&self, dts: u64) -> u64 {
        self.tracks
            .iter()
            .find(|(_, samples)| samples.first().is_some_and(|s| s.dts == dts))
            .and_then(|(_, samples)| samples.last())
            .map_or(dts, |last| last.dts.saturating_add(last.duration.into()))
    }
}

fn between(from: u64, to: u64, timescale: u32) -> Duration {
    let ticks = to.saturating_sub(from);
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(timescale.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
