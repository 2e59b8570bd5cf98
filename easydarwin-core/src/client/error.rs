use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::media::sdp::SdpError;
use crate::rtp::PacketizeError;
use crate::rtsp::{ClientUrlError, LoginError, Method, ParseError, RedirectError, Status};

/// Why pushing or pulling failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL cannot be used.
    #[error("no usable RTSP URL: {0}; write rtsp://host[:port]/path")]
    Url(#[from] ClientUrlError),
    /// The server pointed to where it is not followed.
    #[error("the redirection cannot be followed: {0}")]
    Redirect(#[from] RedirectError),
    /// The host name has no address.
    #[error("cannot resolve {host:?}")]
    Resolve {
        /// The host and port asked for.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket could not be bound to the interface.
    #[error(
        "cannot bind to the interface {name:?}: {source}; is it there (`ip link`), and may this program do so (before Linux 5.7: only with CAP_NET_RAW)?"
    )]
    Interface {
        /// The interface asked for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// No TLS session, or a certificate that is not believed.
    #[error(
        "no TLS with {host:?}: {source}; check its certificate and whom is trusted (a file of authorities, or a pin of its key)"
    )]
    Tls {
        /// The host asked for.
        host: String,
        /// What is wrong.
        source: io::Error,
    },
    /// No certificate can be judged, for nobody knows what time it is.
    #[error(
        "no TLS with {host:?}: the clock of this device is not set, so no certificate can be judged by its dates; \
         set it, or trust the server's key (a pin) instead of authorities"
    )]
    ClockUnset {
        /// The host asked for.
        host: String,
    },
    /// An `rtsps://` URL without TLS.
    #[error("TLS is needed: build with the feature `tls`, or bring a TLS stack")]
    NoTls,
    /// The server opens no HTTP tunnel.
    #[error("the server opens no HTTP tunnel: it answered with status {status} (0: no HTTP)")]
    NoTunnel {
        /// The status of HTTP.
        status: u16,
    },
    /// A datagram socket could not be made.
    #[error("cannot open a pair of UDP ports")]
    UdpPorts {
        /// What the system said.
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("no answer to {method} within {} ms", millis(after))]
    NoAnswer {
        /// The request.
        method: Method,
        /// How long was waited.
        after: Duration,
    },
    /// The connection was not there in time.
    #[error("no connection to {host:?} within {} ms", millis(after))]
    ConnectTimeout {
        /// The host and port asked for.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server refused a request.
    #[error("{method} was refused: {} {reason}", status.code())]
    Refused {
        /// The request.
        method: Method,
        /// The status it was answered with.
        status: Status,
        /// The server's words.
        reason: String,
    },
    /// The server wants another login, or any.
    #[error("{method} was refused with 401: {error}")]
    Login {
        /// The request.
        method: Method,
        /// What was wrong with ours.
        error: LoginError,
    },
    /// The server answered in a way that cannot be gone on with.
    #[error("the answer to {method} cannot be used: {what}")]
    BadAnswer {
        /// The request.
        method: Method,
        /// What is wrong with the answer.
        what: String,
    },
    /// The server's bytes are not RTSP.
    #[error("the server does not speak RTSP")]
    Protocol(#[from] ParseError),
    /// The description cannot be read.
    #[error("the description of the stream cannot be used")]
    Description(#[from] SdpError),
    /// An access unit cannot be sent.
    #[error("the access unit cannot be packetized")]
    Packetize(#[from] PacketizeError),
    /// There is no such track.
    #[error("there is no track {0} in the published description")]
    NoSuchTrack(usize),
    /// The server closed the connection, or ended the session.
    #[error("the server ended the connection")]
    Closed,
    /// The server takes no more data.
    #[error("the server took no data for {} ms", millis(after))]
    Stalled {
        /// How long was waited.
        after: Duration,
    },
    /// No media came.
    #[error("no media came for {} ms", millis(after))]
    Silent {
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
}

/// Not `Duration`'s own text, which would be two kilobytes of a firmware.
fn millis(time: &Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl ClientError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Login { .. } => Some(Status::UNAUTHORIZED),
            _ => None,
        }
    }
}
