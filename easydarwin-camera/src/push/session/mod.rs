//! RTSP from ANNOUNCE to RECORD and TEARDOWN, and frames as packets in between.

mod handshake;

use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf as _, BytesMut};
use easydarwin_core::media::{SessionDescription, sdp};
use easydarwin_core::protocol::ClockQuality;
use easydarwin_core::rtsp::{ClientSession, ClientStep, ClientUrl, Limits, Login, Method};

use fastrand::Rng;

use self::handshake::control;
use super::PushError;
use super::output::{Lane, Output};
use super::track::TrackSender;
use super::wall;
use crate::frames::{DropCause, FrameFeed};

/// Datagrams that nobody reports on for so long do not arrive.
const UNHEARD: Duration = Duration::from_secs(10);
/// Nobody waits longer for an answer to a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// The time between pictures that is assumed before it is known.
const USUAL_INTERVAL: Duration = Duration::from_millis(33);

/// What a session is to do.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) url: ClientUrl,
    pub(crate) login: Login,
    /// A password may go in the clear: the connection is encrypted.
    pub(crate) secure: bool,
    pub(crate) description: SessionDescription,
    /// How well the time of the sender reports is known.
    pub(crate) quality: ClockQuality,
    /// Our ports for each track, to send datagrams.
    pub(crate) ports: Option<Vec<(u16, u16)>>,
    /// For the answer to one request.
    pub(crate) request_timeout: Duration,
    /// How long the server may take no data.
    pub(crate) stall_timeout: Duration,
    /// From a generator fit for secrets.
    pub(crate) random: u64,
}

/// What became of the input.
#[derive(Debug)]
pub(crate) enum Step {
    /// The server takes media from now on.
    Recording,
    /// The stream is elsewhere.
    Redirected(String),
    /// TEARDOWN was answered, or nobody waits for that any longer.
    Left,
}

/// A datagram to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Index of its track.
    pub track: usize,
    /// It is RTCP.
    pub rtcp: bool,
    /// Its bytes.
    pub data: &'a [u8],
}

/// Which frames could be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hungry {
    pub(crate) video: bool,
    pub(crate) audio: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Announcing,
    SettingUp(usize),
    Asking,
    Recording,
    Leaving,
}

/// A session at a media server: ANNOUNCE, SETUP of each track, RECORD, media, TEARDOWN.
#[derive(Debug)]
pub(crate) struct Session {
    rtsp: ClientSession,
    config: SessionConfig,
    stage: Stage,
    tracks: Vec<TrackSender>,
    /// The server's ports for each track; empty over TCP.
    remote: Vec<(Option<String>, (u16, u16))>,
    /// Datagrams were agreed on.
    datagrams: bool,
    random: Rng,
    input: BytesMut,
    output: Output,
    /// Video and audio apart, so that sound need not wait for a large picture.
    lanes: [Lane; 2],
    reports: Lane,
    interval: Duration,
    last_video: Option<Instant>,
    /// When the answer to the request under way has to be there.
    deadline: Option<(Method, Instant)>,
    stalled: Option<Instant>,
    heard: Option<Instant>,
}

impl Session {
    /// A session on a connection that is there.
    pub(crate) fn new(config: SessionConfig, now: Instant) -> Self {
        let mut random = Rng::with_seed(config.random);
        let mut rtsp = ClientSession::new(
            &config.url,
            config.login.clone(),
            format!("{:016x}", random.u64(..)),
            crate::USER_AGENT,
            Limits::default(),
        );
        rtsp.allow_basic(config.secure);
        let write = sdp::WriteOptions {
            session_id: random.u64(..) >> 1,
            session_control: Some("*".to_owned()),
            live_range: false,
            attributes: wall::attributes(config.quality),
            ..sdp::WriteOptions::default()
        };
        let text = sdp::write(&config.description, &write, control);
        rtsp.announce(text.into());
        let mut session = Self {
            rtsp,
            stage: Stage::Announcing,
            tracks: Vec::with_capacity(config.description.tracks.len()),
            remote: Vec::new(),
            datagrams: config.ports.is_some(),
            config,
            random,
            input: BytesMut::new(),
            output: Output::default(),
            lanes: [Lane::new(), Lane::new()],
            reports: Lane::new(),
            interval: USUAL_INTERVAL,
            last_video: None,
            deadline: None,
            stalled: None,
            heard: None,
        };
        session.asked(Method::Announce, now);
        session
    }

