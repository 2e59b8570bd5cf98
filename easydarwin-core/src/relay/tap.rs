use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::counters::ReaderShared;
use super::cursor::{Cursor, Policy};
use super::hub::now;
use super::reader::{TrackChannels, policy, start};
use super::unit::{Unit, UnitSource, Window};
use super::{EndReason, ReaderEnd, ReaderInfo, Start, Stream, Viewer};
use crate::media::{AccessUnit, Codec, SessionDescription};
use crate::rtp::{Depacketizer, MediaPacket, RtpPacket};

/// Events made ahead of the caller; bounds what a tap holds.
const MAX_AHEAD: usize = 16;

/// What a tap wants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TapOptions {
    /// Indices of the tracks; `None`: all that can be depacketized.
    pub tracks: Option<Vec<usize>>,
    /// Where it starts.
    pub start: Start,
    /// `None`: [`RelayConfig::max_lag`](super::RelayConfig::max_lag).
    pub max_lag: Option<Duration>,
    /// When skipping pictures, give the audio between all the same.
    pub keep_audio: bool,
    /// Counts as a viewer.
    pub viewer: bool,
    /// Purpose, for logs and the API.
    pub label: Arc<str>,
}

impl TapOptions {
    /// All tracks from the last key frame, counted as a viewer.
    pub fn new(label: impl Into<Arc<str>>) -> Self {
        Self {
            tracks: None,
            start: Start::Key,
            max_lag: None,
            keep_audio: false,
            viewer: true,
            label: label.into(),
        }
    }
}

/// What a [`Tap`] sees.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TapEvent {
    /// A picture or an audio frame.
    Unit(AccessUnit),
    /// The tap was too slow: something was skipped; video goes on with a key frame.
    Gap,
    /// Parameter sets changed; the description as it is now.
    ParamsChanged(Arc<SessionDescription>),
    /// A new publisher, or a jump of the publisher's clock: what follows is another take. Comes
    /// once per track; the track's next unit is marked too.
    Discontinuity,
    /// The stream ended; nothing follows.
    End(EndReason),
}

/// Reads a stream by access unit, with the same cursor and policy as other readers.
#[derive(Debug)]
pub struct Tap {
    stream: Stream,
    shared: Arc<ReaderShared>,
    cursor: Cursor,
    policy: Policy,
    tracks: Vec<Option<TapTrack>>,
    window: Window,
    events: VecDeque<TapEvent>,
    done: bool,
    /// What it is counted as when dropped.
    end: ReaderEnd,
    _viewer: Option<Viewer>,
}

#[derive(Debug)]
struct TapTrack {
    depacketizer: Depacketizer,
    next_seq: Option<u16>,
}

impl Tap {
    pub(super) fn new(stream: Stream, options: TapOptions) -> Self {
        let inner = &stream.inner;
        let description = stream.description();
        let wanted = |index: usize, codec: &Codec| match &options.tracks {
            Some(tracks) => tracks.contains(&index),
            None => !matches!(codec, Codec::Other),
        };
        let tracks: Vec<_> = description
            .tracks
            .iter()
            .enumerate()
            .map(|(index, track)| {
                wanted(index, &track.codec).then(|| TapTrack {
                    depacketizer: Depacketizer::new(index, track),
                    next_seq: None,
                })
            })
            .collect();
        let selected = tracks
            .iter()
            .enumerate()
            .filter(|(_, track)| track.is_some());
        let channels: Vec<_> = selected
            .map(|(index, _)| TrackChannels::canonical(index))
            .collect();
        let max_lag = options.max_lag.unwrap_or(inner.hub.config.max_lag);
        let policy = policy(
            inner,
            channels.iter().map(|track| track.track),
            max_lag,
            options.keep_audio,
        );
        let viewer = options.viewer.then(|| stream.viewer());
        // First the count, then the look at the ring: a push in between wakes this tap.
        inner.taps.fetch_add(1, Ordering::AcqRel);
        let (cursor, _) = start(inner, &policy, options.start, 0, &channels);
        let shared = ReaderShared::new(
            inner,
            options.label,
            options.viewer,
            "tap",
            Weak::new(),
            policy,
            now(),
        );
        inner.add_reader(Arc::clone(&shared));
        Self {
            shared,
            cursor,
            policy,
            tracks,
            window: Window::default(),
            events: VecDeque::new(),
            done: false,
            end: ReaderEnd::Stopped,
            _viewer: viewer,
            stream,
        }
    }

