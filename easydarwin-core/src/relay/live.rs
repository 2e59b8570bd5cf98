//! The state behind a [`Stream`](super::Stream).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::clock::{Anchor, system_time};
use super::counters::{ReaderShared, millis};
use super::ends::Ends;
use super::hub::{HubInner, now};
use super::ingest::{TrackIngest, low_32};
use super::ring::{Keep, Ring};
use super::stream::{StreamCounters, TrackCounters, TrackIdentity};
use super::unit::{Charge, FRAME_HEADER, Unit, UnitFlags, UnitSource, Window};
use super::wake::{Mark, ShardSet};
use super::{EndReason, HubEvent, ReaderEnd, StreamEvent};
use crate::media::{Codec, MediaKind, Repairs, SessionDescription};
use crate::registry::{Principal, StreamPath};
use crate::rtp::rtcp::{self, NtpTime, SenderReport};

pub(super) struct StreamInner {
    pub(super) hub: Arc<HubInner>,
    /// Distinguishes streams of one path that followed each other.
    pub(super) id: u64,
    pub(super) path: StreamPath,
    pub(super) created: Instant,
    pub(super) identities: Box<[TrackIdentity]>,
    pub(super) kinds: Box<[MediaKind]>,
    pub(super) live: Mutex<Live>,
    pub(super) meta: Mutex<Meta>,
    pub(super) state: watch::Sender<State>,
    /// One per shard.
    pub(super) groups: Box<[Group]>,
    /// Those that have readers of this stream.
    pub(super) shards: ShardSet,
    /// The shard that serves its readers as long as one is enough.
    pub(super) home: usize,
    /// One shard is not enough.
    pub(super) spread: AtomicBool,
    pub(super) tap_wake: Notify,
    pub(super) taps: AtomicUsize,
    pub(super) viewers: Mutex<Viewers>,
    pub(super) readers: Mutex<Vec<Arc<ReaderShared>>>,
    pub(super) ends: Ends,
    reports: Mutex<Vec<Option<Anchor>>>,
    pub(super) counters: StreamCounters,
    pub(super) tracks: Box<[Arc<TrackCounters>]>,
    /// Milliseconds after `created`.
    last_packet: AtomicU64,
}

/// The ring and who may push into it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) ring: Ring,
    /// Number of the publisher in charge; 0: none.
    pub(super) owner: u64,
    reports_made: u64,
}

/// What changes with the publisher.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) generation: u64,
    pub(super) principal: Principal,
    pub(super) description: Arc<SessionDescription>,
    pub(super) owner: u64,
    pub(super) online: bool,
    pub(super) takeovers: u32,
    pub(super) last_takeover: Option<Instant>,
    /// What was repaired of the publisher.
    pub(super) repairs: Repairs,
    /// Tells the publisher that it is no longer in charge.
    pub(super) closed: watch::Sender<Option<EndReason>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) ready: bool,
    pub(super) params: bool,
    pub(super) ended: Option<EndReason>,
}

#[derive(Debug)]
pub(super) struct Viewers {
    pub(super) count: usize,
    pub(super) idle_since: Option<Instant>,
}

/// A stream's readers on one shard, as far as others see them.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) mark: Mark,
    /// The oldest cursor that holds units back; `u64::MAX`: none does.
    pub(super) oldest: AtomicU64,
}

impl std::fmt::Debug for StreamInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl StreamInner {
    pub(super) fn new(
        hub: Arc<HubInner>,
        id: u64,
        path: StreamPath,
        meta: Meta,
        identities: Box<[TrackIdentity]>,
    ) -> Self {
        let created = now();
        let kinds: Box<[_]> = meta
            .description
            .tracks
            .iter()
            .map(|track| track.kind)
            .collect();
        let shards = hub.shards.len();
        let ring = Ring::new(kinds.iter().map(|kind| *kind == MediaKind::Video));
        Self {
            id,
            path,
            created,
            live: Mutex::new(Live {
                ring,
                owner: meta.owner,
                reports_made: 0,
            }),
            state: watch::Sender::new(State {
                params: has_parameter_sets(&meta.description),
                ..State::default()
            }),
            meta: Mutex::new(meta),
            groups: (0..shards)
                .map(|_| Group {
                    mark: Mark::default(),
                    oldest: AtomicU64::new(u64::MAX),
                })
                .collect(),
            shards: ShardSet::default(),
            home: usize::try_from(id).unwrap_or(0) % shards.max(1),
            spread: AtomicBool::new(false),
            tap_wake: Notify::new(),
            taps: AtomicUsize::new(0),
            viewers: Mutex::new(Viewers {
                count: 0,
                idle_since: Some(created),
            }),
            readers: Mutex::default(),
            ends: Ends::default(),
            reports: Mutex::new(vec![None; identities.len()]),
            counters: StreamCounters::default(),
            tracks: identities.iter().map(|_| Arc::default()).collect(),
            last_packet: AtomicU64::new(0),
            identities,
            kinds,
            hub,
        }
    }

