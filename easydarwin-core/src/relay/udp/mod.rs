//! Readers over UDP: the shared port pair, a unit's form as datagrams, the writer, and the pacer
//! that keeps a reader's receive buffer from overflowing.

mod drops;
mod form;
mod pacer;
mod sockets;
mod writer;

pub(super) use drops::DropTable;
pub use drops::SocketId;
pub(super) use form::UdpForm;
pub(super) use sockets::UdpPeer;
pub use sockets::UdpSockets;
pub(super) use writer::UdpWriter;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Greatest datagram payload that an Ethernet network carries in one piece (1500 less IP and UDP
/// headers). Larger packets are not sent: the sockets do not fragment.
pub const MAX_DATAGRAM: usize = 1472;

/// Where the datagrams of one track go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpTrack {
    /// Index of the track; must be among the reader's tracks.
    pub track: usize,
    /// The peer's RTP address: the connection's IP and the first of `client_port=`.
    pub rtp: SocketAddr,
    /// The peer's RTCP address.
    pub rtcp: SocketAddr,
}

/// A UDP reader's addresses.
#[derive(Debug, Clone)]
pub struct UdpTarget {
    /// The server's side.
    pub sockets: UdpSockets,
    /// The local address of the RTSP connection: datagrams leave from it.
    pub source: Option<IpAddr>,
    /// The tracks that go over UDP.
    pub tracks: Arc<[UdpTrack]>,
}
