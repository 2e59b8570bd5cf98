//! One try after the other: a connection, a description, a session, and what comes after its end.

use std::time::Instant;

use easydarwin_core::media::SessionDescription;
use easydarwin_core::rtsp::{ClientUrl, RedirectPolicy, Redirects};

use super::super::parameters::{is_described, learn};
use super::super::session::{Session, SessionConfig, Step};
use super::{
    Channel, ChannelEvent, DESCRIBE, LASTING, Ports, PushError, REQUEST_TIMEOUT, RETRY_FLOOR,
    STALL_TIMEOUT, State,
};
use crate::feedback::{Departure, KeyRequests, RateConfig, RateController};
use crate::frames::FrameFeed;

impl Channel {
    pub(super) fn step(&mut self, step: Result<Option<Step>, PushError>, now: Instant) {
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
    pub(super) fn open(&mut self, now: Instant) {
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
    pub(super) fn open_feed(&mut self, now: Instant) {
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
    pub(super) fn begin(&mut self, now: Instant) {
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
        if let Some(feed) = &mut self.feed {
            if !self.advises {
                self.rate = RateController::new(RateConfig {
                    max_latency: feed.configured_latency(),
                    ..RateConfig::default()
                });
            }
            feed.set_departure(Departure::default());
            self.held = None;
        }
        self.rate.reconnected();
        let config = SessionConfig {
            url: way.url().clone(),
            login: way.login().clone(),
            secure: connected.unwrap_or(false),
            description: SessionDescription {
                tracks: self.tracks.clone(),
                ..SessionDescription::default()
            },
            quality: self.quality,
            ports: match ports {
                Ports::Bound(ports) => Some(ports),
                _ => None,
            },
            request_timeout: REQUEST_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            random: self.random.u64(..),
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

    pub(super) fn is_described(&self) -> bool {
        !self.tracks.is_empty() && self.tracks.iter().all(is_described)
    }

    pub(super) fn fail(&mut self, error: PushError, now: Instant) {
        let lasted = match &self.state {
            State::Session { began, .. } => now.saturating_duration_since(*began) >= LASTING,
            _ => false,
        };
        if lasted {
            self.backoff.reset();
        }
        if matches!(error, PushError::Unheard { .. } | PushError::PortClosed) {
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

    pub(super) fn retry_after_failure(&mut self, denied: bool, now: Instant) {
        self.rest(now);
        let until = (!denied).then(|| now + RETRY_FLOOR + self.backoff.next(now));
        self.state = State::Waiting { until };
    }

    /// Frames are not taken until the next try, except for the pre-roll.
    pub(super) fn rest(&mut self, now: Instant) {
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
    pub(super) fn end_session(&mut self, now: Instant) {
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
    pub(super) fn left(&mut self, now: Instant) {
        self.events.push_back(ChannelEvent::Disconnect);
        self.open(now);
    }

    pub(super) fn want_key(&mut self, stream: usize) {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.wants_keys(stream)) else {
            return;
        };
        self.keys.resize_with(feed.stream_count(), KeyRequests::new);
        if let Some(keys) = self.keys.get_mut(stream) {
            keys.want();
        }
    }

    pub(super) fn ask_for_keys(&mut self, now: Instant) {
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
