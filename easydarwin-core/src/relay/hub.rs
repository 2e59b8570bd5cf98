use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{broadcast, watch};

use super::clock::WallClock;
use super::ends::Lines;
use super::faults::foreign;
use super::filter::Filtering;
use super::ingest::TrackIngest;
use super::live::{Meta, StreamInner, has_parameter_sets};
use super::shard::Shard;
use super::stream::TrackIdentity;
use super::swap::{compatible, may_take_over};
use super::udp::DropTable;
use super::{
    CloseError, EndReason, FilterSource, HubEvent, HubInfo, MediaFilter, PublishError, Publisher,
    RelayConfig, Stream, StreamEvent,
};
use crate::media::{Repairs, SessionDescription};
use crate::registry::{Principal, StreamPath};

/// Most shards: what a set of shards has bits for.
const MAX_SHARDS: usize = 64;
/// Most tracks: what a set of tracks has bits for.
const MAX_TRACKS: usize = 32;
/// Least that a stream's ring may keep when the process-wide cap is reached.
const MIN_SHARE: usize = 64 * 1024;

/// All streams of one process. Cheap to clone; clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<HubInner>,
}

pub(super) struct HubInner {
    pub(super) config: RelayConfig,
    filters: Option<Box<dyn FilterSource>>,
    pub(super) wall: WallClock,
    pub(super) shards: Box<[Arc<Shard>]>,
    pub(super) readers: AtomicUsize,
    streams: RwLock<HashMap<StreamPath, Arc<StreamInner>>>,
    stream_count: AtomicUsize,
    events: broadcast::Sender<HubEvent>,
    kept: AtomicUsize,
    ids: AtomicU64,
    generations: AtomicU64,
    /// Keeps lines about readers few.
    pub(super) lines: Arc<Lines>,
    /// What the kernel dropped of UDP publishers.
    pub(super) drops: Mutex<DropTable>,
    /// Of all publishers and, where a server has this hub, of all its connections.
    pub(super) repairs: Mutex<Repairs>,
}

impl std::fmt::Debug for HubInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Monotonic time, which tests may pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Hub {
    /// A hub without streams. Needs no runtime yet.
    pub fn new(config: RelayConfig) -> Self {
        Self::make(config, None)
    }

    /// A hub whose publishers, from network and code, go through the filters that `filters`
    /// chooses.
    pub fn with_filters(config: RelayConfig, filters: impl FilterSource) -> Self {
        Self::make(config, Some(Box::new(filters)))
    }

