use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::counters::{MAX_CONTROL, ReaderShared};
use super::cursor::{Cursor, Policy};
use super::hub::now;
use super::ingest::low_32;
use super::live::{StreamInner, frame_in_place};
use super::udp::UdpWriter;
use super::unit::{FRAME_HEADER, Window, track_bit};
use super::writer::{ChannelMap, Item, TcpWriter, Turn, TurnContext, pending};
use super::{
    ControlError, PausedReader, ReaderEnd, ReaderInfo, Sink, Start, Stream, UdpTarget, Viewer,
};
use crate::media::MediaKind;

/// Least limit of bytes that the kernel holds unsent for a reader.
const MIN_UNSENT: u64 = 64 * 1024;

/// A track and the interleaved channels under which a reader wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackChannels {
    /// Index into [`Stream::description`](super::Stream::description).
    pub track: usize,
    /// Channel for RTP; canonical is `2 * track`.
    pub rtp: u8,
    /// Channel for RTCP; canonical is `2 * track + 1`.
    pub rtcp: u8,
}

/// What a reader wants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// The tracks; `None`: all, on their canonical channels (the fast path).
    pub tracks: Option<Vec<TrackChannels>>,
    /// Where it starts.
    pub start: Start,
    /// `None`: [`RelayConfig::max_lag`](super::RelayConfig::max_lag).
    pub max_lag: Option<Duration>,
    /// `None`: [`RelayConfig::stall_timeout`](super::RelayConfig::stall_timeout).
    pub stall_timeout: Option<Duration>,
    /// When skipping pictures, send the audio between all the same.
    pub keep_audio: bool,
    /// Counts as a viewer.
    pub viewer: bool,
    /// Peer or purpose, for logs and the API.
    pub label: Arc<str>,
}

impl ReaderOptions {
    /// All tracks from the last key frame, counted as a viewer. What the hub does by default
    /// for readers from the network is [`RelayConfig::start`](super::RelayConfig::start).
    pub fn new(label: impl Into<Arc<str>>) -> Self {
        Self {
            tracks: None,
            start: Start::Key,
            max_lag: None,
            stall_timeout: None,
            keep_audio: false,
            viewer: true,
            label: label.into(),
        }
    }
}

/// First values of a track for the `RTP-Info` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpInfo {
    /// Index of the track.
    pub track: usize,
    /// Sequence number of the first packet; `None`: not known yet, leave it out.
    pub seq: Option<u16>,
    /// RTP time of the first packet; `None`: not known yet, leave it out.
    pub rtptime: Option<u32>,
}

/// A reader whose start is fixed but to which nothing is written yet: make it before the PLAY
/// response, start it after the response is flushed.
#[derive(Debug)]
pub struct PreparedReader {
    stream: Stream,
    viewer: Option<Viewer>,
    options: ReaderOptions,
    tracks: Vec<TrackChannels>,
    policy: Policy,
    cursor: Cursor,
    rtp_info: Vec<RtpInfo>,
}

impl PreparedReader {
    /// `after`: it goes on after a pause, and nothing is sent twice.
    pub(super) fn new(
        stream: Stream,
        mut options: ReaderOptions,
        after: Option<&PausedReader>,
    ) -> Self {
        let inner = &stream.inner;
        let known = inner.identities.len();
        let mut tracks = options
            .tracks
            .take()
            .unwrap_or_else(|| (0..known).map(TrackChannels::canonical).collect());
        tracks.retain(|track| track.track < known);
        let max_lag = options.max_lag.unwrap_or(inner.hub.config.max_lag);
        let policy = policy(
            inner,
            tracks.iter().map(|t| t.track),
            max_lag,
            options.keep_audio,
        );
        let viewer = options.viewer.then(|| stream.viewer());
        let not_before = match after {
            None => 0,
            Some(paused) if paused.stream == inner.id => paused.next,
            // Numbers of another stream mean nothing here.
            Some(_) => u64::MAX,
        };
        let (cursor, rtp_info) = start(inner, &policy, options.start, not_before, &tracks);
        Self {
            viewer,
            options,
            tracks,
            policy,
            cursor,
            rtp_info,
            stream,
        }
    }

    /// For the `RTP-Info` header, in the order of the tracks asked for.
    pub fn rtp_info(&self) -> Vec<RtpInfo> {
        self.rtp_info.clone()
    }

