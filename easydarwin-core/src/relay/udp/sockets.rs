use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};
use std::time::Instant;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::relay::counters::ReaderShared;
use crate::relay::hub::now;
use crate::rtp::rtcp::{self, RtcpPacket};

/// Asked of the kernel for what waits to be sent; it may give less.
const SEND_BUFFER: usize = 4 << 20;
/// Tries to find two free ports that follow each other.
const ATTEMPTS: usize = 64;
/// Room for what readers send: reports and punches are short, offload may join some.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The server's port pair (RTP, RTCP) from which all UDP readers are served.
#[derive(Debug, Clone)]
pub struct UdpSockets {
    pub(super) inner: Arc<Pair>,
}

#[derive(Debug)]
pub(super) struct Pair {
    rtp: Socket,
    rtcp: Socket,
    ports: (u16, u16),
    peers: Arc<Peers>,
    /// Ends the tasks that receive, so that the ports become free with the last handle.
    _receiving: DropGuard,
}

#[derive(Debug)]
struct Socket {
    socket: Arc<UdpSocket>,
    state: UdpSocketState,
    v6: bool,
    /// Bound to no address of its own: the one to send from is said with each datagram.
    any: bool,
}

/// A track of a reader: where it is, and whose it is.
#[derive(Debug)]
pub(in crate::relay) struct UdpPeer {
    addresses: Mutex<Addresses>,
    shared: Arc<ReaderShared>,
}

#[derive(Debug, Clone, Copy)]
struct Addresses {
    rtp: SocketAddr,
    rtcp: SocketAddr,
    /// What the reader announced, RTP and RTCP.
    announced: [SocketAddr; 2],
    /// Something came from that address: it is right.
    heard: [bool; 2],
}

/// Readers by IP address; the ports are compared within.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, Vec<Weak<UdpPeer>>>>);

/// RTP or RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Rtp,
    Rtcp,
}

impl UdpSockets {
    /// Binds an even port and the next one out of `ports`, and starts a task that takes the
    /// readers' reports. Port 0 in both ends of the range: any free pair. Must be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// The last error of binding when no pair is free.
    pub fn bind(ip: IpAddr, ports: RangeInclusive<u16>) -> io::Result<Self> {
        let (rtp, rtcp) = bind_pair(ip, ports)?;
        let numbers = (rtp.local_addr()?.port(), rtcp.local_addr()?.port());
        let peers = Arc::new(Peers::default());
        let cancel = CancellationToken::new();
        let pair = Pair {
            rtp: Socket::new(rtp)?,
            rtcp: Socket::new(rtcp)?,
            ports: numbers,
            peers,
            _receiving: cancel.clone().drop_guard(),
        };
        for (socket, half) in [(&pair.rtp, Half::Rtp), (&pair.rtcp, Half::Rtcp)] {
            let peers = Arc::downgrade(&pair.peers);
            // A state of its own: it only counts what happens to sends.
            let state = UdpSocketState::new(UdpSockRef::from(&*socket.socket))?;
            let receiving = receive(Arc::clone(&socket.socket), state, half, peers);
            tokio::spawn(cancel.clone().run_until_cancelled_owned(receiving));
        }
        Ok(Self {
            inner: Arc::new(pair),
        })
    }

    /// The RTP and the RTCP port, for `server_port=`.
    pub fn ports(&self) -> (u16, u16) {
        self.inner.ports
    }
}

impl Pair {
    pub(super) fn add(
        &self,
        rtp: SocketAddr,
        rtcp: SocketAddr,
        shared: Arc<ReaderShared>,
    ) -> Arc<UdpPeer> {
        let (rtp, rtcp) = (plain(rtp), plain(rtcp));
        let peer = Arc::new(UdpPeer {
            addresses: Mutex::new(Addresses {
                rtp,
                rtcp,
                announced: [rtp, rtcp],
                heard: [false; 2],
            }),
            shared,
        });
        let mut peers = self.peers.0.lock();
        let list = peers.entry(rtp.ip()).or_default();
        list.retain(|peer| peer.strong_count() > 0);
        for other in list.iter().filter_map(Weak::upgrade) {
            other.give_back(rtp, rtcp);
        }
        list.push(Arc::downgrade(&peer));
        peer
    }

    /// Sends datagrams of `segment` bytes each (the last may be shorter).
    pub(super) fn send(
        &self,
        half: Half,
        to: SocketAddr,
        source: Option<IpAddr>,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        let socket = self.half(half);
        let transmit = Transmit {
            destination: socket.address(to),
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: source
                .filter(|_| socket.any)
                .map(|ip| socket.address(SocketAddr::new(ip, 0)).ip()),
        };
        let send = || {
            let reference = UdpSockRef::from(&*socket.socket);
            socket.state.try_send(reference, &transmit)
        };
        match half {
            Half::Rtp => socket.socket.try_io(Interest::WRITABLE, send),
            // Nobody waits for this socket: a report that finds it full is lost.
            Half::Rtcp => send(),
        }
    }

    /// Datagrams that one send may hold: 1 where the kernel has no offload.
    pub(super) fn max_segments(&self) -> usize {
        self.rtp.state.max_gso_segments().max(1)
    }

    pub(super) fn writable(&self) -> BoxFuture<'static, ()> {
        let socket = Arc::clone(&self.rtp.socket);
        Box::pin(async move {
            let _ = socket.writable().await;
        })
    }

    fn half(&self, half: Half) -> &Socket {
        match half {
            Half::Rtp => &self.rtp,
            Half::Rtcp => &self.rtcp,
        }
    }
}

