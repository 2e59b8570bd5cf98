use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::boxes::{self, BoxError, TrackEntry};
use super::lane::{Lane, nanos_between, wall_nanos_between};
use super::sample::Sample;
use crate::media::{AccessUnit, MediaKind, SessionDescription};

/// How long the start waits for a described track to show up; then it is left out until it does,
/// because a browser stalls on a track without samples.
const TRACK_GRACE: Duration = Duration::from_millis(500);
/// A track silent for this long is left out from the next key frame on.
const TRACK_SILENCE: Duration = Duration::from_secs(3);
/// Most samples kept while the start waits for tracks.
const MAX_PENDING: usize = 512;
/// Wall clocks of two tracks that contradict their arrival by more are not believed.
const MAX_CLOCK_DISAGREEMENT_NS: i64 = 2_000_000_000;

/// What a muxer gives.
#[derive(Debug)]
pub(crate) enum Muxed {
    /// Everything after this needs this init segment.
    Init(Arc<Init>),
    /// A sample of a track of the last init segment.
    Sample(MuxedSample),
}

/// A sample with its track.
#[derive(Debug)]
pub(crate) struct MuxedSample {
    /// Track id in the MP4.
    pub(crate) id: u32,
    /// Whether fragments and segments are cut at its key frames.
    pub(crate) leading: bool,
    /// Ticks per second of its times.
    pub(crate) timescale: u32,
    pub(crate) sample: Sample,
}

/// An init segment and what a player needs to know before it reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Init {
    pub(crate) bytes: Bytes,
    /// Codec strings of RFC 6381, in track order.
    pub(crate) codecs: Vec<String>,
    /// Width and height of the picture.
    pub(crate) dimensions: Option<(u32, u32)>,
    pub(crate) tracks: Vec<TrackEntry>,
}

impl Init {
    fn new(tracks: Vec<TrackEntry>) -> Result<Self, BoxError> {
        Ok(Self {
            bytes: boxes::init_segment(&tracks)?,
            codecs: tracks.iter().map(|t| t.format.codec_string()).collect(),
            dimensions: tracks.iter().find_map(|t| t.format.dimensions()),
            tracks,
        })
    }

    /// The MIME type with codecs, as `MediaSource.addSourceBuffer` wants it.
    pub(crate) fn mime(&self) -> String {
        let kind = if self.dimensions.is_some() {
            "video"
        } else {
            "audio"
        };
        format!("{kind}/mp4; codecs=\"{}\"", self.codecs.join(","))
    }
}

/// When media time 0 was.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    arrival: Instant,
    /// Nanoseconds of media time at which the unit that arrived then is shown.
    shown: i64,
}

/// Access units of a stream in, init segments and samples out.
#[derive(Debug)]
pub(crate) struct Muxer {
    lanes: Vec<Lane>,
    left_out: Vec<String>,
    epoch: Option<Epoch>,
    /// Presentation in media time and wall clock of the last video unit that had both.
    video_wall: Option<(i64, SystemTime)>,
    init: Option<Arc<Init>>,
    pending: Vec<MuxedSample>,
    out: VecDeque<Muxed>,
}

impl Muxer {
    /// Carries the first video and the first audio track that MP4 and browsers understand.
    pub(crate) fn new(description: &SessionDescription) -> Self {
        let mut lanes: Vec<Lane> = Vec::new();
        let mut left_out = Vec::new();
        for (index, track) in description.tracks.iter().enumerate() {
            let id = u32::try_from(lanes.len()).unwrap_or(0) + 1;
            let video = track.kind == MediaKind::Video;
            match Lane::new(index, id, track) {
                Some(lane) if lanes.iter().all(|other| other.video != video) => lanes.push(lane),
                _ => left_out.push(track.encoding.clone()),
            }
        }
        Self {
            lanes,
            left_out,
            epoch: None,
            video_wall: None,
            init: None,
            pending: Vec::new(),
            out: VecDeque::new(),
        }
    }

    /// Whether no track can be carried.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Encodings of the tracks that are not carried.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The next result; call until `None` after every input.
    pub(crate) fn pop(&mut self) -> Option<Muxed> {
        self.out.pop_front()
    }

    /// Takes one access unit.
    ///
    /// # Errors
    /// When the stream's parameters do not fit into an init segment.
    pub(crate) fn push(&mut self, unit: AccessUnit) -> Result<(), BoxError> {
        let Some(index) = self.lanes.iter().position(|l| l.track == unit.track) else {
            return Ok(());
        };
        if unit.is_empty() {
            return Ok(());
        }
        let arrival = unit.arrival;
        let started = self.start(index, &unit);
        let Some(lane) = self.lanes.get_mut(index) else {
            return Ok(());
        };
        lane.last_arrival = Some(arrival);
        if unit.discontinuity || lane.clock_jumped(&unit) {
            lane.lose_clock();
        }
        let Some(epoch) = started else {
            return Ok(());
        };
        if !lane.accepts(&unit) {
            return Ok(());
        }
        if !lane.is_anchored() {
            let at = place(epoch, self.video_wall, lane, &unit);
            lane.anchor(&unit, at);
        }
        follow_wall_clock(&mut self.video_wall, lane, &unit);
        let cut = unit.key && (lane.video || self.init.is_none());
        if let Some(sample) = lane.take(unit) {
            self.emit(index, sample);
        }
        if self.init.is_none() {
            self.open(epoch, arrival)?;
        } else if cut {
            self.reopen(arrival)?;
        }
        Ok(())
    }

