//! Bodies of requests: bounded in length and time.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;

use crate::state::State;

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
