//! What happens with a message of the lean loop.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::{
    Envelope, EnvelopeError, ErrorNum, Extension, FreeStream, MessageType, Register, RegisterAck,
};
use easydarwin_core::registry::Cause;

use super::link::{Link, LinkClosed, SERVER};
use super::protocol_loop::{Ended, Handled, Incoming, with_status};
use super::repeat::{self, Print};
use crate::access::{Access, ClientHeaders, KeyBrought};
use crate::api::{self, Caller};
use crate::devices::{self, Challenge, Registration, Session, store_snapshot};
use crate::nodes::{self, NodeConn};
use crate::state::State;

/// What a connection has become.
pub(super) struct ConnState {
    link: Arc<Link>,
    session: Option<Arc<Session>>,
    challenge: Option<Challenge>,
    node: NodeConn,
    /// How much longer it should have waited before it is served.
    beyond: Duration,
    /// The last keep-alive that was read and taken.
    repeat: Option<Repeat>,
}

/// A keep-alive that was taken: whether its answer was one for devices that log in with ED1.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    fingerprint: u64,
    detailed: bool,
}

impl ConnState {
    pub(super) fn new(link: Arc<Link>, beyond: Duration) -> Self {
        Self {
            link,
            session: None,
            challenge: None,
            node: NodeConn::default(),
            beyond,
            repeat: None,
        }
    }

    pub(super) fn is_device(&self) -> bool {
        self.session.is_some()
    }

    /// Whether a device says what it said last.
    pub(super) fn is_repeated(&self, print: Print) -> bool {
        self.repeat
            .is_some_and(|repeat| repeat.fingerprint == print.fingerprint)
    }

    /// The largest message that this peer may send.
    pub(super) fn max_body(&self, state: &State) -> usize {
        if self.session.is_some() {
            state.config.max_body_device
        } else if self.node.joined().is_some() {
            state.config.max_body_node
        } else {
            state.config.max_body_stranger
        }
    }

    /// The connection has ended.
    pub(super) async fn ended(self, state: &Arc<State>, why: Ended) {
        state.talkers.connection_ended(self.link.id);
        if let Some(node) = self.node.joined() {
            nodes::left(state, node).await;
        }
        let Some(session) = self.session else {
            return;
        };
        session.ended();
        // Of a device that came anew on another connection somebody may be the talker.
        if state.sessions.leave(&session) {
            state.talkers.device_ended(&session.serial);
        }
        let cause = match why {
            Ended::ByPeer => Cause::ConnectionClosed,
            Ended::ByUs => Cause::Closed,
        };
        tracing::info!(serial = %session.serial, peer = %self.link.peer, cause = cause.as_str(), "device's connection ended");
        let released = state.presence.release(&session.lease, cause, state.now());
        if let Err(error) = released.await {
            tracing::error!(serial = %session.serial, %error, "the lease could not be released");
        }
    }
}

/// On the heap, and only while there is something to do: the longest of all answers would
/// otherwise lie in every idle connection's task, and in that of a keep-alive.
pub(super) fn handle<'a>(
    state: &'a Arc<State>,
    conn: &'a mut ConnState,
    message: Incoming,
) -> Pin<Box<dyn Future<Output = Handled> + Send + 'a>> {
    match message {
        Incoming::Repeated { cseq } => Box::pin(repeated(state, conn, cseq)),
        Incoming::Rest { target, headers } => {
            Box::pin(async move { rest(state, conn, target, &headers).await })
        }
        Incoming::Json {
            message,
            headers,
            print,
        } => Box::pin(async move {
            match message {
                Ok(message) => json(state, conn, message, &headers, print).await,
                Err(error) => malformed(conn, &error).await,
            }
        }),
    }
}

async fn malformed(conn: &ConnState, error: &EnvelopeError) -> Handled {
    let mut answer = Envelope::answer(MessageType::Exception, "1", ErrorNum::BAD_REQUEST);
    answer.body.set("Reason", error.to_string());
    conn.link
        .answer(&with_status(&answer, "400 Bad Request"))
        .await?;
    Err(LinkClosed)
}

