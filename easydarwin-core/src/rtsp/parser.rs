use bytes::Bytes;
use thiserror::Error;

use super::{Headers, Limits, Method, Repair, Repairs, Request, Response, Status};

/// Longest method that is looked for before bytes are taken for junk.
const MAX_METHOD: usize = 32;
/// `$`, channel and length (RFC 2326, 10.12).
const FRAME_HEADER: usize = 4;

/// Cuts a byte stream into messages and interleaved frames.
///
/// Call [`parse`](Self::parse) with everything that was read and not yet consumed. It remembers
/// how far it has looked, so a message that arrives byte by byte costs no more than one that
/// arrives at once.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// Bytes of an incomplete head in which its end was not found.
    scanned: usize,
    /// A message whose head is complete.
    head: Option<Head>,
    /// Something good came before: junk may be skipped.
    in_sync: bool,
    /// Bytes skipped since the last good message or frame.
    junk: usize,
    failed_cseq: Option<String>,
    repairs: Repairs,
}

#[derive(Debug)]
struct Head {
    message: Message,
    head_len: usize,
    body_len: usize,
}

/// A message of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// What stands at the beginning of the bytes given.
#[derive(Debug, PartialEq)]
pub enum Parsed<'a> {
    /// Nothing complete yet.
    NeedMore,
    /// Blank lines, or junk that was skipped to find the next message.
    Skipped {
        /// Bytes to drop.
        consumed: usize,
    },
    /// An interleaved frame.
    Frame {
        /// Bytes to drop.
        consumed: usize,
        /// Its channel.
        channel: u8,
        /// Its content, borrowed from the buffer.
        data: &'a [u8],
    },
    /// A message.
    Message {
        /// Bytes to drop.
        consumed: usize,
        /// It.
        message: Message,
    },
}

/// Why a byte stream cannot be read on; the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not RTSP from the first byte on, or more junk between messages than the limit.
    #[error("the bytes are not RTSP")]
    Junk,
    /// The start line is neither request nor status line.
    #[error("the start line is neither a request nor a status line")]
    StartLine,
    /// A protocol or version other than RTSP/1.x.
    #[error("the version is not RTSP/1.0")]
    Version,
    /// The start line alone exceeds the limit of the head.
    #[error("the start line is longer than the limit")]
    StartLineTooLong,
    /// The head exceeds its limit.
    #[error("start line and headers are longer than the limit")]
    HeadTooLong,
    /// More headers than the limit.
    #[error("there are more headers than the limit")]
    TooManyHeaders,
    /// `Content-Length` is no number, negative, or given twice with different values.
    #[error("the Content-Length is no length")]
    ContentLength,
    /// The body exceeds its limit.
    #[error("the body is longer than the limit")]
    BodyTooLong,
}

impl ParseError {
    /// The status that tells it to a client.
    pub fn status(self) -> Status {
        match self {
            Self::Junk | Self::StartLine | Self::ContentLength => Status::BAD_REQUEST,
            Self::Version => Status::VERSION_NOT_SUPPORTED,
            Self::StartLineTooLong => Status::URI_TOO_LONG,
            Self::HeadTooLong | Self::TooManyHeaders => Status::HEADERS_TOO_LARGE,
            Self::BodyTooLong => Status::ENTITY_TOO_LARGE,
        }
    }
}