impl Socket {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?.ip();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        if let Err(error) = socket2::SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER) {
            tracing::debug!(%error, "SO_SNDBUF not set");
        }
        Ok(Self {
            socket: Arc::new(UdpSocket::from_std(socket)?),
            state,
            v6: local.is_ipv6(),
            any: local.is_unspecified(),
        })
    }

    /// The address as this socket's family writes it.
    fn address(&self, address: SocketAddr) -> SocketAddr {
        match (self.v6, address.ip().to_canonical()) {
            (true, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            (_, ip) => SocketAddr::new(ip, address.port()),
        }
    }
}

impl UdpPeer {
    /// Ports that a newcomer announced are its own, although it may have punched a hole from
    /// them before it was known and been taken for this reader.
    fn give_back(&self, rtp: SocketAddr, rtcp: SocketAddr) {
        let mut addresses = self.addresses.lock();
        let [own_rtp, own_rtcp] = addresses.announced;
        if addresses.rtp == rtp {
            addresses.rtp = own_rtp;
        }
        if addresses.rtcp == rtcp {
            addresses.rtcp = own_rtcp;
        }
    }

    /// Where RTP and RTCP go now.
    pub(in crate::relay) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let addresses = self.addresses.lock();
        (addresses.rtp, addresses.rtcp)
    }

    /// When the last RTCP came.
    pub(in crate::relay) fn last_life(&self) -> Instant {
        self.shared.last_life()
    }

    pub(super) fn address(&self, half: Half) -> SocketAddr {
        let addresses = self.addresses.lock();
        match half {
            Half::Rtp => addresses.rtp,
            Half::Rtcp => addresses.rtcp,
        }
    }
}

impl Peers {
    /// The reader from which a datagram came. A port that nobody announced is taken for that of
    /// the reader at this IP only if there is no more than one, with one track, from which
    /// nothing came yet (NAT): another one's first punch may come before it is known.
    fn from(&self, address: SocketAddr, half: Half) -> Option<Arc<ReaderShared>> {
        let address = plain(address);
        let mut peers = self.0.lock();
        let list = peers.get_mut(&address.ip())?;
        list.retain(|peer| peer.strong_count() > 0);
        let index = usize::from(half == Half::Rtcp);
        let known: Vec<_> = list.iter().filter_map(Weak::upgrade).collect();
        for peer in &known {
            let mut addresses = peer.addresses.lock();
            let own = match half {
                Half::Rtp => addresses.rtp,
                Half::Rtcp => addresses.rtcp,
            };
            if own == address {
                *addresses.heard.get_mut(index)? = true;
                return Some(Arc::clone(&peer.shared));
            }
        }
        let [peer] = known.as_slice() else {
            return None;
        };
        let mut addresses = peer.addresses.lock();
        let heard = addresses.heard.get_mut(index)?;
        if std::mem::replace(heard, true) {
            return None;
        }
        match half {
            Half::Rtp => addresses.rtp = address,
            Half::Rtcp => addresses.rtcp = address,
        }
        tracing::debug!(%address, label = %peer.shared.label, "reader is behind a NAT");
        Some(Arc::clone(&peer.shared))
    }
}

/// Takes what readers send: signs of life, reports.
async fn receive(socket: Arc<UdpSocket>, state: UdpSocketState, half: Half, peers: Weak<Peers>) {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        let Some(peers) = peers.upgrade() else {
            return;
        };
        let mut meta = RecvMeta::default();
        let received = socket.try_io(Interest::READABLE, || {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            state.recv(
                UdpSockRef::from(&*socket),
                &mut slices,
                std::slice::from_mut(&mut meta),
            )
        });
        if received.is_err() {
            // Nothing there, or an ICMP error of some reader: neither is the others' matter.
            continue;
        }
        let data = buffer.get(..meta.len).unwrap_or_default();
        if let Some(reader) = peers.from(meta.addr, half) {
            for datagram in data.chunks(meta.stride.max(1)) {
                take(&reader, half, datagram);
            }
        }
    }
}

fn take(reader: &ReaderShared, half: Half, datagram: &[u8]) {
    if half == Half::Rtp {
        return;
    }
    let mut life = false;
    for packet in rtcp::parse(datagram).map_while(Result::ok) {
        life = true;
        let (RtcpPacket::ReceiverReport { blocks, .. } | RtcpPacket::SenderReport(_, blocks)) =
            packet
        else {
            continue;
        };
        for block in &blocks {
            reader.on_report(block);
        }
    }
    if life {
        reader.life(now());
    }
}

/// Without the disguise of IPv4 in IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn bind_pair(
    ip: IpAddr,
    ports: RangeInclusive<u16>,
) -> io::Result<(std::net::UdpSocket, std::net::UdpSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    if *ports.end() == 0 {
        for _ in 0..ATTEMPTS {
            let first = bind_one(ip, 0)?;
            let port = first.local_addr()?.port();
            if port % 2 == 1 || port == u16::MAX {
                continue;
            }
            match bind_one(ip, port + 1) {
                Ok(second) => return Ok((first, second)),
                Err(error) => last = error,
            }
        }
        return Err(last);
    }
    let mut port = ports.start().next_multiple_of(2);
    while port < *ports.end() {
        match bind_one(ip, port).and_then(|first| Ok((first, bind_one(ip, port + 1)?))) {
            Ok(pair) => return Ok(pair),
            Err(error) => last = error,
        }
        let Some(next) = port.checked_add(2) else {
            break;
        };
        port = next;
    }
    Err(last)
}

fn bind_one(ip: IpAddr, port: u16) -> io::Result<std::net::UdpSocket> {
    let domain = if ip.is_ipv6() {
        socket2::Domain::IPV6
    } else {
        socket2::Domain::IPV4
    };
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(socket.into())
}
