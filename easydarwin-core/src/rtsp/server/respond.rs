use bytes::Bytes;

use crate::rtsp::{RequestUri, Response, Status, Transport, TransportAnswer};

use super::range::Pace;
use super::session::{Bound, SessionTrack};
use super::{Reply, RequestId, RtpInfo, ServerConnection, SessionRole};

/// A request that the caller answers.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    pub(super) cseq: Option<String>,
    pub(super) awaited: Awaited,
}

#[derive(Debug)]
pub(super) enum Awaited {
    Describe(RequestUri),
    Announce(RequestUri),
    Setup { role: SessionRole, uri: RequestUri },
    Play(Pace),
    Record,
    Pause,
}

impl ServerConnection {
    /// Answers a request. Returns `false` when nothing waits under that id (any more).
    /// A reply of the wrong kind is turned into 500.
    pub fn respond(&mut self, id: RequestId, reply: Reply) -> bool {
        let Some(pending) = self.pending.take_if(|pending| pending.id == id) else {
            return false;
        };
        let cseq = pending.cseq.as_deref();
        let response = match (pending.awaited, reply) {
            (
                _,
                Reply::Error {
                    status,
                    reason,
                    challenges,
                },
            ) => self.refusal(cseq, status, reason, challenges),
            (Awaited::Describe(_) | Awaited::Setup { .. }, Reply::Redirect { location }) => {
                let mut response = self.response(Status::FOUND, cseq);
                response.headers.push("Location", location);
                response
            }
            (Awaited::Describe(uri), Reply::Describe { sdp, tracks }) => {
                self.described(cseq, uri, sdp, tracks)
            }
            (Awaited::Announce(uri), Reply::Announce { controls }) => {
                self.announced(cseq, uri, controls)
            }
            (
                Awaited::Setup { role, uri },
                Reply::Setup {
                    track,
                    transport,
                    ssrc,
                },
            ) => self.set_up(cseq, (role, uri), track, transport, ssrc),
            (Awaited::Play(pace), Reply::Play { rtp_info }) => self.playing(cseq, pace, &rtp_info),
            (Awaited::Record, Reply::Ok) => {
                self.media = None;
                self.streaming(cseq, true)
            }
            (Awaited::Pause, Reply::Ok) => self.streaming(cseq, false),
            _ => self.response(Status::INTERNAL_ERROR, cseq),
        };
        response.write(&mut self.output);
        true
    }

    fn refusal(
        &self,
        cseq: Option<&str>,
        status: Status,
        reason: Option<String>,
        challenges: Vec<String>,
    ) -> Response {
        let mut response = self.response(status, cseq);
        if let Some(reason) = reason {
            response.reason = reason;
        }
        for challenge in challenges {
            response.headers.push("WWW-Authenticate", challenge);
        }
        response
    }

    fn described(
        &mut self,
        cseq: Option<&str>,
        uri: RequestUri,
        sdp: Bytes,
        tracks: usize,
    ) -> Response {
        let mut response = self.response(Status::OK, cseq);
        response.headers.push("Content-Base", uri.content_base());
        response.headers.push("Content-Type", "application/sdp");
        response.body = sdp;
        // A running session keeps the URL under which it was made.
        if self.session.is_none() {
            self.bound = Some(Bound {
                uri,
                role: SessionRole::Play,
                controls: Vec::new(),
                tracks: Some(tracks),
            });
        }
        response
    }

    fn announced(
        &mut self,
        cseq: Option<&str>,
        uri: RequestUri,
        controls: Vec<Option<String>>,
    ) -> Response {
        self.bound = Some(Bound {
            uri,
            role: SessionRole::Record,
            tracks: Some(controls.len()),
            controls,
        });
        self.session = Some(self.new_session());
        let mut response = self.response(Status::OK, cseq);
        self.push_session(&mut response, true);
        response
    }

    fn set_up(
        &mut self,
        cseq: Option<&str>,
        (role, uri): (SessionRole, RequestUri),
        track: usize,
        answer: TransportAnswer,
        ssrc: Option<u32>,
    ) -> Response {
        if self.session.is_none() {
            self.session = Some(self.new_session());
            let keep = self
                .bound
                .take()
                .filter(|bound| bound.resolve(&uri).is_some());
            self.bound = Some(keep.unwrap_or(Bound {
                uri,
                role,
                controls: Vec::new(),
                tracks: None,
            }));
        }
        if let Some(session) = &mut self.session {
            session.tracks.push(SessionTrack {
                track,
                transport: answer,
            });
        }
        let mut transport = Transport {
            ssrc,
            record: role == SessionRole::Record,
            ..Transport::default()
        };
        match answer {
            TransportAnswer::Tcp { rtp, rtcp } => {
                transport.tcp = true;
                transport.interleaved = Some((rtp, rtcp));
            }
            TransportAnswer::Udp { client, server } => {
                transport.client_port = Some(client);
                transport.server_port = Some(server);
            }
        }
        let mut response = self.response(Status::OK, cseq);
        response.headers.push("Transport", transport.to_string());
        self.push_session(&mut response, true);
        response
    }

    fn playing(&mut self, cseq: Option<&str>, pace: Pace, rtp_info: &[RtpInfo]) -> Response {
        let mut response = self.streaming(cseq, true);
        response.headers.push("Range", "npt=now-");
        pace.answer(&mut response.headers);
        let entries: Vec<String> = self
            .bound
            .iter()
            .flat_map(|bound| rtp_info.iter().map(|info| info.write(&bound.uri)))
            .collect();
        if !entries.is_empty() {
            response.headers.push("RTP-Info", entries.join(","));
        }
        response
    }

    fn streaming(&mut self, cseq: Option<&str>, streaming: bool) -> Response {
        if let Some(session) = &mut self.session {
            session.streaming = streaming;
        }
        let mut response = self.response(Status::OK, cseq);
        self.push_session(&mut response, false);
        response
    }

    fn push_session(&self, response: &mut Response, with_timeout: bool) {
        let Some(session) = &self.session else {
            return;
        };
        let value = if with_timeout {
            let timeout = self.config.session_timeout.as_secs();
            format!("{};timeout={timeout}", session.id)
        } else {
            session.id.clone()
        };
        response.headers.push("Session", value);
    }
}

impl RtpInfo {
    fn write(&self, uri: &RequestUri) -> String {
        let url = uri.track_control(self.track);
        match self.start {
            Some((sequence, time)) => format!("url={url};seq={sequence};rtptime={time}"),
            None => format!("url={url}"),
        }
    }
}
