use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Protocol, Socket, Type};

use super::socket::MediaSocket;

/// How often an even port is sought when the kernel chooses the numbers.
const EPHEMERAL_TRIES: usize = 64;

/// Two UDP sockets, RTP on an even port and RTCP on the next (RFC 3550, 11).
#[derive(Debug, Clone)]
pub(crate) struct UdpPair {
    pub(crate) rtp: Arc<MediaSocket>,
    pub(crate) rtcp: Arc<MediaSocket>,
    pub(crate) port: u16,
}

impl UdpPair {
    /// The two numbers as `server_port=` shows them.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.port, self.port.saturating_add(1))
    }
}

/// Hands out UDP port pairs of a range.
///
/// It keeps no list of what is taken: a pair is free when both ports can be bound, and it is
/// given back by dropping the sockets.
#[derive(Debug)]
pub(crate) struct PortPool {
    range: Option<RangeInclusive<u16>>,
    next: AtomicU32,
    /// Asked of the kernel for each socket, in bytes.
    receive_buffer: usize,
}

impl PortPool {
    /// `None`: the kernel chooses.
    pub(crate) fn new(range: Option<RangeInclusive<u16>>, receive_buffer: usize) -> Self {
        Self {
            range,
            next: AtomicU32::new(0),
            receive_buffer,
        }
    }

    /// Binds a free pair on `ip`.
    pub(crate) fn bind(&self, ip: IpAddr) -> io::Result<UdpPair> {
        match &self.range {
            None => self.bind_ephemeral(ip),
            Some(range) => self.bind_in(ip, range),
        }
    }

    fn bind_in(&self, ip: IpAddr, range: &RangeInclusive<u16>) -> io::Result<UdpPair> {
        let first = range.start().next_multiple_of(2);
        let pairs = u32::from(range.end().saturating_sub(first).saturating_add(1)) / 2;
        for _ in 0..pairs {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % pairs;
            let Ok(offset) = u16::try_from(turn * 2) else {
                continue;
            };
            match self.bind_at(ip, first.saturating_add(offset)) {
                Ok(pair) => return Ok(pair),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "no free UDP port pair is left in the configured range",
        ))
    }

    fn bind_ephemeral(&self, ip: IpAddr) -> io::Result<UdpPair> {
        for _ in 0..EPHEMERAL_TRIES {
            let probe = self.bind_socket(SocketAddr::new(ip, 0))?;
            let port = probe.socket().local_addr()?.port();
            if port % 2 == 0
                && let Ok(rtcp) = self.bind_socket(SocketAddr::new(ip, port.saturating_add(1)))
            {
                return Ok(pair(probe, rtcp, port));
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "the system gave no free even UDP port",
        ))
    }

    fn bind_at(&self, ip: IpAddr, port: u16) -> io::Result<UdpPair> {
        let rtp = self.bind_socket(SocketAddr::new(ip, port))?;
        let rtcp = self.bind_socket(SocketAddr::new(ip, port.saturating_add(1)))?;
        Ok(pair(rtp, rtcp, port))
    }

    fn bind_socket(&self, address: SocketAddr) -> io::Result<MediaSocket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_nonblocking(true)?;
        // A wish: a system that allows less still works, with more loss in bursts.
        let asked = self.receive_buffer;
        let result = socket.set_recv_buffer_size(asked);
        // The kernel counts its own overhead: it reports twice of what it was asked for.
        let given = socket.recv_buffer_size().unwrap_or(0) / 2;
        if result.is_err() || given < asked {
            tracing::debug!(
                asked,
                given,
                "the kernel gives a smaller receive buffer; net.core.rmem_max limits it"
            );
        }
        socket.bind(&address.into())?;
        MediaSocket::new(socket.into())
    }
}

fn pair(rtp: MediaSocket, rtcp: MediaSocket, port: u16) -> UdpPair {
    UdpPair {
        rtp: Arc::new(rtp),
        rtcp: Arc::new(rtcp),
        port,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const BUFFER: usize = 64 * 1024;
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn pairs_begin_at_even_ports_and_follow_each_other() {
        let pool = PortPool::new(None, BUFFER);
        let pair = pool.bind(LOOPBACK).unwrap();
        assert_eq!(pair.port % 2, 0);
        assert_eq!(
            pair.rtp.socket().local_addr().unwrap().port(),
            pair.ports().0
        );
        assert_eq!(
            pair.rtcp.socket().local_addr().unwrap().port(),
            pair.ports().1
        );
    }

    #[tokio::test]
    async fn a_range_is_used_up_and_given_back() {
        // Finds a free stretch first, so that the test owes nothing to fixed numbers.
        let port = PortPool::new(None, BUFFER).bind(LOOPBACK).unwrap().port;
        let pool = PortPool::new(Some(port..=port.saturating_add(1)), BUFFER);
        let pair = pool.bind(LOOPBACK).unwrap();
        assert_eq!(pair.port, port);
        let error = pool.bind(LOOPBACK).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(pair);
        assert_eq!(pool.bind(LOOPBACK).unwrap().port, port);
    }

    #[tokio::test]
    async fn a_range_without_a_pair_is_an_error() {
        let pool = PortPool::new(Some(40_001..=40_001), BUFFER);
        assert!(pool.bind(LOOPBACK).is_err());
    }
}
