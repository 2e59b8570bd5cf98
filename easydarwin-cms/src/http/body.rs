//! Bodies of requests: bounded in length and time.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Request, StatusCode, header};
use serde::de::DeserializeOwned;

use super::reply::{self, Reply};
use crate::state::State;

/// Longest body of a request below `/api/v2/`.
const MAX_JSON: usize = 64 * 1024;

/// Reads a body of at most `limit` bytes, within the time for one message.
///
/// # Errors
/// The status of the refusal, and what to say.
pub(super) async fn read(
    state: &State,
    body: Incoming,
    limit: usize,
) -> Result<Bytes, (StatusCode, &'static str)> {
    let collected = Limited::new(body, limit).collect();
    match tokio::time::timeout(state.config.whole_message, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too long")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
    }
}

/// Reads a JSON body. It has to be called so: a form of another site's page cannot.
///
/// # Errors
/// The refusal.
pub(super) async fn read_json<T: DeserializeOwned>(
    state: &State,
    request: Request<Incoming>,
) -> Result<T, Reply> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_json = kind
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        let reason = "send JSON, with Content-Type: application/json";
        return Err(reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let body = read(state, request.into_body(), MAX_JSON).await;
    let bytes = body.map_err(|(status, reason)| reply::error(status, reason))?;
    serde_json::from_slice(&bytes).map_err(|error| reply::error(StatusCode::BAD_REQUEST, error))
}
