use crate::rtsp::parser::cseq;
use crate::rtsp::{
    Credentials, Method, Repair, Repairs, Request, RequestUri, Status, Transport, split_scheme,
};

use super::range::{self, Pace};
use super::respond::{Awaited, Pending};
use super::session::{Bound, Session, usable_offers};
use super::{RequestId, ServerConnection, ServerEvent, SessionRole, SetupRequest};

const PUBLIC: &str = "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, RECORD, TEARDOWN, \
                      GET_PARAMETER, SET_PARAMETER";

/// `Err` is answered with that status, `Ok(None)` has been answered.
type Handled = Result<Option<ServerEvent>, Status>;

impl ServerConnection {
    pub(super) fn handle(&mut self, request: &Request) -> Handled {
        let cseq_header = request.headers.get("CSeq").unwrap_or_default();
        if cseq_header.is_empty() || !cseq_header.bytes().all(|b| b.is_ascii_digit()) {
            self.repair(Repair::MissingCseq)?;
        }
        if request.uri != "*" && split_scheme(&request.uri).is_none() {
            self.repair(Repair::RelativeUri)?;
        }
        if matches!(request.method, Method::Other(_) | Method::Redirect) {
            let mut response = self.response(Status::NOT_IMPLEMENTED, cseq(&request.headers));
            response.headers.push("Public", PUBLIC);
            response.write(&mut self.output);
            return Ok(None);
        }
        if self.refuse_required(request) {
            return Ok(None);
        }
        self.check_session_header(request)?;
        if request.method == Method::Options {
            return self.options(request);
        }
        if matches!(request.method, Method::GetParameter | Method::SetParameter) {
            return self.parameter(request).map(|()| None);
        }
        let uri =
            RequestUri::parse(&request.uri, &self.authority).map_err(|_| Status::BAD_REQUEST)?;
        match request.method {
            Method::Describe => self.describe(request, uri),
            Method::Announce => self.announce(request, uri),
            Method::Setup => self.setup(request, uri),
            Method::Play => self.play(request, &uri),
            Method::Record => self.record(request, &uri),
            Method::Pause => self.pause(request, &uri),
            Method::Teardown => self.teardown(request, &uri),
            _ => Err(Status::NOT_IMPLEMENTED),
        }
    }

    /// No option is supported (RFC 2326, 12.32).
    fn refuse_required(&mut self, request: &Request) -> bool {
        let required: Vec<&str> = ["Require", "Proxy-Require"]
            .iter()
            .flat_map(|name| request.headers.all(name))
            .filter(|value| !value.is_empty())
            .collect();
        if required.is_empty() {
            return false;
        }
        let mut response = self.response(Status::OPTION_NOT_SUPPORTED, cseq(&request.headers));
        response.headers.push("Unsupported", required.join(", "));
        response.write(&mut self.output);
        true
    }

    /// A session belongs to its connection; nobody else's is known here.
    fn check_session_header(&mut self, request: &Request) -> Result<(), Status> {
        let Some(value) = request.headers.get("Session") else {
            // ANNOUNCE makes a session here already, but that of RFC 2326 begins with SETUP.
            let needed = matches!(
                request.method,
                Method::Setup | Method::Play | Method::Record | Method::Pause | Method::Teardown
            );
            return match &self.session {
                Some(session) if needed && !session.tracks.is_empty() => {
                    self.repair(Repair::MissingSession)
                }
                _ => Ok(()),
            };
        };
        let id = value.split(';').next().unwrap_or_default().trim();
        match &self.session {
            Some(session) if session.id == id => Ok(()),
            _ => Err(Status::SESSION_NOT_FOUND),
        }
    }

    fn options(&mut self, request: &Request) -> Handled {
        let mut response = self.response(Status::OK, cseq(&request.headers));
        if let Some(session) = &self.session {
            response.headers.push("Session", session.id.as_str());
        }
        response.headers.push("Public", PUBLIC);
        response.write(&mut self.output);
        Ok(None)
    }

    fn describe(&mut self, request: &Request, uri: RequestUri) -> Handled {
        if self.session.is_some()
            && let Some(bound) = &self.bound
        {
            if bound.role == SessionRole::Record {
                return Err(Status::WRONG_STATE);
            }
            if bound.resolve(&uri).is_none() {
                return Err(Status::NOT_FOUND);
            }
        }
        let credentials = Credentials::from_request(&uri, &request.headers);
        let id = self.wait(request, Awaited::Describe(uri.clone()));
        Ok(Some(ServerEvent::Describe {
            id,
            uri,
            credentials,
        }))
    }

