//! When there is a session: asked for, failed, tried again, asked for elsewhere.

mod attempt;
mod event;
mod wanted;

pub use event::ChannelEvent;
pub use wanted::Wanted;

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use easydarwin_core::media::Track;
use easydarwin_core::protocol::ClockQuality;
use easydarwin_core::rtsp::Redirects;
use fastrand::Rng;

use super::session::{Datagram, Hungry, Session};
use super::{PushError, PushTransport, Wall};
use crate::backoff::Backoff;
use crate::feedback::{Advice, KeyRequests, RateConfig, RateController, Uplink};
use crate::frames::FrameFeed;

/// Waited before every further try, besides the back-off: when a media server closes an idle
/// stream, the CMS's stop must not meet a camera that is back already.
const RETRY_FLOOR: Duration = Duration::from_millis(500);
/// A push that lasted this long makes the next wait a short one.
const LASTING: Duration = Duration::from_secs(10);
/// How long the first key frame is waited for, to describe the stream by it. Servers learn the
/// parameter sets from the stream, too.
const DESCRIBE: Duration = Duration::from_secs(3);
/// How often the kernel is asked what it holds.
const UPLINK_INTERVAL: Duration = Duration::from_millis(100);
/// While it cannot send all of it.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
/// For the answer to one request: a server may ask others first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take no data.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether nobody on the way can read along.
type Secure = bool;

/// Our ports for datagrams.
#[derive(Debug)]
enum Ports {
    /// Media goes through the connection.
    None,
    /// Not asked for yet.
    Wanted,
    Asked,
    Bound(Vec<(u16, u16)>),
}

#[derive(Debug)]
enum State {
    /// Not wanted.
    Idle,
    /// A connection is made, and the stream is described.
    Opening {
        way: Box<Redirects>,
        connected: Option<Secure>,
        ports: Ports,
        since: Instant,
    },
    /// RTSP is spoken.
    Session {
        way: Box<Redirects>,
        session: Box<Session>,
        began: Instant,
        recording: bool,
    },
    /// The last session says goodbye; then what is wanted now is done.
    Leaving { session: Box<Session> },
    /// Until the next try; for ever when the server denied the right to publish.
    Waiting { until: Option<Instant> },
    /// As `Waiting`, and the failure is told at `until`: a server that closes an idle stream is
    /// about to have it stopped by the CMS.
    Closed { until: Instant },
}

/// The pushes of one channel, one at a time, without sockets and clocks.
///
/// The shell does what [`poll_event`](Self::poll_event) says, gives what it reads to
/// [`received`](Self::received), and after each [`work`](Self::work) writes [`output`](Self::output)
/// and sends each [`datagram`](Self::datagram). Then it waits for the sockets, for
/// [`poll_timeout`](Self::poll_timeout), and, if [`listen`](Self::listen) says that no frame is there
/// now, for [`bell`](Self::bell).
///
/// Frames leave in time only if the kernel holds little: whenever [`uplink_due`](Self::uplink_due) the shell tells
/// [`uplink`](Self::uplink), and sets the socket's room from [`carried`](Self::carried)
/// ([`UplinkSocket`](crate::socket::UplinkSocket)).
#[derive(Debug)]
pub struct Channel {
    feed: Option<FrameFeed>,
    tracks: Vec<Track>,
    source_open: bool,
    datagrams: bool,
    wanted: Option<Wanted>,
    state: State,
    backoff: Backoff,
    random: Rng,
    keys: Vec<KeyRequests>,
    rate: RateController,
    /// The encoder is told.
    advises: bool,
    uplink_due: Option<Instant>,
    /// Until then frames wait: the kernel holds enough, and is asked again.
    held: Option<Instant>,
    /// Of the last [`work`](Self::work).
    quality: ClockQuality,
    events: VecDeque<ChannelEvent>,
}

