//! What is kept of a reader while it is paused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::udp::UdpPeer;

/// A reader that was paused ([`ReaderHandle::pause`](super::ReaderHandle::pause)): numbers and
/// addresses, nothing that the ring would have to keep. Give it to
/// [`Stream::resume`](super::Stream::resume).
#[derive(Debug)]
pub struct PausedReader {
    /// The stream's number within the hub.
    pub(super) stream: u64,
    /// The first unit of which nothing was sent.
    pub(super) next: u64,
    /// By index of the track. As long as these are kept, the peer's reports find their reader.
    pub(super) peers: Vec<Option<Arc<UdpPeer>>>,
}

impl PausedReader {
    /// When the peer's last RTCP came over UDP; `None` over TCP.
    pub fn last_life(&self) -> Option<Instant> {
        self.peers
            .iter()
            .flatten()
            .map(|peer| peer.last_life())
            .max()
    }

    /// Where RTP and RTCP of a track went last: behind a NAT not where the peer announced.
    pub fn addresses(&self, track: usize) -> Option<(SocketAddr, SocketAddr)> {
        let peer = self.peers.get(track)?.as_ref()?;
        Some(peer.addresses())
    }
}