    pub(crate) fn make(config: RelayConfig, filters: Option<Box<dyn FilterSource>>) -> Self {
        let shards = config.shards.clamp(1, MAX_SHARDS);
        let inner = HubInner {
            wall: WallClock::new(now(), SystemTime::now()),
            shards: (0..shards)
                .map(|index| Arc::new(Shard::new(index)))
                .collect(),
            readers: AtomicUsize::new(0),
            streams: RwLock::default(),
            stream_count: AtomicUsize::new(0),
            events: broadcast::Sender::new(config.event_backlog.max(1)),
            kept: AtomicUsize::new(0),
            ids: AtomicU64::new(0),
            generations: AtomicU64::new(0),
            lines: Arc::default(),
            drops: Mutex::default(),
            repairs: Mutex::default(),
            filters,
            config,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Makes `path` live, or takes it over.
    ///
    /// `Principal::Device` brings its generation along; otherwise the hub counts.
    ///
    /// # Errors
    /// [`PublishError`] when the path is taken or the description is unusable.
    pub fn publish(
        &self,
        path: &StreamPath,
        description: SessionDescription,
        principal: Principal,
    ) -> Result<Publisher, PublishError> {
        let filters = self.inner.filters.as_ref();
        let filter = filters.and_then(|filters| filters.filter(path, &principal));
        self.publish_through(path, description, principal, filter)
    }

    /// The same with a filter for this publisher alone, instead of the hub's.
    ///
    /// # Errors
    /// As [`Hub::publish`]; [`PublishError::NoTracks`] also when the filter leaves none.
    pub fn publish_filtered(
        &self,
        path: &StreamPath,
        description: SessionDescription,
        principal: Principal,
        filter: impl MediaFilter,
    ) -> Result<Publisher, PublishError> {
        self.publish_through(path, description, principal, Some(Box::new(filter)))
    }

    fn publish_through(
        &self,
        path: &StreamPath,
        mut description: SessionDescription,
        principal: Principal,
        filter: Option<Box<dyn MediaFilter>>,
    ) -> Result<Publisher, PublishError> {
        let filter = filter.map(|filter| Box::new(Filtering::new(filter, &mut description)));
        self.check(&description)?;
        let at = now();
        let mut streams = self.inner.streams.write();
        let mut replaced = None;
        if let Some(old) = streams.get(path) {
            let mut meta = old.meta.lock();
            may_take_over(&meta, &principal, old.last_packet(), at, &self.inner.config)?;
            if compatible(&meta.description, &description) {
                let offer = Offer {
                    description,
                    principal,
                    filter,
                };
                let publisher = self.swap(old, &mut meta, offer, at);
                let principal = meta.principal.clone();
                drop(meta);
                let old = Arc::clone(old);
                drop(streams);
                tracing::info!(%path, generation = publisher.generation(), "publisher took over");
                old.emit(StreamEvent::Published {
                    principal,
                    takeover: true,
                });
                return Ok(publisher);
            }
            drop(meta);
            replaced = Some(Arc::clone(old));
        } else if streams.len() >= self.inner.config.streams {
            return Err(PublishError::TooManyStreams);
        }
        let offer = Offer {
            description,
            principal: principal.clone(),
            filter,
        };
        let (stream, publisher) = self.create(path, offer, at);
        streams.insert(path.clone(), Arc::clone(&stream));
        self.inner
            .stream_count
            .store(streams.len(), Ordering::Relaxed);
        drop(streams);
        if let Some(old) = replaced {
            old.end(EndReason::TracksChanged);
        }
        tracing::info!(%path, generation = publisher.generation(), "stream published");
        stream.emit(StreamEvent::Published {
            principal,
            takeover: false,
        });
        if let Some(since) = stream.viewers.lock().idle_since {
            stream.emit(StreamEvent::Idle { since });
        }
        Ok(publisher)
    }

    fn check(&self, description: &SessionDescription) -> Result<(), PublishError> {
        let tracks = &description.tracks;
        if tracks.is_empty() {
            return Err(PublishError::NoTracks);
        }
        if tracks.len() > self.inner.config.tracks.min(MAX_TRACKS) {
            return Err(PublishError::TooManyTracks(tracks.len()));
        }
        match tracks.iter().position(|track| track.clock_rate == 0) {
            Some(index) => Err(PublishError::NoClockRate(index)),
            None => Ok(()),
        }
    }

    fn generation(&self, principal: &Principal) -> u64 {
        match principal {
            Principal::Device { generation, .. } => *generation,
            _ => self.inner.generations.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    fn create(
        &self,
        path: &StreamPath,
        offer: Offer,
        at: Instant,
    ) -> (Arc<StreamInner>, Publisher) {
        let Offer {
            description,
            principal,
            filter,
        } = offer;
        let generation = self.generation(&principal);
        let owner = self.inner.next_id();
        let identities: Box<[_]> = description
            .tracks
            .iter()
            .map(|track| TrackIdentity {
                ssrc: fastrand::u32(1..),
                payload_type: track.payload_type & 0x7f,
                clock_rate: track.clock_rate,
            })
            .collect();
        let (closed, receiver) = watch::channel(None);
        let meta = Meta {
            generation,
            principal,
            description: Arc::new(canonical(description, &identities)),
            owner,
            online: true,
            takeovers: 0,
            last_takeover: None,
            repairs: Repairs::default(),
            closed,
        };
        let description = Arc::clone(&meta.description);
        let id = self.inner.next_id();
        let hub = Arc::clone(&self.inner);
        let stream = Arc::new(StreamInner::new(hub, id, path.clone(), meta, identities));
        let tracks = ingests(&stream, &description, &description, false);
        let handle = Stream {
            inner: Arc::clone(&stream),
        };
        let publisher = Publisher::new(handle, generation, owner, receiver, tracks, filter, at);
        (stream, publisher)
    }

    /// Puts another publisher in charge of a stream whose readers stay.
    fn swap(
        &self,
        stream: &Arc<StreamInner>,
        meta: &mut Meta,
        offer: Offer,
        at: Instant,
    ) -> Publisher {
        let Offer {
            description,
            principal,
            filter,
        } = offer;
        let generation = self.generation(&principal);
        let owner = self.inner.next_id();
        let (closed, receiver) = watch::channel(None);
        let old = std::mem::replace(&mut meta.closed, closed);
        if meta.online {
            meta.last_takeover = Some(at);
        }
        meta.takeovers += 1;
        meta.generation = generation;
        meta.principal = principal;
        meta.owner = owner;
        meta.online = true;
        meta.repairs = Repairs::default();
        let offered = description.clone();
        let before = Arc::clone(&meta.description);
        meta.description = Arc::new(canonical(description, &stream.identities));
        stream.live.lock().owner = owner;
        old.send_replace(Some(EndReason::TakenOver));
        let params = has_parameter_sets(&meta.description);
        stream.state.send_modify(|state| state.params = params);
        let mut tracks = ingests(stream, &offered, &meta.description, true);
        let described = before.tracks.iter().zip(&meta.description.tracks);
        for (track, (before, described)) in tracks.iter_mut().zip(described) {
            if before.codec != described.codec {
                track.params_changed();
            }
        }
        let handle = Stream {
            inner: Arc::clone(stream),
        };
        Publisher::new(handle, generation, owner, receiver, tracks, filter, at)
    }

    /// The limits and times that it was made with.
    pub fn config(&self) -> &RelayConfig {
        &self.inner.config
    }

    /// The live stream of that path.
    pub fn get(&self, path: &StreamPath) -> Option<Stream> {
        let inner = self.inner.streams.read().get(path).cloned()?;
        Some(Stream { inner })
    }

    /// All live streams, in no order.
    pub fn streams(&self) -> Vec<Stream> {
        let streams = self.inner.streams.read();
        streams
            .values()
            .cloned()
            .map(|inner| Stream { inner })
            .collect()
    }

    /// Waits up to `patience` for the stream to be published (and ready to start, if `ready`).
    pub async fn wait(&self, path: &StreamPath, ready: bool, patience: Duration) -> Option<Stream> {
        let wait = async {
            // Before the first look, so that nothing falls between.
            let mut events = self.events();
            loop {
                if let Some(stream) = self.get(path)
                    && (!ready || stream.ready().await)
                {
                    return Some(stream);
                }
                if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }

    /// Ends a stream. `generation`: only if this publisher (or an older one) is live; `if_idle`:
    /// only if nobody views it.
    ///
    /// # Errors
    /// [`CloseError`] says why it was left alone.
    pub fn close(
        &self,
        path: &StreamPath,
        generation: Option<u64>,
        if_idle: bool,
    ) -> Result<(), CloseError> {
        let stream = self.get(path).ok_or(CloseError::NotFound)?;
        let live = stream.generation();
        if generation.is_some_and(|generation| live > generation) {
            return Err(CloseError::Superseded(live));
        }
        let viewers = stream.viewers();
        if if_idle && viewers > 0 {
            return Err(CloseError::InUse(viewers));
        }
        stream.inner.end(EndReason::Closed);
        Ok(())
    }

    /// Ends all streams; readers end too once they got what is in the rings.
    pub fn shutdown(&self) {
        for stream in self.streams() {
            stream.inner.end(EndReason::Shutdown);
        }
    }

    /// Events from now on. A receiver that lags loses the oldest and is told so.
    pub fn events(&self) -> broadcast::Receiver<HubEvent> {
        self.inner.events.subscribe()
    }

    /// Sums over all streams.
    pub fn info(&self) -> HubInfo {
        HubInfo {
            streams: self.inner.streams.read().len(),
            readers: self.inner.readers.load(Ordering::Relaxed),
            viewers: self.streams().iter().map(Stream::viewers).sum(),
            kept_bytes: u64::try_from(self.inner.kept.load(Ordering::Relaxed)).unwrap_or(u64::MAX),
            repairs: self.inner.repairs.lock().clone(),
        }
    }

    /// Counts what a server repaired of a connection.
    pub(crate) fn count_repairs(&self, repairs: &Repairs) {
        self.inner.repairs.lock().merge(repairs);
    }

    /// Whether a line about a peer may be written now; with how many were left out before it.
    pub(crate) fn may_log(&self, at: Instant) -> Option<u64> {
        self.inner.lines.allow(at)
    }
}

impl HubInner {
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Most bytes that one ring may keep now.
    pub(super) fn stream_cap(&self) -> usize {
        let cap = self.config.stream_bytes;
        if self.kept.load(Ordering::Relaxed) <= self.config.total_bytes {
            return cap;
        }
        let streams = self.stream_count.load(Ordering::Relaxed).max(1);
        cap.min((self.config.total_bytes / streams).max(MIN_SHARE))
    }

    pub(super) fn kept_changed(&self, before: usize, after: usize) {
        if after >= before {
            self.kept.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.kept.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    pub(super) fn emit(&self, event: HubEvent) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    /// Takes an ended stream out of the map, unless its path has another one by now.
    pub(super) fn forget(&self, stream: &Arc<StreamInner>) {
        let mut streams = self.streams.write();
        if streams
            .get(&stream.path)
            .is_some_and(|live| Arc::ptr_eq(live, stream))
        {
            streams.remove(&stream.path);
            self.stream_count.store(streams.len(), Ordering::Relaxed);
        }
    }

    /// The shard with the fewest readers.
    pub(super) fn least_loaded(&self) -> Option<&Arc<Shard>> {
        self.shards.iter().min_by_key(|shard| shard.load())
    }
}

/// What a publisher brings, after its filter has seen the tracks.
struct Offer {
    description: SessionDescription,
    principal: Principal,
    filter: Option<Box<Filtering>>,
}

/// The description as readers see it.
fn canonical(
    mut description: SessionDescription,
    identities: &[TrackIdentity],
) -> SessionDescription {
    description.control = None;
    for (track, identity) in description.tracks.iter_mut().zip(identities) {
        track.payload_type = identity.payload_type;
        track.control = None;
    }
    description
}

/// The tracks' way in. `offered` has the publisher's payload types.
fn ingests(
    stream: &Arc<StreamInner>,
    offered: &SessionDescription,
    description: &SessionDescription,
    continues: bool,
) -> Vec<TrackIngest> {
    let live = stream.live.lock();
    let tracks = description.tracks.iter().zip(&offered.tracks).enumerate();
    let types = || offered.tracks.iter().map(|track| track.payload_type);
    tracks
        .zip(stream.identities.iter().zip(stream.tracks.iter()))
        .map(|((index, (track, offered)), (identity, counters))| {
            let end = live.ring.track_end(index).filter(|_| continues);
            let mut track = track.clone();
            track.payload_type = offered.payload_type;
            TrackIngest::new(
                (&stream.path, index),
                &track,
                *identity,
                end,
                foreign(offered.payload_type, types()),
                Arc::clone(counters),
            )
        })
        .collect()
}
