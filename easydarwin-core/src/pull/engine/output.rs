use std::time::Duration;

use bytes::Bytes;

use crate::media::SessionDescription;
use crate::pull::{Failure, FailureKind, Quirk, SourceMemory};
use crate::rtsp::ClientUrl;

/// What the bytes handed to [`SourceEngine::next`](super::SourceEngine::next) began with.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum SourceStep<'a> {
    /// Nothing complete: read more and call again with all bytes that were not consumed.
    NeedMore,
    /// Dealt with inside.
    Handled {
        /// Bytes to drop from the buffer.
        consumed: usize,
    },
    /// A packet to be published, after the outputs were drained.
    Media {
        /// Bytes to drop from the buffer (header and packet).
        consumed: usize,
        /// Index into the description that was published.
        track: usize,
        /// RTCP rather than RTP.
        rtcp: bool,
        /// The packet, borrowed from the caller's buffer.
        data: &'a [u8],
    },
}

/// What is to be done for a source.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum SourceOutput {
    /// Connect, then tell `connected` or `connect_failed`. There is no other connection now.
    Connect {
        /// To answer with.
        attempt: u64,
        /// Host and port.
        url: ClientUrl,
        /// Through two HTTP connections.
        tunnel: bool,
    },
    /// Close the connection and all sockets, after what is to be written was written as far as
    /// that is possible at once.
    Close {
        /// Of this connection.
        attempt: u64,
    },
    /// Open a pair of UDP sockets and tell `bound`.
    Bind {
        /// Under this number.
        socket: usize,
    },
    /// The other side of a pair of sockets; send something there to open address translations.
    Peer {
        /// The pair.
        socket: usize,
        /// Its address, when it is not the one of the connection.
        source: Option<String>,
        /// Ports for RTP and RTCP, if it tells them.
        ports: Option<(u16, u16)>,
    },
    /// Send RTCP from a pair of sockets.
    Report {
        /// The pair.
        socket: usize,
        /// The packet.
        packet: Bytes,
    },
    /// Publish the stream; media follows at once.
    Publish(SessionDescription),
    /// Media has ended: the stream has no publisher until [`Publish`](Self::Publish) comes again.
    Offline(FailureKind),
    /// It failed and will be tried again after this time.
    Failed(Failure, Duration),
    /// For the log, once per connection and kind.
    Quirk(Quirk),
    /// Keep this for the next start.
    Remember(SourceMemory),
    /// State or counters changed.
    Changed,
}
