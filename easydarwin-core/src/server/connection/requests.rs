//! What is decided about requests: rights, streams, transports.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::player::Player;
use super::recorder::Recorder;
use super::{Connection, End, Media, Stopping, replies};
use crate::media::Repairs;
use crate::media::sdp::{self, SdpError};
use crate::registry::{AccessRequest, Action, Permit, Principal, StreamPath};
use crate::relay::{Asked, EndReason, Stream};
use crate::rtsp::{
    Credentials, Method, Reply, RequestId, RequestUri, ServerEvent, SessionRole, SetupRequest,
    Status, TransportOffer,
};
use crate::server::rights::{Question, Refusal};
use crate::server::shared::Shared;

/// How long a DESCRIBE waits for parameter sets that the publisher's description lacks.
const PARAMETER_SETS_PATIENCE: Duration = Duration::from_secs(1);

/// A request whose decision needs others; dropping it takes the request back.
pub(super) struct Job {
    id: RequestId,
    decision: BoxFuture<'static, Decision>,
}

impl Job {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(RequestId, Decision)> {
        self.decision
            .as_mut()
            .poll(cx)
            .map(|decision| (self.id, decision))
    }
}

/// What came out.
pub(super) enum Decision {
    /// A player may have this stream.
    Describe(Admission, RequestUri),
    /// A player that sent no DESCRIBE may have this stream.
    Setup(Admission, SetupRequest),
    /// A publisher may have this path.
    Announce(StreamPath, (Principal, Permit), Bytes),
    /// No.
    Refused(Refusal),
}

/// A stream that a player was let to.
pub(super) struct Admission {
    stream: Stream,
    asked: Asked,
    permit: Permit,
}

impl Connection {
    /// Acts on a request: answers at once or starts a job.
    pub(super) fn on_event(&mut self, event: ServerEvent, now: Instant) {
        match event {
            ServerEvent::Describe {
                id,
                uri,
                credentials,
            } => self.decide(id, |this| this.describe(uri, credentials)),
            ServerEvent::Announce {
                id,
                uri,
                credentials,
                sdp,
            } => self.decide(id, |this| this.announce(uri, credentials, sdp)),
            ServerEvent::Setup(request) => self.on_setup(request),
            ServerEvent::Play { id, uri, .. } => {
                let reply = self.play(&uri);
                self.rtsp.respond(id, reply);
            }
            ServerEvent::Record { id } => {
                let reply = match &mut self.media {
                    Media::Record(recorder) => {
                        recorder.record(true);
                        Reply::Ok
                    }
                    _ => Reply::error(Status::WRONG_STATE),
                };
                self.rtsp.respond(id, reply);
            }
            ServerEvent::Pause { id } => {
                match &mut self.media {
                    Media::Play(player) => {
                        // One that stops already is waited for first.
                        if let Some(handle) = player.pause() {
                            self.stopping = Some(Stopping::Paused(handle));
                        }
                    }
                    Media::Record(recorder) => recorder.record(false),
                    Media::None => {}
                }
                self.rtsp.respond(id, Reply::Ok);
            }
            ServerEvent::Teardown => self.end_session(EndReason::PublisherLeft),
        }
        let _ = now;
    }

    fn decide(&mut self, id: RequestId, job: impl FnOnce(&Self) -> BoxFuture<'static, Decision>) {
        let decision = job(self);
        self.job = Some(Job { id, decision });
    }

    /// Acts on a decision.
    pub(super) fn on_decision(
        &mut self,
        id: RequestId,
        decision: Decision,
        now: Instant,
    ) -> Result<(), End> {
        self.job = None;
        match decision {
            Decision::Refused(Refusal { reply, close }) => {
                self.rtsp.respond(id, reply);
                if close {
                    return Err(End::Throttled);
                }
            }
            Decision::Describe(admission, uri) => {
                let reply = describe(&admission.stream, &uri, self.local.ip());
                // To describe a stream anew disturbs no session of it.
                if self.rtsp.session().is_none() {
                    self.end_session(EndReason::PublisherLeft);
                    self.admit(admission);
                }
                self.rtsp.respond(id, reply);
            }
            Decision::Setup(admission, request) => {
                self.admit(admission);
                let reply = self.set_up_player(&request);
                self.rtsp.respond(id, reply);
            }
            Decision::Announce(path, (principal, permit), sdp) => {
                let reply = self.publish(&path, principal, &sdp, now);
                if matches!(self.media, Media::Record(_)) {
                    self.revoked = Box::pin(permit.revoked());
                }
                self.rtsp.respond(id, reply);
            }
        }
        Ok(())
    }

