//! Framing: an HTTP-looking head, a blank line, a body of exactly `Content-Length` bytes.

use thiserror::Error;

/// How much one message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Longest head in bytes, blank line included. The original's limit is 64 KiB - 1.
    pub head: usize,
    /// Longest body in bytes. The largest message is a snapshot.
    pub body: usize,
}

impl FrameLimits {
    /// Longest head that the original takes: 64 KiB - 1.
    pub const HEAD: usize = 64 * 1024 - 1;
    /// Longest body: a snapshot of one megabyte in base64.
    pub const BODY: usize = 1_500_000;
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            head: Self::HEAD,
            body: Self::BODY,
        }
    }
}

/// Why bytes are no message. The connection cannot be used any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Neither `METHOD target HTTP/1.x` nor `HTTP/1.x NNN reason`.
    #[error("the start line is neither an HTTP request nor an HTTP status line")]
    StartLine,
    /// A header line without a colon, or bytes that are no text.
    #[error("a header line cannot be read")]
    Header,
    /// No end of the head within the limit.
    #[error("the head is longer than {limit} bytes")]
    HeadTooLarge {
        /// The limit that was passed.
        limit: usize,
    },
    /// `Content-Length` is no number, or there are two that differ.
    #[error("Content-Length is not one non-negative number")]
    ContentLength,
    /// The announced body is over the limit; none of it was kept.
    #[error("the body is longer than {limit} bytes")]
    BodyTooLarge {
        /// The limit that was passed.
        limit: usize,
    },
    /// `Transfer-Encoding`: this protocol has none.
    #[error("a transfer encoding is used; send Content-Length")]
    TransferEncoding,
}

impl FrameError {
    /// The HTTP status that tells the peer.
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge { .. } => 431,
            Self::BodyTooLarge { .. } => 413,
            Self::TransferEncoding => 501,
            _ => 400,
        }
    }
}

/// First line of a message. On a device's connection both forms occur in both directions, so
/// neither says whether the message asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// `POST / HTTP/1.1`.
    Request {
        /// As written.
        method: &'a str,
        /// As written: path and query, or an absolute URL.
        target: &'a str,
    },
    /// `HTTP/1.1 200 OK`.
    Status {
        /// The number.
        code: u16,
    },
}

impl<'a> StartLine<'a> {
    /// Path and query with scheme and host removed; `/` for a status line.
    pub fn path_and_query(&self) -> &'a str {
        match *self {
            Self::Status { .. } => "/",
            Self::Request { target, .. } => origin_form(target),
        }
    }

    /// Whether the message is dispatched by its JSON instead of by its path.
    pub fn is_root(&self) -> bool {
        let path = self.path_and_query();
        path.split('?')
            .next()
            .is_none_or(|p| p.trim_matches('/').is_empty())
    }
}

fn origin_form(target: &str) -> &str {
    let Some((_, rest)) = crate::rtsp::split_scheme(target) else {
        return if target.is_empty() { "/" } else { target };
    };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// One whole message, borrowed from the caller's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// First line.
    pub start: StartLine<'a>,
    /// Exactly the announced bytes.
    pub body: &'a [u8],
    /// How many bytes of the buffer the message took.
    pub consumed: usize,
    headers: &'a str,
}

impl<'a> Frame<'a> {
    /// Value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        headers(self.headers)
            .flatten()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        headers(self.headers).flatten()
    }
}

fn headers(text: &str) -> impl Iterator<Item = Result<(&str, &str), FrameError>> {
    text.lines().filter(|line| !line.is_empty()).map(|line| {
        let (key, value) = line.split_once(':').ok_or(FrameError::Header)?;
        Ok((key.trim(), value.trim()))
    })
}

/// Finds messages at the start of a buffer that the caller owns and fills.
///
/// It keeps no bytes, only how far it has looked, so that a body arriving in a thousand pieces
/// costs no thousand scans. The buffer may only grow at its end until a message is taken.
#[derive(Debug, Clone, Default)]
pub struct FrameDecoder {
    limits: FrameLimits,
    scanned: usize,
    head: Option<HeadMarks>,
}

#[derive(Debug, Clone, Copy)]
struct HeadMarks {
    /// Where the start line begins (after blank lines between messages).
    begin: usize,
    /// First byte of the body.
    end: usize,
    body: usize,
}

