//! Streams on request as resources: asked for, followed, given back.

use std::sync::Arc;

use easydarwin_core::protocol::{StreamRef, check_serial};
use futures_util::Stream;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::sse::{self, SseEvent};
use super::v2::without_right;
use crate::access::Access;
use crate::api::Caller;
use crate::state::State;
use crate::streams::{
    BeginError, Operation, PlayProtocol, Progress, Stage, StartError, Wish, already_live, force,
    play_url, release,
};

/// Longest `Idempotency-Key`.
const MAX_KEY: usize = 255;

/// `POST /api/v2/streams/{serial}/{channel}`: 200 with URLs when it is live, else 202 with the
/// operation that brings it.
pub(super) async fn start(
    state: &Arc<State>,
    caller: &Caller,
    (serial, channel): (&str, &str),
    headers: &HeaderMap,
) -> Reply {
    let stream = match asked(state, caller, serial, channel, Access::View).await {
        Ok(stream) => stream,
        Err(refused) => return refused,
    };
    let key = match headers.get("idempotency-key").map(HeaderValue::to_str) {
        None => None,
        Some(Ok(key)) if !key.is_empty() && key.len() <= MAX_KEY => Some(key),
        Some(_) => {
            return reply::error(
                StatusCode::BAD_REQUEST,
                "an Idempotency-Key has 1 to 255 characters of ASCII",
            );
        }
    };
    match already_live(state, &stream).await {
        Ok(None) => {}
        Ok(Some(ready)) => {
            let urls = urls(state, caller, &stream, &ready.node).await;
            let body = json!({
                "serial": stream.serial, "channel": stream.channel, "state": "ready",
                "node": ready.node, "urls": urls,
            });
            return reply::json(StatusCode::OK, &body);
        }
        Err(error) => return failed(&error),
    }
    let who = caller.interest();
    let wish = Wish {
        who: &who,
        key,
        node: None,
    };
    match state.operations.begin(state, &stream, wish) {
        Ok(operation) => {
            let body = described(state, caller, &operation).await;
            let mut reply = reply::json(StatusCode::ACCEPTED, &body);
            let location = format!("/api/v2/operations/{}", operation.id);
            if let Ok(location) = HeaderValue::from_str(&location) {
                reply.headers_mut().insert(header::LOCATION, location);
            }
            reply
        }
        Err(error @ BeginError::KeyUsed) => reply::error(StatusCode::UNPROCESSABLE_ENTITY, error),
        Err(BeginError::Start(error)) => failed(&error),
    }
}

/// `DELETE /api/v2/streams/{serial}/{channel}`: the caller does not want it any more; it ends if
/// nobody else does. `?force=true`: it ends.
pub(super) async fn stop(
    state: &Arc<State>,
    caller: &Caller,
    (serial, channel): (&str, &str),
    query: Option<&str>,
) -> Reply {
    let forced = query
        .unwrap_or_default()
        .split('&')
        .any(|pair| matches!(pair, "force=true" | "force=1"));
    let needed = if forced {
        Access::Control
    } else {
        Access::View
    };
    let stream = match asked(state, caller, serial, channel, needed).await {
        Ok(stream) => stream,
        Err(refused) => return refused,
    };
    if forced {
        tracing::info!(%stream, who = %caller.identity.who, "stream ended by force");
        force(state, &stream).await;
    } else {
        let who = caller.interest();
        state.operations.withdraw_from(&stream, Some(&who));
        release(state, &stream, None).await;
    }
    let live = matches!(already_live(state, &stream).await, Ok(Some(_)));
    reply::json(StatusCode::OK, &json!({ "live": live }))
}

/// `GET /api/v2/operations/{id}`.
pub(super) async fn operation(state: &Arc<State>, caller: &Caller, id: &str) -> Reply {
    match found(state, caller, id).await {
        Ok(operation) => {
            let body = described(state, caller, &operation).await;
            reply::json(StatusCode::OK, &body)
        }
        Err(refused) => refused,
    }
}

/// `DELETE /api/v2/operations/{id}`: takes the caller's interest back.
pub(super) async fn cancel(state: &Arc<State>, caller: &Caller, id: &str) -> Reply {
    match found(state, caller, id).await {
        Ok(operation) => {
            state.operations.withdraw(&operation, &caller.interest());
            let body = described(state, caller, &operation).await;
            reply::json(StatusCode::OK, &body)
        }
        Err(refused) => refused,
    }
}

/// `GET /api/v2/operations/{id}/events`: an event for each stage, until the last.
pub(super) async fn events(
    state: &Arc<State>,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
) -> Reply {
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse::<usize>().ok());
    match found(state, caller, id).await {
        Ok(operation) => {
            let next = seen.map_or(0, |seen| seen.saturating_add(1));
            sse::reply(stages(state.clone(), caller.clone(), operation, next))
        }
        Err(refused) => refused,
    }
}