    /// What the session does from here on rests on this right.
    fn admit(&mut self, admission: Admission) {
        self.revoked = Box::pin(admission.permit.clone().revoked());
        self.admitted = Some(admission);
    }

    fn describe(&self, uri: RequestUri, credentials: Credentials) -> BoxFuture<'static, Decision> {
        let shared = self.shared.clone();
        let question = self.question(Action::Play, &Method::Describe, &uri, credentials);
        let asked = asked(&uri);
        Box::pin(async move {
            match admit(&shared, question, asked).await {
                Ok(admission) => {
                    wait_for_parameter_sets(&admission.stream).await;
                    Decision::Describe(admission, uri)
                }
                Err(refusal) => Decision::Refused(refusal),
            }
        })
    }

    fn announce(
        &self,
        uri: RequestUri,
        credentials: Credentials,
        sdp: Bytes,
    ) -> BoxFuture<'static, Decision> {
        let shared = self.shared.clone();
        let question = self.question(Action::Publish, &Method::Announce, &uri, credentials);
        Box::pin(async move {
            let question = match question {
                Ok(question) => question,
                Err(reply) => return Decision::Refused(reply.into()),
            };
            match question.ask(&shared.gate, &shared.realm).await {
                Ok(right) => Decision::Announce(question.into_path(), right, sdp),
                Err(refusal) => Decision::Refused(refusal),
            }
        })
    }

    fn on_setup(&mut self, request: SetupRequest) {
        let reply = match (request.role, &self.media) {
            (SessionRole::Record, Media::Record(_)) => self.set_up_recorder(&request),
            (SessionRole::Play, Media::Record(_)) | (SessionRole::Record, _) => {
                Reply::error(Status::WRONG_STATE)
            }
            (SessionRole::Play, _) if request.authorized && self.admitted.is_some() => {
                match asked(&request.uri) {
                    Ok(asked) => {
                        if let Some(admitted) = &mut self.admitted {
                            admitted.asked = asked.or(admitted.asked);
                        }
                        self.set_up_player(&request)
                    }
                    Err(reply) => reply,
                }
            }
            (SessionRole::Play, _) => {
                let id = request.id;
                return self.decide(id, |this| this.admit_and_set_up(request));
            }
        };
        self.rtsp.respond(request.id, reply);
    }

    /// A player that sends no DESCRIBE is asked for its right here.
    fn admit_and_set_up(&self, request: SetupRequest) -> BoxFuture<'static, Decision> {
        let shared = self.shared.clone();
        let credentials = request.credentials.clone();
        let question = self.question(Action::Play, &Method::Setup, &request.uri, credentials);
        let asked = asked(&request.uri);
        Box::pin(async move {
            match admit(&shared, question, asked).await {
                Ok(admission) => Decision::Setup(admission, request),
                Err(refusal) => Decision::Refused(refusal),
            }
        })
    }

    fn set_up_player(&mut self, request: &SetupRequest) -> Reply {
        if matches!(self.media, Media::None) {
            let Some(admitted) = &self.admitted else {
                return Reply::error(Status::WRONG_STATE);
            };
            // The publisher may have come anew since DESCRIBE.
            let Some(stream) = self.shared.hub.get(admitted.stream.path()) else {
                return Reply::error(Status::NOT_FOUND);
            };
            self.media = Media::Play(Player::new(stream, admitted.asked));
        }
        let offers = self.acceptable(&request.offers);
        let Media::Play(player) = &mut self.media else {
            return Reply::error(Status::WRONG_STATE);
        };
        let identities = player.stream().tracks();
        let track = match request.track {
            Some(track) => track,
            None if identities.len() == 1 => 0,
            None => return Reply::error(Status::AGGREGATE_NOT_ALLOWED),
        };
        let Some(ssrc) = identities.get(track).map(|identity| identity.ssrc) else {
            return Reply::error(Status::NOT_FOUND);
        };
        let sockets = &self.shared.player_sockets;
        match player.set_up(track, &offers, self.peer, sockets) {
            None => Reply::error(Status::UNSUPPORTED_TRANSPORT),
            Some(transport) => Reply::Setup {
                track,
                transport,
                ssrc: Some(ssrc),
            },
        }
    }

    fn play(&mut self, uri: &RequestUri) -> Reply {
        let asked = match asked(uri) {
            Ok(asked) => asked,
            Err(reply) => return reply,
        };
        match &mut self.media {
            Media::Play(player) => Reply::Play {
                rtp_info: player.prepare(self.label.clone(), asked),
            },
            _ => Reply::error(Status::WRONG_STATE),
        }
    }

    fn set_up_recorder(&mut self, request: &SetupRequest) -> Reply {
        let offers = self.acceptable(&request.offers);
        let Media::Record(recorder) = &mut self.media else {
            return Reply::error(Status::WRONG_STATE);
        };
        let Some(track) = request.track.or_else(|| recorder.only_track()) else {
            return Reply::error(Status::AGGREGATE_NOT_ALLOWED);
        };
        if !recorder.has_track(track) {
            return Reply::error(Status::NOT_FOUND);
        }
        match recorder.set_up(track, &offers, self.local, &self.shared.ports) {
            None => Reply::error(Status::UNSUPPORTED_TRANSPORT),
            Some(transport) => Reply::Setup {
                track,
                transport,
                ssrc: None,
            },
        }
    }

    /// Offers that may be met: whoever asks over TLS does not want media in the clear beside it.
    fn acceptable(&self, offers: &[TransportOffer]) -> Vec<TransportOffer> {
        let secure = self.wire.is_secure();
        let may = |offer: &&TransportOffer| !secure || matches!(offer, TransportOffer::Tcp { .. });
        offers.iter().filter(may).cloned().collect()
    }

    fn publish(
        &mut self,
        path: &StreamPath,
        principal: Principal,
        sdp: &[u8],
        now: Instant,
    ) -> Reply {
        let strict = self.shared.rtsp.strict;
        let (description, repairs) = match sdp::read(sdp, strict) {
            Ok(read) => read,
            Err(error) => {
                if let SdpError::Faulty { repair, .. } = error {
                    let mut repairs = Repairs::default();
                    repairs.add(repair);
                    self.note_repairs(&repairs, path.as_str());
                }
                return replies::bad_sdp(&error);
            }
        };
        let controls = description
            .tracks
            .iter()
            .map(|track| track.control.clone())
            .collect();
        self.end_session(EndReason::PublisherLeft);
        match self.shared.hub.publish(path, description, principal) {
            Err(error) => {
                tracing::info!(%path, peer = %self.peer, %error, "publisher refused");
                replies::not_published(&error)
            }
            Ok(mut publisher) => {
                tracing::info!(%path, peer = %self.peer, generation = publisher.generation(), "publisher came");
                publisher.watch_faults(self.peer.to_string(), strict);
                publisher.count_repairs(&self.repairs);
                self.media = Media::Record(Recorder::new(publisher, self.peer, now));
                self.note_repairs(&repairs, path.as_str());
                Reply::Announce { controls }
            }
        }
    }

    fn question(
        &self,
        action: Action,
        method: &Method,
        uri: &RequestUri,
        credentials: Credentials,
    ) -> Result<Question, Reply> {
        let path = StreamPath::parse(&uri.path_and_query()).map_err(replies::bad_path)?;
        let request = AccessRequest::new(action, path, self.peer, credentials.into());
        let realm = &self.shared.realm;
        let now = Instant::now();
        Ok(Question::new(request, (method, uri), self.via, realm, now))
    }
}

