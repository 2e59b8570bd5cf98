use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::UdpPair;
use crate::rtp::{ReorderBuffer, ReorderConfig, RtpPacket};

/// Datagrams taken from one socket in one go, so that one busy publisher starves nobody.
const MAX_BATCH: usize = 64;
/// Room for the largest datagram of an Ethernet with jumbo frames; longer ones are dropped.
const DATAGRAM_ROOM: usize = 9 * 1024;
/// Memory that is asked for at a time.
const CHUNK: usize = 64 * 1024;
/// A publisher is told every so often how its packets arrive.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The first time it is told earlier, while it may still choose another bitrate or TCP.
const FIRST_REPORT: Duration = Duration::from_secs(1);

/// What a publisher sends by datagrams: one port pair per track.
///
/// Packets count only when they come from the address of the RTSP connection.
#[derive(Debug)]
pub(crate) struct UdpIngest {
    peer: IpAddr,
    tracks: Vec<UdpTrack>,
    memory: BytesMut,
    next_report: Instant,
}

#[derive(Debug)]
struct UdpTrack {
    track: usize,
    pair: UdpPair,
    /// Where receiver reports go: the asked port until RTCP shows another one.
    rtcp_to: SocketAddr,
    reorder: ReorderBuffer,
}

/// What came by datagram, in the order in which it has to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Datagram {
    /// An RTP packet, in order.
    Rtp(Bytes),
    /// An RTCP compound.
    Rtcp(Bytes),
}

impl UdpIngest {
    pub(crate) fn new(peer: IpAddr, now: Instant) -> Self {
        Self {
            peer,
            tracks: Vec::new(),
            memory: BytesMut::new(),
            next_report: now + FIRST_REPORT,
        }
    }

    /// Adds a track, or gives it other ports.
    pub(crate) fn set_track(&mut self, track: usize, pair: UdpPair, client: (u16, u16)) {
        self.tracks.retain(|known| known.track != track);
        self.tracks.push(UdpTrack {
            track,
            pair,
            rtcp_to: SocketAddr::new(self.peer, client.1),
            reorder: ReorderBuffer::new(ReorderConfig::default()),
        });
    }

    /// Ready when a socket has something.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Each one is asked, so that each one knows whom to wake.
        let mut any = Poll::Pending;
        for track in &self.tracks {
            for socket in [&track.pair.rtp, &track.pair.rtcp] {
                if socket.poll_recv_ready(cx).is_ready() {
                    any = Poll::Ready(());
                }
            }
        }
        any
    }

    /// Takes what the sockets have and hands it on, RTP in order.
    pub(crate) fn receive(&mut self, now: Instant, mut take: impl FnMut(usize, Datagram)) {
        let Self {
            peer,
            tracks,
            memory,
            ..
        } = self;
        for udp in tracks {
            for _ in 0..MAX_BATCH {
                let Some((from, data)) = try_receive(&udp.pair.rtp, memory) else {
                    break;
                };
                if from.ip().to_canonical() != *peer {
                    continue;
                }
                if let Ok(packet) = RtpPacket::parse(&data) {
                    let sequence = packet.sequence();
                    udp.reorder.push(sequence, data, now);
                }
            }
            udp.release(now, &mut take);
            for _ in 0..MAX_BATCH {
                let Some((from, data)) = try_receive(&udp.pair.rtcp, memory) else {
                    break;
                };
                if from.ip().to_canonical() == *peer {
                    udp.rtcp_to = SocketAddr::new(*peer, from.port());
                    take(udp.track, Datagram::Rtcp(data));
                }
            }
        }
    }

    /// Gives up what was waited for long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant, mut take: impl FnMut(usize, Datagram)) {
        for udp in &mut self.tracks {
            udp.release(now, &mut take);
        }
    }

    /// Sends receiver reports when they are due; `report` makes the one of a track.
    pub(crate) fn report(&mut self, now: Instant, mut report: impl FnMut(usize) -> Option<Bytes>) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_INTERVAL;
        for udp in &self.tracks {
            if let Some(bytes) = report(udp.track) {
                // Lost like any datagram when the socket has no room.
                let _ = udp.pair.rtcp.try_send_to(&bytes, udp.rtcp_to);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`report`](Self::report) is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.tracks.is_empty() {
            return None;
        }
        self.tracks
            .iter()
            .filter_map(|udp| udp.reorder.deadline())
            .chain([self.next_report])
            .min()
    }
}

impl UdpTrack {
    fn release(&mut self, now: Instant, take: &mut impl FnMut(usize, Datagram)) {
        while let Some(released) = self.reorder.pop(now) {
            take(self.track, Datagram::Rtp(released.packet));
        }
    }
}

fn try_receive(
    socket: &tokio::net::UdpSocket,
    memory: &mut BytesMut,
) -> Option<(SocketAddr, Bytes)> {
    loop {
        if memory.capacity() < DATAGRAM_ROOM {
            memory.reserve(CHUNK);
        }
        let room = memory.capacity();
        match socket.try_recv_buf_from(memory) {
            // It filled the room: probably it was cut.
            Ok((length, _)) if length >= room => memory.clear(),
            Ok((_, from)) => return Some((from, memory.split().freeze())),
            // ICMP's answer to a receiver report that nobody wanted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return None,
        }
    }
}
