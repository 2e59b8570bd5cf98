use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::clock::{adjust, ticks, unix_nanos};
use super::faults::{FaultPolicy, Noted};
use super::filter::{Filtering, UnknownTrack, payloads, rescale};
use super::ingest::{TrackIngest, low_32};
use super::live::StreamInner;
use super::unit::Unit;
use super::{EndReason, SocketId, Stream, Verdict};
use crate::media::{AccessUnit, MediaKind};
use crate::rtp::rtcp::{self, RtcpPacket};
use crate::rtp::{PacketRun, Packetizer, PacketizerConfig, RtpPacket, is_rtcp};

/// Units collected before they are made visible although no [`Publisher::flush`] came.
const MAX_PENDING: usize = 256;
/// Interval at which the bit rate is measured.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// The right to feed one stream. Dropping it ends the stream (after
/// [`offline_grace`](super::RelayConfig::offline_grace)).
///
/// After each read from the network call [`flush`](Self::flush) once; packets become visible to
/// readers there. Packets of a UDP publisher go through `rtp::ReorderBuffer` first.
#[derive(Debug)]
pub struct Publisher {
    pub(super) stream: Stream,
    generation: u64,
    /// Which of the stream's publishers this is; units of another are refused.
    pub(super) owner: u64,
    closed: watch::Receiver<Option<EndReason>>,
    pub(super) tracks: Vec<TrackIngest>,
    filter: Option<Box<Filtering>>,
    /// Packetizers of tracks that are fed from code.
    packetizers: Vec<Option<Packetizer>>,
    run: PacketRun,
    pending: Vec<Unit>,
    reason: EndReason,
    last_packet: Instant,
    next_report: Option<Instant>,
    last_report: Instant,
    rate_since: Instant,
    rate_bytes: u64,
    pub(super) noted: Noted,
    pub(super) faults: FaultPolicy,
    ready: bool,
    offline_grace: Option<Duration>,
}

impl Publisher {
    pub(super) fn new(
        stream: Stream,
        generation: u64,
        owner: u64,
        closed: watch::Receiver<Option<EndReason>>,
        tracks: Vec<TrackIngest>,
        filter: Option<Box<Filtering>>,
        now: Instant,
    ) -> Self {
        Self {
            stream,
            generation,
            owner,
            closed,
            packetizers: tracks.iter().map(|_| None).collect(),
            tracks,
            filter,
            run: PacketRun::new(),
            pending: Vec::new(),
            reason: EndReason::PublisherLeft,
            last_packet: now,
            next_report: None,
            last_report: now,
            rate_since: now,
            rate_bytes: 0,
            noted: Noted::default(),
            faults: FaultPolicy::default(),
            ready: false,
            offline_grace: None,
        }
    }

    /// The stream that it feeds.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The generation under which it publishes.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tracks that it offered, with those that a [`MediaFilter`](super::MediaFilter) leaves out:
    /// indices of tracks here are below this, whatever the stream's are.
    pub fn offered_tracks(&self) -> usize {
        match &self.filter {
            None => self.tracks.len(),
            Some(filter) => filter.offered(),
        }
    }

    /// Takes one RTP packet of track `track` as it came. Malformed packets and unknown tracks are
    /// counted and dropped.
    pub fn push_rtp(&mut self, track: usize, packet: &[u8], now: Instant) {
        let Ok(view) = RtpPacket::parse(packet) else {
            return self.not_rtp(track, packet, now);
        };
        if self.filter.is_some() {
            self.push_filtered(track, &view, now);
        } else if !self.ingest(track, &view, Verdict::Pass, now) {
            self.misplaced(track, &view, now);
        }
    }

