//! One HTTP request that puts a snapshot, and the status of its answer: bytes in, bytes out.

use std::fmt;

use bytes::Bytes;
use easydarwin_core::protocol::{ErrorNum, UploadTicket};

use super::CmsAddress;

/// Bytes that may come without a final status among them.
const MAX_ANSWER: usize = 4096;

/// A snapshot on its way beside the control connection.
///
/// The shell connects to [`address`](Self::address), to the very host of the control connection and
/// with the same trust; writes all of [`take_output`](Self::take_output), and gives what comes meanwhile
/// and then to [`received`](Self::received), until that is ready. Then, or when the connection
/// breaks, it calls [`uploaded`](super::ControlEngine::uploaded). `Debug` does not show the ticket.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// Channel, from 1.
    pub channel: u32,
    /// Where to: the CMS that has asked for it.
    pub address: CmsAddress,
    head: Bytes,
    jpeg: Bytes,
    answer: Vec<u8>,
}

/// Why a snapshot did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The CMS gave no right to put it.
    #[error("the CMS gave no ticket for the snapshot: {0}")]
    NoTicket(ErrorNum),
    /// The CMS answered with another status than 2xx.
    #[error("the CMS refused the snapshot with HTTP status {0}")]
    Refused(u16),
    /// What was answered is not HTTP.
    #[error("the answer to the snapshot is not HTTP")]
    Syntax,
    /// The connection could not be made, or ended before the answer.
    #[error("the connection for the snapshot failed: {0}")]
    Connection(String),
    /// It took too long.
    #[error("the snapshot did not get through in time")]
    Timeout,
}

impl Upload {
    pub(super) fn new(
        channel: u32,
        address: CmsAddress,
        ticket: &UploadTicket,
        jpeg: Bytes,
    ) -> Self {
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: image/jpeg\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            ticket.path,
            address.authority(),
            crate::USER_AGENT,
            ticket.ticket,
            jpeg.len()
        );
        Self {
            channel,
            address,
            head: head.into(),
            jpeg,
            answer: Vec::new(),
        }
    }

    /// The next bytes for the CMS.
    pub fn take_output(&mut self) -> Option<Bytes> {
        let parts = [&mut self.head, &mut self.jpeg];
        let part = parts.into_iter().find(|part| !part.is_empty())?;
        Some(std::mem::take(part))
    }

    /// What the CMS says, also before all is written; ready with how it ended.
    pub fn received(&mut self, bytes: &[u8]) -> Option<Result<(), UploadError>> {
        self.answer.extend_from_slice(bytes);
        let status = match status(&mut self.answer) {
            Ok(status) => status?,
            Err(error) => return Some(Err(error)),
        };
        Some(if (200..300).contains(&status) {
            Ok(())
        } else {
            Err(UploadError::Refused(status))
        })
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("channel", &self.channel)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The final status, once it is there; what comes before it (RFC 9110, 15.2) is taken away.
fn status(answer: &mut Vec<u8>) -> Result<Option<u16>, UploadError> {
    while let Some(end) = answer.iter().position(|b| *b == b'\n') {
        let line = answer.get(..end).unwrap_or_default();
        let status = status_of(line).ok_or(UploadError::Syntax)?;
        if status >= 200 {
            return Ok(Some(status));
        }
        let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
            break;
        };
        answer.drain(..end + 4);
    }
    if answer.len() > MAX_ANSWER {
        return Err(UploadError::Syntax);
    }
    Ok(None)
}

/// Of a status line (RFC 9112, 4).
fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', a @ b'1'..=b'5', b, c, rest @ ..] = rest else {
        return None;
    };
    let ends = matches!(rest, [] | [b' ' | b'\r', ..]);
    if !ends || !b.is_ascii_digit() || !c.is_ascii_digit() {
        return None;
    }
    let digit = |b: &u8| u16::from(b - b'0');
    Some(digit(a) * 100 + digit(b) * 10 + digit(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upload(jpeg: &'static [u8]) -> Upload {
        let ticket = UploadTicket {
            path: "/snap/cam/2".into(),
            ticket: "secret-text".into(),
            ttl_s: 60,
        };
        let address = CmsAddress::plain("[::1]:7");
        Upload::new(2, address, &ticket, Bytes::from_static(jpeg))
    }

    #[test]
    fn the_request_is_whole() {
        let mut upload = upload(b"\xff\xd8\xff");
        assert!(!format!("{upload:?}").contains("secret-text"));
        let parts = std::iter::from_fn(|| upload.take_output());
        let all = parts.collect::<Vec<_>>().concat();
        let expected = format!(
            "PUT /snap/cam/2 HTTP/1.1\r\nHost: [::1]:7\r\nUser-Agent: {}\r\n\
             Authorization: Bearer secret-text\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n\
             Connection: close\r\n\r\n",
            crate::USER_AGENT
        );
        assert_eq!(all, [expected.as_bytes(), b"\xff\xd8\xff"].concat());
    }

    #[test]
    fn the_first_final_status_decides() {
        let refused = |status| Some(Err(UploadError::Refused(status)));
        let syntax = Some(Err(UploadError::Syntax));
        for (answer, expected) in [
            ("HTTP/1.1 201 Created\r\n", Some(Ok(()))),
            ("HTTP/1.1 204\n", Some(Ok(()))),
            ("HTTP/1.0 299 \r\nServer: x", Some(Ok(()))),
            ("HTTP/1.1 404 Not Found\r\n", refused(404)),
            ("HTTP/1.1 302 Found\r\n", refused(302)),
            ("HTTP/1.1 201 Created", None),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("HTTP/1.1 100 Continue\r\nA: b\r\n", None),
            (
                "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 102 \r\n\r\nHTTP/1.1 503 X\r\n",
                refused(503),
            ),
            ("HTTP/2 200\r\n", syntax.clone()),
            ("HTTP/1.1 20 OK\r\n", syntax.clone()),
            ("HTTP/1.1 2000 OK\r\n", syntax.clone()),
            ("HTTP/1.1 600 OK\r\n", syntax.clone()),
            ("HTTP/1.1 2x0 OK\r\n", syntax.clone()),
            (" HTTP/1.1 200 OK\r\n", syntax.clone()),
            ("\r\nHTTP/1.1 200 OK\r\n", syntax.clone()),
            ("RTSP/1.0 200 OK\r\n", syntax.clone()),
        ] {
            assert_eq!(
                upload(b"").received(answer.as_bytes()),
                expected,
                "{answer:?}"
            );
            // A byte at a time it is the same.
            let mut slow = upload(b"");
            let bytes = answer.as_bytes().chunks(1);
            let came = bytes.filter_map(|byte| slow.received(byte)).next();
            assert_eq!(came, expected, "{answer:?}");
        }
    }

    #[test]
    fn an_answer_without_end_is_bounded() {
        for filler in ["x", "HTTP/1.1 100 \r\nA: b"] {
            let mut upload = upload(b"");
            let came = (0..MAX_ANSWER + 1).find_map(|_| upload.received(filler.as_bytes()));
            assert_eq!(came, Some(Err(UploadError::Syntax)));
            assert!(upload.answer.len() <= MAX_ANSWER + filler.len());
        }
    }

    proptest! {
        #[test]
        fn hostile_answers_never_panic(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40),
        ) {
            let mut upload = upload(b"");
            for chunk in chunks {
                if upload.received(&chunk).is_some() {
                    break;
                }
            }
        }
    }
}
