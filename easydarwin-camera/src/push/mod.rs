//! One channel's media on its way to a media server, without sockets and clocks.
//!
//! - [`Channel`]: when there is a session: asked for, failed, tried again, asked for elsewhere.
//! - `session`: RTSP from ANNOUNCE to RECORD and TEARDOWN (RFC 2326, 10), and frames as packets on
//!   one TCP connection or as datagrams.

mod channel;
mod error;
mod output;
mod parameters;
mod session;
mod track;
mod wall;

#[cfg(test)]
mod tests;

pub use channel::{Channel, ChannelEvent, Wanted};
pub use error::PushError;
pub use session::Datagram;
pub use wall::Wall;

/// How media travels to the media server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PushTransport {
    /// RTP interleaved in the RTSP connection (RFC 2326, 10.12): passes every firewall.
    #[default]
    Tcp,
    /// RTP over UDP: no head-of-line blocking, but packets may be lost. TCP where the media server
    /// refuses it with 461, where nobody listens at its ports, and after 10 s without a report.
    Udp,
}
