use std::fmt::{self, Write as _};

use bytes::{BufMut, Bytes, BytesMut};

use super::{Headers, Status};

/// A request's method (RFC 2326, 10).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the methods")]
pub enum Method {
    Options,
    Describe,
    Announce,
    Setup,
    Play,
    Pause,
    Record,
    Teardown,
    GetParameter,
    SetParameter,
    Redirect,
    /// Anything else, as it came.
    Other(String),
}

impl Method {
    const KNOWN: [(&'static str, Self); 11] = [
        ("OPTIONS", Self::Options),
        ("DESCRIBE", Self::Describe),
        ("ANNOUNCE", Self::Announce),
        ("SETUP", Self::Setup),
        ("PLAY", Self::Play),
        ("PAUSE", Self::Pause),
        ("RECORD", Self::Record),
        ("TEARDOWN", Self::Teardown),
        ("GET_PARAMETER", Self::GetParameter),
        ("SET_PARAMETER", Self::SetParameter),
        ("REDIRECT", Self::Redirect),
    ];

    /// Reads a method; some cameras' clients write it in lower case.
    pub fn parse(text: &str) -> Self {
        Self::known(text).unwrap_or_else(|| Self::Other(text.to_owned()))
    }

    pub(super) fn known(text: &str) -> Option<Self> {
        Self::KNOWN
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, method)| method.clone())
    }

    /// As it is written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => Self::KNOWN
                .iter()
                .find(|(_, method)| method == known)
                .map_or("", |(name, _)| name),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The request URI as it came.
    pub uri: String,
    /// All headers, `CSeq` and `Content-Length` included.
    pub headers: Headers,
    /// The body; empty when there is none.
    pub body: Bytes,
}

/// A response with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: Status,
    /// Reason phrase; empty when the peer sent none.
    pub reason: String,
    /// All headers, `CSeq` and `Content-Length` included.
    pub headers: Headers,
    /// The body; empty when there is none.
    pub body: Bytes,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, uri: impl Into<String>) -> Self {
        Self {
            method,
            uri: uri.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// Appends the wire form. `Content-Length` is written when there is a body; do not set it.
    pub fn write(&self, out: &mut BytesMut) {
        let mut text = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(text, "{} ", self.method);
        push_clean(&mut text, &self.uri);
        text.push_str(" RTSP/1.0\r\n");
        write_rest(&mut text, &self.headers, &self.body, out);
    }
}

impl Response {
    /// A response with the usual reason and neither headers nor body.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            reason: status.reason().to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// Appends the wire form. `Content-Length` is written when there is a body; do not set it.
    pub fn write(&self, out: &mut BytesMut) {
        let mut text = String::with_capacity(256);
        let _ = write!(text, "RTSP/1.0 {} ", self.status.code());
        push_clean(&mut text, &self.reason);
        text.push_str("\r\n");
        write_rest(&mut text, &self.headers, &self.body, out);
    }
}

fn write_rest(text: &mut String, headers: &Headers, body: &Bytes, out: &mut BytesMut) {
    for (name, value) in headers.iter() {
        push_clean(text, name);
        text.push_str(": ");
        push_clean(text, value);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    out.put_slice(text.as_bytes());
    out.put_slice(body);
}

/// Nothing that a peer sent may end a line of ours.
fn push_clean(text: &mut String, value: &str) {
    text.extend(value.chars().filter(|c| !c.is_control()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_peer_ends_a_line() {
        // A server's Content-Base and control attributes come back in the request line.
        let mut request = Request::new(Method::Setup, "rtsp://h/a\rX: y\u{7f}/trackID=0");
        request.headers.push("CSeq", "1\r\nX: y");
        let mut out = BytesMut::new();
        request.write(&mut out);
        assert_eq!(
            out,
            "SETUP rtsp://h/aX: y/trackID=0 RTSP/1.0\r\nCSeq: 1X: y\r\n\r\n"
        );
    }
}
