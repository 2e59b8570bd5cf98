use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The server's port pair (RTP, RTCP) from which all UDP readers are served.
#[derive(Debug, Clone)]
pub struct UdpSockets {}

impl UdpSockets {
    /// Binds an even port and the next one out of `ports`, and starts a task that takes the
    /// readers' reports. Port 0 in both ends of the range: any free pair.
    ///
    /// # Errors
    /// The last error of binding when no pair is free.
    pub fn bind(ip: IpAddr, ports: std::ops::RangeInclusive<u16>) -> io::Result<Self> {
        todo!()
    }

    /// The RTP and the RTCP port, for `server_port=`.
    pub fn ports(&self) -> (u16, u16) {
        todo!()
    }
}

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

/// A unit's packets as datagrams want them.
#[derive(Debug)]
pub(super) struct UdpForm {}
