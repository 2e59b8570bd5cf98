use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::counters::{Counter, millis};
use super::hub::now;
use super::live::StreamInner;
use super::{
    EndReason, PausedReader, PreparedReader, ReaderOptions, RelayConfig, SocketId, StreamInfo, Tap,
    TapOptions, TrackInfo,
};
use crate::media::{MediaKind, SessionDescription};
use crate::registry::{Principal, StreamPath};

/// What is the same for all readers of a track, whoever publishes (RFC 3550 names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackIdentity {
    /// Synchronization source of all packets.
    pub ssrc: u32,
    /// Payload type of all packets.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock_rate: u32,
}

/// A live stream. Cheap to clone; does not keep it live.
#[derive(Debug, Clone)]
pub struct Stream {
    pub(super) inner: Arc<StreamInner>,
}

impl Stream {
    /// Its path.
    pub fn path(&self) -> &StreamPath {
        &self.inner.path
    }

    /// Generation of the current (or last) publisher.
    pub fn generation(&self) -> u64 {
        self.inner.meta.lock().generation
    }

    /// Who publishes.
    pub fn principal(&self) -> Principal {
        self.inner.meta.lock().principal.clone()
    }

    /// The tracks as readers see them: canonical payload types, parameter sets as they are now.
    pub fn description(&self) -> Arc<SessionDescription> {
        Arc::clone(&self.inner.meta.lock().description)
    }

    /// Identities of the tracks, in order.
    pub fn tracks(&self) -> &[TrackIdentity] {
        &self.inner.identities
    }

    /// Whether all H.264 and H.265 tracks know their parameter sets, so that a description of
    /// them lets a player start.
    pub fn has_parameter_sets(&self) -> bool {
        self.inner.state.borrow().params
    }

    /// A key frame is there (without video: a unit).
    pub fn is_ready(&self) -> bool {
        self.inner.state.borrow().ready
    }

    /// Why it ended, if it did.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.inner.state.borrow().ended
    }

    /// Resolves when the stream is ready; false when it ended before.
    pub async fn ready(&self) -> bool {
        let mut state = self.inner.state.subscribe();
        let found = state
            .wait_for(|state| state.ready || state.ended.is_some())
            .await;
        found.is_ok_and(|state| state.ready)
    }

    /// Resolves when all parameter sets are known; false when the stream ended before.
    pub async fn parameter_sets(&self) -> bool {
        let mut state = self.inner.state.subscribe();
        let found = state
            .wait_for(|state| state.params || state.ended.is_some())
            .await;
        found.is_ok_and(|state| state.params)
    }

    /// Resolves when the stream has ended.
    pub async fn ended(&self) -> EndReason {
        let mut state = self.inner.state.subscribe();
        match state.wait_for(|state| state.ended.is_some()).await {
            Ok(state) => state.ended.unwrap_or(EndReason::Closed),
            Err(_) => EndReason::Closed,
        }
    }

    /// Greatest RTP packet that the track's readers got; beyond
    /// [`MAX_DATAGRAM`](super::MAX_DATAGRAM) UDP readers cannot have it.
    pub fn max_packet(&self, track: usize) -> usize {
        self.inner
            .tracks
            .get(track)
            .map_or(0, |track| track.max_packet())
    }

    /// When the last packet came.
    pub fn last_packet(&self) -> Instant {
        self.inner.last_packet()
    }

    /// Limits and defaults of its hub.
    pub(crate) fn config(&self) -> &RelayConfig {
        &self.inner.hub.config
    }

    /// Fixes where a new reader starts. Unknown tracks in the options are left out.
    pub fn prepare(&self, options: ReaderOptions) -> PreparedReader {
        PreparedReader::new(self.clone(), options, None)
    }

    /// As [`prepare`](Self::prepare) for a reader that was paused: it starts at the last key
    /// frame only if that came during the pause, else at the next one, so that its sequence
    /// numbers never go back.
    pub fn resume(&self, options: ReaderOptions, paused: &PausedReader) -> PreparedReader {
        PreparedReader::new(self.clone(), options, Some(paused))
    }

    /// Reads the stream by access unit.
    pub fn tap(&self, options: TapOptions) -> Tap {
        Tap::new(self.clone(), options)
    }

    /// Counts one viewer that has no reader of its own (an HLS session) until dropped.
    pub fn viewer(&self) -> Viewer {
        self.inner.join();
        Viewer {
            inner: Arc::clone(&self.inner),
        }
    }

    /// Viewers now.
    pub fn viewers(&self) -> usize {
        self.inner.viewers.lock().count
    }

    /// Since when nobody views it.
    pub fn idle_since(&self) -> Option<Instant> {
        self.inner.viewers.lock().idle_since
    }

    /// Counters of the stream and all its readers.
    pub fn info(&self) -> StreamInfo {
        let inner = &self.inner;
        let at = now();
        let meta = inner.meta.lock().clone();
        let (kept_bytes, kept_units, group_over_cap) = {
            let live = inner.live.lock();
            (
                live.ring.bytes(),
                live.ring.len(),
                live.ring.group_over_cap(),
            )
        };
        let tracks: Vec<_> = meta
            .description
            .tracks
            .iter()
            .zip(inner.tracks.iter())
            .map(|(track, counters)| {
                let drops = counters
                    .socket()
                    .and_then(|socket| inner.hub.drops.lock().of(socket, at));
                counters.info(track.kind, &track.encoding, drops)
            })
            .collect();
        let (ended, left) = inner.ends.info(at);
        StreamInfo {
            path: inner.path.to_string(),
            generation: meta.generation,
            publisher: publisher_name(&meta.principal),
            online: meta.online,
            ready: inner.state.borrow().ready,
            age_ms: millis(at.saturating_duration_since(inner.created)),
            silent_ms: millis(at.saturating_duration_since(inner.last_packet())),
            kernel_drops: tracks
                .iter()
                .filter_map(|track| track.kernel_drops)
                .reduce(u64::saturating_add),
            tracks,
            viewers: self.viewers(),
            readers: inner
                .readers
                .lock()
                .iter()
                .map(|reader| reader.info(at))
                .collect(),
            ended,
            left,
            units: inner.counters.units.value(),
            bytes: inner.tracks.iter().map(|track| track.bytes.value()).sum(),
            bitrate: inner.counters.bitrate.value(),
            kept_bytes: u64::try_from(kept_bytes).unwrap_or(u64::MAX),
            kept_units,
            invalid: inner.counters.invalid.value(),
            group_over_cap,
            takeovers: meta.takeovers,
            repairs: meta.repairs,
        }
    }
}