    fn push_filtered(&mut self, track: usize, packet: &RtpPacket<'_>, now: Instant) {
        let Some(mut filter) = self.filter.take() else {
            return;
        };
        match filter.route(track) {
            Err(_) => self.stream.inner.counters.invalid.add(1),
            // Left out, but the publisher is alive.
            Ok(None) => self.heard(now),
            Ok(Some(route)) => {
                let verdict = filter.judge(track, *packet, now);
                if !self.ingest(route, packet, verdict, now) {
                    self.stream.inner.counters.invalid.add(1);
                }
                self.heard(now);
                while let Some((own, data)) = filter.take_own() {
                    let timestamp = (filter.lead() == Some(route)).then_some(packet.timestamp());
                    self.push_own(own, filter.lead(), timestamp, &data, now);
                }
            }
        }
        self.filter = Some(filter);
    }

    fn heard(&mut self, now: Instant) {
        self.last_packet = now;
        self.stream.inner.heard(now);
    }

    /// Data of the filter's own track `own` goes out with the media time of track `lead`.
    fn push_own(
        &mut self,
        own: usize,
        lead: Option<usize>,
        timestamp: Option<u32>,
        data: &[u8],
        now: Instant,
    ) {
        let inner = &self.stream.inner;
        let rate = |track: usize| inner.identities.get(track).map_or(1, |id| id.clock_rate);
        let time = match lead.and_then(|lead| Some((lead, self.tracks.get(lead)?))) {
            Some((lead, track)) => track
                .media_time(timestamp, now, &inner.hub.wall)
                .map(|ts| rescale(ts, rate(lead), rate(own))),
            None => Some(ticks(
                now.saturating_duration_since(inner.created),
                rate(own),
            )),
        };
        let (Some(ts), Some(ingest)) = (time, self.tracks.get_mut(own)) else {
            inner.counters.invalid.add(1);
            return;
        };
        for (payload, last) in payloads(data) {
            let wall = &inner.hub.wall;
            ingest.push_own(payload, last, ts, now, wall, &mut self.pending);
        }
    }

    /// Whether the track took the packet, or could.
    pub(super) fn ingest(
        &mut self,
        track: usize,
        view: &RtpPacket<'_>,
        verdict: Verdict,
        now: Instant,
    ) -> bool {
        let inner = &self.stream.inner;
        let Some(ingest) = self.tracks.get_mut(track) else {
            return false;
        };
        self.last_packet = now;
        self.rate_bytes += u64::try_from(view.data().len()).unwrap_or(0);
        let taken = ingest.push(
            view,
            verdict,
            now,
            &inner.hub.wall,
            &mut self.pending,
            &mut self.noted,
        );
        if self.pending.len() >= MAX_PENDING {
            self.commit(now);
        }
        taken
    }

    /// Names the socket from which the packets of a track come, so that the stream's info can show
    /// what the kernel dropped.
    pub fn watch_socket(&mut self, track: usize, socket: Option<SocketId>) {
        if let Some(ingest) = self.tracks.get(track) {
            ingest.counters.watch(socket);
        }
    }

    /// Takes one compound RTCP packet of track `track`. It is consumed, never forwarded.
    pub fn push_rtcp(&mut self, track: usize, packet: &[u8], now: Instant) {
        if !is_rtcp(packet) {
            return self.not_rtcp(track, packet, now);
        }
        let route = match self.route(track) {
            // A track that the filter leaves out.
            Ok(None) => return,
            Ok(Some(route)) => self.tracks.get_mut(route),
            Err(_) => None,
        };
        let Some(ingest) = route else {
            self.stream.inner.counters.invalid.add(1);
            return;
        };
        for item in rtcp::parse(packet) {
            match item {
                Ok(RtcpPacket::SenderReport(report, _)) => {
                    ingest.reception.on_sender_report(report.ntp, now);
                    if let Some(ts) = ingest.translate_ts(report.rtp_time) {
                        ingest
                            .clock
                            .on_publisher_report(ts, unix_nanos(report.ntp.into()));
                    }
                }
                // A goodbye passed on would end the readers; the connection's end is what counts.
                Ok(_) => {}
                Err(_) => self.stream.inner.counters.invalid.add(1),
            }
        }
    }