    fn announce(&mut self, request: &Request, uri: RequestUri) -> Handled {
        if self.session.is_some() {
            return Err(Status::WRONG_STATE);
        }
        let is_sdp = request.headers.get("Content-Type").is_none_or(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/sdp")
        });
        if !is_sdp {
            return Err(Status::UNSUPPORTED_MEDIA_TYPE);
        }
        if request.body.is_empty() {
            return Err(Status::BAD_REQUEST);
        }
        if request.headers.get("Content-Type").is_none() {
            self.repair(Repair::MissingContentType)?;
        }
        let credentials = Credentials::from_request(&uri, &request.headers);
        let id = self.wait(request, Awaited::Announce(uri.clone()));
        Ok(Some(ServerEvent::Announce {
            id,
            uri,
            credentials,
            sdp: request.body.clone(),
        }))
    }

    fn setup(&mut self, request: &Request, uri: RequestUri) -> Handled {
        let taken = match &self.session {
            Some(session) if session.streaming => return Err(Status::WRONG_STATE),
            Some(session) => session.tracks.as_slice(),
            None => &[],
        };
        // Before there is a session, another stream than the described one may be set up.
        let bound = self
            .bound
            .as_ref()
            .filter(|bound| self.session.is_some() || bound.resolve(&uri).is_some());
        let track = match bound {
            Some(bound) => bound.setup_track(&uri)?,
            None => uri.track(),
        };
        let role = bound.map_or(SessionRole::Play, |bound| bound.role);
        let authorized = bound.is_some();
        if track.is_some_and(|track| taken.iter().any(|t| t.track == track)) {
            return Err(Status::WRONG_STATE);
        }
        if taken.len() >= self.config.max_tracks {
            return Err(Status::NOT_ENOUGH_BANDWIDTH);
        }
        let mut repairs = Repairs::default();
        let asked: Vec<Transport> = request
            .headers
            .all("Transport")
            .flat_map(|value| Transport::parse_repaired(value, &mut repairs))
            .collect();
        if request.headers.get("Transport").is_none() {
            return Err(Status::BAD_REQUEST);
        }
        if asked.first().is_some_and(|first| first.record) && role == SessionRole::Play {
            // To record, announce first.
            return Err(Status::WRONG_STATE);
        }
        let mut other_channels = false;
        let offers = usable_offers(&asked, taken, &mut other_channels);
        if offers.is_empty() {
            return Err(Status::UNSUPPORTED_TRANSPORT);
        }
        if other_channels {
            repairs.add(Repair::ChannelsReassigned);
        }
        if role == SessionRole::Record && !asked.iter().any(|transport| transport.record) {
            repairs.add(Repair::TransportMode);
        }
        for (repair, _) in repairs.iter() {
            self.repair(repair)?;
        }
        let credentials = Credentials::from_request(&uri, &request.headers);
        let id = self.wait(
            request,
            Awaited::Setup {
                role,
                uri: uri.clone(),
            },
        );
        Ok(Some(ServerEvent::Setup(SetupRequest {
            id,
            role,
            uri,
            authorized,
            credentials,
            track,
            offers,
        })))
    }

    fn play(&mut self, request: &Request, uri: &RequestUri) -> Handled {
        let streaming = self.ready(SessionRole::Play, uri)?;
        let range = request.headers.get("Range").map(str::to_owned);
        let pace = Pace::asked(&request.headers)?;
        if let Some(range) = &range {
            range::check(range, pace.backwards())?;
        }
        if streaming {
            let mut response = self.response(Status::OK, cseq(&request.headers));
            if let Some(session) = &self.session {
                response.headers.push("Session", session.id.as_str());
            }
            response.headers.push("Range", "npt=now-");
            pace.answer(&mut response.headers);
            response.write(&mut self.output);
            return Ok(None);
        }
        let id = self.wait(request, Awaited::Play(pace));
        let uri = uri.clone();
        Ok(Some(ServerEvent::Play { id, uri, range }))
    }

    fn record(&mut self, request: &Request, uri: &RequestUri) -> Handled {
        if self.ready(SessionRole::Record, uri)? {
            self.answer(request, Status::OK);
            return Ok(None);
        }
        let id = self.wait(request, Awaited::Record);
        Ok(Some(ServerEvent::Record { id }))
    }

    fn pause(&mut self, request: &Request, uri: &RequestUri) -> Handled {
        let role = self.bound.as_ref().map(|bound| bound.role);
        if !self.ready(role.ok_or(Status::WRONG_STATE)?, uri)? {
            self.answer(request, Status::OK);
            return Ok(None);
        }
        let id = self.wait(request, Awaited::Pause);
        Ok(Some(ServerEvent::Pause { id }))
    }

    fn teardown(&mut self, request: &Request, uri: &RequestUri) -> Handled {
        let (session, bound) = self.bound_session()?;
        session.check_aggregate(bound, uri)?;
        self.answer(request, Status::OK);
        self.session = None;
        self.bound = None;
        self.media = None;
        Ok(Some(ServerEvent::Teardown))
    }

    /// A session of this role with at least one track; tells whether media flows already.
    fn ready(&self, role: SessionRole, uri: &RequestUri) -> Result<bool, Status> {
        let (session, bound) = self.bound_session()?;
        if bound.role != role || session.tracks.is_empty() {
            return Err(Status::WRONG_STATE);
        }
        session.check_aggregate(bound, uri)?;
        Ok(session.streaming)
    }

    pub(super) fn bound_session(&self) -> Result<(&Session, &Bound), Status> {
        self.session
            .as_ref()
            .zip(self.bound.as_ref())
            .ok_or(Status::WRONG_STATE)
    }

    fn wait(&mut self, request: &Request, awaited: Awaited) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.pending = Some(Pending {
            id,
            cseq: cseq(&request.headers).map(str::to_owned),
            awaited,
        });
        id
    }
}