    /// Whether media can be sent.
    pub(crate) fn is_recording(&self) -> bool {
        self.stage == Stage::Recording
    }

    /// Whether media travels as datagrams.
    pub(crate) fn has_datagrams(&self) -> bool {
        self.datagrams
    }

    /// Where datagrams of a track go: the address that the server named, if it did, and its ports.
    pub(crate) fn remote(&self, track: usize) -> Option<(Option<&str>, (u16, u16))> {
        let (source, ports) = self.remote.get(track)?;
        Some((source.as_deref(), *ports))
    }

    /// Takes bytes of the server.
    pub(crate) fn received(
        &mut self,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Option<Step>, PushError> {
        self.input.extend_from_slice(bytes);
        loop {
            let (consumed, event) = match self.rtsp.next(&self.input, now) {
                ClientStep::NeedMore => return Ok(None),
                ClientStep::Handled { consumed } => (consumed, None),
                // Receiver reports, which change nothing over TCP.
                ClientStep::Interleaved { consumed, .. } => (consumed, None),
                ClientStep::Event { consumed, event } => (consumed, Some(event)),
                ClientStep::Failed(error) => return Err(error.into()),
            };
            self.input.advance(consumed);
            self.take_output();
            if let Some(event) = event
                && let Some(step) = self.event(event, now)?
            {
                return Ok(Some(step));
            }
        }
    }

    /// Takes a datagram of the server.
    pub(crate) fn received_datagram(&mut self, data: &[u8], now: Instant) {
        // Whatever it reports: datagrams get through. Version 2, SR or RR first (RFC 3550, 6.1).
        if let [0x80..=0xbf, 200 | 201, ..] = data
            && self.heard.is_some()
        {
            self.heard = Some(now);
        }
    }

    /// Begins to leave: what was begun is finished, then comes TEARDOWN.
    pub(crate) fn leave(&mut self, now: Instant) {
        if self.stage == Stage::Leaving {
            return;
        }
        self.stage = Stage::Leaving;
        self.rtsp.teardown();
        self.take_output();
        self.deadline = Some((Method::Teardown, now + GOODBYE));
    }

    /// Time has come to [`poll_timeout`](Self::poll_timeout), or passed.
    pub(crate) fn timeout(&mut self, now: Instant) -> Result<Option<Step>, PushError> {
        self.rtsp.handle_timeout(now);
        self.take_output();
        if let Some((method, at)) = self.deadline.clone()
            && now >= at
        {
            if self.stage == Stage::Leaving {
                return Ok(Some(Step::Left));
            }
            let after = self.config.request_timeout;
            return Err(PushError::NoAnswer { method, after });
        }
        if self
            .stalled
            .is_some_and(|since| now >= since + self.config.stall_timeout)
        {
            let after = self.config.stall_timeout;
            return Err(PushError::Stalled { after });
        }
        if self.heard.is_some_and(|heard| now >= heard + UNHEARD) {
            return Err(PushError::Unheard { after: UNHEARD });
        }
        Ok(None)
    }

    /// When [`timeout`](Self::timeout) or [`fill`](Self::fill) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline.as_ref().map(|(_, at)| *at);
        let stalled = self.stalled.map(|since| since + self.config.stall_timeout);
        let heard = self.heard.map(|heard| heard + UNHEARD);
        let reports = self.tracks.iter().filter_map(TrackSender::report_due);
        let lanes = self.lanes.iter().filter_map(Lane::poll_timeout);
        let own = [self.rtsp.poll_timeout(), deadline, stalled, heard];
        own.into_iter().flatten().chain(reports).chain(lanes).min()
    }

