//! Server-sent events: an answer that goes on until one side ends it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::reply::Reply;

/// A comment is sent when nothing else was for this long, so that a dead peer is noticed and no
/// proxy takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct SseEvent {
    /// `Last-Event-ID` of a client that comes again.
    pub(crate) id: Option<String>,
    /// Its kind.
    pub(crate) event: &'static str,
    pub(crate) data: Value,
}

impl SseEvent {
    fn to_bytes(&self) -> Bytes {
        let mut text = String::new();
        if let Some(id) = &self.id {
            text.push_str("id: ");
            text.push_str(id);
            text.push('\n');
        }
        text.push_str("event: ");
        text.push_str(self.event);
        // JSON in one line: it holds no line end.
        text.push_str("\ndata: ");
        text.push_str(&self.data.to_string());
        text.push_str("\n\n");
        text.into()
    }
}

/// The answer ends when the stream does; the stream is dropped when the client goes.
pub(crate) fn reply(events: impl Stream<Item = SseEvent> + Send + 'static) -> Reply {
    let body = futures_util::stream::unfold(Box::pin(events), |mut events| async move {
        let bytes = match tokio::time::timeout(KEEP_ALIVE, events.next()).await {
            Ok(Some(event)) => event.to_bytes(),
            Ok(None) => return None,
            Err(_) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok::<_, Infallible>(Frame::data(bytes)), events))
    });
    let mut reply = Response::new(StreamBody::new(body).boxed_unsync());
    *reply.status_mut() = StatusCode::OK;
    let headers = reply.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}
