use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::UdpSocket;

use super::ClientError;
use super::interface::bind_to;

/// Tries to find two neighbouring free ports.
const ATTEMPTS: usize = 64;
/// The largest datagram.
pub(crate) const MAX_DATAGRAM: usize = 65_535;

/// The sockets of one track: an even port for RTP and the next one for RTCP (RFC 3550, 11).
#[derive(Debug)]
pub struct UdpPair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    /// Our own ports.
    pub ports: (u16, u16),
    /// Where the peer's media comes from.
    peer: IpAddr,
    /// The peer's ports, once known.
    peer_ports: Option<(u16, u16)>,
    /// The socket of RTP knows its peer.
    connected: bool,
}

impl UdpPair {
    /// Two free ports at `local`, to talk with `peer`. Needs a tokio runtime with IO.
    ///
    /// # Errors
    /// [`ClientError::UdpPorts`] when there are none.
    pub fn bind(local: IpAddr, peer: IpAddr) -> Result<Self, ClientError> {
        Self::bind_on(local, peer, None)
    }

    /// The same, through this interface if one is named.
    ///
    /// # Errors
    /// [`ClientError::UdpPorts`] when there are no ports, [`ClientError::Interface`] when the interface
    /// cannot be had.
    pub fn bind_on(
        local: IpAddr,
        peer: IpAddr,
        interface: Option<&str>,
    ) -> Result<Self, ClientError> {
        let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            match Self::try_bind(local, peer) {
                Ok(pair) => {
                    for socket in [&pair.rtp, &pair.rtcp] {
                        if let Some(name) = interface {
                            bind_to(&SockRef::from(socket), name)?;
                        }
                    }
                    return Ok(pair);
                }
                Err(error) => failed = error,
            }
        }
        Err(ClientError::UdpPorts { source: failed })
    }

    fn try_bind(local: IpAddr, peer: IpAddr) -> io::Result<Self> {
        let first = bind((local, 0).into())?;
        let port = first.local_addr()?.port();
        // Odd: the neighbour below is as good as the one above.
        let second = bind((local, port ^ 1).into())?;
        let (rtp, rtcp) = if port & 1 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        Ok(Self {
            rtp,
            rtcp,
            ports: (port & !1, port | 1),
            peer,
            peer_ports: None,
            connected: false,
        })
    }

    /// Takes the server's side from its answer to SETUP.
    pub fn set_peer(&mut self, source: Option<&str>, ports: Option<(u16, u16)>) {
        if let Some(source) = source.and_then(|text| text.parse().ok()) {
            self.peer = source;
        }
        self.peer_ports = ports;
    }

    /// For who only sends RTP: from now on the system tells when the peer's port is closed, as
    /// [`io::ErrorKind::ConnectionRefused`] of [`try_send`](Self::try_send). RTCP stays open for
    /// reports from whatever port.
    ///
    /// # Errors
    /// What the system said.
    pub fn connect(&mut self) -> io::Result<()> {
        if let Some((port, _)) = self.peer_ports {
            SockRef::from(&self.rtp).connect(&SocketAddr::new(self.peer, port).into())?;
            self.connected = true;
        }
        Ok(())
    }

    /// Sends one RTP packet; waits while the socket's buffer is full.
    pub(crate) async fn send_rtp(&self, packet: &[u8]) -> io::Result<()> {
        match self.peer_ports {
            Some((port, _)) => gone_is_lost(self.rtp.send_to(packet, (self.peer, port)).await),
            None => Ok(()),
        }
    }

    /// Sends a datagram if the socket takes it now; false if it does not. A port where nobody
    /// listens is a lost packet, but for RTP after [`connect`](Self::connect).
    ///
    /// # Errors
    /// What the system said.
    pub fn try_send(&self, rtcp: bool, packet: &[u8]) -> io::Result<bool> {
        let Some((rtp_port, rtcp_port)) = self.peer_ports else {
            return Ok(true);
        };
        let sent = match (rtcp, self.connected) {
            (true, _) => self.rtcp.try_send_to(packet, (self.peer, rtcp_port).into()),
            (false, false) => self.rtp.try_send_to(packet, (self.peer, rtp_port).into()),
            (false, true) => self.rtp.try_send(packet),
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            result if self.connected && !rtcp => result.map(|_| true),
            result => gone_is_lost(result).map(|()| true),
        }
    }

    /// Ready when a datagram may be there, or may be sent if `writes`.
    pub fn poll_ready(&self, writes: bool, cx: &mut Context<'_>) -> Poll<()> {
        let sockets = [&self.rtp, &self.rtcp];
        let mut ready = sockets.iter().any(|s| s.poll_recv_ready(cx).is_ready());
        ready |= writes && self.rtp.poll_send_ready(cx).is_ready();
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Sends RTCP, if the socket takes it now.
    pub(crate) fn send_rtcp(&self, packet: &[u8]) {
        if let Some((_, port)) = self.peer_ports {
            // A lost report is followed by the next.
            let _ = self
                .rtcp
                .try_send_to(packet, SocketAddr::new(self.peer, port));
        }
    }

    /// Opens the way through address translation: an RTP header without payload, which receivers
    /// ignore.
    pub(crate) fn punch(&self) {
        const EMPTY: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        if let Some((port, _)) = self.peer_ports {
            let _ = self
                .rtp
                .try_send_to(&EMPTY, SocketAddr::new(self.peer, port));
        }
    }

    /// One datagram of the peer, if there is one. `scratch` should hold the largest one, 65 535 bytes.
    pub fn receive(&self, rtcp: bool, scratch: &mut [u8]) -> Option<Bytes> {
        let len = self.receive_into(rtcp, scratch)?;
        Some(Bytes::copy_from_slice(scratch.get(..len)?))
    }

    /// One datagram of the peer, if there is one, in memory of the caller's: so many bytes. What does
    /// not fit is cut off.
    pub fn receive_into(&self, rtcp: bool, memory: &mut [u8]) -> Option<usize> {
        let socket = if rtcp { &self.rtcp } else { &self.rtp };
        loop {
            match socket.try_recv_from(memory) {
                Ok((len, from)) if from.ip() == self.peer => return Some(len),
                // Somebody else's.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Over UDP a port where nobody listens yet is a lost packet, not the end.
fn gone_is_lost(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
        _ => Ok(()),
    }
}
