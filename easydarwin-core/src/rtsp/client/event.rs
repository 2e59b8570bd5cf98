use bytes::Bytes;

use super::LoginError;
use crate::rtsp::{Method, ParseError, Status, Transport};

/// What the bytes handed to [`ClientSession::next`](super::ClientSession::next) began with.
#[derive(Debug, PartialEq)]
pub enum ClientStep<'a> {
    /// Nothing complete: read more and call again with all bytes that were not consumed.
    NeedMore,
    /// An interleaved packet.
    Interleaved {
        /// Bytes to drop from the buffer (header and packet).
        consumed: usize,
        /// Its channel.
        channel: u8,
        /// The packet, borrowed from the caller's buffer.
        data: &'a [u8],
    },
    /// Dealt with inside; there may be output.
    Handled {
        /// Bytes to drop from the buffer.
        consumed: usize,
    },
    /// Something to know.
    Event {
        /// Bytes to drop from the buffer.
        consumed: usize,
        /// What.
        event: ClientEvent,
    },
    /// The server does not speak RTSP (any more); close.
    Failed(ParseError),
}

/// What the server said.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// OPTIONS was answered.
    Options,
    /// DESCRIBE was answered.
    Described {
        /// The description as it came.
        sdp: Bytes,
    },
    /// ANNOUNCE was accepted.
    Announced,
    /// SETUP was accepted.
    SetUp {
        /// The transport that the server names; it may differ from the one asked for.
        transport: Transport,
    },
    /// PLAY was accepted: media follows, or came already.
    Playing {
        /// The entries of `RTP-Info`.
        starts: Vec<TrackStart>,
    },
    /// PAUSE was accepted: no media until PLAY.
    Paused,
    /// RECORD was accepted: media may be sent.
    Recording,
    /// TEARDOWN was answered, in whatever way.
    TornDown,
    /// The stream is elsewhere.
    Redirected {
        /// Its URL.
        location: String,
    },
    /// A request was refused.
    Refused {
        /// The request.
        method: Method,
        /// The status.
        status: Status,
        /// The server's words.
        reason: String,
    },
    /// A request was refused with 401, and trying again would not help.
    LoginFailed {
        /// The request.
        method: Method,
        /// Why not.
        error: LoginError,
    },
    /// The server ended the session by a TEARDOWN of its own, or no longer knows it.
    Ended,
}

/// An entry of `RTP-Info` (RFC 2326, 12.33).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackStart {
    /// The track's control URL, in whichever form the server writes it.
    pub url: String,
    /// Sequence number of the first packet.
    pub sequence: Option<u16>,
    /// Timestamp of the first packet.
    pub rtp_time: Option<u32>,
}

impl TrackStart {
    pub(super) fn parse_list(value: &str) -> Vec<Self> {
        // URLs may hold commas: an entry begins with `url=`.
        let mut entries: Vec<String> = Vec::new();
        for part in value.split(',') {
            match entries.last_mut() {
                Some(last) if !part.trim_start().to_ascii_lowercase().starts_with("url=") => {
                    last.push(',');
                    last.push_str(part);
                }
                _ => entries.push(part.trim().to_owned()),
            }
        }
        entries
            .iter()
            .filter_map(|entry| Self::parse(entry))
            .collect()
    }

    fn parse(entry: &str) -> Option<Self> {
        let mut start = Self {
            url: String::new(),
            sequence: None,
            rtp_time: None,
        };
        for part in entry.split(';') {
            let (name, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "url" => start.url = value.to_owned(),
                "seq" => start.sequence = value.parse().ok(),
                "rtptime" => start.rtp_time = value.parse().ok(),
                _ => {}
            }
        }
        Some(start)
    }
}