    /// Makes packets of what the feed has, as long as there is nothing else to write.
    /// `wall` is the wall clock of this moment.
    pub(crate) fn fill(&mut self, feed: &mut FrameFeed, wall: SystemTime, now: Instant) {
        if self.stage != Stage::Recording {
            return;
        }
        if self.datagrams {
            self.fill_lanes(feed, wall, now);
            return;
        }
        let Some(run) = self.output.free_run() else {
            return;
        };
        for track in &mut self.tracks {
            if track.report_due().is_some_and(|due| due <= now) {
                track.report(now, wall, run);
            }
        }
        while run.is_empty()
            && let Some(next) = feed.next(now)
        {
            let track = self.tracks.get_mut(next.track);
            let made = track.map(|track| track.packetize(&next, feed.read(&next), run));
            let dropped = (!matches!(made, Some(Ok(())))).then_some(DropCause::Format);
            feed.done(&next, dropped, now);
        }
    }

    /// What is to be written to the connection.
    pub(crate) fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// So much of [`output`](Self::output) was; 0 when the connection takes nothing now.
    pub(crate) fn written(&mut self, count: usize, now: Instant) {
        self.output.advance(count);
        if count > 0 || self.output.pending().is_empty() {
            self.stalled = None;
        } else {
            self.stalled.get_or_insert(now);
        }
    }

    /// Whether frames of video and of audio could be taken now.
    pub(crate) fn hungry(&self) -> Hungry {
        if self.stage != Stage::Recording {
            return Hungry::default();
        }
        if self.datagrams {
            let [video, audio] = &self.lanes;
            return Hungry {
                video: video.is_free(),
                audio: audio.is_free(),
            };
        }
        let free = self.output.pending().is_empty();
        Hungry {
            video: free,
            audio: free,
        }
    }

    /// The next datagram that may go now.
    pub(crate) fn datagram(&self, now: Instant) -> Option<Datagram<'_>> {
        let lanes = [&self.reports].into_iter().chain(self.lanes.iter().rev());
        let (channel, data) = lanes.into_iter().find_map(|lane| lane.due(now))?;
        Some(Datagram {
            track: usize::from(channel / 2),
            rtcp: channel % 2 == 1,
            data,
        })
    }

    /// It was sent, or lost.
    pub(crate) fn datagram_sent(&mut self, now: Instant) {
        let mut lanes = [&mut self.reports]
            .into_iter()
            .chain(self.lanes.iter_mut().rev());
        if let Some(lane) = lanes.find(|lane| lane.due(now).is_some()) {
            lane.advance(now);
        }
    }

    fn fill_lanes(&mut self, feed: &mut FrameFeed, wall: SystemTime, now: Instant) {
        if let Some(run) = self.reports.free_run() {
            for track in &mut self.tracks {
                if track.report_due().is_some_and(|due| due <= now) {
                    track.report(now, wall, run);
                }
            }
        }
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let audio = at == 1;
            let Some(run) = lane.free_run() else {
                continue;
            };
            let mut paced = None;
            while run.is_empty()
                && let Some(next) = feed.next_of(now, Some(audio))
            {
                let track = self.tracks.get_mut(next.track);
                let made = track.map(|track| track.packetize(&next, feed.read(&next), run));
                let dropped = (!matches!(made, Some(Ok(())))).then_some(DropCause::Format);
                feed.done(&next, dropped, now);
                paced = Some(next.pushed);
            }
            if let Some(pushed) = paced.filter(|_| !audio) {
                let last = self.last_video.replace(pushed);
                let since = last.map(|last| pushed.saturating_duration_since(last));
                if let Some(since) = since.filter(|since| *since < 10 * USUAL_INTERVAL) {
                    self.interval = (self.interval * 7 + since) / 8;
                }
                lane.pace(self.interval);
            }
        }
    }
}
