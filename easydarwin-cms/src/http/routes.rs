//! Which path is what.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::{Envelope, ErrorNum, MessageType, RegisterAck, StreamRef};
use easydarwin_core::registry::TokenAction;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::reply::{self, Reply, plain, text};
use super::{Way, body, health, page, upload, v2};
use crate::access::{ClientHeaders, KeyBrought};
use crate::api::{self, Answer, Caller};
use crate::conn::SERVER;
use crate::metrics::Refused;
use crate::state::State;

pub(super) async fn route(state: &Arc<State>, way: &Way, request: Request<Incoming>) -> Reply {
    let headers = ClientHeaders::read(|name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    });
    let path = request.uri().path().to_owned();
    let mut reply = match path.strip_prefix("/snap/") {
        // What is brought along there is no key.
        Some(target) if request.method() == Method::PUT => {
            upload::put(state, way, &headers, target, request).await
        }
        _ => for_caller(state, way, &headers, &path, request).await,
    };
    let headers = reply.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    reply
}

/// What is asked by somebody with a key, a login, a trusted address, or nothing.
async fn for_caller(
    state: &Arc<State>,
    way: &Way,
    headers: &ClientHeaders,
    path: &str,
    request: Request<Incoming>,
) -> Reply {
    // Below version 1 a GET has effects, and any page can make a browser send one.
    let cookies = path.starts_with("/api/v2/");
    let (identity, brought) = state.checks().who(way.peer.ip(), headers, cookies);
    let caller = Caller {
        connection: way.connection,
        peer: way.peer,
        local: way.local,
        secure: way.secure,
        host: headers.host.clone(),
        access: identity.highest(),
        identity,
    };
    match brought {
        KeyBrought::Right => way.visit.proven(),
        KeyBrought::NotNeeded => way.visit.trusted(),
        KeyBrought::None => {}
        KeyBrought::Wrong => {
            state.metrics.refused(Refused::WrongKey);
            let wrong = state.guard.attempts.failed(way.peer.ip());
            if let Some(after) = wrong.retry_after {
                return too_many(after);
            }
            state.wait(wrong.delay).await;
        }
    }
    if let Some(rest) = path.strip_prefix("/snap/") {
        snapshot(state, rest)
    } else if let Some(rest) = path.strip_prefix("/api/v2/") {
        v2::route(state, &caller, headers, rest, request).await
    } else if path.to_ascii_lowercase().starts_with("/api/") {
        let target = request.uri().path_and_query().map_or(path, |p| p.as_str());
        in_http(&api::rest(state, &caller, target).await, headers)
    } else if path == "/healthz" {
        plain(StatusCode::OK, "ok\n")
    } else if path == "/readyz" {
        health::ready(state).await
    } else if path == "/metrics" {
        health::metrics(state, &caller).await
    } else if request.method() == Method::POST && path == "/" {
        json(state, &caller, headers, request.into_body()).await
    } else if let Some((kind, content)) = page::file(path) {
        let mut reply = text(StatusCode::OK, kind, content);
        let policy = HeaderValue::from_static(page::CONTENT_POLICY);
        reply
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
        reply
    } else {
        plain(
            StatusCode::NOT_FOUND,
            "nothing here; the page is at /, the interface below /api/v1/\n",
        )
    }
}

/// After too many wrong keys.
pub(super) fn too_many(after: Duration) -> Reply {
    let reason = "too many wrong keys came from this address; a right one is taken at any time";
    let mut reply = reply::error(StatusCode::TOO_MANY_REQUESTS, reason);
    let seconds = HeaderValue::from(after.as_secs().max(1));
    reply.headers_mut().insert(header::RETRY_AFTER, seconds);
    reply
}

fn in_http(answer: &Answer, headers: &ClientHeaders) -> Reply {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let kind = api::content_type(headers);
    let mut reply = text(status, kind, answer.envelope.to_json());
    reply.headers_mut().insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    reply
}

/// An old client's JSON on a connection that began with something else.
async fn json(
    state: &Arc<State>,
    caller: &Caller,
    headers: &ClientHeaders,
    body: Incoming,
) -> Reply {
    let limit = state.config.max_body_stranger;
    let bytes = match body::read(state, body, limit).await {
        Ok(bytes) => bytes,
        Err((status, reason)) => return exception(status, headers, reason),
    };
    let message = match Envelope::parse(&bytes) {
        Ok(message) => message,
        Err(error) => return exception(StatusCode::BAD_REQUEST, headers, &error.to_string()),
    };
    let envelope = match message.kind() {
        None => {
            return exception(
                StatusCode::NOT_IMPLEMENTED,
                headers,
                "the message is not known",
            );
        }
        // A device begins its connection with it.
        Some(MessageType::RegisterReq) => {
            RegisterAck::new(message.body.text_or_empty("Serial"), ErrorNum::BAD_REQUEST)
                .to_envelope(&message.cseq())
        }
        Some(kind) => api::json(state, caller, kind, &message).await,
    };
    in_http(&Answer::new(envelope), headers)
}

fn exception(status: StatusCode, headers: &ClientHeaders, reason: &str) -> Reply {
    let error = match status {
        StatusCode::NOT_IMPLEMENTED => ErrorNum::NOT_IMPLEMENTED,
        _ => ErrorNum::BAD_REQUEST,
    };
    let mut envelope = Envelope::answer(MessageType::Exception, "1", error);
    envelope.body.set("Reason", reason);
    in_http(
        &Answer {
            status: status.as_u16(),
            envelope,
        },
        headers,
    )
}

/// `<token>/<serial>_<channel>_<time>.jpg`. The token is the right.
fn snapshot(state: &State, rest: &str) -> Reply {
    let token = rest.split('/').next().unwrap_or_default();
    let claims = match state.verifier.verify(token, state.now()) {
        Ok(claims) if claims.action == TokenAction::Snapshot => claims,
        Ok(_) => {
            return plain(StatusCode::FORBIDDEN, "this token opens no snapshot\n");
        }
        Err(error) => return plain(StatusCode::UNAUTHORIZED, format!("{error}\n")),
    };
    let jpeg = claims
        .path
        .as_device()
        .and_then(|(serial, channel)| state.snapshots.jpeg(&StreamRef::new(serial, channel)));
    match jpeg {
        Some(jpeg) => text(StatusCode::OK, "image/jpeg", jpeg),
        None => plain(StatusCode::NOT_FOUND, "there is no snapshot\n"),
    }
}
