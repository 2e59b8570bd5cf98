//! The HTTP requests by which a tunnel or a WebSocket begins.

use std::net::IpAddr;

use sha1::{Digest as _, Sha1};
use thiserror::Error;

use crate::media::base64;

/// Longest cookie that ties the two connections of a tunnel together; clients use 22 characters
/// or a few more.
const MAX_COOKIE: usize = 128;
/// Headers of one request.
const MAX_HEADERS: usize = 64;
/// What RTSP over WebSocket is called (ONVIF Streaming Specification, 5.1.1.5).
pub(crate) const SUBPROTOCOL: &str = "rtsp.onvif.org";
/// Appended to the key of a WebSocket handshake (RFC 6455, 1.3).
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// The half of a tunnel on which we write.
    TunnelGet { cookie: String },
    /// The half on which the client writes.
    TunnelPost { cookie: String },
    /// A WebSocket; `accept` proves that we understood (RFC 6455, 4.2.2).
    WebSocket { accept: String },
}

/// Why a request begins nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HttpError {
    #[error("not an HTTP request")]
    Syntax,
    #[error(
        "this port speaks RTSP: tunnels need x-sessioncookie, WebSockets the subprotocol rtsp.onvif.org"
    )]
    Unknown,
    #[error("the x-sessioncookie has to be 1 to 128 printable characters, once")]
    Cookie,
    #[error("version 13 of WebSocket is needed")]
    WebSocketVersion,
    #[error("the WebSocket was opened by a page of another host")]
    ForeignOrigin,
    #[error("no tunnel waits for this x-sessioncookie from this address")]
    NoTunnel,
    #[error("a tunnel with this x-sessioncookie is open already")]
    TunnelTaken,
    #[error("too many tunnels are being opened")]
    TooMany,
}

impl HttpError {
    /// The answer, after which the connection is closed.
    pub(crate) fn response(self) -> String {
        let status = match self {
            Self::Syntax | Self::Unknown | Self::Cookie => "400 Bad Request",
            Self::WebSocketVersion => "426 Upgrade Required\r\nSec-WebSocket-Version: 13",
            Self::ForeignOrigin => "403 Forbidden",
            Self::NoTunnel => "404 Not Found",
            Self::TunnelTaken => "409 Conflict",
            Self::TooMany => "503 Service Unavailable",
        };
        let text = format!("{self}\n");
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{text}",
            text.len()
        )
    }
}

/// Reads a request's head; `None`: it is not complete. Returns its length, too. `peer` is who asks.
pub(crate) fn parse(bytes: &[u8], peer: IpAddr) -> Result<Option<(Upgrade, usize)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(HttpError::Syntax),
    };
    let head = Head(request.headers);
    let upgrade = match request.method {
        Some("GET") if head.lists("upgrade", "websocket") => {
            websocket(&head, peer).map(|accept| Upgrade::WebSocket { accept })
        }
        Some("GET") => head.cookie().map(|cookie| Upgrade::TunnelGet { cookie }),
        Some("POST") => head.cookie().map(|cookie| Upgrade::TunnelPost { cookie }),
        _ => Err(HttpError::Syntax),
    }?;
    Ok(Some((upgrade, length)))
}

/// The answer to the GET of a tunnel; what follows is RTSP, without end.
pub(crate) fn tunnel_response(server: &str) -> String {
    format!(
        "HTTP/1.0 200 OK\r\nServer: {server}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Pragma: no-cache\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"
    )
}

/// The answer to a WebSocket's handshake.
pub(crate) fn websocket_response(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
}

struct Head<'a>(&'a [httparse::Header<'a>]);

impl Head<'_> {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .map(str::trim)
    }

    fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(word))
    }

    fn cookie(&self) -> Result<String, HttpError> {
        let mut cookies = self.all("x-sessioncookie");
        let cookie = cookies.next().ok_or(HttpError::Unknown)?;
        let fine = (1..=MAX_COOKIE).contains(&cookie.len())
            && cookie.bytes().all(|byte| byte.is_ascii_graphic());
        if !fine || cookies.next().is_some() {
            return Err(HttpError::Cookie);
        }
        Ok(cookie.to_owned())
    }
}