impl FrameDecoder {
    /// A decoder with limits of its own.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Looks for one message at the start of `buf`. `None`: more bytes are needed.
    ///
    /// After a message the caller drops [`Frame::consumed`] bytes and calls again.
    ///
    /// # Errors
    /// [`FrameError`]: answer its status and close.
    pub fn decode<'a>(&mut self, buf: &'a [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        let marks = match self.head {
            Some(marks) => marks,
            None => match self.find_head(buf)? {
                Some(marks) => *self.head.insert(marks),
                None => return Ok(None),
            },
        };
        let total = marks.end.saturating_add(marks.body);
        let (Some(head), Some(body)) = (buf.get(marks.begin..marks.end), buf.get(marks.end..total))
        else {
            return Ok(None);
        };
        self.head = None;
        self.scanned = 0;
        let head = std::str::from_utf8(head).map_err(|_| FrameError::Header)?;
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        Ok(Some(Frame {
            start: start_line(line.trim_end_matches('\r'))?,
            body,
            consumed: total,
            headers,
        }))
    }

    /// Other limits from the next message on: a peer that has proven who it is may send more.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// How many bytes the message at the start of the buffer takes, once its head is known.
    pub fn expected_len(&self) -> Option<usize> {
        self.head.map(|marks| marks.end.saturating_add(marks.body))
    }

    fn find_head(&mut self, buf: &[u8]) -> Result<Option<HeadMarks>, FrameError> {
        let begin = buf
            .iter()
            .position(|b| !matches!(b, b'\r' | b'\n'))
            .unwrap_or(buf.len());
        // Two bytes back: the end mark may straddle the last look and this one.
        let from = self.scanned.saturating_sub(2).max(begin);
        let end = buf.get(from..).and_then(end_of_head).map(|at| from + at);
        let head_len = end.unwrap_or(buf.len());
        if head_len > self.limits.head {
            return Err(FrameError::HeadTooLarge {
                limit: self.limits.head,
            });
        }
        let Some(end) = end else {
            self.scanned = buf.len();
            return Ok(None);
        };
        let head = buf.get(begin..end).unwrap_or_default();
        let head = std::str::from_utf8(head).map_err(|_| FrameError::Header)?;
        let (line, rest) = head.split_once('\n').unwrap_or((head, ""));
        start_line(line.trim_end_matches('\r'))?;
        let body = content_length(rest)?;
        if body > self.limits.body {
            return Err(FrameError::BodyTooLarge {
                limit: self.limits.body,
            });
        }
        Ok(Some(HeadMarks { begin, end, body }))
    }
}

/// Position after the blank line that ends a head; lines may end in LF alone.
fn end_of_head(buf: &[u8]) -> Option<usize> {
    let mut rest = buf;
    let mut at = 0usize;
    while let Some(lf) = rest.iter().position(|b| *b == b'\n') {
        let after = rest.get(lf + 1..)?;
        at += lf + 1;
        match after {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => rest = after,
        }
    }
    None
}

fn start_line(line: &str) -> Result<StartLine<'_>, FrameError> {
    let line = line.trim();
    let (first, rest) = line.split_once(' ').ok_or(FrameError::StartLine)?;
    let rest = rest.trim();
    if is_version(first) {
        let code = rest.split(' ').next().unwrap_or_default();
        let code = code.parse().map_err(|_| FrameError::StartLine)?;
        return Ok(StartLine::Status { code });
    }
    if first.is_empty() || !first.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(FrameError::StartLine);
    }
    let target = match rest.rsplit_once(' ') {
        Some((target, version)) if is_version(version) => target.trim(),
        Some(_) => return Err(FrameError::StartLine),
        // The talkback of one known client writes no blank before the version.
        None => rest
            .as_bytes()
            .windows(VERSION.len())
            .rposition(|bytes| bytes == VERSION.as_bytes())
            .and_then(|at| rest.get(..at))
            .ok_or(FrameError::StartLine)?,
    };
    if target.is_empty() {
        return Err(FrameError::StartLine);
    }
    Ok(StartLine::Request {
        method: first,
        target,
    })
}

/// Up to the minor version.
const VERSION: &str = "HTTP/1.";

fn is_version(text: &str) -> bool {
    text.strip_prefix(VERSION)
        .is_some_and(|minor| minor.len() == 1 && minor.bytes().all(|b| b.is_ascii_digit()))
}