    /// Starts writing interleaved frames: one sender report per track, then units.
    pub fn start(self, mut sink: impl Sink) -> ReaderHandle {
        let inner = &self.stream.inner;
        // A quarter of a second: what is in the kernel cannot be skipped when the reader is late.
        let quarter = inner.counters.bitrate.value() / 32;
        sink.limit_unsent(u32::try_from(quarter.max(MIN_UNSENT)).unwrap_or(u32::MAX));
        let mut first = BytesMut::new();
        let at = now();
        for track in &self.tracks {
            let mut report = BytesMut::zeroed(FRAME_HEADER);
            if inner.sender_report(track.track, at, &mut report) {
                frame_in_place(&mut report, track.rtcp);
                first.extend_from_slice(&report);
            }
        }
        let map = channel_map(&self.tracks);
        let shared = self.share("tcp", sink.connection(), at);
        let writer = TcpWriter::new(Box::new(sink), map, first);
        self.run(Out::Tcp(writer), shared, at)
    }

    /// Starts sending datagrams.
    pub fn start_udp(self, target: UdpTarget) -> ReaderHandle {
        let at = now();
        let shared = self.share("udp", Weak::new(), at);
        let writer = UdpWriter::new(&target, &self.stream.inner, &shared);
        for track in &self.tracks {
            let mut report = BytesMut::new();
            let inner = &self.stream.inner;
            if inner.sender_report(track.track, at, &mut report) {
                writer.send_rtcp(track.track, &report);
            }
        }
        self.run(Out::Udp(writer), shared, at)
    }

    fn share(
        &self,
        transport: &'static str,
        connection: Weak<TcpStream>,
        at: Instant,
    ) -> Arc<ReaderShared> {
        let inner = &self.stream.inner;
        let label = Arc::clone(&self.options.label);
        let shared = ReaderShared::new(
            inner,
            label,
            self.options.viewer,
            transport,
            connection,
            self.policy,
            at,
        );
        inner.add_reader(Arc::clone(&shared));
        shared
    }

    fn run(self, out: Out, shared: Arc<ReaderShared>, at: Instant) -> ReaderHandle {
        let inner = Arc::clone(&self.stream.inner);
        let spread = inner.spread.load(Ordering::Relaxed);
        let home = inner.hub.shards.get(inner.home);
        let shard = if spread {
            inner.hub.least_loaded()
        } else {
            home
        };
        let shard = shard.cloned();
        let handle = ReaderHandle {
            stream: inner.id,
            shared: Arc::clone(&shared),
        };
        let stall_timeout = self
            .options
            .stall_timeout
            .unwrap_or(inner.hub.config.stall_timeout);
        let reader = Box::new(Reader {
            stream: inner,
            shared,
            cursor: self.cursor,
            policy: self.policy,
            out,
            progress: at,
            late_since: None,
            stall_timeout,
            _viewer: self.viewer,
        });
        if let Some(shard) = shard {
            shard.add(reader);
        }
        handle
    }
}

impl TrackChannels {
    /// The channels that need no rewriting.
    pub fn canonical(track: usize) -> Self {
        let rtp = u8::try_from(track * 2).unwrap_or(u8::MAX);
        Self {
            track,
            rtp,
            rtcp: rtp.saturating_add(1),
        }
    }
}

/// The policy of a reader or tap of these tracks.
pub(super) fn policy(
    stream: &StreamInner,
    tracks: impl Iterator<Item = usize>,
    max_lag: Duration,
    keep_audio: bool,
) -> Policy {
    let mut policy = Policy {
        tracks: 0,
        video: 0,
        primary: None,
        max_lag,
        keep_audio,
    };
    for track in tracks {
        policy.tracks |= track_bit(track);
        if stream.kinds.get(track) == Some(&MediaKind::Video) {
            policy.video |= track_bit(track);
            policy.primary = Some(policy.primary.map_or(track, |first| first.min(track)));
        }
    }
    policy
}

/// Where a reader starts, and what it will see first of each track. A key frame before the unit
/// `not_before` is no start: players drop packets that are older than what they had.
pub(super) fn start(
    stream: &StreamInner,
    policy: &Policy,
    start: Start,
    not_before: u64,
    tracks: &[TrackChannels],
) -> (Cursor, Vec<RtpInfo>) {
    let at = now();
    let live = stream.live.lock();
    let ring = &live.ring;
    let cached = policy
        .primary
        .filter(|_| start == Start::Key)
        .and_then(|track| ring.newest_start(track))
        .filter(|number| *number >= not_before)
        .filter(|number| {
            ring.unit(*number).is_some_and(|unit| {
                at.saturating_duration_since(unit.arrival) <= stream.hub.config.start_age
            })
        });
    let next = cached.unwrap_or_else(|| ring.head());
    let info = tracks.iter().map(|track| {
        // Of another video track the first unit sent is a key frame that nobody knows yet.
        let certain = policy.video & track_bit(track.track) == 0
            || policy.primary == Some(track.track) && cached.is_some();
        let unit = ring.first_of(track.track, next).filter(|_| certain);
        RtpInfo {
            track: track.track,
            seq: unit.map(|unit| unit.seq),
            rtptime: unit.map(|unit| low_32(unit.ts)),
        }
    });
    (Cursor::new(next, policy), info.collect())
}

