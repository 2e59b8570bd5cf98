//! The first bytes of a connection decide who owns it.

use easydarwin_core::protocol::{FrameDecoder, StartLine};

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The first line is not there yet.
    Unknown,
    /// A device, a media node, or an old client that sends JSON.
    Protocol,
    /// A browser or another HTTP client.
    Http,
    /// A TLS handshake; what is inside is looked at when it is done.
    Tls,
}

/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

pub(crate) fn owner_of(bytes: &[u8]) -> Owner {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Owner::Tls;
    }
    let begin = bytes
        .iter()
        .position(|b| !matches!(b, b'\r' | b'\n'))
        .unwrap_or(bytes.len());
    let rest = bytes.get(begin..).unwrap_or_default();
    let Some(end) = rest.iter().position(|b| *b == b'\n') else {
        return Owner::Unknown;
    };
    // The line alone, as a message without headers, read by the one reader that there is.
    let mut line = rest.get(..end).unwrap_or_default().to_vec();
    line.extend_from_slice(b"\n\n");
    match FrameDecoder::default().decode(&line) {
        Ok(Some(frame)) => match frame.start {
            // A browser that opens the page.
            StartLine::Request { method, .. } if frame.start.is_root() => match method {
                "GET" | "HEAD" => Owner::Http,
                _ => Owner::Protocol,
            },
            StartLine::Request { .. } => Owner::Http,
            StartLine::Status { .. } => Owner::Protocol,
        },
        // The protocol loop says what is wrong.
        _ => Owner::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_decides() {
        for (bytes, owner) in [
            ("", Owner::Unknown),
            ("POST / HT", Owner::Unknown),
            ("POST / HTTP/1.1\r\n", Owner::Protocol),
            ("POST http://h:1/ HTTP/1.1\r\n", Owner::Protocol),
            ("HTTP/1.1 200 OK\r\n", Owner::Protocol),
            ("GET / HTTP/1.1\r\n", Owner::Http),
            ("GET /api/v1/getdevicelist HTTP/1.1\r\n", Owner::Http),
            ("PUT /x HTTP/1.1\r\n", Owner::Http),
            ("\x16\x03\x01", Owner::Tls),
            ("garbage\r\n", Owner::Protocol),
        ] {
            assert_eq!(owner_of(bytes.as_bytes()), owner, "{bytes:?}");
        }
    }
}
