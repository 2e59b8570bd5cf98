use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use thiserror::Error;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    pub(super) stream: u64,
    pub(super) accepted: bool,
}

impl End {
    /// The other end.
    pub fn other(self) -> Self {
        Self {
            accepted: !self.accepted,
            ..self
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.accepted { "server" } else { "client" };
        write!(f, "#{} {side}", self.stream)
    }
}

/// What a host notices.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Somebody connected to an address that is listened on.
    Accepted {
        /// Our end.
        end: End,
        /// The peer's address.
        from: SocketAddr,
        /// Ours.
        to: SocketAddr,
    },
    /// A connection that was asked for has come about.
    Connected {
        /// Our end.
        end: End,
    },
    /// It has not.
    NotConnected {
        /// Our end.
        end: End,
        /// Why.
        error: ConnectError,
    },
    /// Bytes of a stream, however they were written.
    Received {
        /// Our end.
        end: End,
        /// At least one byte.
        data: Bytes,
    },
    /// The peer has closed; the connection is over.
    Closed {
        /// Our end.
        end: End,
    },
    /// The connection is broken.
    Reset {
        /// Our end.
        end: End,
    },
    /// A datagram for a bound socket.
    Datagram {
        /// The sender.
        from: SocketAddr,
        /// The socket.
        to: SocketAddr,
        /// What was sent.
        data: Bytes,
    },
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer for 127 seconds.
    #[error("connection timed out")]
    TimedOut,
}
