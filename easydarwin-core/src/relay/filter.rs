//! What may stand between a publisher and the ring: leaves tracks or pictures out, adds own data.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use crate::media::{MediaKind, SessionDescription, Track};
use crate::registry::{Principal, StreamPath};
use crate::rtp::{DEFAULT_MAX_PAYLOAD, RtpPacket};

/// Payload types from here on have no fixed meaning (RFC 3551, 6).
const FIRST_DYNAMIC: u8 = 96;
/// One more than the greatest payload type.
const PAYLOAD_TYPES: u8 = 128;

/// Decides what of a publisher goes into its stream, and adds own data.
///
/// One filter belongs to one publisher; set it with
/// [`Hub::publish_filtered`](super::Hub::publish_filtered), or for all publishers of a hub with
/// [`Hub::with_filters`](super::Hub::with_filters). It runs where the publisher's packets are
/// taken in, so it must not wait: what takes long is the work of a [`Tap`](super::Tap).
pub trait MediaFilter: fmt::Debug + Send + 'static {
    /// Called once, before the stream is made (or continued): leaves tracks out, adds own ones.
    fn describe(&mut self, tracks: &mut FilterTracks) {
        let _ = tracks;
    }

    /// Called at the first packet of each picture, and at each packet of sound and data, in
    /// tracks that were not left out. Data for own tracks goes to `own`.
    fn unit(&mut self, unit: &FilterUnit<'_>, own: &mut OwnData) -> Verdict {
        let _ = (unit, own);
        Verdict::Pass
    }
}

/// Chooses the filter of each publisher that comes to a hub, by network or from code.
pub trait FilterSource: Send + Sync + 'static {
    /// The filter of a publisher of `path`; `None`: it is not filtered.
    fn filter(&self, path: &StreamPath, principal: &Principal) -> Option<Box<dyn MediaFilter>>;
}

impl<F> FilterSource for F
where
    F: Fn(&StreamPath, &Principal) -> Option<Box<dyn MediaFilter>> + Send + Sync + 'static,
{
    fn filter(&self, path: &StreamPath, principal: &Principal) -> Option<Box<dyn MediaFilter>> {
        self(path, principal)
    }
}

/// What becomes of a picture, or of a packet of sound or data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes into the stream.
    Pass,
    /// It does not. Sequence numbers close over it, so that readers see a pause, not a loss.
    /// Pictures after it are left out too until the next key frame, because they may refer to it.
    Drop,
}

/// The beginning of a picture, or a packet of sound or data.
#[derive(Debug)]
#[non_exhaustive]
pub struct FilterUnit<'a> {
    /// Index of the track in what the publisher offers.
    pub track: usize,
    /// That track, as the publisher describes it.
    pub description: &'a Track,
    /// The packet as it came: the publisher's numbers.
    pub packet: RtpPacket<'a>,
    /// When it came.
    pub arrival: Instant,
}

/// The tracks of a publisher, for [`MediaFilter::describe`].
///
/// Indices are the publisher's, whatever is left out; added tracks follow.
#[derive(Debug)]
pub struct FilterTracks {
    offered: Vec<Track>,
    added: Vec<Track>,
    left_out: Vec<bool>,
}

impl FilterTracks {
    /// What the publisher offers.
    pub fn offered(&self) -> &[Track] {
        &self.offered
    }

    /// Leaves a track out: the stream's description lacks it, its packets are dropped unseen.
    pub fn leave_out(&mut self, track: usize) {
        if let Some(left_out) = self.left_out.get_mut(track) {
            *left_out = true;
        }
    }

    /// Adds a track of the filter's own; returns its index for [`OwnData::push`]. A payload type
    /// that another track has is replaced by a free one.
    pub fn add(&mut self, mut track: Track) -> usize {
        let taken = |payload_type: u8| {
            let mut tracks = self.offered.iter().chain(&self.added);
            tracks.any(|other| other.payload_type == payload_type)
        };
        if taken(track.payload_type)
            && let Some(free) = (FIRST_DYNAMIC..PAYLOAD_TYPES).find(|other| !taken(*other))
        {
            track.payload_type = free;
        }
        self.added.push(track);
        self.offered.len() + self.added.len() - 1
    }
}

/// Takes data for the filter's own tracks.
#[derive(Debug, Default)]
pub struct OwnData {
    waiting: VecDeque<(usize, Bytes)>,
}

impl OwnData {
    /// Sends one document or frame on an own track, in as many packets as it needs, the last one
    /// with the marker. It gets the media time of the picture (or else the moment) in hand, in
    /// the track's own clock. What no track of the filter is for, and what precedes all media of
    /// the track that leads (the first video track, else the first one), is dropped.
    pub fn push(&mut self, track: usize, data: impl Into<Bytes>) {
        self.waiting.push_back((track, data.into()));
    }
}