    /// Publishes an access unit from code. Do not mix with [`push_rtp`](Self::push_rtp) on one
    /// track. Call [`flush`](Self::flush) afterwards.
    ///
    /// Units that cannot be expressed in packets are counted as invalid and dropped.
    pub fn push_unit(&mut self, unit: &AccessUnit) {
        let route = match self.route(unit.track) {
            Ok(None) => return self.heard(unit.arrival),
            Ok(Some(route)) => route,
            // Counted below: no track has this index.
            Err(_) => usize::MAX,
        };
        let mut run = std::mem::take(&mut self.run);
        run.clear();
        let made = self.packetize(route, unit, &mut run);
        if made {
            for packet in run.packets() {
                self.push_rtp(unit.track, packet, unit.arrival);
            }
        } else {
            self.stream.inner.counters.invalid.add(1);
        }
        self.run = run;
    }

    /// The stream's index of a track of this publisher; `None`: the filter leaves it out.
    fn route(&self, track: usize) -> Result<Option<usize>, UnknownTrack> {
        match &self.filter {
            None => Ok(Some(track)),
            Some(filter) => filter.route(track),
        }
    }

    fn packetize(&mut self, route: usize, unit: &AccessUnit, run: &mut PacketRun) -> bool {
        let Some(slot) = self.packetizers.get_mut(route) else {
            return false;
        };
        let description = self.stream.description();
        let (Some(track), Some(identity)) = (
            description.tracks.get(route),
            self.stream.tracks().get(route),
        ) else {
            return false;
        };
        let packetizer = slot.get_or_insert_with(|| {
            let config = PacketizerConfig {
                ssrc: identity.ssrc,
                payload_type: track.payload_type,
                ..PacketizerConfig::default()
            };
            Packetizer::new(track, config)
        });
        packetizer.packetize(unit, low_32(unit.pts), run).is_ok()
    }

    /// End of a read wake-up: makes what is complete (or big, or old) visible to readers.
    /// Returns false once the stream was closed or taken over: stop then.
    pub fn flush(&mut self, now: Instant) -> bool {
        let inner = Arc::clone(&self.stream.inner);
        let merge = inner.hub.config.merge;
        let filter = self.filter.as_deref();
        let lead = filter.and_then(Filtering::lead);
        let mut lead_open = false;
        for (index, track) in self.tracks.iter_mut().enumerate() {
            // Own data follows the picture that it belongs to: who starts at that gets it.
            if lead_open && filter.is_some_and(|filter| filter.is_own(index)) {
                continue;
            }
            let wall = &inner.hub.wall;
            track.flush(now, merge, wall, &mut self.pending, &mut self.noted);
            lead_open |= lead == Some(index) && track.is_open();
        }
        self.measure_rate(&inner, now);
        if self.next_report.is_some_and(|due| now >= due) {
            self.report(&inner, now);
        }
        self.commit(now)
    }

    /// When [`flush`](Self::flush) is due although nothing more came.
    pub fn flush_deadline(&self) -> Option<Instant> {
        let merge = self.stream.inner.hub.config.merge;
        self.tracks
            .iter()
            .filter_map(|track| track.deadline(merge))
            .min()
    }

    /// When the last valid RTP packet came (at first: when it was made).
    pub fn last_packet(&self) -> Instant {
        self.last_packet
    }

    /// The RTCP receiver report for `track`, to be sent to a UDP publisher now and then; `None`
    /// before its first packet.
    pub fn receiver_report(&mut self, track: usize, now: Instant) -> Option<Bytes> {
        let track = self.route(track).ok()??;
        let ssrc = self.stream.tracks().get(track)?.ssrc;
        let block = self.tracks.get_mut(track)?.reception.report_block(now)?;
        let mut out = BytesMut::new();
        rtcp::write_receiver_report(ssrc, &[block], self.stream.path().as_str(), &mut out);
        Some(out.freeze())
    }