impl Channel {
    /// A channel that nobody wants yet. `feed` is there when an encoder pushes, and comes with
    /// [`described`](Self::described) when a source is asked. `seed` must come from a generator fit
    /// for secrets: SSRC, sequence numbers and RTP times are made of it (RFC 3550, 5.1).
    pub fn new(feed: Option<FrameFeed>, transport: PushTransport, seed: u64) -> Self {
        Self {
            tracks: feed.as_ref().map_or_else(Vec::new, |f| f.tracks().to_vec()),
            source_open: feed.is_some(),
            feed,
            datagrams: transport == PushTransport::Udp,
            wanted: None,
            state: State::Idle,
            backoff: Backoff::new(seed),
            random: Rng::with_seed(seed.rotate_left(32)),
            keys: Vec::new(),
            rate: RateController::new(RateConfig::default()),
            advises: false,
            uplink_due: None,
            held: None,
            quality: ClockQuality::Unset,
            events: VecDeque::new(),
        }
    }

    /// The encoder is to be told what the uplink carries, by [`ChannelEvent::Advice`].
    pub fn control_rate(&mut self, config: RateConfig) {
        self.rate = RateController::new(config);
        self.advises = true;
    }

    /// A push is wanted, or none.
    pub fn want(&mut self, wanted: Option<Wanted>, now: Instant) {
        let serves = match (&self.wanted, &wanted) {
            (Some(old), Some(new)) => old.serves(new),
            (None, None) => true,
            _ => false,
        };
        let waits_for_ever = matches!(self.state, State::Waiting { until: None });
        if serves && !waits_for_ever {
            // Perhaps a new token, for the next try.
            self.wanted = wanted;
            return;
        }
        let was_wanted = self.wanted.is_some();
        self.wanted = wanted;
        self.backoff.reset();
        if was_wanted {
            self.events.push_back(ChannelEvent::Stopped);
        }
        if let Some(wanted) = &self.wanted {
            let url = crate::url::without_password(wanted.url());
            self.events.push_back(ChannelEvent::Requested { url });
        }
        self.end_session(now);
    }

    /// The source is open; `feed` is where its frames come from.
    pub fn described(&mut self, feed: FrameFeed, now: Instant) {
        let feed = feed.of_source();
        self.tracks = feed.tracks().to_vec();
        self.feed = Some(feed);
        if let State::Opening { .. } = self.state {
            self.open_feed(now);
            self.begin(now);
        }
    }

    /// The source gives no frames, or none any more.
    pub fn source_failed(&mut self, reason: String, now: Instant) {
        self.source_open = false;
        self.feed = None;
        let leaving = match std::mem::replace(&mut self.state, State::Idle) {
            State::Session { session, .. } if session.is_recording() => Some(session),
            _ => None,
        };
        self.events
            .push_back(ChannelEvent::Failed(PushError::Source(reason)));
        self.retry_after_failure(false, now);
        if let Some(mut session) = leaving {
            session.leave(now);
            self.state = State::Leaving { session };
        } else {
            self.events.push_back(ChannelEvent::Disconnect);
        }
    }

    /// The connection that was asked for is there. `secure` if nobody on the way can read along.
    pub fn connected(&mut self, secure: bool, now: Instant) {
        if let State::Opening { connected, .. } = &mut self.state {
            *connected = Some(secure);
            self.begin(now);
        }
    }

    /// The ports that were asked for are there: for each track those of RTP and of RTCP.
    pub fn bound(&mut self, bound: Vec<(u16, u16)>, now: Instant) {
        if let State::Opening { ports, .. } = &mut self.state {
            *ports = Ports::Bound(bound);
            self.begin(now);
        }
    }

    /// The connection could not be made, or has ended.
    pub fn failed(&mut self, error: PushError, now: Instant) {
        match &self.state {
            State::Idle | State::Waiting { .. } | State::Closed { .. } => {}
            State::Leaving { .. } => self.left(now),
            State::Opening { .. } | State::Session { .. } => self.fail(error, now),
        }
    }