async fn rest(
    state: &Arc<State>,
    conn: &ConnState,
    target: String,
    headers: &ClientHeaders,
) -> Handled {
    let caller = caller(state, conn, headers).await;
    let link = conn.link.clone();
    if conn.session.is_none() {
        let answer = api::rest(state, &caller, &target).await;
        return link.answer(&in_http(&answer, headers)).await;
    }
    // The answer may need one of this very device.
    let (state_, browser) = (state.clone(), headers.clone());
    state.spawn(async move {
        let answer = api::rest(&state_, &caller, &target).await;
        let _ = link.send_bytes(&in_http(&answer, &browser));
    });
    Ok(())
}

fn in_http(answer: &api::Answer, headers: &ClientHeaders) -> Vec<u8> {
    let json = answer.envelope.to_json();
    format!(
        "HTTP/1.1 {} {}\r\nServer: {SERVER}\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{json}",
        answer.status,
        answer.reason(),
        api::content_type(headers),
        json.len()
    )
    .into_bytes()
}

/// Who asks. A wrong key waits here.
async fn caller(state: &State, conn: &ConnState, headers: &ClientHeaders) -> Caller {
    let (link, peer) = (&conn.link, conn.link.peer.ip());
    let (identity, brought) = state.checks().who(peer, headers, false);
    match brought {
        KeyBrought::Right => link.visit.proven(),
        KeyBrought::NotNeeded => link.visit.trusted(),
        KeyBrought::None => {}
        KeyBrought::Wrong => {
            let wrong = state.guard.attempts.failed(peer);
            state.wait(wrong.delay).await;
        }
    }
    Caller {
        connection: link.id,
        peer: link.peer,
        local: link.local,
        secure: link.transport.is_secure(),
        host: headers.host.clone(),
        access: identity.highest(),
        identity,
    }
}

async fn json(
    state: &Arc<State>,
    conn: &mut ConnState,
    message: Envelope,
    headers: &ClientHeaders,
    print: Option<Print>,
) -> Handled {
    let Some(kind) = message.kind() else {
        return unknown(conn, &message).await;
    };
    match kind {
        MessageType::RegisterReq => register(state, conn, &message, print).await,
        MessageType::PostSnapReq => {
            renew(state, conn).await;
            let answer = store_snapshot(state, conn.session.as_deref(), &message);
            let taken = answer.error() == Some(ErrorNum::OK);
            state.metrics.snapshot(taken);
            conn.link.send(&answer)
        }
        MessageType::UploadReq => {
            renew(state, conn).await;
            let answer = devices::wants_upload(state, conn.session.as_deref(), &message);
            conn.link.send(&answer.to_envelope(&message.cseq()))
        }
        MessageType::DeviceEventReq => {
            renew(state, conn).await;
            let answer = devices::told(state, conn.session.as_deref(), &message);
            state.metrics.told(answer.error);
            conn.link.send(&answer.to_envelope(&message.cseq()))
        }
        MessageType::PushStreamAck
        | MessageType::StopStreamAck
        | MessageType::ControlPtzAck
        | MessageType::ControlPresetAck
        | MessageType::ControlTalkbackAck
        | MessageType::RebootAck
        | MessageType::ConfigAck
        | MessageType::SnapshotReqAck => {
            renew(state, conn).await;
            match &conn.session {
                Some(session) => session.answered(message),
                // The original sends the ack's own name back.
                None => {
                    let cseq = message.cseq();
                    let answer = Envelope::answer(kind, &cseq, ErrorNum::UNAUTHORIZED);
                    conn.link.send(&answer)?;
                }
            }
            Ok(())
        }
        MessageType::FreeStreamReq => free_stream(state, conn, &message, headers).await,
        MessageType::NodeJoinReq
        | MessageType::NodeReport
        | MessageType::NodeEvent
        | MessageType::NodeDemandReq
        | MessageType::NodeGrantAck
        | MessageType::NodeCloseAck
        | MessageType::NodeRevokeAck => {
            nodes::handle(state, &conn.link, &mut conn.node, kind, message).await
        }
        MessageType::DeviceListReq
        | MessageType::DeviceInfoReq
        | MessageType::TalkbackControlReq => {
            let caller = caller(state, conn, headers).await;
            let answer = api::json(state, &caller, kind, &message).await;
            conn.link.answer(&answer.to_response(SERVER)).await
        }
        _ => unknown(conn, &message).await,
    }
}

/// Any message of a device is life.
async fn renew(state: &State, conn: &ConnState) {
    if let Some(session) = &conn.session
        && !devices::heard(state, &session.lease).await
    {
        conn.link.close();
    }
}

