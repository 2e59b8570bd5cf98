//! The least that speaks HTTP and WebSocket, so that each byte sent is in sight.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    request(address, "GET", path, headers).await
}

pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let bytes = until_closed(address, head.as_bytes()).await;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body: bytes[end + 4..].to_vec(),
    }
}

/// Sends `bytes` and reads until the server closes.
pub(crate) async fn until_closed(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;

/// All frames of a WebSocket until the server closes it (RFC 6455, 5.2).
pub(crate) async fn websocket(address: SocketAddr, path: &str) -> Vec<(u8, Vec<u8>)> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let bytes = until_closed(address, request.as_bytes()).await;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    assert!(
        bytes.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&bytes[..end])
    );
    let mut rest = &bytes[end + 4..];
    let mut frames = Vec::new();
    while let [kind, length, after @ ..] = rest {
        let (length, after) = match length {
            126 => (u16::from_be_bytes([after[0], after[1]]).into(), &after[2..]),
            127 => {
                let (length, after) = after.split_at(8);
                (u64::from_be_bytes(length.try_into().unwrap()), after)
            }
            short => (u64::from(*short), after),
        };
        let (payload, after) = after.split_at(usize::try_from(length).unwrap());
        frames.push((kind & 0x0f, payload.to_vec()));
        rest = after;
    }
    frames
}
