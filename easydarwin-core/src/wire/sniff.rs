/// The first byte of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// Requests by which an HTTP tunnel or a WebSocket begins. RTSP's own methods with these letters
/// go on with another one than a blank.
const HTTP: [&[u8]; 2] = [b"GET ", b"POST "];

/// What a client speaks, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tls,
    Http,
    Rtsp,
}

/// `None`: it takes more bytes to tell.
pub(crate) fn sniff(bytes: &[u8]) -> Option<Protocol> {
    match bytes.first() {
        None => return None,
        Some(&TLS_HANDSHAKE) => return Some(Protocol::Tls),
        Some(_) => {}
    }
    if HTTP.iter().any(|http| bytes.starts_with(http)) {
        return Some(Protocol::Http);
    }
    if HTTP.iter().any(|http| http.starts_with(bytes)) {
        return None;
    }
    Some(Protocol::Rtsp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_as_early_as_possible_and_never_otherwise_later() {
        for (text, after, protocol) in [
            ("\x16\x03\x01", 1, Protocol::Tls),
            ("GET /a HTTP/1.1", 4, Protocol::Http),
            ("POST /a HTTP/1.1", 5, Protocol::Http),
            ("GET_PARAMETER rtsp://h RTSP/1.0", 4, Protocol::Rtsp),
            ("PAUSE rtsp://h RTSP/1.0", 2, Protocol::Rtsp),
            ("PLAY rtsp://h RTSP/1.0", 2, Protocol::Rtsp),
            ("POSTS", 5, Protocol::Rtsp),
            ("OPTIONS * RTSP/1.0", 1, Protocol::Rtsp),
            ("\r\n", 1, Protocol::Rtsp),
            ("$\x00\x00\x04", 1, Protocol::Rtsp),
        ] {
            for length in 0..=text.len() {
                let expected = (length >= after).then_some(protocol);
                assert_eq!(
                    sniff(&text.as_bytes()[..length]),
                    expected,
                    "{text} {length}"
                );
            }
        }
    }
}