impl Parser {
    /// A parser at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            scanned: 0,
            head: None,
            in_sync: false,
            junk: 0,
            failed_cseq: None,
            repairs: Repairs::default(),
        }
    }

    /// Looks at the beginning of `buf`.
    ///
    /// # Errors
    /// [`ParseError`] when a limit is passed or nothing can be made of the bytes. All further
    /// calls are meaningless then.
    pub fn parse<'a>(&mut self, buf: &'a [u8]) -> Result<Parsed<'a>, ParseError> {
        if self.head.is_some() {
            return Ok(self.finish(buf));
        }
        match self.classify(buf) {
            Start::Unknown => Ok(Parsed::NeedMore),
            Start::Frame => Ok(self.frame(buf)),
            Start::Message => self.message(buf),
            Start::Blank => Ok(Parsed::Skipped {
                consumed: buf
                    .iter()
                    .take_while(|b| matches!(b, b'\r' | b'\n'))
                    .count(),
            }),
            Start::Junk => self.skip(buf),
        }
    }

    /// The `CSeq` of the message that could not be read, when that much could be.
    pub fn failed_cseq(&self) -> Option<&str> {
        self.failed_cseq.as_deref()
    }

    /// What had to be repaired since this was last asked: of the last message, or junk before it.
    pub fn take_repairs(&mut self) -> Repairs {
        std::mem::take(&mut self.repairs)
    }

    fn classify(&self, buf: &[u8]) -> Start {
        let Some(&first) = buf.first() else {
            return Start::Unknown;
        };
        match first {
            b'$' if self.junk == 0 => Start::Frame,
            // In the middle of junk a dollar sign proves little: ask for the version bits of RTP
            // or RTCP, too.
            b'$' => match buf.get(FRAME_HEADER) {
                None => Start::Unknown,
                Some(byte) if byte >> 6 == 2 => Start::Frame,
                Some(_) => Start::Junk,
            },
            b'\r' | b'\n' => Start::Blank,
            byte if byte.is_ascii_alphabetic() => self.classify_text(buf),
            _ => Start::Junk,
        }
    }

    fn classify_text(&self, buf: &[u8]) -> Start {
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
        let Some(end) = buf.iter().take(MAX_METHOD + 1).position(|b| !token(b)) else {
            return if buf.len() > MAX_METHOD {
                Start::Junk
            } else {
                Start::Unknown
            };
        };
        let name = buf.get(..end).unwrap_or_default();
        match buf.get(end) {
            Some(b'/') if name.eq_ignore_ascii_case(b"RTSP") => Start::Message,
            Some(b' ' | b'\t') => {
                // In the middle of junk only a known method is believed.
                let known = std::str::from_utf8(name)
                    .ok()
                    .and_then(Method::known)
                    .is_some();
                if self.junk == 0 || known {
                    Start::Message
                } else {
                    Start::Junk
                }
            }
            _ => Start::Junk,
        }
    }

    fn frame<'a>(&mut self, buf: &'a [u8]) -> Parsed<'a> {
        let [_, channel, high, low, rest @ ..] = buf else {
            return Parsed::NeedMore;
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(data) = rest.get(..len) else {
            return Parsed::NeedMore;
        };
        self.in_sync = true;
        self.junk = 0;
        Parsed::Frame {
            consumed: FRAME_HEADER + len,
            channel: *channel,
            data,
        }
    }

    /// Skips to the next byte that could begin something.
    fn skip<'a>(&mut self, buf: &[u8]) -> Result<Parsed<'a>, ParseError> {
        if !self.in_sync {
            return Err(ParseError::Junk);
        }
        // Also line ends, which are no junk: else the count would depend on where a read ended.
        let candidate = |byte: &u8| b"$\r\n".contains(byte) || byte.is_ascii_alphabetic();
        let consumed = buf
            .iter()
            .skip(1)
            .position(candidate)
            .map_or(buf.len(), |found| found + 1);
        if self.junk == 0 {
            self.repairs.add(Repair::Junk);
        }
        self.junk = self.junk.saturating_add(consumed);
        if self.junk > self.limits.junk {
            return Err(ParseError::Junk);
        }
        Ok(Parsed::Skipped { consumed })
    }

    fn message<'a>(&mut self, buf: &'a [u8]) -> Result<Parsed<'a>, ParseError> {
        let within = buf.get(..self.limits.head).unwrap_or(buf);
        let Some(head_len) = self.find_head_end(within) else {
            if buf.len() < self.limits.head {
                return Ok(Parsed::NeedMore);
            }
            return Err(if within.contains(&b'\n') {
                ParseError::HeadTooLong
            } else {
                ParseError::StartLineTooLong
            });
        };
        self.scanned = 0;
        let text = String::from_utf8_lossy(within.get(..head_len).unwrap_or_default());
        let (message, body_len) = self.read_head(&text)?;
        self.head = Some(Head {
            message,
            head_len,
            body_len,
        });
        Ok(self.finish(buf))
    }

    /// Finds the blank line, CRLF or LF alone, and returns where it ends.
    fn find_head_end(&mut self, buf: &[u8]) -> Option<usize> {
        let mut from = self.scanned.min(buf.len());
        while let Some(found) = buf
            .get(from..)
            .and_then(|rest| rest.iter().position(|&b| b == b'\n'))
        {
            let after = from + found + 1;
            match buf.get(after..) {
                Some([b'\n', ..]) => return Some(after + 1),
                Some([b'\r', b'\n', ..]) => return Some(after + 2),
                Some([] | [b'\r']) | None => {
                    // Look at this line end again when more is there.
                    self.scanned = from + found;
                    return None;
                }
                Some(_) => from = after,
            }
        }
        self.scanned = buf.len();
        None
    }

    fn read_head(&mut self, text: &str) -> Result<(Message, usize), ParseError> {
        if text.chars().any(|c| c == char::REPLACEMENT_CHARACTER) {
            self.repairs.add(Repair::NotUtf8);
        }
        let ends = text.as_bytes().windows(2).filter(|w| w == b"\r\n").count();
        if text.matches(['\r', '\n']).count() != 2 * ends {
            self.repairs.add(Repair::LineEnds);
        }
        let mut lines = text.lines();
        let start = lines.next().unwrap_or_default();
        let headers = read_headers(lines, self.limits.headers, &mut self.repairs);
        // Also a refused message's number is told.
        self.failed_cseq = headers.as_ref().ok().and_then(cseq).map(str::to_owned);
        let mut message = read_start_line(start, &mut self.repairs)?;
        let headers = headers?;
        let body_len = content_length(&headers)?;
        if body_len > self.limits.body {
            return Err(ParseError::BodyTooLong);
        }
        match &mut message {
            Message::Request(request) => request.headers = headers,
            Message::Response(response) => response.headers = headers,
        }
        self.failed_cseq = None;
        Ok((message, body_len))
    }

    fn finish<'a>(&mut self, buf: &[u8]) -> Parsed<'a> {
        let Some(head) = self.head.take() else {
            return Parsed::NeedMore;
        };
        let consumed = head.head_len.saturating_add(head.body_len);
        let Some(body) = buf.get(head.head_len..consumed) else {
            self.head = Some(head);
            return Parsed::NeedMore;
        };
        self.in_sync = true;
        self.junk = 0;
        let body = Bytes::copy_from_slice(body);
        let mut message = head.message;
        match &mut message {
            Message::Request(request) => request.body = body,
            Message::Response(response) => response.body = body,
        }
        Parsed::Message { consumed, message }
    }
}

