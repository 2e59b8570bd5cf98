use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::rtp::is_rtcp;
use crate::rtsp::parser::cseq;
use crate::rtsp::{
    Message, ParseError, Parsed, Parser, Repair, Repairs, Request, RequestUri, Response,
    ServerConfig, Status,
};

use super::respond::Pending;
use super::session::{Bound, Session};
use super::{CloseReason, ServerEvent, SessionRole, Step};

/// The server's side of one RTSP connection and of the session on it.
///
/// ```text
/// loop {
///     match connection.next(unread, now) { ... }      // until NeedMore; drop `consumed` bytes
///     while let Some(bytes) = connection.take_output() { write(bytes) }
///     read more, or wait for an answer to respond with, or for poll_timeout()
/// }
/// ```
#[derive(Debug)]
pub struct ServerConnection {
    pub(super) config: Arc<ServerConfig>,
    parser: Parser,
    pub(super) output: BytesMut,
    /// Stands in for the host when a client sends a bare path.
    pub(super) authority: String,
    session_id: String,
    sessions: u32,
    pub(super) bound: Option<Bound>,
    pub(super) session: Option<Session>,
    /// The request that waits for the caller's answer.
    pub(super) pending: Option<Pending>,
    pub(super) next_id: u64,
    /// Requests that came after it, and what a strict server refuses them for.
    waiting: VecDeque<(Request, Option<Repair>)>,
    waiting_bytes: usize,
    closed: Option<CloseReason>,
    had_request: bool,
    /// The last sign of life.
    alive: Instant,
    /// The last media of a publisher; `None`: not told the time since RECORD.
    pub(super) media: Option<Instant>,
    /// The latest time we were told.
    now: Instant,
    /// Not told yet.
    repairs: Repairs,
    /// What the request in hand is refused for.
    fault: Option<Repair>,
    faulty_path: Option<String>,
}

impl ServerConnection {
    /// The side of a server for a connection accepted at `now` on `local`. `session_id` names the
    /// session to come: random, at least 8 characters of `A-Z a-z 0-9`, never used before.
    pub fn new(
        config: Arc<ServerConfig>,
        session_id: impl Into<String>,
        local: SocketAddr,
        now: Instant,
    ) -> Self {
        Self {
            parser: Parser::new(config.limits.clone()),
            config,
            output: BytesMut::new(),
            authority: local.to_string(),
            session_id: session_id.into(),
            sessions: 0,
            bound: None,
            session: None,
            pending: None,
            next_id: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            closed: None,
            had_request: false,
            alive: now,
            media: None,
            now,
            repairs: Repairs::default(),
            fault: None,
            faulty_path: None,
        }
    }