/// The asked channel numbers, unless they are the canonical ones.
fn channel_map(tracks: &[TrackChannels]) -> Option<ChannelMap> {
    if tracks
        .iter()
        .all(|track| *track == TrackChannels::canonical(track.track))
    {
        return None;
    }
    let mut map: ChannelMap = Box::new([0; 64]);
    for track in tracks {
        if let Some([rtp, rtcp]) = map.get_mut(track.track * 2..track.track * 2 + 2) {
            *rtp = track.rtp;
            *rtcp = track.rtcp;
        }
    }
    Some(map)
}

/// A reader as its shard has it.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) stream: Arc<StreamInner>,
    shared: Arc<ReaderShared>,
    cursor: Cursor,
    policy: Policy,
    out: Out,
    /// When the peer last took bytes.
    progress: Instant,
    /// Arrival of the oldest unit that it does not have.
    late_since: Option<Instant>,
    stall_timeout: Duration,
    _viewer: Option<Viewer>,
}

#[derive(Debug)]
enum Out {
    Tcp(TcpWriter),
    Udp(UdpWriter),
}

impl Reader {
    pub(super) fn id(&self) -> u64 {
        self.shared.id
    }

    pub(super) fn shared(&self) -> &Arc<ReaderShared> {
        &self.shared
    }

    /// Has all that there is: another shard can take it over without the ring keeping anything
    /// for it meanwhile.
    pub(super) fn is_current(&self) -> bool {
        self.late_since.is_none()
    }

    /// Number of the next unit.
    pub(super) fn position(&self) -> u64 {
        self.cursor.next
    }

    pub(super) fn turn(&mut self, window: &Window, at: Instant, plan: &mut Vec<Item>) -> Turn {
        let mut progress = false;
        let mut context = TurnContext {
            cursor: &mut self.cursor,
            policy: &self.policy,
            shared: &self.shared,
            window,
            now: at,
            plan,
            progress: &mut progress,
        };
        let turn = match &mut self.out {
            Out::Tcp(writer) => writer.turn(&mut context),
            Out::Udp(writer) => writer.turn(&mut context),
        };
        if progress {
            self.progress = at;
            // That a datagram left says nothing of the peer.
            if matches!(self.out, Out::Tcp(_)) {
                self.shared.life(at);
            }
        }
        self.late_since = match turn {
            Turn::Idle => None,
            _ => window.unit(self.cursor.next).map(|unit| unit.arrival),
        };
        turn
    }

    /// The unit that the ring should keep for it, unless it is too late anyway.
    pub(super) fn holds_back(&self, at: Instant) -> Option<u64> {
        let since = self.late_since?;
        let late = at.saturating_duration_since(since);
        (late <= self.policy.max_lag).then_some(self.cursor.next)
    }

    /// What a blocked reader waits for.
    pub(super) fn park(&self) -> BoxFuture<'static, ()> {
        match &self.out {
            Out::Tcp(writer) => writer.sink().park(),
            Out::Udp(writer) => writer.park(),
        }
    }

    pub(super) fn is_stalled(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.progress) >= self.stall_timeout
    }

    pub(super) fn wants_stop(&self) -> bool {
        let inbox = self.shared.inbox.lock();
        inbox.stop.is_some() || inbox.overflow || inbox.abandoned
    }

    /// Ends it as its inbox says.
    pub(super) fn stop(self: Box<Self>) {
        let (stop, overflow, pause) = {
            let mut inbox = self.shared.inbox.lock();
            (inbox.stop.take(), inbox.overflow, inbox.pause)
        };
        let pause = pause && !overflow;
        let end = if overflow {
            ReaderEnd::ControlOverflow
        } else {
            ReaderEnd::Stopped
        };
        let shared = Arc::clone(&self.shared);
        let (sink, rest, paused) = self.dismantle(&end, pause);
        if let Some(stop) = stop {
            // A caller who went away drops the sink and so closes the socket.
            let _ = stop.send(StoppedReader {
                sink,
                pending: pending(rest, &shared),
                paused,
            });
        }
        shared.ended.send_replace(Some(end));
    }

    pub(super) fn stalled(self: Box<Self>) {
        let end = ReaderEnd::Stalled(self.stall_timeout.as_secs());
        self.ended(end);
    }

    pub(super) fn ended(self: Box<Self>, end: ReaderEnd) {
        let shared = Arc::clone(&self.shared);
        self.dismantle(&end, false);
        shared.ended.send_replace(Some(end));
    }

    fn dismantle(
        self: Box<Self>,
        end: &ReaderEnd,
        pause: bool,
    ) -> (Option<Box<dyn Sink>>, BytesMut, Option<PausedReader>) {
        self.stream.reader_ended(&self.shared, end);
        let (stream, next) = (self.stream.id, self.cursor.next);
        let paused = |peers, within| {
            pause.then(|| PausedReader {
                stream,
                next: next + u64::from(within),
                peers,
            })
        };
        match self.out {
            Out::Tcp(writer) => {
                let within = writer.is_within();
                let (sink, rest) = writer.into_parts();
                (Some(sink), rest, paused(Vec::new(), within))
            }
            Out::Udp(writer) => {
                if !pause {
                    writer.say_goodbye(&Stream { inner: self.stream });
                }
                let (peers, within) = writer.into_parts();
                (None, BytesMut::new(), paused(peers, within))
            }
        }
    }
}

