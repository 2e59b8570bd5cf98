//! What a request is answered with.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// A whole body or one that goes on.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub(crate) type Reply = Response<Body>;

/// A body that is known already.
pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}

pub(crate) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(full(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

pub(crate) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    text(status, "text/plain; charset=utf-8", body)
}

pub(crate) fn json(status: StatusCode, value: &Value) -> Reply {
    text(status, "application/json", value.to_string())
}

/// An error of the interface of version 2: `{"error": what failed and what to do about it}`.
pub(crate) fn error(status: StatusCode, reason: impl std::fmt::Display) -> Reply {
    json(status, &json!({ "error": reason.to_string() }))
}