    pub(super) fn has_video(&self) -> bool {
        self.kinds.contains(&MediaKind::Video)
    }

    pub(super) fn last_packet(&self) -> Instant {
        self.created + Duration::from_millis(self.last_packet.load(Ordering::Relaxed))
    }

    /// Makes units visible; false if `owner` is no longer in charge.
    pub(super) fn commit(
        self: &Arc<Self>,
        owner: u64,
        units: &mut Vec<Unit>,
        keyless: impl Iterator<Item = usize>,
        ready: bool,
        now: Instant,
    ) -> bool {
        let count = units.len();
        let keep = Keep::new(
            self.hub.stream_cap(),
            now,
            self.hub.config.keep,
            self.oldest_reader(),
        );
        {
            let mut live = self.live.lock();
            if live.owner != owner {
                units.clear();
                return false;
            }
            let before = live.ring.bytes();
            for unit in units.drain(..) {
                live.ring.push(unit);
            }
            for track in keyless {
                live.ring.set_keyless(track, true);
            }
            live.ring.evict(keep);
            self.hub.kept_changed(before, live.ring.bytes());
        }
        self.counters.units.add(u64::try_from(count).unwrap_or(0));
        self.heard(now);
        self.wake();
        if ready {
            self.state.send_modify(|state| state.ready = true);
            self.emit(StreamEvent::Ready);
        }
        true
    }

    /// The publisher sent something, though it may not be for readers.
    pub(super) fn heard(&self, now: Instant) {
        let since = now.saturating_duration_since(self.created);
        self.last_packet.store(millis(since), Ordering::Relaxed);
    }