fn content_length(text: &str) -> Result<usize, FrameError> {
    let mut length = None;
    for header in headers(text) {
        let (key, value) = header?;
        if key.eq_ignore_ascii_case("transfer-encoding") {
            return Err(FrameError::TransferEncoding);
        }
        if key.eq_ignore_ascii_case("content-length") {
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
                return Err(FrameError::ContentLength);
            }
            // Digits that do not fit are a length over every limit, not a syntax error.
            let value: usize = value.parse().unwrap_or(usize::MAX);
            if length.is_some_and(|other| other != value) {
                return Err(FrameError::ContentLength);
            }
            length = Some(value);
        }
    }
    Ok(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Result<Option<(String, Vec<u8>, usize)>, FrameError> {
        Ok(FrameDecoder::default().decode(text.as_bytes())?.map(|f| {
            (
                f.start.path_and_query().to_owned(),
                f.body.to_vec(),
                f.consumed,
            )
        }))
    }

    #[test]
    fn both_start_lines_and_odd_spellings_are_read() {
        for (text, path, body) in [
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "/", "{}"),
            ("HTTP/1.1 200 OK\r\ncontent-LENGTH:2\r\n\r\n{}", "/", "{}"),
            ("HTTP/1.1 200\nContent-Length: 2\n\n{}", "/", "{}"),
            ("\r\n\r\nPOST http://h:10000/ HTTP/1.0\r\n\r\n", "/", ""),
            ("POST http://h:10000/HTTP/1.1\r\n\r\n", "/", ""),
            ("POST /HTTP/1.1\r\n\r\n", "/", ""),
            ("GET /api/v1/x?a=b HTTP/1.1\r\n\r\n", "/api/v1/x?a=b", ""),
        ] {
            let (got_path, got_body, consumed) = one(text).unwrap().unwrap();
            assert_eq!(
                (got_path.as_str(), got_body.as_slice()),
                (path, body.as_bytes())
            );
            assert_eq!(consumed, text.len(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        for (text, error) in [
            ("garbage\r\n\r\n", FrameError::StartLine),
            ("POST / RTSP/1.0\r\n\r\n", FrameError::StartLine),
            ("HTTP/1.1 abc\r\n\r\n", FrameError::StartLine),
            ("POST / HTTP/1.1\r\nnocolon\r\n\r\n", FrameError::Header),
            (
                "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                FrameError::ContentLength,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
                FrameError::ContentLength,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                FrameError::ContentLength,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                FrameError::TransferEncoding,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                FrameError::BodyTooLarge {
                    limit: FrameLimits::BODY,
                },
            ),
        ] {
            assert_eq!(one(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_cut_off_at_the_limit() {
        let mut decoder = FrameDecoder::default();
        let endless = vec![b'a'; FrameLimits::HEAD];
        assert!(decoder.decode(&endless).unwrap().is_none());
        let endless = vec![b'a'; FrameLimits::HEAD + 1];
        assert!(matches!(
            decoder.decode(&endless),
            Err(FrameError::HeadTooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = FrameDecoder::default().decode(&bytes);
        }

        #[test]
        fn chunking_does_not_matter(cuts in proptest::collection::vec(1usize..40, 1..60), lf in any::<bool>()) {
            let mut wire = Vec::new();
            let eol = if lf { "\n" } else { "\r\n" };
            for n in 0..4usize {
                let body = "x".repeat(n * 7);
                let start = if n % 2 == 0 { "POST / HTTP/1.1" } else { "HTTP/1.1 200 OK" };
                wire.extend(format!("{start}{eol}Content-Length: {}{eol}{eol}{body}", body.len()).bytes());
            }
            let mut decoder = FrameDecoder::default();
            let (mut buf, mut bodies, mut cuts) = (Vec::new(), Vec::new(), cuts.into_iter().cycle());
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                rest = later;
                buf.extend_from_slice(now);
                while let Some(frame) = decoder.decode(&buf).unwrap() {
                    bodies.push(frame.body.len());
                    let consumed = frame.consumed;
                    buf.drain(..consumed);
                }
            }
            prop_assert_eq!(bodies, vec![0, 7, 14, 21]);
            prop_assert!(buf.is_empty());
        }
    }
}
