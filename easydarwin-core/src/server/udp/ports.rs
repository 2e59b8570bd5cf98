use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Asked of the kernel for sockets that receive media; it may give less. A key frame of 190
/// packets overflows the usual 208 KiB.
const RECEIVE_BUFFER: usize = 2 << 20;

/// How often an even port is sought when the kernel chooses the numbers.
const EPHEMERAL_TRIES: usize = 64;

/// Two UDP sockets, RTP on an even port and RTCP on the next (RFC 3550, 11).
#[derive(Debug, Clone)]
pub(crate) struct UdpPair {
    pub(crate) rtp: Arc<UdpSocket>,
    pub(crate) rtcp: Arc<UdpSocket>,
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
}

impl PortPool {
    /// `None`: the kernel chooses.
    pub(crate) fn new(range: Option<RangeInclusive<u16>>) -> Self {
        Self {
            range,
            next: AtomicU32::new(0),
        }
    }

    /// Binds a free pair on `ip`.
    pub(crate) fn bind(&self, ip: IpAddr) -> io::Result<UdpPair> {
        match &self.range {
            None => bind_ephemeral(ip),
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
            match bind_at(ip, first.saturating_add(offset)) {
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
}

fn bind_ephemeral(ip: IpAddr) -> io::Result<UdpPair> {
    for _ in 0..EPHEMERAL_TRIES {
        let probe = bind_socket(SocketAddr::new(ip, 0))?;
        let port = probe.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = bind_socket(SocketAddr::new(ip, port.saturating_add(1)))
        {
            return Ok(pair(probe, rtcp, port));
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "the system gave no free even UDP port",
    ))
}

fn bind_at(ip: IpAddr, port: u16) -> io::Result<UdpPair> {
    let rtp = bind_socket(SocketAddr::new(ip, port))?;
    let rtcp = bind_socket(SocketAddr::new(ip, port.saturating_add(1)))?;
    Ok(pair(rtp, rtcp, port))
}

fn pair(rtp: UdpSocket, rtcp: UdpSocket, port: u16) -> UdpPair {
    UdpPair {
        rtp: Arc::new(rtp),
        rtcp: Arc::new(rtcp),
        port,
    }
}

fn bind_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    // A wish: a system that allows less still works, with more loss in bursts.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn pairs_begin_at_even_ports_and_follow_each_other() {
        let pool = PortPool::new(None);
        let pair = pool.bind(LOOPBACK).unwrap();
        assert_eq!(pair.port % 2, 0);
        assert_eq!(pair.rtp.local_addr().unwrap().port(), pair.ports().0);
        assert_eq!(pair.rtcp.local_addr().unwrap().port(), pair.ports().1);
    }

    #[tokio::test]
    async fn a_range_is_used_up_and_given_back() {
        // Finds a free stretch first, so that the test owes nothing to fixed numbers.
        let port = PortPool::new(None).bind(LOOPBACK).unwrap().port;
        let pool = PortPool::new(Some(port..=port.saturating_add(1)));
        let pair = pool.bind(LOOPBACK).unwrap();
        assert_eq!(pair.port, port);
        let error = pool.bind(LOOPBACK).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(pair);
        assert_eq!(pool.bind(LOOPBACK).unwrap().port, port);
    }

    #[tokio::test]
    async fn a_range_without_a_pair_is_an_error() {
        let pool = PortPool::new(Some(40_001..=40_001));
        assert!(pool.bind(LOOPBACK).is_err());
    }
}
