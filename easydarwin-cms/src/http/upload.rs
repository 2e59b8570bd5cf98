//! `PUT /snap/{serial}/{channel}`: a device brings a snapshot. The ticket that it got over its own
//! connection is its only right.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};

use super::Way;
use super::reply::{self, Reply};
use super::routes::too_many;
use crate::access::ClientHeaders;
use crate::devices::{NoUpload, Upload, is_jpeg};
use crate::metrics::Refused;
use crate::state::State;

/// When a device that was refused for want of room may try again.
const RETRY: Duration = Duration::from_secs(1);

/// `target`: what stands behind `/snap/`.
pub(super) async fn put(
    state: &State,
    way: &Way,
    headers: &ClientHeaders,
    target: &str,
    request: Request<Incoming>,
) -> Reply {
    let taken = take(state, way, headers, target, request).await;
    state.metrics.snapshot(taken.is_ok());
    match taken {
        Ok(replaced) => {
            let mut reply = Response::new(reply::full(Bytes::new()));
            // RFC 9110, 9.3.4.
            *reply.status_mut() = match replaced {
                true => StatusCode::NO_CONTENT,
                false => StatusCode::CREATED,
            };
            reply
        }
        Err(refused) => refused,
    }
}

/// Whether the picture took the place of another, or the refusal.
async fn take(
    state: &State,
    way: &Way,
    headers: &ClientHeaders,
    target: &str,
    request: Request<Incoming>,
) -> Result<bool, Reply> {
    let place = target.split_once('/').and_then(|(serial, channel)| {
        let channel = channel.parse().ok()?;
        Some((serial, channel))
    });
    let Some((serial, channel)) = place else {
        return Err(reply::error(
            StatusCode::NOT_FOUND,
            "snapshots are put at the path that the ticket came with",
        ));
    };
    let length = length_of(&request, state.config.max_body_device);
    let length = length.map_err(|(status, reason)| reply::error(status, reason))?;
    if !may_be_jpeg(request.headers()) {
        return Err(no_jpeg());
    }
    let ticket = headers.bearer().unwrap_or_default();
    let upload = match Upload::begin(state, serial, channel, ticket) {
        Ok(upload) => upload,
        Err(NoUpload::Ticket) => return Err(wrong_ticket(state, way, serial).await),
        Err(NoUpload::Busy) => {
            return Err(later(
                StatusCode::TOO_MANY_REQUESTS,
                "this device puts too many snapshots at once; put them one after the other",
            ));
        }
    };
    way.visit.proven();
    let room = state.long_messages.room_for_bytes(length);
    let Ok(Some(_room)) = tokio::time::timeout(state.config.admit_wait, room).await else {
        return Err(later(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many snapshots come in at once; ask for another ticket later",
        ));
    };
    let reading = read(request.into_body(), length);
    let jpeg = match tokio::time::timeout(state.config.whole_message, reading).await {
        Ok(read) => read?,
        Err(_) => {
            return Err(reply::error(
                StatusCode::REQUEST_TIMEOUT,
                "the picture came too slowly",
            ));
        }
    };
    upload.finish(state, jpeg).await.ok_or_else(|| {
        reply::error(
            StatusCode::CONFLICT,
            "the device's connection ended before its picture was whole",
        )
    })
}

/// How long the picture will be.
///
/// # Errors
/// The status of the refusal, and what to say.
fn length_of(
    request: &Request<Incoming>,
    limit: usize,
) -> Result<usize, (StatusCode, &'static str)> {
    let announced = request.headers().contains_key(header::CONTENT_LENGTH);
    // Chunks would have to be read to know how many there are.
    let length = request.body().size_hint().exact().filter(|_| announced);
    let length = length.ok_or((
        StatusCode::LENGTH_REQUIRED,
        "send the picture with Content-Length, not in chunks",
    ))?;
    let length = usize::try_from(length).ok().filter(|n| *n <= limit);
    length.ok_or((
        StatusCode::PAYLOAD_TOO_LARGE,
        "the picture is too long; send a smaller one",
    ))
}

/// Also if nothing is said of what it is: its first bytes tell.
fn may_be_jpeg(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("image/jpeg")
    })
}

async fn read(mut body: Incoming, length: usize) -> Result<Vec<u8>, Reply> {
    let mut jpeg = Vec::with_capacity(length);
    while let Some(frame) = body.frame().await {
        // The device is gone, so nobody reads this.
        let frame = frame.map_err(|_| reply::error(StatusCode::BAD_REQUEST, "it broke off"))?;
        if let Some(bytes) = frame.data_ref() {
            jpeg.extend_from_slice(bytes);
        }
    }
    if is_jpeg(&jpeg) {
        Ok(jpeg)
    } else {
        Err(no_jpeg())
    }
}

fn no_jpeg() -> Reply {
    reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "snapshots are JPEG")
}

/// Counted and answered late like any wrong secret.
async fn wrong_ticket(state: &State, way: &Way, serial: &str) -> Reply {
    tracing::debug!(serial, peer = %way.peer, "snapshot with a wrong ticket refused");
    state.metrics.refused(Refused::WrongKey);
    let wrong = state.guard.attempts.failed_for(way.peer.ip(), serial);
    if let Some(after) = wrong.retry_after {
        return too_many(after);
    }
    state.wait(wrong.delay).await;
    let reason = "this ticket counts no more, or never did: each counts once and soon; the device \
                  gets another over its connection";
    let mut reply = reply::error(StatusCode::UNAUTHORIZED, reason);
    let scheme = HeaderValue::from_static("Bearer");
    reply.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    reply
}

fn later(status: StatusCode, reason: &str) -> Reply {
    let mut reply = reply::error(status, reason);
    let seconds = HeaderValue::from(RETRY.as_secs());
    reply.headers_mut().insert(header::RETRY_AFTER, seconds);
    reply
}