    /// Takes one step with the bytes that were read and not yet consumed. Call it until it
    /// returns [`Step::NeedMore`], also after every [`respond`](Self::respond): requests that
    /// waited come out then.
    pub fn next<'a>(&mut self, buf: &'a [u8], now: Instant) -> Step<'a> {
        self.tell_time(now);
        if let Some(reason) = &self.closed {
            return Step::Close {
                reason: reason.clone(),
            };
        }
        while self.pending.is_none() {
            let Some((request, fault)) = self.waiting.pop_front() else {
                self.waiting_bytes = 0;
                break;
            };
            if let Some(event) = self.process(&request, fault) {
                return Step::Event { consumed: 0, event };
            }
        }
        match self.parser.parse(buf) {
            Ok(Parsed::NeedMore) => Step::NeedMore,
            Ok(Parsed::Skipped { consumed }) => self.skipped(consumed),
            Ok(Parsed::Frame {
                consumed,
                channel,
                data,
            }) => self.frame(consumed, channel, data),
            Ok(Parsed::Message {
                consumed,
                message: Message::Request(request),
            }) => self.request(consumed, request),
            // We ask nothing, so this answers nothing.
            Ok(Parsed::Message { consumed, .. }) => {
                self.alive = now;
                Step::Handled { consumed }
            }
            Err(error) => self.unreadable(error),
        }
    }

    /// What has to be written now.
    pub fn take_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// A sign of life that did not come through [`next`](Self::next): RTCP by datagram, media
    /// taken by a reader's socket.
    pub fn note_alive(&mut self, now: Instant) {
        self.tell_time(now);
        self.alive = self.now;
    }

    /// Media of a publisher that did not come through [`next`](Self::next): RTP by datagram.
    pub fn note_media(&mut self, now: Instant) {
        self.note_alive(now);
        self.media = Some(self.now);
    }

    /// What had to be repaired, or was refused, since this was last asked. Worth asking after
    /// [`Step::Event`] and [`Step::Handled`], and at the end.
    pub fn take_repairs(&mut self) -> Repairs {
        std::mem::take(&mut self.repairs)
    }

    /// The path of the stream that the last request to be repaired or refused named, for the log.
    pub fn faulty_path(&self) -> Option<&str> {
        self.faulty_path.as_deref()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called. It moves with every sign
    /// of life; waking up too early is harmless.
    pub fn poll_timeout(&self) -> Instant {
        self.deadline().0
    }

    /// Tells the time. `Some`: write what is left of the output and close.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<CloseReason> {
        self.tell_time(now);
        if self.closed.is_none() {
            let (deadline, reason) = self.deadline();
            if deadline <= self.now {
                self.closed = Some(reason);
            }
        }
        self.closed.clone()
    }

    /// The session's role and whether media flows (PLAY or RECORD succeeded).
    pub fn session(&self) -> Option<(SessionRole, bool)> {
        let session = self.session.as_ref()?;
        Some((self.bound.as_ref()?.role, session.streaming))
    }

    fn deadline(&self) -> (Instant, CloseReason) {
        let config = &self.config;
        if self.pending.is_some() {
            // The caller answers; its own deadlines count.
            return (
                self.now + config.session_timeout,
                CloseReason::SessionTimeout,
            );
        }
        if self.session.is_none() {
            let limit = if self.had_request {
                config.idle_timeout
            } else {
                config.first_request_timeout
            };
            return (self.alive + limit, CloseReason::Idle);
        }
        let session = self.alive + config.session_timeout;
        let media = self.media.unwrap_or(self.now) + config.publisher_timeout;
        match self.session() {
            Some((SessionRole::Record, true)) if media < session => {
                (media, CloseReason::PublisherSilent)
            }
            _ => (session, CloseReason::SessionTimeout),
        }
    }

    fn tell_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.session() == Some((SessionRole::Record, true)) {
            self.media.get_or_insert(self.now);
        }
        if self.pending.is_some() {
            self.alive = self.now;
        }
    }

    fn frame<'a>(&mut self, consumed: usize, channel: u8, data: &'a [u8]) -> Step<'a> {
        let known = self.session.as_ref().and_then(|s| s.channel(channel));
        let (Some((track, rtcp)), Some((role, streaming))) = (known, self.session()) else {
            return self.unknown_channel(consumed);
        };
        let wanted = match role {
            // Players that "punch holes" send RTP, too: nobody needs it.
            SessionRole::Play => rtcp,
            SessionRole::Record => streaming,
        };
        if !wanted {
            return Step::Handled { consumed };
        }
        self.alive = self.now;
        if role == SessionRole::Record && (!rtcp || !is_rtcp(data)) {
            self.media = Some(self.now);
        }
        Step::Interleaved {
            consumed,
            channel,
            track,
            rtcp,
            data,
        }
    }

    /// Nobody agreed on it. Before RECORD and for players that is of no consequence.
    #[cold]
    fn unknown_channel(&mut self, consumed: usize) -> Step<'static> {
        if self.session() != Some((SessionRole::Record, true)) {
            return Step::Handled { consumed };
        }
        self.unanswerable(Repair::UnknownChannel, consumed)
    }

    /// Blank lines, which RFC 2326, 4.1 wants to be passed over, or junk.
    fn skipped(&mut self, consumed: usize) -> Step<'static> {
        match self.parser.take_repairs().first() {
            None => Step::Handled { consumed },
            Some(junk) => self.unanswerable(junk, consumed),
        }
    }

    fn unanswerable(&mut self, repair: Repair, consumed: usize) -> Step<'static> {
        self.repairs.add(repair);
        if self.config.strict {
            let reason = CloseReason::Faulty(repair);
            self.closed = Some(reason.clone());
            return Step::Close { reason };
        }
        Step::Handled { consumed }
    }

    /// Counts a repair, or has the request in hand refused for it.
    pub(super) fn repair(&mut self, repair: Repair) -> Result<(), Status> {
        self.repairs.add(repair);
        if self.config.strict {
            self.fault = Some(repair);
            return Err(Status::BAD_REQUEST);
        }
        Ok(())
    }

    fn request(&mut self, consumed: usize, request: Request) -> Step<'static> {
        self.alive = self.now;
        self.had_request = true;
        let repairs = self.parser.take_repairs();
        let fault = repairs.first().filter(|_| self.config.strict);
        self.repairs.merge(&repairs);
        if self.pending.is_none() {
            return match self.process(&request, fault) {
                Some(event) => Step::Event { consumed, event },
                None => Step::Handled { consumed },
            };
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(consumed);
        if self.waiting.len() >= self.config.max_waiting
            || self.waiting_bytes > self.config.max_waiting_bytes
        {
            self.closed = Some(CloseReason::TooManyWaiting);
            return Step::Close {
                reason: CloseReason::TooManyWaiting,
            };
        }
        self.waiting.push_back((request, fault));
        Step::Handled { consumed }
    }

    /// Answers, if the order of answers allows it, and gives up.
    fn unreadable(&mut self, error: ParseError) -> Step<'static> {
        if self.pending.is_none() {
            let mut response = Response::new(error.status());
            if let Some(cseq) = self.parser.failed_cseq() {
                response.headers.push("CSeq", cseq);
            }
            response.headers.push("Server", self.config.server.as_str());
            response.headers.push("Connection", "close");
            response.write(&mut self.output);
        }
        let reason = CloseReason::Unreadable(error);
        self.closed = Some(reason.clone());
        Step::Close { reason }
    }

    pub(super) fn new_session(&mut self) -> Session {
        self.sessions += 1;
        // A further session on the same connection needs another name, as unguessable as the first.
        let id = match self.sessions {
            1 => self.session_id.clone(),
            n => format!("{}.{n}", self.session_id),
        };
        Session::new(id)
    }

    /// A response with what every response carries.
    pub(super) fn response(&self, status: Status, cseq: Option<&str>) -> Response {
        let mut response = Response::new(status);
        if let Some(cseq) = cseq {
            response.headers.push("CSeq", cseq);
        }
        response.headers.push("Server", self.config.server.as_str());
        response
    }

    /// Answers at once.
    pub(super) fn answer(&mut self, request: &Request, status: Status) {
        let mut response = self.response(status, cseq(&request.headers));
        if let Some(session) = self.session.as_ref().filter(|_| status.is_success()) {
            response.headers.push("Session", session.id.as_str());
        }
        response.write(&mut self.output);
    }
}

impl ServerConnection {
    fn process(&mut self, request: &Request, fault: Option<Repair>) -> Option<ServerEvent> {
        let handled = match fault {
            None => self.handle(request),
            Some(fault) => {
                self.fault = Some(fault);
                Err(Status::BAD_REQUEST)
            }
        };
        if !self.repairs.is_empty() {
            let uri = RequestUri::parse(&request.uri, &self.authority);
            self.faulty_path = uri.ok().map(|uri| uri.path().to_owned());
        }
        let status = match handled {
            Ok(event) => return event,
            Err(status) => status,
        };
        match self.fault.take() {
            None => self.answer(request, status),
            Some(fault) => {
                let mut response = self.response(status, cseq(&request.headers));
                response.reason = fault.fault().to_owned();
                response.write(&mut self.output);
            }
        }
        None
    }
}