    fn oldest_reader(&self) -> u64 {
        let groups = self
            .shards
            .iter()
            .filter_map(|index| self.groups.get(index));
        groups
            .map(|group| group.oldest.load(Ordering::Relaxed))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Wakes who has readers of this stream. Call after the change is visible in the ring.
    pub(super) fn wake(self: &Arc<Self>) {
        for index in self.shards.iter() {
            if let (Some(group), Some(shard)) = (self.groups.get(index), self.hub.shards.get(index))
            {
                shard.mark(self, &group.mark);
            }
        }
        if self.taps.load(Ordering::Acquire) > 0 {
            self.tap_wake.notify_waiters();
        }
    }

    pub(super) fn emit(&self, event: StreamEvent) {
        let generation = self.meta.lock().generation;
        self.hub.emit(HubEvent {
            path: self.path.clone(),
            generation,
            event,
        });
    }

    pub(super) fn join(&self) {
        let mut viewers = self.viewers.lock();
        viewers.count += 1;
        viewers.idle_since = None;
        let viewers = viewers.count;
        self.emit(StreamEvent::ReaderJoined { viewers });
    }

    pub(super) fn leave(&self) {
        let mut state = self.viewers.lock();
        state.count = state.count.saturating_sub(1);
        let viewers = state.count;
        self.emit(StreamEvent::ReaderLeft { viewers });
        if viewers == 0 {
            let since = now();
            state.idle_since = Some(since);
            self.emit(StreamEvent::Idle { since });
        }
    }

    pub(super) fn add_reader(&self, reader: Arc<ReaderShared>) {
        self.hub.readers.fetch_add(1, Ordering::Relaxed);
        self.readers.lock().push(reader);
    }

    /// A reader left: counts, remembers and, where somebody could do better, says so.
    pub(super) fn reader_ended(&self, reader: &ReaderShared, end: &ReaderEnd) {
        let at = now();
        self.ends.note(reader, end, at);
        reader.log_end(end, at);
        let mut readers = self.readers.lock();
        if let Some(index) = readers.iter().position(|known| known.id == reader.id) {
            readers.swap_remove(index);
            self.hub.readers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes over the parameter sets that were seen in band.
    pub(super) fn set_codecs<'a>(&self, owner: u64, codecs: impl Iterator<Item = &'a Codec>) {
        let mut meta = self.meta.lock();
        if meta.owner != owner {
            return;
        }
        let mut description = (*meta.description).clone();
        for (track, codec) in description.tracks.iter_mut().zip(codecs) {
            track.codec = codec.clone();
        }
        let params = has_parameter_sets(&description);
        meta.description = Arc::new(description);
        drop(meta);
        self.state.send_if_modified(|state| {
            let changed = state.params != params;
            state.params = params;
            changed
        });
    }

    /// Notes the time base of the reports.
    pub(super) fn set_anchors(&self, tracks: &[TrackIngest]) {
        for (slot, track) in self.reports.lock().iter_mut().zip(tracks) {
            *slot = track.clock.anchor();
        }
    }

    /// The sender report of a track as of `now`, without framing.
    pub(super) fn sender_report(&self, track: usize, now: Instant, out: &mut BytesMut) -> bool {
        let anchor = self.reports.lock().get(track).copied().flatten();
        let (Some(anchor), Some(identity), Some(counters)) =
            (anchor, self.identities.get(track), self.tracks.get(track))
        else {
            return false;
        };
        let wall = self.hub.wall.at(now);
        let report = SenderReport {
            ssrc: identity.ssrc,
            ntp: NtpTime::from(system_time(wall)),
            rtp_time: low_32(anchor.ts_of(wall, identity.clock_rate)),
            packets: low_32(counters.sent_packets.value().cast_signed()),
            octets: low_32(counters.sent_octets.value().cast_signed()),
        };
        rtcp::write_sender_report(&report, &[], self.path.as_str(), out);
        true
    }

    /// Sender reports of all tracks as units of the ring.
    pub(super) fn report_units(&self, now: Instant, out: &mut Vec<Unit>) {
        for track in 0..self.identities.len() {
            let mut data = BytesMut::zeroed(FRAME_HEADER);
            if !self.sender_report(track, now, &mut data) {
                continue;
            }
            let channel = u8::try_from(track * 2 + 1).unwrap_or(u8::MAX);
            frame_in_place(&mut data, channel);
            let mut live = self.live.lock();
            live.reports_made += 1;
            let charge = Charge {
                chunk: live.reports_made,
                bytes: data.len(),
            };
            drop(live);
            out.push(Unit {
                track,
                flags: UnitFlags {
                    rtcp: true,
                    ..UnitFlags::default()
                },
                packets: 1,
                seq: 0,
                ts: 0,
                arrival: now,
                ntp: None,
                data: data.freeze(),
                charge,
                udp: std::sync::OnceLock::new(),
            });
        }
    }

    /// The publisher `owner` is gone; readers wait for another one for `grace`.
    pub(super) fn publisher_gone(self: &Arc<Self>, owner: u64, reason: EndReason, grace: Duration) {
        {
            let mut meta = self.meta.lock();
            if meta.owner != owner {
                return;
            }
            meta.online = false;
        }
        let may_return = matches!(reason, EndReason::PublisherLeft | EndReason::Silent);
        let runtime = tokio::runtime::Handle::try_current();
        match runtime {
            Ok(runtime) if may_return && !grace.is_zero() => {
                self.emit(StreamEvent::Offline { reason });
                let stream = Arc::clone(self);
                runtime.spawn(async move {
                    tokio::time::sleep(grace).await;
                    let still = {
                        let meta = stream.meta.lock();
                        meta.owner == owner && !meta.online
                    };
                    if still {
                        stream.end(reason);
                    }
                });
            }
            _ => self.end(reason),
        }
    }

    /// Ends the stream; readers get what is in the ring and then end too.
    pub(super) fn end(self: &Arc<Self>, reason: EndReason) {
        self.hub.forget(self);
        {
            let mut meta = self.meta.lock();
            meta.online = false;
            meta.closed
                .send_if_modified(|closed| closed.replace(reason).is_none());
        }
        {
            let mut live = self.live.lock();
            live.owner = 0;
            live.ring.end(reason);
        }
        let first = self.state.send_if_modified(|state| {
            let first = state.ended.is_none();
            state.ended.get_or_insert(reason);
            first
        });
        if first {
            tracing::info!(path = %self.path, %reason, "stream ended");
            self.emit(StreamEvent::Ended { reason });
        }
        self.wake();
    }
}

impl Drop for StreamInner {
    fn drop(&mut self) {
        let bytes = self.live.get_mut().ring.bytes();
        self.hub.kept_changed(bytes, 0);
    }
}

impl UnitSource for StreamInner {
    fn window(&self, from: u64, window: &mut Window) {
        self.live.lock().ring.window(from, window);
    }
}

/// Fills in the framing of a packet that begins after the first four bytes.
pub(super) fn frame_in_place(data: &mut BytesMut, channel: u8) {
    let len = u16::try_from(data.len().saturating_sub(FRAME_HEADER)).unwrap_or(u16::MAX);
    let [l0, l1] = len.to_be_bytes();
    if let Some(header) = data.first_chunk_mut::<FRAME_HEADER>() {
        *header = [b'$', channel, l0, l1];
    }
}

/// Whether a player that gets this description can start.
pub(super) fn has_parameter_sets(description: &SessionDescription) -> bool {
    description.tracks.iter().all(|track| match &track.codec {
        Codec::H264(params) => params.sps.is_some() && !params.pps.is_empty(),
        Codec::H265(params) => {
            params.vps.is_some() && params.sps.is_some() && !params.pps.is_empty()
        }
        _ => true,
    })
}