#[derive(Clone, Copy)]
enum Start {
    Unknown,
    Frame,
    Message,
    Blank,
    Junk,
}

/// A `CSeq` that can be echoed.
pub(super) fn cseq(headers: &Headers) -> Option<&str> {
    const MAX: usize = 32;
    headers
        .get("CSeq")
        .filter(|value| value.len() <= MAX && value.bytes().all(|b| b.is_ascii_graphic()))
}

fn read_start_line(raw: &str, repairs: &mut Repairs) -> Result<Message, ParseError> {
    let line = raw.trim();
    let (first, rest) = line.split_once([' ', '\t']).ok_or(ParseError::StartLine)?;
    let rest = rest.trim();
    if first.bytes().any(|byte| byte == b'/') {
        check_version(first, repairs)?;
        let (code, reason) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let code: u16 = code.parse().map_err(|_| ParseError::StartLine)?;
        if !(100..1000).contains(&code) {
            return Err(ParseError::StartLine);
        }
        let mut response = Response::new(Status::new(code));
        response.reason = reason.trim().to_owned();
        return Ok(Message::Response(response));
    }
    let (uri, version) = rest.rsplit_once([' ', '\t']).ok_or(ParseError::StartLine)?;
    check_version(version, repairs)?;
    let uri = uri.trim();
    if raw.len() != first.len() + uri.len() + version.len() + 2 {
        repairs.add(Repair::StartLineBlanks);
    }
    let method = Method::parse(first);
    if method.as_str() != first {
        repairs.add(Repair::MethodCase);
    }
    if !uri.bytes().all(|b| b.is_ascii_graphic()) {
        repairs.add(Repair::UnencodedUri);
    }
    // Some players send the blanks of a path as they are.
    let uri = uri.replace([' ', '\t'], "%20");
    Ok(Message::Request(Request::new(method, uri)))
}

/// RTSP/1.0, and RTSP/1.1 which some cameras claim.
fn check_version(version: &str, repairs: &mut Repairs) -> Result<(), ParseError> {
    if version != "RTSP/1.0" {
        repairs.add(Repair::Version);
    }
    let (name, number) = version.split_once('/').ok_or(ParseError::StartLine)?;
    if !name.eq_ignore_ascii_case("RTSP") {
        return Err(ParseError::StartLine);
    }
    match number.split_once('.') {
        Some(("1", _)) => Ok(()),
        _ => Err(ParseError::Version),
    }
}

fn read_headers<'a>(
    lines: impl Iterator<Item = &'a str>,
    limit: usize,
    repairs: &mut Repairs,
) -> Result<Headers, ParseError> {
    let mut headers = Headers::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            headers.fold(line.trim());
            continue;
        }
        // A line without colon says nothing and harms nobody.
        let Some((name, value)) = line.split_once(':') else {
            repairs.add(Repair::HeaderWithoutColon);
            continue;
        };
        if headers.len() >= limit {
            return Err(ParseError::TooManyHeaders);
        }
        headers.push(name.trim(), value.trim());
    }
    Ok(headers)
}

fn content_length(headers: &Headers) -> Result<usize, ParseError> {
    let mut found = None;
    for value in headers.all("Content-Length") {
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseError::ContentLength);
        }
        // Only digits: what does not fit is too long.
        let length: usize = value.parse().map_err(|_| ParseError::BodyTooLong)?;
        if found.is_some_and(|known| known != length) {
            return Err(ParseError::ContentLength);
        }
        found = Some(length);
    }
    Ok(found.unwrap_or(0))
}
