//! One connection to a source, from DESCRIBE to the answer to TEARDOWN, without sockets.

mod handshake;
mod media;
mod opening;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub(in crate::pull) use self::opening::{Opening, StaleSession};
use super::track::{Lane, ReceivedTrack};
use super::{Failure, PullConfig, PullTransport, Quirk};
use crate::media::{Repairs, SessionDescription};
use crate::rtsp::{ClientSession, ClientStep, KeepAlive, Method, Transport};

/// Distance of receiver reports (RFC 3550, 6.2).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// One connection's life.
pub(in crate::pull) struct Conversation {
    session: ClientSession,
    times: Times,
    transport: PullTransport,
    phase: Phase,
    /// When the answer that is awaited is given up.
    due: Option<Instant>,
    output: BytesMut,
    happened: VecDeque<Happened>,
    description: SessionDescription,
    /// Indices into the description of what is still to be set up, with the URLs to try.
    to_set_up: VecDeque<usize>,
    urls: VecDeque<String>,
    /// What was set up, and its index in the description.
    tracks: Vec<ReceivedTrack>,
    published: Vec<usize>,
    /// Ports of the track that is being set up.
    ports: Option<(u16, u16)>,
    announced: bool,
    playing_since: Option<Instant>,
    last_media: Option<Instant>,
    report_due: Option<Instant>,
    stale: Option<StaleSession>,
    plain_basic: bool,
    /// Why it ends, once that is decided.
    ending: Option<Failure>,
    torn_down: bool,
    strict: bool,
    /// What was repaired of the description.
    repairs: Repairs,
    tool: Option<String>,
    /// Where the stream is, if it is elsewhere.
    location: Option<String>,
    random: u64,
}

impl std::fmt::Debug for Conversation {
    /// Without URLs and bytes, which hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation")
            .field("session", &self.session)
            .field("transport", &self.transport)
            .field("phase", &self.phase)
            .field("tracks", &self.tracks.len())
            .field("playing_since", &self.playing_since)
            .field("last_media", &self.last_media)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Times {
    request: Duration,
    first_media: Duration,
    silence: Duration,
    goodbye: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The connection is being made.
    Dialing,
    /// A session of an earlier connection is being ended.
    Clearing,
    Describing,
    /// Ports are being found for a track.
    Binding(usize),
    SettingUp(usize),
    Starting,
    Playing,
    Leaving,
    Over,
}

/// What [`Conversation::next`] found.
#[derive(Debug, PartialEq)]
pub(in crate::pull) enum Step<'a> {
    NeedMore,
    Handled {
        consumed: usize,
    },
    Media {
        consumed: usize,
        track: usize,
        rtcp: bool,
        data: &'a [u8],
    },
}

/// What the supervisor has to know or do.
#[derive(Debug, PartialEq)]
pub(in crate::pull) enum Happened {
    /// Sockets are wanted for a track; answer with [`Conversation::bound`].
    Bind {
        track: usize,
    },
    /// The peer's side of a track's sockets.
    Peer {
        track: usize,
        source: Option<String>,
        ports: Option<(u16, u16)>,
    },
    /// RTCP to be sent by datagram.
    Report {
        track: usize,
        packet: Bytes,
    },
    /// Media comes (or will in a moment): the stream is to be published.
    Publish(SessionDescription),
    /// PLAY was answered and the first media is there.
    Playing,
    Quirk(Quirk),
    /// It is over.
    Over(Failure),
}

impl Conversation {
    pub(in crate::pull) fn new(opening: Opening<'_>, config: &PullConfig) -> Self {
        let mut session = ClientSession::new(
            opening.url,
            opening.login,
            format!("{:016x}", opening.random),
            config.user_agent.as_str(),
            config.limits.clone(),
        );
        session.set_keep_alive(opening.keep_alive);
        Self {
            session,
            times: Times {
                request: config.request_timeout,
                first_media: config.first_media,
                silence: config.silence,
                goodbye: config.goodbye,
            },
            transport: opening.transport,
            phase: Phase::Dialing,
            due: None,
            output: BytesMut::new(),
            happened: VecDeque::new(),
            description: SessionDescription::default(),
            to_set_up: VecDeque::new(),
            urls: VecDeque::new(),
            tracks: Vec::new(),
            published: Vec::new(),
            ports: None,
            announced: false,
            playing_since: None,
            last_media: None,
            report_due: None,
            stale: opening.stale,
            plain_basic: opening.plain_basic,
            ending: None,
            torn_down: false,
            strict: config.strict,
            repairs: Repairs::default(),
            tool: None,
            location: None,
            random: opening.random,
        }
    }

