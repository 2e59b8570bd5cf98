use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use easydarwin_core::media::{SessionDescription, Track};
use easydarwin_core::rtsp::{ClientUrl, Login, RedirectPolicy, Redirects};

use super::PushError;
use super::parameters::{is_described, learn};
use super::session::{Session, SessionConfig, Step};
use crate::backoff::Backoff;
use crate::control::PushTarget;
use crate::feedback::{Advice, KeyRequests, RateConfig, RateController, Uplink};
use crate::frames::FrameFeed;
use crate::random::SplitMix;

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
/// For the answer to one request: a server may ask others first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take no data.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A push that is wanted. `Debug` shows neither token nor password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    url: String,
    token: Option<String>,
    generation: Option<u64>,
    /// Nobody asks again: tried again even when the server refuses the right.
    always: bool,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("url", &crate::url::without_password(&self.url))
            .field("generation", &self.generation)
            .field("always", &self.always)
            .finish_non_exhaustive()
    }
}

impl Wanted {
    /// Without a CMS.
    pub(crate) fn always(url: String) -> Self {
        Self {
            url,
            token: None,
            generation: None,
            always: true,
        }
    }

    pub(crate) fn asked(target: PushTarget) -> Self {
        Self {
            url: target.url,
            token: target.token,
            generation: target.generation,
            always: false,
        }
    }

    /// Where to, with what the URL says of user and password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether a push for this serves `other`, too. A new generation is a push of its own: the
    /// CMS would not have asked if it saw the old one.
    fn serves(&self, other: &Self) -> bool {
        self.url == other.url && self.generation == other.generation
    }

    fn login(&self) -> Login {
        self.token
            .as_ref()
            .map_or(Login::FromUrl, |token| Login::Bearer(token.clone()))
    }
}

/// What the shell is to do, or the embedder to know.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    /// Open the source; it is wanted soon. Answered by [`Channel::described`] or
    /// [`Channel::source_failed`].
    OpenSource,
    /// Close the source.
    CloseSource,
    /// Connect; answered by [`Channel::connected`] or [`Channel::failed`].
    Connect { url: Box<ClientUrl> },
    /// Open a pair of ports for each of so many tracks; answered by [`Channel::bound`] or
    /// [`Channel::failed`].
    Bind { tracks: usize },
    /// Close the connection.
    Disconnect,
    /// A push is wanted.
    Requested { url: String },
    /// Media flows.
    Started,
    /// It does not, and why.
    Failed(PushError),
    /// It is no longer wanted.
    Stopped,
    /// The encoder of this stream should make a key frame.
    KeyFrame { stream: usize },
    /// What the encoder should do from now on.
    Advice(Advice),
}

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

/// The pushes of one channel, one at a time.
#[derive(Debug)]
pub(crate) struct Channel {
    feed: Option<FrameFeed>,
    tracks: Vec<Track>,
    source_open: bool,
    datagrams: bool,
    wanted: Option<Wanted>,
    state: State,
    backoff: Backoff,
    random: SplitMix,
    keys: Vec<KeyRequests>,
    rate: Option<RateController>,
    uplink_due: Option<Instant>,
    events: VecDeque<ChannelEvent>,
}

impl Channel {
    /// A channel that nobody wants yet. `feed` is there when an encoder pushes, and comes with
    /// [`described`](Self::described) when a source is asked. `datagrams` if UDP is to be tried.
    pub(crate) fn new(feed: Option<FrameFeed>, datagrams: bool, seed: u64) -> Self {
        Self {
            tracks: feed.as_ref().map_or_else(Vec::new, |f| f.tracks().to_vec()),
            source_open: feed.is_some(),
            feed,
            datagrams,
            wanted: None,
            state: State::Idle,
            backoff: Backoff::new(seed),
            random: SplitMix::new(seed.rotate_left(32)),
            keys: Vec::new(),
            rate: None,
            uplink_due: None,
            events: VecDeque::new(),
        }
    }

    /// The encoder is to be told what the uplink carries.
    pub(crate) fn control_rate(&mut self, config: RateConfig) {
        self.rate = Some(RateController::new(config));
    }