async fn admit(
    shared: &Shared,
    question: Result<Question, Reply>,
    asked: Result<Asked, Reply>,
) -> Result<Admission, Refusal> {
    let asked = asked?;
    let question = question?;
    let (viewer, permit) = question.ask(&shared.gate, &shared.realm).await?;
    let stream = shared
        .lookup
        .find(&question.into_path(), &viewer)
        .await
        .map_err(|error| replies::not_found(&error))?;
    Ok(Admission {
        stream,
        asked,
        permit,
    })
}

async fn wait_for_parameter_sets(stream: &Stream) {
    if !stream.has_parameter_sets() {
        // Without them many players work all the same: they come in the stream.
        let _ = tokio::time::timeout(PARAMETER_SETS_PATIENCE, stream.parameter_sets()).await;
    }
}

fn describe(stream: &Stream, uri: &RequestUri, local: std::net::IpAddr) -> Reply {
    let description = stream.description();
    let options = sdp::WriteOptions {
        address: local.to_canonical(),
        session_id: stream.generation(),
        ..sdp::WriteOptions::default()
    };
    let text = sdp::write(&description, &options, |track| uri.track_control(track));
    Reply::Describe {
        sdp: text.into(),
        tracks: description.tracks.len(),
    }
}

/// What the query asks for; what is not known is refused.
fn asked(uri: &RequestUri) -> Result<Asked, Reply> {
    Asked::in_query(uri.query())
        .map_err(|error| Reply::error_with(Status::BAD_REQUEST, error.to_string()))
}