    /// The connection stands; `secure`: nobody on the way can read along.
    pub(in crate::pull) fn connected(&mut self, secure: bool, now: Instant) {
        if self.phase != Phase::Dialing {
            return;
        }
        self.session.allow_basic(secure || self.plain_basic);
        match self.stale.take() {
            Some(stale) => {
                self.phase = Phase::Clearing;
                self.quirk(Quirk::StaleTeardown);
                self.session.teardown_other(&stale.url, &stale.id);
            }
            None => {
                self.phase = Phase::Describing;
                self.session.describe();
            }
        }
        self.await_answer(now);
    }

    /// The connection is closed, by the peer or because it broke.
    pub(in crate::pull) fn closed(&mut self) {
        self.over(Failure::Closed);
    }

    /// Takes one step with the bytes that were read and not yet consumed.
    pub(in crate::pull) fn next<'a>(&mut self, buf: &'a [u8], now: Instant) -> Step<'a> {
        if self.phase == Phase::Over {
            return match buf.len() {
                0 => Step::NeedMore,
                consumed => Step::Handled { consumed },
            };
        }
        match self.session.next(buf, now) {
            ClientStep::NeedMore => Step::NeedMore,
            ClientStep::Handled { consumed } => Step::Handled { consumed },
            ClientStep::Event { consumed, event } => {
                self.on_event(event, now);
                Step::Handled { consumed }
            }
            ClientStep::Interleaved {
                consumed,
                channel,
                data,
            } => match self.on_frame(channel, data, now) {
                Some((track, rtcp)) => Step::Media {
                    consumed,
                    track,
                    rtcp,
                    data,
                },
                None => Step::Handled { consumed },
            },
            ClientStep::Failed(error) => {
                self.over(error.into());
                Step::Handled {
                    consumed: buf.len(),
                }
            }
        }
    }

    /// What has to be written now.
    pub(in crate::pull) fn take_output(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.session.take_output() {
            self.output.extend_from_slice(&bytes);
        }
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    pub(in crate::pull) fn poll_happened(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(in crate::pull) fn poll_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Over {
            return None;
        }
        let keep_alive = self.session.poll_timeout();
        let silence = self.silent_at();
        let reorder = self.tracks.iter().filter_map(ReceivedTrack::deadline).min();
        [self.due, keep_alive, silence, self.report_due, reorder]
            .into_iter()
            .flatten()
            .min()
    }

    pub(in crate::pull) fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            match self.phase {
                Phase::Leaving => self.over(Failure::Stopped),
                _ => self.unanswered(),
            }
        }
        if self.silent_at().is_some_and(|at| at <= now) {
            let failure = match self.last_media {
                None => Failure::NoMedia(self.times.first_media),
                Some(_) => Failure::Silent(self.times.silence),
            };
            self.leave(failure, now);
        }
        if matches!(self.phase, Phase::Over | Phase::Leaving) {
            return;
        }
        self.session.handle_timeout(now);
        if self.report_due.is_some_and(|due| due <= now) {
            self.report(now);
        }
    }

    /// Ends the session: TEARDOWN if there is one to end, and a short wait for its answer.
    pub(in crate::pull) fn leave(&mut self, failure: Failure, now: Instant) {
        if matches!(self.phase, Phase::Over | Phase::Leaving) {
            return;
        }
        if self.session.session_id().is_none() || self.phase == Phase::Dialing {
            return self.over(failure);
        }
        self.ending = Some(failure);
        self.phase = Phase::Leaving;
        self.report_due = None;
        self.session.teardown();
        self.due = Some(now + self.times.goodbye);
    }

    /// Sockets were found for the track, or could not be.
    pub(in crate::pull) fn bound(&mut self, track: usize, ports: Option<(u16, u16)>, now: Instant) {
        if self.phase != Phase::Binding(track) {
            return;
        }
        match ports {
            Some(ports) => {
                self.ports = Some(ports);
                self.set_up(track, now);
            }
            None => self.leave(Failure::BadAnswer("no UDP ports are free here".into()), now),
        }
    }

    /// Since when media flows.
    pub(in crate::pull) fn playing_since(&self) -> Option<Instant> {
        self.playing_since
    }

    /// Where the stream is, after [`Failure::Redirected`].
    pub(in crate::pull) fn take_location(&mut self) -> Option<String> {
        self.location.take()
    }

    /// Whether media came.
    pub(in crate::pull) fn has_media(&self) -> bool {
        self.last_media.is_some()
    }

    /// Whether the stream was published (or is about to be).
    pub(in crate::pull) fn is_announced(&self) -> bool {
        self.announced
    }

    pub(in crate::pull) fn transport(&self) -> PullTransport {
        self.transport
    }

    pub(in crate::pull) fn keep_alive(&self) -> KeepAlive {
        self.session.keep_alive()
    }

    pub(in crate::pull) fn unanswered_keep_alive(&self) -> Option<Instant> {
        self.session.unanswered_keep_alive()
    }

    pub(in crate::pull) fn session_timeout(&self) -> Duration {
        self.session.session_timeout()
    }

    /// Whether it was described but has not brought media: the transport may be to blame.
    pub(in crate::pull) fn was_setting_up(&self) -> bool {
        !self.description.tracks.is_empty() && self.last_media.is_none()
    }

    /// The session, when the server may still hold it.
    pub(in crate::pull) fn left_behind(&self, now: Instant) -> Option<StaleSession> {
        let id = self.session.session_id().filter(|_| !self.torn_down)?;
        Some(StaleSession {
            id: id.to_owned(),
            url: self.session.aggregate_url().to_owned(),
            expires: now + self.session.session_timeout(),
            clings: self.is_live555(),
        })
    }

    /// Cameras build on old versions of live555, whose sessions outlive their connections.
    fn is_live555(&self) -> bool {
        [self.tool.as_deref(), self.session.server()]
            .into_iter()
            .flatten()
            .any(|text| text.to_ascii_lowercase().contains("live555"))
    }

    fn unanswered(&mut self) {
        let method = match self.phase {
            Phase::Clearing => Method::Teardown,
            Phase::SettingUp(_) => Method::Setup,
            Phase::Starting => Method::Play,
            _ => Method::Describe,
        };
        self.over(Failure::NoAnswer {
            method,
            after: self.times.request,
        });
    }

    /// When the absence of media means the end.
    fn silent_at(&self) -> Option<Instant> {
        let since = self
            .playing_since
            .filter(|_| self.phase == Phase::Playing)?;
        Some(match self.last_media {
            Some(last) => last + self.times.silence,
            None => since + self.times.first_media,
        })
    }

    fn await_answer(&mut self, now: Instant) {
        self.due = Some(now + self.times.request);
    }

    fn report(&mut self, now: Instant) {
        self.report_due = Some(now + REPORT_INTERVAL);
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let packet = track.report(now);
            match track.lane {
                Lane::Tcp { rtcp, .. } => {
                    let mut run = crate::rtp::PacketRun::new();
                    if run.push_packet(rtcp, &packet) {
                        self.output.extend_from_slice(run.interleaved());
                    }
                }
                Lane::Udp => self.happened.push_back(Happened::Report {
                    track: index,
                    packet,
                }),
            }
        }
    }

    fn quirk(&mut self, quirk: Quirk) {
        self.happened.push_back(Happened::Quirk(quirk));
    }

    /// The end; what was decided before stands.
    fn over(&mut self, failure: Failure) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            let failure = self.ending.take().unwrap_or(failure);
            self.happened.push_back(Happened::Over(failure));
        }
    }

    /// What SETUP asks for.
    fn wanted_transport(&self) -> Option<Transport> {
        let mut wanted = Transport::default();
        match self.transport {
            PullTransport::Tcp | PullTransport::Tunnel => {
                let first = u8::try_from(self.tracks.len() * 2).ok()?;
                wanted.tcp = true;
                wanted.interleaved = Some((first, first.checked_add(1)?));
            }
            PullTransport::Udp => wanted.client_port = Some(self.ports?),
        }
        Some(wanted)
    }
}
