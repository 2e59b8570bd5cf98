mod known;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::rtsp::{
    Headers, Limits, Message, Method, Parsed, Parser, Repair, Repairs, Request, Response, Status,
    Transport, redacted,
};

use super::control::{join, repaired_base, session_control};
use super::login::Authenticator;
use super::{ClientEvent, ClientStep, ClientUrl, KeepAlive, Login, TrackStart};

/// Session timeout when the server names none (RFC 2326, 12.37).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// A server that claims less is asked at this distance nevertheless.
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Requests without answer before the oldest is forgotten: only keep-alives can pile up.
const MAX_SENT: usize = 8;

/// The client's side of one RTSP connection and of the session on it.
///
/// Requests are made by the methods named after them; their answers come out of
/// [`next`](Self::next). Logins (one repetition per request) and keep-alives are dealt with inside.
pub struct ClientSession {
    parser: Parser,
    authenticator: Authenticator,
    user_agent: String,
    /// The URL of the stream, as connected to.
    url: String,
    /// What relative control attributes belong to.
    base: String,
    /// The URL of PLAY and RECORD.
    aggregate: String,
    output: BytesMut,
    next_cseq: u32,
    sent: VecDeque<Sent>,
    session: Option<String>,
    timeout: Duration,
    /// When the next keep-alive is due; none before the first SETUP succeeded.
    keep_alive_due: Option<Instant>,
    keep_alive: KeepAlive,
    /// When the keep-alive was sent that has no answer yet.
    keep_alive_sent: Option<Instant>,
    server: Option<String>,
    pub(super) repairs: Repairs,
}

struct Sent {
    cseq: u32,
    request: Request,
    repeats: u8,
    keep_alive: bool,
}

impl fmt::Debug for ClientSession {
    /// Without what holds secrets: login, requests, tokens of the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("url", &redacted(&self.url))
            .field("session", &self.session.is_some())
            .field("timeout", &self.timeout)
            .field("keep_alive", &self.keep_alive)
            .field("unanswered", &self.sent.len())
            .finish_non_exhaustive()
    }
}