    /// Bytes of the media server.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        let step = match &mut self.state {
            State::Session { session, .. } | State::Leaving { session } => {
                session.received(bytes, now)
            }
            _ => return,
        };
        self.step(step, now);
    }

    /// A datagram of the media server.
    pub fn received_datagram(&mut self, data: &[u8], now: Instant) {
        if let State::Session { session, .. } = &mut self.state {
            session.received_datagram(data, now);
        }
    }

    /// Frames may have come, or room to write, or time to [`poll_timeout`](Self::poll_timeout). `wall`
    /// is the wall clock at `now`, for sender reports.
    pub fn work(&mut self, wall: Wall, now: Instant) {
        self.quality = wall.quality;
        match &mut self.state {
            State::Idle => {}
            State::Opening { .. } => self.begin(now),
            State::Session { session, .. } | State::Leaving { session } => {
                let step = session.timeout(now);
                self.step(step, now);
            }
            State::Waiting { until } => {
                if until.is_some_and(|until| now >= until) {
                    self.open(now);
                }
            }
            State::Closed { until } => {
                if now >= *until {
                    self.events
                        .push_back(ChannelEvent::Failed(PushError::Closed));
                    let until = Some(now + self.backoff.next(now));
                    self.state = State::Waiting { until };
                }
            }
        }
        if let (State::Session { session, .. }, Some(feed)) = (&mut self.state, &mut self.feed) {
            if self.held.is_none() {
                session.fill(feed, wall.time, now);
                self.held = feed.held(now);
            }
        } else if let Some(feed) = &mut self.feed {
            feed.keep(now);
        }
        self.ask_for_keys(now);
    }

    /// When [`work`](Self::work) is to be called, if no frame comes before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let state = match &self.state {
            State::Idle => None,
            // Nothing else is waited for: a description is all that is missing.
            State::Opening {
                since,
                connected: Some(_),
                ports: Ports::None | Ports::Wanted | Ports::Bound(_),
                ..
            } if self.feed.is_some() && !self.is_described() => Some(*since + DESCRIBE),
            State::Opening { .. } => None,
            State::Session { session, .. } | State::Leaving { session } => session.poll_timeout(),
            State::Waiting { until } => *until,
            State::Closed { until } => Some(*until),
        };
        let keys = self.keys.iter().filter_map(|keys| keys.deadline(now));
        let measured = self.advises && self.is_recording();
        let uplink = self.uplink_due.filter(|_| measured);
        let held = self.held.filter(|_| self.is_recording());
        let nap = self.feed.as_ref().and_then(FrameFeed::nap_ends);
        let uplink = uplink.into_iter().chain(held).chain(nap);
        state.into_iter().chain(keys).chain(uplink).min()
    }

    /// Whether the kernel should be asked what it holds, and [`uplink`](Self::uplink) be told: a shell that
    /// does so at all has to do it each time, for frames wait for it.
    pub fn uplink_due(&self, now: Instant) -> bool {
        let held = self.held.is_some_and(|until| until <= now);
        self.is_recording() && (held || self.uplink_due.is_none_or(|due| due <= now))
    }

    /// What the kernel says of the connection, with [`Uplink::queued`], [`Uplink::queued_bytes`] and
    /// [`Uplink::drops`] left out: they and what is made and not written are added here.
    pub fn uplink(&mut self, mut uplink: Uplink, now: Instant) {
        // Packets that are made and not written wait, too.
        let packets = self.output().len();
        uplink.unsent = uplink.unsent.saturating_add(packets);
        let packets = u64::try_from(packets).unwrap_or(u64::MAX);
        uplink.sent_total = uplink.sent_total.saturating_add(packets);
        let Some(feed) = &mut self.feed else {
            return;
        };
        (uplink.queued, uplink.queued_bytes) = feed.backlog(now);
        uplink.drops = feed.slow_drops();
        let advice = self.rate.tick(now, &uplink);
        feed.limit_latency(self.rate.ring_limit());
        feed.set_departure(self.rate.departure(now));
        self.held = feed.held(now);
        let interval = if self.rate.is_busy() {
            BUSY_INTERVAL
        } else {
            UPLINK_INTERVAL
        };
        self.uplink_due = Some(now + interval);
        if !self.advises {
            return;
        }
        if let Some(Advice::Stream(choice)) = advice {
            feed.select(choice);
        }
        self.events.extend(advice.map(ChannelEvent::Advice));
    }

    /// What the kernel's room for unsent bytes should be measured by, in bits a second, after each
    /// [`uplink`](Self::uplink): [`UplinkSocket::set_bitrate`](crate::socket::UplinkSocket::set_bitrate) takes it.
    pub fn carried(&self, now: Instant) -> u32 {
        self.rate.carried(now)
    }

    /// The next thing to do or to know.
    pub fn poll_event(&mut self) -> Option<ChannelEvent> {
        self.events.pop_front()
    }

    /// What is to be written to the connection.
    pub fn output(&self) -> &[u8] {
        self.session().map_or(&[], Session::output)
    }

    /// So much of [`output`](Self::output) was written; 0 when the connection takes nothing now.
    pub fn written(&mut self, count: usize, now: Instant) {
        if let Some(session) = self.session_mut() {
            session.written(count, now);
        }
    }

    /// The next datagram that may go now; after [`datagram_sent`](Self::datagram_sent) the one
    /// behind it.
    pub fn datagram(&self, now: Instant) -> Option<Datagram<'_>> {
        self.session()?.datagram(now)
    }

    /// The datagram was sent, or lost.
    pub fn datagram_sent(&mut self, now: Instant) {
        if let Some(session) = self.session_mut() {
            session.datagram_sent(now);
        }
    }

    /// Where datagrams of a track go: the address that the server named (`source`), if it did not
    /// leave it at the connection's, and its ports of RTP and RTCP. `None` before that is agreed
    /// on, and when media goes through the connection.
    pub fn remote(&self, track: usize) -> Option<(Option<&str>, (u16, u16))> {
        self.session()
            .filter(|session| session.is_recording() && session.has_datagrams())?
            .remote(track)
    }

    /// Whether frames are there that can be taken now. If not, the [bell](Self::bell) rings
    /// as soon as there are; so this comes last before the shell waits.
    pub fn listen(&mut self) -> bool {
        let hungry = self.hungry();
        let feed = self.feed.as_mut();
        feed.is_some_and(|feed| feed.listen(hungry.video, hungry.audio))
    }

    /// What becomes readable when the shell that waits is to call [`work`](Self::work) again.
    /// [`hush`](Self::hush) takes what was rung.
    #[cfg(unix)]
    pub fn bell(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.feed.as_ref().map(FrameFeed::bell)
    }

    /// After [`bell`](Self::bell) has become readable.
    #[cfg(unix)]
    pub fn hush(&mut self) {
        if let Some(feed) = &self.feed {
            feed.hush();
        }
    }

    /// As [`listen`](Self::listen) and [`bell`](Self::bell), for a shell on tokio.
    pub(crate) fn poll_frames(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let hungry = self.hungry();
        match &mut self.feed {
            Some(feed) => feed.poll_frames(hungry.video, hungry.audio, now, cx),
            None => Poll::Pending,
        }
    }

    /// Whether nothing is left to be done for a channel that nobody wants.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Session { session, .. } | State::Leaving { session } => Some(session),
            _ => None,
        }
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Session { session, .. } | State::Leaving { session } => Some(session),
            _ => None,
        }
    }

    fn hungry(&self) -> Hungry {
        let session = self.session().filter(|_| self.held.is_none());
        session.map(Session::hungry).unwrap_or_default()
    }

    fn is_recording(&self) -> bool {
        matches!(&self.state, State::Session { session, .. } if session.is_recording())
    }
}