fn websocket(head: &Head<'_>, peer: IpAddr) -> Result<String, HttpError> {
    if !head.lists("connection", "upgrade") || !head.lists("sec-websocket-protocol", SUBPROTOCOL) {
        return Err(HttpError::Unknown);
    }
    if head.all("sec-websocket-version").next() != Some("13") {
        return Err(HttpError::WebSocketVersion);
    }
    if is_foreign(head, peer) {
        return Err(HttpError::ForeignOrigin);
    }
    let key = head
        .all("sec-websocket-key")
        .next()
        .ok_or(HttpError::Syntax)?;
    if base64::decode(key).is_none_or(|key| key.len() != 16) {
        return Err(HttpError::Syntax);
    }
    let mut accept = String::new();
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update(WEBSOCKET_GUID)
        .finalize();
    base64::encode(&digest, &mut accept);
    Ok(accept)
}

/// Whether a page of another host asks. A browser lets any page open WebSockets to anywhere, so
/// what is open to an address would be open to every page that is visited there.
fn is_foreign(head: &Head<'_>, peer: IpAddr) -> bool {
    let Some(origin) = head.all("origin").next() else {
        return false;
    };
    let page = origin.split_once("://").map(|(_, rest)| host_of(rest));
    let own = head.all("host").next().map(host_of);
    // A name that somebody else's DNS points at this machine is not this machine's name.
    let rebound = peer.is_loopback() && !page.is_some_and(is_local_name);
    page.is_none() || page != own || rebound
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_local_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "192.0.2.7";

    fn read(text: &str) -> Result<Option<(Upgrade, usize)>, HttpError> {
        parse(text.as_bytes(), PEER.parse().unwrap())
    }

    #[test]
    fn tunnels_as_ffmpeg_and_gstreamer_open_them() {
        let get = "GET /live HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\n\
            Accept: application/x-rtsp-tunnelled\r\nRange: bytes=0-\r\nConnection: close\r\n\
            Host: 127.0.0.1:10554\r\nx-sessioncookie: 9c1b6f0cd5ee4e57\r\nPragma: no-cache\r\n\r\n";
        let cookie = "9c1b6f0cd5ee4e57".to_owned();
        let expected = (Upgrade::TunnelGet { cookie }, get.len());
        assert_eq!(read(get), Ok(Some(expected)));
        for length in 0..get.len() {
            assert_eq!(read(&get[..length]), Ok(None), "{length}");
        }
        let post = "POST /live HTTP/1.0\r\nX-SessionCookie: UWlPWnpHcFk=\r\n\
            Content-Length: 32767\r\n\r\nT1BUSU9OUw==";
        let cookie = "UWlPWnpHcFk=".to_owned();
        let expected = (Upgrade::TunnelPost { cookie }, post.len() - 12);
        assert_eq!(read(post), Ok(Some(expected)));
    }

    #[test]
    fn cookies_that_are_none() {
        let long = "a".repeat(MAX_COOKIE + 1);
        for cookie in ["", " ", "a b", "é", "a\r\nx-sessioncookie: b", &long] {
            let text = format!("GET / HTTP/1.1\r\nx-sessioncookie: {cookie}\r\n\r\n");
            let error = read(&text).unwrap_err();
            assert!(
                matches!(error, HttpError::Cookie | HttpError::Unknown),
                "{cookie:?}: {error}"
            );
        }
        assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Err(HttpError::Unknown));
        assert_eq!(read("GET / RTSP/1.0\r\n\r\n"), Err(HttpError::Syntax));
    }

    fn websocket(more: &str) -> Result<Option<(Upgrade, usize)>, HttpError> {
        read(&format!(
            "GET /ws HTTP/1.1\r\nHost: node:10554\r\nUpgrade: WebSocket\r\n\
             Connection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        ))
    }

    #[test]
    fn websockets_by_the_example_of_rfc_6455() {
        let fine = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: x, rtsp.onvif.org\r\n";
        let Ok(Some((Upgrade::WebSocket { accept }, _))) = websocket(fine) else {
            panic!("{:?}", websocket(fine));
        };
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (more, error) in [
            ("Sec-WebSocket-Version: 13\r\n", HttpError::Unknown),
            (
                "Sec-WebSocket-Protocol: rtsp.onvif.org\r\nSec-WebSocket-Version: 8\r\n",
                HttpError::WebSocketVersion,
            ),
        ] {
            assert_eq!(websocket(more), Err(error));
        }
        for (origin, foreign) in [
            ("http://node", false),
            ("https://node:10080", false),
            ("http://evil", true),
            ("null", true),
        ] {
            let result = websocket(&format!("{fine}Origin: {origin}\r\n"));
            assert_eq!(result == Err(HttpError::ForeignOrigin), foreign, "{origin}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, PEER.parse().unwrap());
        }
    }
}