    /// Resolves when the stream was closed or taken over.
    pub fn closed(&self) -> impl Future<Output = EndReason> + Send + 'static {
        let mut closed = self.closed.clone();
        async move {
            match closed.wait_for(Option::is_some).await {
                Ok(reason) => reason.unwrap_or(EndReason::Closed),
                Err(_) => EndReason::Closed,
            }
        }
    }

    /// How long readers wait for another publisher once this one is gone, if not for
    /// [`RelayConfig::offline_grace`](super::RelayConfig::offline_grace).
    pub fn set_offline_grace(&mut self, grace: Duration) {
        self.offline_grace = Some(grace);
    }

    /// Ends the publisher with a reason; dropping it means [`EndReason::PublisherLeft`].
    pub fn end(mut self, reason: EndReason) {
        self.reason = reason;
    }

    fn commit(&mut self, now: Instant) -> bool {
        if self.pending.is_empty() {
            return self.closed.borrow().is_none();
        }
        if self.noted.any {
            self.act_on_noted(now);
        }
        let inner = &self.stream.inner;
        let video = inner.has_video();
        let ready = !self.ready
            && (self.pending.iter().any(|unit| {
                let kind = inner.kinds.get(unit.track);
                // Every packet of sound is one to start at.
                !video || unit.flags.key && kind == Some(&MediaKind::Video)
            }) || self.tracks.iter().any(|track| track.keyless));
        self.ready |= ready;
        if self.next_report.is_none() {
            self.next_report = Some(now + inner.hub.config.report_interval);
            self.last_report = now;
        }
        inner.set_anchors(&self.tracks);
        let keyless = self
            .tracks
            .iter()
            .enumerate()
            .filter(|(_, track)| track.keyless)
            .map(|(index, _)| index);
        inner.commit(self.owner, &mut self.pending, keyless, ready, now)
    }

    #[cold]
    fn act_on_noted(&mut self, now: Instant) {
        self.noted.any = false;
        if std::mem::take(&mut self.noted.params_changed) {
            let codecs = self.tracks.iter().map(TrackIngest::codec);
            self.stream.inner.set_codecs(self.owner, codecs);
        }
        let repairs = self.noted.take_repairs();
        if !repairs.is_empty() {
            self.on_repairs(&repairs, now);
        }
    }

    fn report(&mut self, inner: &StreamInner, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last_report);
        self.last_report = now;
        self.next_report = Some(now + inner.hub.config.report_interval);
        let (mut clocks, mut own) = (Vec::new(), Vec::new());
        let tracks = self.tracks.iter_mut().zip(inner.identities.iter());
        for (index, (track, identity)) in tracks.enumerate() {
            let clock = (&mut track.clock, identity.clock_rate);
            match &self.filter {
                // The publisher's reports say nothing of tracks that are not its own.
                Some(filter) if filter.is_own(index) => own.push(clock),
                _ => clocks.push(clock),
            }
        }
        adjust(&mut clocks, elapsed);
        for clock in &mut own {
            adjust(std::slice::from_mut(clock), elapsed);
        }
        inner.set_anchors(&self.tracks);
        inner.report_units(now, &mut self.pending);
    }

    fn measure_rate(&mut self, inner: &StreamInner, now: Instant) {
        let elapsed = now.saturating_duration_since(self.rate_since);
        if elapsed < RATE_INTERVAL {
            return;
        }
        let millis = u64::try_from(elapsed.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        inner
            .counters
            .measured(self.rate_bytes.saturating_mul(8_000) / millis);
        self.rate_bytes = 0;
        self.rate_since = now;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let inner = Arc::clone(&self.stream.inner);
        for track in &mut self.tracks {
            track.finish(&inner.hub.wall, &mut self.pending);
        }
        let now = super::hub::now();
        self.commit(now);
        let grace = self.offline_grace.unwrap_or(inner.hub.config.offline_grace);
        inner.publisher_gone(self.owner, self.reason, grace);
    }
}