impl ClientSession {
    /// A session for a stream. `cnonce` is any random text for digests.
    pub fn new(
        url: &ClientUrl,
        login: Login,
        cnonce: impl Into<String>,
        user_agent: impl Into<String>,
        limits: Limits,
    ) -> Self {
        let login = match (login, url.user()) {
            (Login::FromUrl, Some((user, password))) => Login::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            },
            (login, _) => login,
        };
        Self {
            parser: Parser::new(limits),
            authenticator: Authenticator::new(login, cnonce.into()),
            user_agent: user_agent.into(),
            url: url.request().to_owned(),
            base: url.request().to_owned(),
            aggregate: url.request().to_owned(),
            output: BytesMut::new(),
            next_cseq: 1,
            sent: VecDeque::new(),
            session: None,
            timeout: DEFAULT_TIMEOUT,
            keep_alive_due: None,
            keep_alive: KeepAlive::default(),
            keep_alive_sent: None,
            server: None,
            repairs: Repairs::default(),
        }
    }

    /// Lets a password go over this connection as it is (Basic): the connection is encrypted, or
    /// the network is trusted. Without this only Digest is answered.
    pub fn allow_basic(&mut self, allowed: bool) {
        self.authenticator.allow_basic(allowed);
    }

    /// Asks what the server can do.
    pub fn options(&mut self) {
        let request = Request::new(Method::Options, self.url.clone());
        self.send(request, 0, false);
    }

    /// Asks for the description.
    pub fn describe(&mut self) {
        let mut request = Request::new(Method::Describe, self.url.clone());
        request.headers.push("Accept", "application/sdp");
        self.send(request, 0, false);
    }

    /// Announces what will be published.
    pub fn announce(&mut self, sdp: Bytes) {
        let mut request = Request::new(Method::Announce, self.url.clone());
        request.headers.push("Content-Type", "application/sdp");
        request.body = sdp;
        self.send(request, 0, false);
    }

    /// Sets up the track whose control attribute this is.
    pub fn setup(&mut self, control: Option<&str>, transport: &Transport) {
        self.setup_url(self.track_url(control), transport);
    }

    /// Sets up the track of this URL.
    pub fn setup_url(&mut self, url: String, transport: &Transport) {
        let mut request = Request::new(Method::Setup, url);
        request.headers.push("Transport", transport.to_string());
        self.send(request, 0, false);
    }

    /// Starts to play from now on.
    pub fn play(&mut self) {
        let mut request = Request::new(Method::Play, self.aggregate.clone());
        request.headers.push("Range", "npt=0.000-");
        self.send(request, 0, false);
    }

    /// Stops the media for a while (RFC 2326, 10.6). Keep-alives go on.
    pub fn pause(&mut self) {
        let request = Request::new(Method::Pause, self.aggregate.clone());
        self.send(request, 0, false);
    }

    /// Plays on after a pause: without `Range`, from where it stopped (RFC 2326, 10.5).
    pub fn resume(&mut self) {
        let request = Request::new(Method::Play, self.aggregate.clone());
        self.send(request, 0, false);
    }

    /// Starts to record.
    pub fn record(&mut self) {
        let mut request = Request::new(Method::Record, self.aggregate.clone());
        request.headers.push("Range", "npt=0.000-");
        self.send(request, 0, false);
    }

    /// Ends the session.
    pub fn teardown(&mut self) {
        self.keep_alive_due = None;
        let request = Request::new(Method::Teardown, self.aggregate.clone());
        self.send(request, 0, false);
    }

    /// Ends a session of an earlier connection, before this one has a session of its own.
    pub fn teardown_other(&mut self, url: &str, id: &str) {
        let mut request = Request::new(Method::Teardown, url);
        request.headers.push("Session", id);
        self.send(request, 0, false);
    }

    /// What has to be written now.
    pub fn take_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.keep_alive_due
    }

    /// Sends a keep-alive when one is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.keep_alive_due.is_some_and(|due| due <= now) {
            self.schedule(now);
            if self.keep_alive_sent.take().is_some() {
                // Some cameras answer nothing at all to what they do not know, and then hang.
                self.keep_alive = self.keep_alive.next();
            }
            if let Some(method) = self.keep_alive.method() {
                self.keep_alive_sent = Some(now);
                let request = Request::new(method, self.aggregate.clone());
                self.send(request, 0, true);
            }
        }
    }

    /// The URL of the track with this control attribute. Servers expect the base and the
    /// attribute with a slash between, also behind a query, not what RFC 3986 makes of them.
    pub fn track_url(&self, control: Option<&str>) -> String {
        join(&self.base, control)
    }

    /// Takes one step with the bytes that were read and not yet consumed.
    pub fn next<'a>(&mut self, buf: &'a [u8], now: Instant) -> ClientStep<'a> {
        let (consumed, message) = match self.parser.parse(buf) {
            Ok(Parsed::NeedMore) => return ClientStep::NeedMore,
            Ok(Parsed::Skipped { consumed }) => {
                self.repairs.merge(&self.parser.take_repairs());
                return ClientStep::Handled { consumed };
            }
            Ok(Parsed::Frame {
                consumed,
                channel,
                data,
            }) => {
                return ClientStep::Interleaved {
                    consumed,
                    channel,
                    data,
                };
            }
            Ok(Parsed::Message { consumed, message }) => (consumed, message),
            Err(error) => return ClientStep::Failed(error),
        };
        self.repairs.merge(&self.parser.take_repairs());
        let event = match message {
            Message::Response(response) => self.response(response, now),
            Message::Request(request) => self.request(&request),
        };
        match event {
            Some(event) => ClientStep::Event { consumed, event },
            None => ClientStep::Handled { consumed },
        }
    }

    fn send(&mut self, mut request: Request, repeats: u8, keep_alive: bool) {
        let cseq = self.next_cseq;
        self.next_cseq = self.next_cseq.wrapping_add(1);
        let mut headers = Headers::new();
        headers.push("CSeq", cseq.to_string());
        let authorization = self
            .authenticator
            .authorization(&request.method, &request.uri);
        if let Some(value) = authorization {
            headers.push("Authorization", value);
        }
        if let Some(session) = &self.session {
            headers.push("Session", session.as_str());
        }
        headers.push("User-Agent", self.user_agent.as_str());
        // Only what the request itself brought is kept for a repetition.
        let own = request.headers.clone();
        for (name, value) in own.iter() {
            headers.push(name, value);
        }
        request.headers = headers;
        request.write(&mut self.output);
        request.headers = own;
        if self.sent.len() >= MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            cseq,
            request,
            repeats,
            keep_alive,
        });
    }

    /// The request that a response answers: by number, else the oldest (some cameras send none).
    fn answered(&mut self, response: &Response) -> Option<Sent> {
        let cseq: Option<u32> = response.headers.get("CSeq").and_then(|v| v.parse().ok());
        let Some(cseq) = cseq else {
            self.repairs.add(Repair::MissingCseq);
            return self.sent.pop_front();
        };
        if let Some(at) = self.sent.iter().position(|sent| sent.cseq == cseq) {
            return self.sent.remove(at);
        }
        // Cameras that refuse a keep-alive under the number of the request before it exist.
        let only = self.sent.len() == 1 && !response.status.is_success();
        self.sent.pop_front_if(|sent| only && sent.keep_alive)
    }

    fn response(&mut self, response: Response, now: Instant) -> Option<ClientEvent> {
        let status = response.status;
        if status < Status::OK {
            return None;
        }
        if let Some(server) = response.headers.get("Server") {
            self.server = Some(server.to_owned());
        }
        let sent = self.answered(&response)?;
        if sent.keep_alive {
            return self.kept_alive(&response);
        }
        let method = sent.request.method.clone();
        if status == Status::UNAUTHORIZED {
            let again = self
                .authenticator
                .challenged(&response.headers, sent.repeats);
            match again {
                Ok(()) => {
                    self.send(sent.request, sent.repeats + 1, false);
                    return None;
                }
                // Whatever it was refused for, nobody waits for more.
                Err(_) if method == Method::Teardown => {}
                Err(error) => return Some(ClientEvent::LoginFailed { method, error }),
            }
        }
        if method == Method::Teardown {
            return Some(ClientEvent::TornDown);
        }
        if (300..400).contains(&status.code())
            && let Some(location) = response.headers.get("Location")
        {
            let location = location.to_owned();
            return Some(ClientEvent::Redirected { location });
        }
        if !status.is_success() {
            return Some(ClientEvent::Refused {
                method,
                status,
                reason: response.reason,
            });
        }
        self.take_session(&response.headers, now);
        Some(self.succeeded(&method, response))
    }

    fn succeeded(&mut self, method: &Method, response: Response) -> ClientEvent {
        match method {
            Method::Describe => {
                self.take_base(&response);
                ClientEvent::Described { sdp: response.body }
            }
            Method::Announce => ClientEvent::Announced,
            Method::Setup => {
                let transport = response
                    .headers
                    .get("Transport")
                    .and_then(|value| Transport::parse_list(value).into_iter().next());
                ClientEvent::SetUp {
                    transport: transport.unwrap_or_default(),
                }
            }
            Method::Play => ClientEvent::Playing {
                starts: response
                    .headers
                    .get("RTP-Info")
                    .map(TrackStart::parse_list)
                    .unwrap_or_default(),
            },
            Method::Pause => ClientEvent::Paused,
            Method::Record => ClientEvent::Recording,
            _ => {
                self.take_public(&response.headers);
                ClientEvent::Options
            }
        }
    }

    /// Refused keep-alives: another method is tried; an unknown session is over. Some cameras
    /// answer 454 to a GET_PARAMETER that they only do not implement.
    fn kept_alive(&mut self, response: &Response) -> Option<ClientEvent> {
        self.keep_alive_sent = None;
        let unknown = response.status == Status::SESSION_NOT_FOUND;
        if unknown && self.keep_alive != KeepAlive::GetParameter {
            self.keep_alive_due = None;
            return Some(ClientEvent::Ended);
        }
        if response.status == Status::UNAUTHORIZED {
            // The next one brings an answer to the fresh challenge, if there can be one; what does
            // not count as life is the server's to say.
            let _ = self.authenticator.challenged(&response.headers, 0);
        } else if !response.status.is_success() {
            self.keep_alive = self.keep_alive.next();
        }
        None
    }

    fn take_public(&mut self, headers: &Headers) {
        let mut methods = headers.all("Public").flat_map(|value| value.split(','));
        if headers.get("Public").is_some()
            && !methods.any(|name| name.trim().eq_ignore_ascii_case("GET_PARAMETER"))
        {
            self.keep_alive = self.keep_alive.max(KeepAlive::Options);
        }
    }

    fn take_session(&mut self, headers: &Headers, now: Instant) {
        let Some(value) = headers.get("Session") else {
            return;
        };
        let mut parts = value.split(';').map(str::trim);
        let id = parts.next().unwrap_or_default();
        if id.is_empty() {
            return;
        }
        self.session = Some(id.to_owned());
        let timeout = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))
            .and_then(|(_, seconds)| seconds.trim().parse().ok())
            .filter(|&seconds: &u32| seconds > 0);
        if let Some(seconds) = timeout {
            self.timeout = Duration::from_secs(seconds.into());
        }
        self.schedule(now);
    }

    fn schedule(&mut self, now: Instant) {
        self.keep_alive_due = Some(now + (self.timeout / 2).max(MIN_KEEP_ALIVE));
    }

    /// What the controls of the description belong to (RFC 2326, C.1.1).
    fn take_base(&mut self, response: &Response) {
        let given = response.headers.get("Content-Base");
        let mended = given.and_then(repaired_base);
        if mended != given.map(str::trim) {
            self.repairs.add(Repair::WrongBase);
        }
        let location = || repaired_base(response.headers.get("Content-Location")?);
        if let Some(base) = mended.or_else(location) {
            self.base = base.to_owned();
        }
        let text = String::from_utf8_lossy(&response.body);
        self.aggregate = join(&self.base, session_control(&text));
    }

    /// Servers ask little; whatever it is, it must not block them.
    fn request(&mut self, request: &Request) -> Option<ClientEvent> {
        let status = match request.method {
            Method::Options
            | Method::GetParameter
            | Method::SetParameter
            | Method::Announce
            | Method::Teardown => Status::OK,
            _ => Status::NOT_IMPLEMENTED,
        };
        let mut response = Response::new(status);
        if let Some(cseq) = request.headers.get("CSeq") {
            response.headers.push("CSeq", cseq);
        }
        response.write(&mut self.output);
        (request.method == Method::Teardown).then_some(ClientEvent::Ended)
    }
}