    /// A push is wanted, or none.
    pub(crate) fn want(&mut self, wanted: Option<Wanted>, now: Instant) {
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
            let url = crate::url::without_password(&wanted.url);
            self.events.push_back(ChannelEvent::Requested { url });
        }
        self.end_session(now);
    }

    /// The source is open; `feed` is where its frames come from.
    pub(crate) fn described(&mut self, feed: FrameFeed, now: Instant) {
        self.tracks = feed.tracks().to_vec();
        self.feed = Some(feed);
        if let State::Opening { .. } = self.state {
            self.open_feed(now);
            self.begin(now);
        }
    }

    /// The source gives no frames, or none any more.
    pub(crate) fn source_failed(&mut self, reason: String, now: Instant) {
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
    pub(crate) fn connected(&mut self, secure: bool, now: Instant) {
        if let State::Opening { connected, .. } = &mut self.state {
            *connected = Some(secure);
            self.begin(now);
        }
    }

    /// The ports that were asked for are there.
    pub(crate) fn bound(&mut self, bound: Vec<(u16, u16)>, now: Instant) {
        if let State::Opening { ports, .. } = &mut self.state {
            *ports = Ports::Bound(bound);
            self.begin(now);
        }
    }

    /// The connection could not be made, or has ended.
    pub(crate) fn failed(&mut self, error: PushError, now: Instant) {
        match &self.state {
            State::Idle | State::Waiting { .. } | State::Closed { .. } => {}
            State::Leaving { .. } => self.left(now),
            State::Opening { .. } | State::Session { .. } => self.fail(error, now),
        }
    }

    /// Bytes of the media server.
    pub(crate) fn received(&mut self, bytes: &[u8], now: Instant) {
        let step = match &mut self.state {
            State::Session { session, .. } | State::Leaving { session } => {
                session.received(bytes, now)
            }
            _ => return,
        };
        self.step(step, now);
    }

    /// A datagram of the media server.
    pub(crate) fn received_datagram(&mut self, data: &[u8], now: Instant) {
        if let State::Session { session, .. } = &mut self.state {
            session.received_datagram(data, now);
        }
    }

    /// The frames of the feed may have come, or time has come to
    /// [`poll_timeout`](Self::poll_timeout).
    pub(crate) fn work(&mut self, wall: SystemTime, now: Instant) {
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
            session.fill(feed, wall, now);
        } else if let Some(feed) = &mut self.feed {
            feed.keep(now);
        }
        self.ask_for_keys(now);
    }

    /// When [`work`](Self::work) is to be called, if no frame comes before.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let state = match &self.state {
            State::Idle => None,
            State::Opening { since, .. } => {
                Some(*since + DESCRIBE).filter(|_| !self.is_described())
            }
            State::Session { session, .. } | State::Leaving { session } => session.poll_timeout(),
            State::Waiting { until } => *until,
            State::Closed { until } => Some(*until),
        };
        let keys = self.keys.iter().filter_map(|keys| keys.deadline(now));
        let recording =
            matches!(&self.state, State::Session { session, .. } if session.is_recording());
        let uplink = self.uplink_due.filter(|_| self.rate.is_some() && recording);
        state.into_iter().chain(keys).chain(uplink).min()
    }

    /// Whether the kernel should be asked what it holds, and [`uplink`](Self::uplink) be told.
    pub(crate) fn uplink_due(&self, now: Instant) -> bool {
        let recording =
            matches!(&self.state, State::Session { session, .. } if session.is_recording());
        self.rate.is_some() && recording && self.uplink_due.is_none_or(|due| due <= now)
    }

    /// What the kernel says of the connection; what waits before it is added here.
    pub(crate) fn uplink(&mut self, mut uplink: Uplink, now: Instant) {
        self.uplink_due = Some(now + UPLINK_INTERVAL);
        // Packets that are made and not written wait, too.
        let packets = self.session().map_or(0, |session| session.output().len());
        uplink.unsent = uplink.unsent.saturating_add(packets);
        let packets = u64::try_from(packets).unwrap_or(u64::MAX);
        uplink.sent_total = uplink.sent_total.saturating_add(packets);
        let (Some(rate), Some(feed)) = (&mut self.rate, &mut self.feed) else {
            return;
        };
        (uplink.queued, uplink.queued_bytes) = feed.backlog(now);
        uplink.drops = feed.slow_drops();
        let advice = rate.tick(now, &uplink);
        feed.limit_latency(rate.ring_limit());
        if let Some(Advice::Stream(choice)) = advice {
            feed.select(choice);
        }
        self.events.extend(advice.map(ChannelEvent::Advice));
    }

    /// The next thing to do or to know.
    pub(crate) fn poll_event(&mut self) -> Option<ChannelEvent> {
        self.events.pop_front()
    }

    /// The session that writes and reads now.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Session { session, .. } | State::Leaving { session } => Some(session),
            _ => None,
        }
    }

    /// Where the frames come from.
    pub(crate) fn feed(&mut self) -> Option<&mut FrameFeed> {
        self.feed.as_mut()
    }

    /// Whether nothing is left to be done for a channel that nobody wants.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    fn step(&mut self, step: Result<Option<Step>, PushError>, now: Instant) {
        match step {
            Ok(None) => {}
            Ok(Some(Step::Left)) => self.left(now),
            Ok(Some(Step::Recording)) => {
                if let State::Session { recording, .. } = &mut self.state {
                    *recording = true;
                }
                self.events.push_back(ChannelEvent::Started);
            }
            Ok(Some(Step::Redirected(location))) => {
                if let State::Session { way, .. } = std::mem::replace(&mut self.state, State::Idle)
                {
                    self.events.push_back(ChannelEvent::Disconnect);
                    self.redirect(way, &location, now);
                }
            }
            Err(_) if matches!(self.state, State::Leaving { .. }) => self.left(now),
            Err(error) => self.fail(error, now),
        }
    }

    /// Begins a try.
    fn open(&mut self, now: Instant) {
        let Some(wanted) = &self.wanted else {
            self.state = State::Idle;
            return;
        };
        match ClientUrl::parse(wanted.url()) {
            Ok(url) => {
                let way = Redirects::new(url, wanted.login(), RedirectPolicy::default());
                self.dial(Box::new(way), now);
            }
            Err(error) => self.fail(error.into(), now),
        }
    }

    fn dial(&mut self, way: Box<Redirects>, now: Instant) {
        if self.source_open {
            self.open_feed(now);
        } else {
            self.source_open = true;
            self.events.push_back(ChannelEvent::OpenSource);
        }
        self.events.push_back(ChannelEvent::Connect {
            url: Box::new(way.url().clone()),
        });
        // Beside an encrypted connection media would go in the clear.
        let datagrams = self.datagrams && !way.url().is_secure();
        self.state = State::Opening {
            way,
            connected: None,
            ports: if datagrams {
                Ports::Wanted
            } else {
                Ports::None
            },
            since: now,
        };
    }

    fn redirect(&mut self, mut way: Box<Redirects>, location: &str, now: Instant) {
        match way.follow(location) {
            Ok(()) => self.dial(way, now),
            Err(error) => self.fail(error.into(), now),
        }
    }

    /// Frames are taken from now on; the encoder is to begin with a key frame.
    fn open_feed(&mut self, now: Instant) {
        if let Some(feed) = &mut self.feed {
            feed.open(now);
            let holds_key = feed.next(now).is_some_and(|next| next.key);
            if !holds_key {
                let streams = feed.stream_count();
                for stream in 0..streams {
                    self.want_key(stream);
                }
            }
        }
    }

    /// Speaks RTSP as soon as there is a connection and a description.
    fn begin(&mut self, now: Instant) {
        self.learn(now);
        let described = self.is_described();
        let tracks = self.tracks.len();
        let State::Opening {
            connected: Some(_),
            ports,
            since,
            ..
        } = &mut self.state
        else {
            return;
        };
        let waited = now >= *since + DESCRIBE;
        if self.feed.is_none() || !(described || waited) {
            return;
        }
        if let Ports::Wanted = ports {
            *ports = Ports::Asked;
            self.events.push_back(ChannelEvent::Bind { tracks });
        }
        if let Ports::Asked = ports {
            return;
        }
        let State::Opening {
            way,
            connected,
            ports,
            ..
        } = std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        if let Some(rate) = &mut self.rate {
            rate.reconnected();
        }
        let config = SessionConfig {
            url: way.url().clone(),
            login: way.login().clone(),
            secure: connected.unwrap_or(false),
            description: SessionDescription {
                tracks: self.tracks.clone(),
                ..SessionDescription::default()
            },
            ports: match ports {
                Ports::Bound(ports) => Some(ports),
                _ => None,
            },
            request_timeout: REQUEST_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            random: self.random.draw(),
        };
        self.state = State::Session {
            session: Box::new(Session::new(config, now)),
            way,
            began: now,
            recording: false,
        };
    }

    /// Looks for parameter sets in the key frame that waits first.
    fn learn(&mut self, now: Instant) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        if self.tracks.iter().all(is_described) {
            return;
        }
        if let Some(next) = feed.next_of(now, Some(false))
            && next.key
            && let Some(track) = self.tracks.get_mut(next.track)
        {
            let described = track.clone();
            learn(track, feed.read(&next).parts(&described));
        }
    }

    fn is_described(&self) -> bool {
        !self.tracks.is_empty() && self.tracks.iter().all(is_described)
    }

    fn fail(&mut self, error: PushError, now: Instant) {
        let lasted = match &self.state {
            State::Session { began, .. } => now.saturating_duration_since(*began) >= LASTING,
            _ => false,
        };
        if lasted {
            self.backoff.reset();
        }
        if matches!(error, PushError::Unheard { .. }) {
            self.datagrams = false;
        }
        self.events.push_back(ChannelEvent::Disconnect);
        if matches!(error, PushError::Closed) {
            self.rest(now);
            self.state = State::Closed {
                until: now + RETRY_FLOOR,
            };
            return;
        }
        let denied = error.is_denial() && self.wanted.as_ref().is_some_and(|w| !w.always);
        self.events.push_back(ChannelEvent::Failed(error));
        self.retry_after_failure(denied, now);
    }

    fn retry_after_failure(&mut self, denied: bool, now: Instant) {
        self.rest(now);
        let until = (!denied).then(|| now + RETRY_FLOOR + self.backoff.next(now));
        self.state = State::Waiting { until };
    }

    /// Frames are not taken until the next try, except for the pre-roll.
    fn rest(&mut self, now: Instant) {
        if let Some(feed) = &mut self.feed {
            feed.rest(self.wanted.is_some(), now);
        }
        self.keys.clear();
        self.close_source();
    }

    /// Sources of our own are open only while there is a session.
    fn close_source(&mut self) {
        if self.source_open && self.feed.as_ref().is_none_or(FrameFeed::is_of_source) {
            self.source_open = false;
            self.feed = None;
            self.events.push_back(ChannelEvent::CloseSource);
        }
    }

    /// Ends what goes on and begins what is wanted.
    fn end_session(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Session { mut session, .. } => {
                self.rest(now);
                session.leave(now);
                self.state = State::Leaving { session };
            }
            State::Leaving { session } => self.state = State::Leaving { session },
            State::Opening { .. } => {
                self.rest(now);
                self.events.push_back(ChannelEvent::Disconnect);
                self.open(now);
            }
            State::Idle | State::Waiting { .. } | State::Closed { .. } => {
                self.rest(now);
                self.open(now);
            }
        }
    }

    /// Goodbye is said.
    fn left(&mut self, now: Instant) {
        self.events.push_back(ChannelEvent::Disconnect);
        self.open(now);
    }

    fn want_key(&mut self, stream: usize) {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.wants_keys(stream)) else {
            return;
        };
        self.keys.resize_with(feed.stream_count(), KeyRequests::new);
        if let Some(keys) = self.keys.get_mut(stream) {
            keys.want();
        }
    }

    fn ask_for_keys(&mut self, now: Instant) {
        for stream in 0..self.feed.as_ref().map_or(0, FrameFeed::stream_count) {
            let feed = self.feed.as_mut();
            if feed.is_some_and(|feed| feed.take_key_wanted(stream)) {
                self.want_key(stream);
            }
        }
        for (stream, keys) in self.keys.iter_mut().enumerate() {
            if keys.poll(now) {
                self.events.push_back(ChannelEvent::KeyFrame { stream });
            }
        }
    }
}