fn publisher_name(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "anonymous".to_owned(),
        Principal::Device { serial, .. } => format!("device {serial}"),
        Principal::Named(name) => name.to_string(),
    }
}

/// One viewer, counted until dropped; see [`Stream::viewer`].
#[derive(Debug)]
pub struct Viewer {
    inner: Arc<StreamInner>,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.inner.leave();
    }
}

/// Written by the publisher.
#[derive(Debug, Default)]
pub(super) struct StreamCounters {
    pub(super) invalid: Counter,
    pub(super) units: Counter,
    pub(super) bitrate: Counter,
}

impl StreamCounters {
    /// A measurement of the bit rate; smoothed over some seconds.
    pub(super) fn measured(&self, rate: u64) {
        let smooth = match self.bitrate.value() {
            0 => rate,
            old => old - old / 4 + rate / 4,
        };
        self.bitrate.set(smooth);
    }
}

/// Written by the publisher.
#[derive(Debug, Default)]
pub(super) struct TrackCounters {
    pub(super) packets: Counter,
    pub(super) lost: Counter,
    pub(super) held_back: Counter,
    pub(super) filtered: Counter,
    pub(super) key_frames: Counter,
    /// Packets of the publisher that were cut.
    pub(super) repacketized: Counter,
    /// Ticks from one picture to the next; 0: not known.
    pub(super) frame_ticks: Counter,
    bytes: Counter,
    /// What sender reports count.
    pub(super) sent_packets: Counter,
    pub(super) sent_octets: Counter,
    max_packet: AtomicUsize,
    /// Where the packets of the present publisher come from ([`SocketId`]); 0: not known.
    socket: AtomicU64,
}

impl TrackCounters {
    pub(super) fn on_packet(&self, len: usize, payload: usize) {
        self.bytes.add(u64::try_from(len).unwrap_or(0));
        self.sent_packets.add(1);
        self.sent_octets.add(u64::try_from(payload).unwrap_or(0));
        if len > self.max_packet.load(Ordering::Relaxed) {
            self.max_packet.store(len, Ordering::Relaxed);
        }
    }

    pub(super) fn watch(&self, socket: Option<SocketId>) {
        self.socket
            .store(socket.map_or(0, SocketId::raw), Ordering::Relaxed);
    }

    fn socket(&self) -> Option<SocketId> {
        SocketId::from_raw(self.socket.load(Ordering::Relaxed))
    }

    /// Time of one picture, if it is known.
    pub(super) fn frame_time(&self, clock_rate: u32) -> Option<Duration> {
        let ticks = self.frame_ticks.value();
        let micros = ticks
            .saturating_mul(1_000_000)
            .checked_div(clock_rate.into())?;
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn max_packet(&self) -> usize {
        self.max_packet.load(Ordering::Relaxed)
    }

    fn info(&self, kind: MediaKind, encoding: &str, kernel_drops: Option<u64>) -> TrackInfo {
        TrackInfo {
            kind: match kind {
                MediaKind::Video => "video",
                MediaKind::Audio => "audio",
                MediaKind::Application => "application",
            },
            encoding: encoding.to_owned(),
            packets: self.packets.value(),
            lost: self.lost.value(),
            held_back: self.held_back.value(),
            filtered: self.filtered.value(),
            key_frames: self.key_frames.value(),
            max_packet: self.max_packet(),
            repacketized: self.repacketized.value(),
            kernel_drops,
        }
    }
}
