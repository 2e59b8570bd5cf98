//! From DESCRIBE to PLAY, and what servers do there although they should not.

use std::time::Instant;

use bytes::Bytes;

use super::{Conversation, Happened, Phase};
use crate::media::{MediaKind, Repairs, SessionDescription, sdp};
use crate::pull::track::{Lane, ReceivedTrack};
use crate::pull::{Failure, PullTransport, Quirk};
use crate::rtsp::{ClientEvent, Method, Status, Transport, aggregate_urls, track_urls};

impl Conversation {
    pub(super) fn on_event(&mut self, event: ClientEvent, now: Instant) {
        match (self.phase, event) {
            (Phase::Leaving, ClientEvent::TornDown | ClientEvent::Ended) => {
                self.torn_down = true;
                self.over(Failure::Stopped);
            }
            // Answers to what was asked before.
            (Phase::Leaving | Phase::Over, _) => {}
            (_, ClientEvent::Ended) => {
                self.torn_down = true;
                self.over(Failure::Ended);
            }
            (Phase::Clearing, ClientEvent::TornDown) => {
                self.phase = Phase::Describing;
                self.session.describe();
                self.await_answer(now);
            }
            (_, ClientEvent::LoginFailed { error, .. }) => self.leave(error.into(), now),
            (Phase::Describing, ClientEvent::Described { sdp }) => self.described(&sdp, now),
            (Phase::Describing, ClientEvent::Redirected { location }) => {
                self.location = Some(location);
                self.over(Failure::Redirected);
            }
            (Phase::SettingUp(track), ClientEvent::SetUp { transport }) => {
                self.is_set_up(track, &transport, now);
            }
            (Phase::SettingUp(track), ClientEvent::Refused { status, reason, .. }) => {
                self.set_up_refused(track, status, reason, now);
            }
            (Phase::Starting, ClientEvent::Playing { .. }) => {
                self.due = None;
                self.phase = Phase::Playing;
                self.playing_since = Some(now);
                self.announce();
                self.report(now);
                if self.last_media.is_some() {
                    self.happened.push_back(Happened::Playing);
                }
            }
            (
                Phase::Starting,
                ClientEvent::Refused {
                    method,
                    status,
                    reason,
                },
            ) => {
                if is_about_url(status) && !self.urls.is_empty() {
                    self.quirk(Quirk::OtherAggregateUrl);
                    self.play(now);
                } else {
                    self.leave(Failure::refused(method, status, reason), now);
                }
            }
            (
                _,
                ClientEvent::Refused {
                    method,
                    status,
                    reason,
                },
            ) => self.leave(Failure::refused(method, status, reason), now),
            (Phase::Playing, _) => {}
            (_, _) => {
                let what = "an answer of another kind than was asked for";
                self.leave(Failure::BadAnswer(what.into()), now);
            }
        }
    }

    fn described(&mut self, text: &Bytes, now: Instant) {
        self.tool = String::from_utf8_lossy(text)
            .lines()
            .find_map(|line| line.strip_prefix("a=tool:"))
            .map(str::to_owned);
        match sdp::read(text, self.strict) {
            Err(error) => self.leave(Failure::BadAnswer(error.to_string()), now),
            Ok((description, repairs)) => {
                self.repairs = repairs;
                self.to_set_up = (0..description.tracks.len()).collect();
                self.description = description;
                self.next_track(now);
            }
        }
    }

    /// What the source's answers and its description needed to be understood.
    pub(in crate::pull) fn repairs(&self) -> Repairs {
        let mut repairs = self.session.repairs().clone();
        repairs.merge(&self.repairs);
        repairs
    }

    /// The next SETUP, or PLAY when all is set up.
    fn next_track(&mut self, now: Instant) {
        self.ports = None;
        let Some(index) = self.to_set_up.pop_front() else {
            if self.tracks.is_empty() {
                let nothing = Failure::BadAnswer("none of its tracks could be set up".into());
                return self.leave(nothing, now);
            }
            self.urls = aggregate_urls(
                self.session.aggregate_url(),
                self.session.base_url(),
                self.session.request_url(),
            )
            .into();
            self.phase = Phase::Starting;
            return self.play(now);
        };
        let track = self.description.tracks.get(index);
        let control = track.and_then(|track| track.control.as_deref());
        let (base, request) = (self.session.base_url(), self.session.request_url());
        self.urls = track_urls(base, request, control).into();
        match self.transport {
            PullTransport::Tcp | PullTransport::Tunnel => self.set_up(index, now),
            PullTransport::Udp => {
                self.due = None;
                self.phase = Phase::Binding(index);
                self.happened.push_back(Happened::Bind { track: index });
            }
        }
    }