    /// Units were skipped: pictures go on at the next key frame.
    pub(crate) fn gap(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.video) {
            lane.restart();
        }
    }

    /// New parameters of the same tracks; an init segment follows at the next key frame.
    pub(crate) fn update(&mut self, description: &SessionDescription) {
        for lane in &mut self.lanes {
            let track = description.tracks.get(lane.track);
            if let Some(reader) = track.and_then(super::format::FormatReader::new)
                && reader.format().is_some()
            {
                lane.reader = reader;
            }
        }
    }

    /// What was held back comes out, with the duration of the sample before: the stream has
    /// ended, or another take begins.
    pub(crate) fn finish(&mut self) {
        for index in 0..self.lanes.len() {
            if let Some(sample) = self.lanes.get_mut(index).and_then(Lane::flush) {
                self.emit(index, sample);
            }
        }
    }

    /// Parameter sets are read even from units that are not used; the first usable unit of the
    /// picture (or, without pictures, of the sound) starts media time.
    fn start(&mut self, index: usize, unit: &AccessUnit) -> Option<Epoch> {
        let has_video = self.has_video();
        let lane = self.lanes.get_mut(index)?;
        lane.reader.update(unit);
        if self.epoch.is_none() && lane.video == has_video && lane.can_start(unit) {
            lane.anchor(unit, 0);
            self.epoch = Some(Epoch {
                arrival: unit.arrival,
                shown: lane.presentation(unit.pts).unwrap_or(0),
            });
        }
        self.epoch
    }

    fn has_video(&self) -> bool {
        self.lanes.iter().any(|lane| lane.video)
    }

    fn emit(&mut self, index: usize, sample: Sample) {
        let has_video = self.has_video();
        let Some(lane) = self.lanes.get(index) else {
            return;
        };
        let sample = MuxedSample {
            id: lane.id,
            leading: lane.video == has_video,
            timescale: lane.clock_rate,
            sample,
        };
        self.route(sample);
    }

    fn route(&mut self, sample: MuxedSample) {
        match &self.init {
            None => self.pending.push(sample),
            Some(init) if init.tracks.iter().any(|track| track.id == sample.id) => {
                self.out.push_back(Muxed::Sample(sample));
            }
            Some(_) => {}
        }
    }

    /// The first init segment, once every track has shown up or the grace is over.
    fn open(&mut self, epoch: Epoch, now: Instant) -> Result<(), BoxError> {
        let complete = self.lanes.iter().all(Lane::is_anchored);
        let late = now.saturating_duration_since(epoch.arrival) > TRACK_GRACE;
        if !(complete || late || self.pending.len() >= MAX_PENDING) {
            return Ok(());
        }
        self.set_init(Init::new(self.entries(now))?);
        for sample in std::mem::take(&mut self.pending) {
            self.route(sample);
        }
        Ok(())
    }

    /// A further init segment, if parameters or the set of live tracks have changed.
    fn reopen(&mut self, now: Instant) -> Result<(), BoxError> {
        let entries = self.entries(now);
        if self.init.as_ref().is_some_and(|i| i.tracks == entries) {
            return Ok(());
        }
        self.set_init(Init::new(entries)?);
        Ok(())
    }

    fn set_init(&mut self, init: Init) {
        let init = Arc::new(init);
        self.init = Some(init.clone());
        self.out.push_back(Muxed::Init(init));
    }

    fn entries(&self, now: Instant) -> Vec<TrackEntry> {
        let live = |lane: &&Lane| {
            lane.video
                || (lane.is_anchored()
                    && lane
                        .last_arrival
                        .is_some_and(|at| now.saturating_duration_since(at) < TRACK_SILENCE))
        };
        self.lanes
            .iter()
            .filter(live)
            .filter_map(|lane| {
                Some(TrackEntry {
                    id: lane.id,
                    timescale: lane.clock_rate,
                    format: lane.reader.format()?.clone(),
                })
            })
            .collect()
    }
}

/// Media time for a unit whose lane has no mapping yet: by the publisher's wall clock where both
/// tracks have it and it is plausible, else by arrival.
fn place(
    epoch: Epoch,
    video_wall: Option<(i64, SystemTime)>,
    lane: &Lane,
    unit: &AccessUnit,
) -> i64 {
    let arrived = nanos_between(epoch.arrival, unit.arrival);
    if lane.video {
        return arrived;
    }
    let by_arrival = arrived.saturating_add(epoch.shown);
    match (video_wall, unit.ntp) {
        (Some((shown, wall)), Some(ntp)) => {
            let by_wall = shown.saturating_add(wall_nanos_between(wall, ntp));
            let trusted = by_wall.saturating_sub(by_arrival).abs() < MAX_CLOCK_DISAGREEMENT_NS;
            if trusted { by_wall } else { by_arrival }
        }
        _ => by_arrival,
    }
}

/// Notes the picture's wall clock, and lets other media follow it.
fn follow_wall_clock(
    video_wall: &mut Option<(i64, SystemTime)>,
    lane: &mut Lane,
    unit: &AccessUnit,
) {
    let (Some(ntp), Some(shown)) = (unit.ntp, lane.presentation(unit.pts)) else {
        return;
    };
    if lane.video {
        *video_wall = Some((shown, ntp));
    } else if let Some((video_shown, wall)) = *video_wall {
        let want = video_shown.saturating_add(wall_nanos_between(wall, ntp));
        if want.saturating_sub(shown).abs() < MAX_CLOCK_DISAGREEMENT_NS {
            lane.slew(unit, want);
        }
    }
}
