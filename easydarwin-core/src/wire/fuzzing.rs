//! The coders behind plain types, for the fuzzer: no sockets.

use std::net::{IpAddr, Ipv4Addr};

use super::http::{HttpError, Upgrade, parse, tunnel_response, websocket_response};
use super::sniff::{Protocol, sniff};
use super::websocket::{Decoder, Encoder, FrameError, Said};
use crate::media;
use crate::wire::base64::{self, BadBase64};

/// What the first bytes of a connection tell; `None`: it takes more of them.
pub fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    sniff(bytes).map(|protocol| match protocol {
        Protocol::Tls => "TLS",
        Protocol::Http => "HTTP",
        Protocol::Rtsp => "RTSP",
    })
}

/// Bytes as a tunnel's client writes them.
pub fn base64_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    media::base64::encode(bytes, &mut text);
    text
}

/// The receiving end of a tunnel.
#[derive(Debug, Default)]
pub struct TunnelReader(base64::Decoder);

impl TunnelReader {
    /// Decodes one read into exactly the room that the server gives.
    ///
    /// # Errors
    /// The bytes are not base64.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = vec![0; (bytes.len() / 4).saturating_mul(3).saturating_add(4)];
        let count = self
            .0
            .decode(bytes, &mut out)
            .map_err(|error: BadBase64| error.to_string())?;
        out.truncate(count);
        Ok(out)
    }
}

/// A request that begins a tunnel or a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// What ties the halves of a tunnel together; `None`: a WebSocket.
    pub cookie: Option<String>,
    /// What the server answers; nothing to a POST.
    pub answer: String,
    /// Bytes of the request.
    pub length: usize,
}

/// Reads the head of a request; `None`: it is not complete.
///
/// # Errors
/// The answer with which the server refuses.
pub fn http_head(bytes: &[u8], local: bool) -> Result<Option<Opening>, String> {
    let peer = if local {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::new(192, 0, 2, 7)
    };
    let Some((upgrade, length)) =
        parse(bytes, IpAddr::V4(peer)).map_err(|error: HttpError| error.response())?
    else {
        return Ok(None);
    };
    let (cookie, answer) = match upgrade {
        Upgrade::TunnelGet { cookie } => (Some(cookie), tunnel_response("fuzz")),
        Upgrade::TunnelPost { cookie } => (Some(cookie), String::new()),
        Upgrade::WebSocket { accept } => (None, websocket_response(&accept)),
    };
    Ok(Some(Opening {
        cookie,
        answer,
        length,
    }))
}

/// The reading half of a WebSocket.
#[derive(Debug, Default)]
pub struct FrameReader(Decoder);

impl FrameReader {
    /// Decodes one read in place. Hands each ping's bytes to `said`, and `None` for the goodbye.
    ///
    /// # Errors
    /// What the client must not send.
    pub fn read(
        &mut self,
        bytes: &mut Vec<u8>,
        mut said: impl FnMut(Option<Vec<u8>>),
    ) -> Result<(), String> {
        let count = self
            .0
            .decode(bytes, |what| match what {
                Said::Ping(payload) => said(Some(payload)),
                Said::Close => said(None),
            })
            .map_err(|error: FrameError| error.to_string())?;
        bytes.truncate(count);
        Ok(())
    }
}

/// The writing half of a WebSocket, before a socket that takes so much at a time.
#[derive(Debug, Default)]
pub struct FrameWriter(Encoder);

impl FrameWriter {
    /// Offers `payload` to a socket with room for `room` bytes, which go to `socket`. Returns how
    /// much of the payload was taken.
    pub fn write(&mut self, payload: &[u8], room: usize, socket: &mut Vec<u8>) -> usize {
        let (front, may) = self.0.prepare(payload.len());
        let before = socket.len();
        socket.extend(
            front
                .iter()
                .chain(payload.iter().take(may))
                .take(room)
                .copied(),
        );
        self.0.wrote(socket.len().saturating_sub(before))
    }

    /// Answers a ping.
    pub fn pong(&mut self, payload: &[u8]) {
        self.0.pong(payload);
    }

    /// Says goodbye.
    pub fn close(&mut self) {
        self.0.close();
    }

    /// Whether something waits that no payload brings.
    pub fn has_left(&self) -> bool {
        self.0.has_left()
    }
}