fn stages(
    state: Arc<State>,
    caller: Caller,
    operation: Arc<Operation>,
    next: usize,
) -> impl Stream<Item = SseEvent> + Send + 'static {
    let progress = operation.watch();
    let begin = (state, caller, operation, progress, next);
    futures_util::stream::unfold(
        begin,
        |(state, caller, operation, mut progress, next)| async move {
            loop {
                let now = progress.borrow_and_update().clone();
                if let Some((stage, at)) = now.steps.get(next).copied() {
                    let mut data = json!({ "state": stage.as_str(), "at": at.0 });
                    if matches!(stage, Stage::Ready | Stage::Failed) {
                        data = described(&state, &caller, &operation).await;
                    }
                    let event = SseEvent {
                        id: Some(next.to_string()),
                        event: stage.as_str(),
                        data,
                    };
                    let next = next.saturating_add(1);
                    return Some((event, (state, caller, operation, progress, next)));
                }
                if now.outcome.is_some() {
                    return None;
                }
                tokio::select! {
                    changed = progress.changed() => changed.ok()?,
                    () = state.shutdown.cancelled() => return None,
                }
            }
        },
    )
}

/// The stream of a path, if the caller may do this with it.
async fn asked(
    state: &State,
    caller: &Caller,
    serial: &str,
    channel: &str,
    needed: Access,
) -> Result<StreamRef, Reply> {
    let (Ok(_), Ok(channel)) = (check_serial(serial), channel.parse::<u32>()) else {
        return Err(no_such("stream"));
    };
    his(state, caller, serial, needed, "stream").await?;
    Ok(StreamRef::new(serial, channel.max(1)))
}

pub(super) async fn his(
    state: &State,
    caller: &Caller,
    serial: &str,
    needed: Access,
    what: &str,
) -> Result<(), Reply> {
    if let Some(refused) = without_right(caller, needed) {
        return Err(refused);
    }
    match caller.may(state, serial).await {
        Ok(access) if access >= needed => Ok(()),
        // What he may not even see does not exist for him.
        Ok(Access::None) => Err(no_such(what)),
        Ok(_) => Err(reply::error(
            StatusCode::FORBIDDEN,
            "this key may not do that with this device",
        )),
        Err(error) => {
            tracing::error!(serial, %error, "the rights to a device could not be looked up");
            Err(reply::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the device store failed",
            ))
        }
    }
}

async fn found(state: &State, caller: &Caller, id: &str) -> Result<Arc<Operation>, Reply> {
    if let Some(refused) = without_right(caller, Access::View) {
        return Err(refused);
    }
    let Some(operation) = state.operations.get(id) else {
        return Err(no_such("operation; it may have ended long ago"));
    };
    his(
        state,
        caller,
        &operation.stream.serial,
        Access::View,
        "operation",
    )
    .await?;
    Ok(operation)
}

fn no_such(what: &str) -> Reply {
    reply::error(StatusCode::NOT_FOUND, format!("there is no such {what}"))
}

fn failed(error: &StartError) -> Reply {
    let mut reply = reply::error(StatusCode::SERVICE_UNAVAILABLE, error);
    let headers = reply.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    reply
}

async fn described(state: &State, caller: &Caller, operation: &Operation) -> Value {
    let progress: Progress = operation.watch().borrow().clone();
    let steps: Vec<Value> = progress
        .steps
        .iter()
        .map(|(stage, at)| json!({ "state": stage.as_str(), "at": at.0 }))
        .collect();
    let stream = &operation.stream;
    let mut value = json!({
        "id": operation.id,
        "serial": stream.serial,
        "channel": stream.channel,
        "state": progress.stage().as_str(),
        "steps": steps,
        "deadline": progress.deadline.map(|at| at.0),
        "events": format!("/api/v2/operations/{}/events", operation.id),
    });
    let more = match &progress.outcome {
        None => return value,
        Some(Ok(ready)) => json!({
            "node": ready.node,
            "urls": urls(state, caller, stream, &ready.node).await,
        }),
        Some(Err(error)) => json!({
            "error": {
                "stage": error.stage(),
                "code": error.error_num().code(),
                "reason": error.to_string(),
            },
        }),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// Signed URLs for this caller, in all ways that the node serves.
async fn urls(state: &State, caller: &Caller, stream: &StreamRef, node: &str) -> Value {
    let (asker, who) = (caller.asker(), &*caller.identity.who);
    let mut urls = serde_json::Map::new();
    for protocol in PlayProtocol::ALL {
        if let Some(found) = play_url(state, stream, node, protocol, asker, who).await {
            let name = protocol.as_str().to_ascii_lowercase();
            urls.insert(name, found.url.into());
        }
    }
    Value::Object(urls)
}

/// Hands a request on to what it is about.
pub(super) async fn route(
    state: &Arc<State>,
    caller: &Caller,
    segments: &[&str],
    request: &Parts,
) -> Option<Reply> {
    let (query, headers) = (request.uri.query(), &request.headers);
    Some(match (request.method.as_str(), segments) {
        ("POST", ["streams", serial, channel]) => {
            start(state, caller, (serial, channel), headers).await
        }
        ("DELETE", ["streams", serial, channel]) => {
            stop(state, caller, (serial, channel), query).await
        }
        ("GET", ["operations", id]) => operation(state, caller, id).await,
        ("DELETE", ["operations", id]) => cancel(state, caller, id).await,
        ("GET", ["operations", id, "events"]) => events(state, caller, id, headers).await,
        _ => return None,
    })
}