    /// The stream that it reads.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The next event; `None` after [`TapEvent::End`]. Cancel safe.
    pub async fn recv(&mut self) -> Option<TapEvent> {
        let inner = Arc::clone(&self.stream.inner);
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.done {
                return None;
            }
            let mut news = std::pin::pin!(inner.tap_wake.notified());
            // Before the look at the ring: what is pushed after it wakes us.
            news.as_mut().enable();
            if !self.pull() {
                news.await;
            }
        }
    }

    /// Ends it for a reason that is counted and logged; dropping it means
    /// [`ReaderEnd::Stopped`]. For those that pass units on to a peer of their own.
    pub fn end(mut self, end: ReaderEnd) {
        self.end = end;
    }

    /// Counters.
    pub fn info(&self) -> ReaderInfo {
        self.shared.info(now())
    }

    /// Takes units from the ring; false when there are none.
    fn pull(&mut self) -> bool {
        let mut window = std::mem::take(&mut self.window);
        self.stream.inner.window(self.cursor.next, &mut window);
        let at = now();
        if let Some(skip) = self.cursor.catch_up(&self.policy, &window, at) {
            self.shared.on_skip(skip, at);
            self.events.push_back(TapEvent::Gap);
        }
        let before = self.cursor.next;
        while self.events.len() < MAX_AHEAD
            && let Some(unit) = window.unit(self.cursor.next).cloned()
        {
            let number = self.cursor.next;
            self.cursor.next += 1;
            let held = self.cursor.keys.held;
            if self
                .cursor
                .keys
                .admit(&self.policy, window.keyless, number, &unit)
            {
                self.take(&unit);
            }
            self.shared
                .counters
                .held_units
                .add(self.cursor.keys.held - held);
        }
        let late = window.unit(self.cursor.next).map(|unit| unit.arrival);
        self.shared.late(late);
        if let (None, Some(reason)) = (late, window.ended)
            && self.cursor.next >= window.head
        {
            self.finish(reason);
        }
        window.release();
        self.window = window;
        self.cursor.next > before || !self.events.is_empty()
    }

    fn take(&mut self, unit: &Unit) {
        if unit.flags.rtcp {
            return;
        }
        if unit.flags.params_changed {
            self.events
                .push_back(TapEvent::ParamsChanged(self.stream.description()));
        }
        let Some(Some(track)) = self.tracks.get_mut(unit.track) else {
            return;
        };
        if unit.flags.discontinuity {
            track.depacketizer.flush();
            track.drain(&mut self.events);
            track.depacketizer.discontinuity();
            self.events.push_back(TapEvent::Discontinuity);
        }
        for packet in unit.packets() {
            track.push(unit, packet, &mut self.events);
        }
        let counters = &self.shared.counters;
        counters.units.add(1);
        counters.packets.add(u64::from(unit.packets));
        counters
            .bytes
            .add(u64::try_from(unit.data.len()).unwrap_or(0));
    }

    fn finish(&mut self, reason: EndReason) {
        for track in self.tracks.iter_mut().flatten() {
            track.depacketizer.flush();
            track.drain(&mut self.events);
        }
        self.end = ReaderEnd::Stream(reason);
        self.events.push_back(TapEvent::End(reason));
        self.done = true;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stream.inner.taps.fetch_sub(1, Ordering::AcqRel);
        self.stream.inner.reader_ended(&self.shared, &self.end);
    }
}

impl TapTrack {
    fn push(&mut self, unit: &Unit, packet: &[u8], events: &mut VecDeque<TapEvent>) {
        let Ok(packet) = RtpPacket::parse(packet) else {
            return;
        };
        let seq = packet.sequence();
        let lost_before = self.next_seq.is_some_and(|next| next != seq);
        self.next_seq = Some(seq.wrapping_add(1));
        // A broken payload marks its access unit lossy; the consumer sees that.
        let _ = self.depacketizer.push(MediaPacket {
            payload: packet.payload(),
            marker: packet.marker(),
            timestamp: unit.ts,
            arrival: unit.arrival,
            ntp: unit.ntp,
            lost_before,
        });
        self.drain(events);
    }

    fn drain(&mut self, events: &mut VecDeque<TapEvent>) {
        while let Some(unit) = self.depacketizer.pop() {
            events.push_back(TapEvent::Unit(unit));
        }
    }
}