async fn unknown(conn: &ConnState, message: &Envelope) -> Handled {
    let mut answer = Envelope::answer(
        MessageType::Exception,
        &message.cseq(),
        ErrorNum::NOT_IMPLEMENTED,
    );
    let name: String = message
        .header
        .text_or_empty("MessageType")
        .chars()
        .take(64)
        .collect();
    answer
        .body
        .set("Reason", format!("the message {name:?} is not known"));
    let bytes = with_status(&answer, "501 Not Implemented");
    conn.link.answer(&bytes).await
}

/// A keep-alive of which nothing needs to be read.
async fn repeated(state: &State, conn: &ConnState, cseq: u32) -> Handled {
    let (Some(session), Some(repeat)) = (&conn.session, conn.repeat) else {
        return Err(LinkClosed);
    };
    state.metrics.keep_alives.inc();
    let (ack, go_on) = devices::renew(state, session, repeat.detailed).await;
    conn.link
        .send_bytes(repeat::answer(&ack, cseq).as_bytes())?;
    if go_on { Ok(()) } else { Err(LinkClosed) }
}

async fn register(
    state: &Arc<State>,
    conn: &mut ConnState,
    message: &Envelope,
    print: Option<Print>,
) -> Handled {
    let cseq = message.cseq();
    let register = match Register::from_envelope(message) {
        Ok(register) => register,
        Err(error) => {
            state.metrics.register(ErrorNum::BAD_REQUEST);
            let mut ack = RegisterAck::new("", ErrorNum::BAD_REQUEST).to_envelope(&cseq);
            ack.body.set("Reason", error.to_string());
            return conn.link.send(&ack);
        }
    };
    if let Some(session) = &conn.session {
        state.metrics.keep_alives.inc();
        let (ack, go_on) = devices::keep_alive(state, session, &register).await;
        conn.repeat = print
            .filter(|_| ack.error.is_success())
            .map(|print| Repeat {
                fingerprint: print.fingerprint,
                detailed: devices::is_detailed(&register),
            });
        conn.link.send(&ack.to_envelope(&cseq))?;
        return if go_on { Ok(()) } else { Err(LinkClosed) };
    }
    let beyond = std::mem::take(&mut conn.beyond);
    if !beyond.is_zero() && register.ext.has(Extension::Retry) {
        let ack = devices::come_again(&register, beyond);
        return conn.link.send(&ack.to_envelope(&cseq));
    }
    let challenge = conn.challenge.take();
    match devices::register(state, &conn.link, challenge, &register).await {
        Registration::In(session, ack) => {
            state.metrics.register(ErrorNum::OK);
            conn.session = Some(session);
            conn.link.send(&ack.to_envelope(&cseq))
        }
        Registration::Challenged(challenge, ack) => {
            conn.challenge = Some(challenge);
            conn.link.send(&ack.to_envelope(&cseq))
        }
        Registration::Refused(ack) => {
            state.metrics.register(ack.error);
            // Only a wrong secret is an attempt: not a device that is switched off, nor one that
            // our store failed.
            let delay = if ack.error == ErrorNum::UNAUTHORIZED {
                let peer = conn.link.peer.ip();
                let wrong = state.guard.attempts.failed_for(peer, &register.serial);
                wrong.delay
            } else {
                state.config.refusal_delay
            };
            if !state.wait(delay).await {
                return Err(LinkClosed);
            }
            conn.link.send(&ack.to_envelope(&cseq))
        }
    }
}

/// From a joined node, or from an old media server in a trusted network.
async fn free_stream(
    state: &Arc<State>,
    conn: &ConnState,
    message: &Envelope,
    headers: &ClientHeaders,
) -> Handled {
    let trusted = conn.node.joined().is_some()
        || caller(state, conn, headers).await.identity.everywhere() >= Access::Control;
    let answer = if trusted {
        api::free_stream(state, message).await
    } else {
        Envelope::answer(
            MessageType::FreeStreamAck,
            &message.cseq(),
            ErrorNum::UNAUTHORIZED,
        )
    };
    if let Ok(free) = FreeStream::from_envelope(message) {
        tracing::debug!(stream = %free.stream, peer = %conn.link.peer, "nobody watches any more");
    }
    conn.link.send(&answer)
}