    pub(super) fn set_up(&mut self, index: usize, now: Instant) {
        let (Some(url), Some(wanted)) = (self.urls.pop_front(), self.wanted_transport()) else {
            let many = Failure::BadAnswer("more tracks than there are channels".into());
            return self.leave(many, now);
        };
        self.phase = Phase::SettingUp(index);
        self.session.setup_url(url, &wanted);
        self.await_answer(now);
    }

    fn is_set_up(&mut self, index: usize, answer: &Transport, now: Instant) {
        let asked = self.wanted_transport().and_then(|asked| asked.interleaved);
        let lane = match (self.transport, answer.interleaved) {
            (PullTransport::Udp, Some((rtp, rtcp))) if answer.tcp => {
                self.quirk(Quirk::TransportSwapped);
                self.transport = PullTransport::Tcp;
                Lane::Tcp { rtp, rtcp }
            }
            (PullTransport::Udp, _) if !answer.tcp => {
                self.happened.push_back(Happened::Peer {
                    track: index,
                    source: answer.source.clone(),
                    ports: answer.server_port,
                });
                Lane::Udp
            }
            (PullTransport::Tcp | PullTransport::Tunnel, interleaved) => {
                match interleaved.or(asked) {
                    Some((rtp, rtcp)) => Lane::Tcp { rtp, rtcp },
                    None => return self.no_channels(now),
                }
            }
            _ => return self.no_channels(now),
        };
        let Some(track) = self.description.tracks.get(index) else {
            return;
        };
        let [a, b, c, d, ..] = self.random.to_be_bytes();
        let number = u32::try_from(index).unwrap_or(0);
        let ssrc = u32::from_be_bytes([a, b, c, d]).wrapping_add(number);
        self.tracks.push(ReceivedTrack::new(track, lane, ssrc));
        self.published.push(index);
        self.next_track(now);
    }

    fn no_channels(&mut self, now: Instant) {
        let what = "SETUP names neither channels nor ports";
        self.leave(Failure::BadAnswer(what.into()), now);
    }

    fn set_up_refused(&mut self, index: usize, status: Status, reason: String, now: Instant) {
        if is_about_url(status) && !self.urls.is_empty() {
            self.quirk(Quirk::OtherTrackUrl);
            return self.set_up(index, now);
        }
        let kind = self.description.tracks.get(index).map(|track| track.kind);
        let has_picture = self.published.iter().any(|index| {
            let track = self.description.tracks.get(*index);
            track.is_some_and(|track| track.kind == MediaKind::Video)
        });
        let dispensable = kind == Some(MediaKind::Application)
            || (kind == Some(MediaKind::Audio) && (has_picture || self.picture_follows()));
        // A login that does not suffice and a transport that is not had concern all tracks.
        let of_all = status == Status::UNAUTHORIZED
            || (status == Status::UNSUPPORTED_TRANSPORT && self.tracks.is_empty());
        if dispensable && !of_all {
            self.quirk(Quirk::TrackRefused);
            return self.next_track(now);
        }
        self.leave(Failure::refused(Method::Setup, status, reason), now);
    }

    fn picture_follows(&self) -> bool {
        self.to_set_up.iter().any(|index| {
            let track = self.description.tracks.get(*index);
            track.is_some_and(|track| track.kind == MediaKind::Video)
        })
    }

    fn play(&mut self, now: Instant) {
        if let Some(url) = self.urls.pop_front() {
            self.session.set_aggregate_url(url);
        }
        self.session.play();
        self.await_answer(now);
    }

    /// Tells what will be published: the tracks that were set up.
    pub(super) fn announce(&mut self) {
        if self.announced {
            return;
        }
        self.announced = true;
        let tracks = self
            .published
            .iter()
            .filter_map(|index| self.description.tracks.get(*index).cloned())
            .collect();
        self.happened
            .push_back(Happened::Publish(SessionDescription {
                tracks,
                ..self.description.clone()
            }));
    }
}

/// Refusals that another form of the URL may turn into a success.
fn is_about_url(status: Status) -> bool {
    /// Of PLAY with a trailing slash, as PTZOptics cameras answer it.
    const METHOD_NOT_ALLOWED: Status = Status::new(405);
    matches!(
        status,
        Status::BAD_REQUEST
            | Status::NOT_FOUND
            | METHOD_NOT_ALLOWED
            | Status::WRONG_STATE
            | Status::AGGREGATE_NOT_ALLOWED
            | Status::ONLY_AGGREGATE
    )
}