/// What [`ReaderHandle::stop`] and [`ReaderHandle::pause`] give back.
#[derive(Debug)]
pub struct StoppedReader {
    /// The sink, when it still works (never for UDP).
    pub sink: Option<Box<dyn Sink>>,
    /// Write this first: the rest of a half sent packet and answers that waited.
    pub pending: Bytes,
    /// For going on, when it was paused and has not ended by itself before.
    pub paused: Option<PausedReader>,
}

/// A running reader. Dropping it stops the reader.
#[derive(Debug)]
pub struct ReaderHandle {
    stream: u64,
    shared: Arc<ReaderShared>,
}

impl ReaderHandle {
    /// Sends bytes (an RTSP answer) at the next packet boundary, before further units.
    ///
    /// # Errors
    /// [`ControlError`] when too much waits or the reader has ended.
    pub fn control(&self, bytes: Bytes) -> Result<(), ControlError> {
        if self.shared.ended.borrow().is_some() {
            return Err(ControlError::Ended);
        }
        let full = {
            let mut inbox = self.shared.inbox.lock();
            inbox.control_len = inbox.control_len.saturating_add(bytes.len());
            inbox.overflow |= inbox.control_len > MAX_CONTROL;
            if !inbox.overflow {
                inbox.control.push_back(bytes);
            }
            self.shared.pending.store(true, Ordering::Release);
            inbox.overflow
        };
        self.tell();
        if full {
            Err(ControlError::Overflow)
        } else {
            Ok(())
        }
    }

    /// Takes writing back for a while (PAUSE). The peer is not told that anything ended, and what
    /// it is sent later goes on after what it has.
    pub async fn pause(self) -> StoppedReader {
        self.shared.inbox.lock().pause = true;
        self.stop().await
    }

    /// Takes writing back for good (TEARDOWN). The stream's position is lost.
    pub async fn stop(self) -> StoppedReader {
        let (sender, mut receiver) = oneshot::channel();
        self.shared.inbox.lock().stop = Some(sender);
        self.tell();
        let mut ended = self.shared.ended.subscribe();
        let gone = StoppedReader {
            sink: None,
            pending: Bytes::new(),
            paused: None,
        };
        tokio::select! {
            biased;
            stopped = &mut receiver => stopped.unwrap_or(gone),
            // The shard hands the sink back before it says that the reader ended: it may have done
            // both since the receiver was asked.
            _ = ended.wait_for(Option::is_some) => receiver.try_recv().unwrap_or(gone),
        }
    }

    /// Resolves when the reader has ended by itself.
    pub fn ended(&self) -> impl Future<Output = ReaderEnd> + Send + 'static {
        let mut ended = self.shared.ended.subscribe();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(end) => end.clone().unwrap_or(ReaderEnd::Stopped),
                Err(_) => ReaderEnd::Stopped,
            }
        }
    }

    /// When the kernel last took bytes; over UDP, when the peer's last RTCP came.
    pub fn last_life(&self) -> Instant {
        self.shared.last_life()
    }

    /// Counters.
    pub fn info(&self) -> ReaderInfo {
        self.shared.info(now())
    }

    fn tell(&self) {
        self.shared.tell(self.stream);
    }
}

impl Drop for ReaderHandle {
    fn drop(&mut self) {
        if self.shared.ended.borrow().is_none() {
            self.shared.inbox.lock().abandoned = true;
            self.tell();
        }
    }
}