/// A filter at work.
#[derive(Debug)]
pub(super) struct Filtering {
    filter: Box<dyn MediaFilter>,
    offered: Vec<Track>,
    /// The stream's index of each track, the publisher's first, then the added ones.
    routes: Vec<Option<usize>>,
    /// The stream's index of the track whose media time own data gets.
    lead: Option<usize>,
    /// Per track of the publisher: the picture under way (its source and time) and its verdict.
    pictures: Vec<Option<(u32, u32, Verdict)>>,
    own: OwnData,
}

impl Filtering {
    /// Asks the filter what to do with the tracks; `description` becomes what the stream has.
    pub(super) fn new(
        mut filter: Box<dyn MediaFilter>,
        description: &mut SessionDescription,
    ) -> Self {
        let offered = std::mem::take(&mut description.tracks);
        let mut tracks = FilterTracks {
            left_out: vec![false; offered.len()],
            added: Vec::new(),
            offered,
        };
        filter.describe(&mut tracks);
        let FilterTracks {
            offered,
            added,
            left_out,
        } = tracks;
        let mut routes = Vec::new();
        for (track, left_out) in offered.iter().zip(left_out) {
            routes.push((!left_out).then_some(description.tracks.len()));
            if !left_out {
                description.tracks.push(track.clone());
            }
        }
        let kept = &description.tracks;
        let lead = kept
            .iter()
            .position(|track| track.kind == MediaKind::Video)
            .or((!kept.is_empty()).then_some(0));
        for track in added {
            routes.push(Some(description.tracks.len()));
            description.tracks.push(track);
        }
        Self {
            filter,
            lead,
            pictures: vec![None; offered.len()],
            offered,
            routes,
            own: OwnData::default(),
        }
    }

    /// Tracks that the publisher offered.
    pub(super) fn offered(&self) -> usize {
        self.offered.len()
    }

    /// The stream's index of a track of the publisher, unless that is left out; `Err`: there is no
    /// such track.
    pub(super) fn route(&self, track: usize) -> Result<Option<usize>, UnknownTrack> {
        match self.routes.get(track) {
            Some(route) if track < self.offered.len() => Ok(*route),
            _ => Err(UnknownTrack),
        }
    }

    /// Whether a track of the stream is one of the filter's own.
    pub(super) fn is_own(&self, track: usize) -> bool {
        let added = self.routes.get(self.offered.len()..).unwrap_or_default();
        added.contains(&Some(track))
    }

    pub(super) fn lead(&self) -> Option<usize> {
        self.lead
    }

    /// What becomes of a packet; the filter is asked where a picture begins.
    pub(super) fn judge(
        &mut self,
        track: usize,
        packet: RtpPacket<'_>,
        arrival: Instant,
    ) -> Verdict {
        let (Some(description), Some(picture)) =
            (self.offered.get(track), self.pictures.get_mut(track))
        else {
            return Verdict::Pass;
        };
        let (ssrc, timestamp) = (packet.ssrc(), packet.timestamp());
        if description.kind == MediaKind::Video
            && let Some((of, at, verdict)) = *picture
            && (of, at) == (ssrc, timestamp)
        {
            return verdict;
        }
        let unit = FilterUnit {
            track,
            description,
            packet,
            arrival,
        };
        let verdict = self.filter.unit(&unit, &mut self.own);
        *picture = Some((ssrc, timestamp, verdict));
        verdict
    }

    /// Own data that waits, with the stream's track index.
    pub(super) fn take_own(&mut self) -> Option<(usize, Bytes)> {
        loop {
            let (track, data) = self.own.waiting.pop_front()?;
            if track >= self.offered.len()
                && let Some(Some(route)) = self.routes.get(track)
            {
                return Some((*route, data));
            }
        }
    }
}

/// The publisher has no track of that index.
#[derive(Debug)]
pub(super) struct UnknownTrack;

/// The payloads of a document, each with whether it is the last.
pub(super) fn payloads(data: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut chunks = data.chunks(DEFAULT_MAX_PAYLOAD).peekable();
    std::iter::from_fn(move || {
        let chunk = chunks.next()?;
        Some((chunk, chunks.peek().is_none()))
    })
}

/// A time of one clock in the ticks of another.
pub(super) fn rescale(ts: i64, from: u32, to: u32) -> i64 {
    let scaled = i128::from(ts) * i128::from(to) / i128::from(from.max(1));
    i64::try_from(scaled).unwrap_or(i64::MAX)
}
