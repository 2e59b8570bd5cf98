use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::UdpPair;
use crate::rtp::{ReorderBuffer, ReorderConfig, RtpPacket, is_rtcp};

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
pub(crate) enum Datagram<'a> {
    /// An RTP packet, in order, or RTCP that came on its port.
    Rtp(&'a [u8]),
    /// An RTCP compound, or whatever came on its port.
    Rtcp(&'a [u8]),
}

impl UdpIngest {
    pub(crate) fn new(peer: IpAddr, now: Instant) -> Self {
        Self {
            peer,
            tracks: Vec::new(),
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
                if socket.poll_ready(cx).is_ready() {
                    any = Poll::Ready(());
                }
            }
        }
        any
    }

    /// Takes what the sockets have and hands it on, RTP in order.
    pub(crate) fn receive(&mut self, now: Instant, mut take: impl FnMut(usize, Datagram<'_>)) {
        let Self { peer, tracks, .. } = self;
        for udp in tracks {
            let UdpTrack {
                track,
                pair,
                rtcp_to,
                reorder,
            } = udp;
            pair.rtp.receive(|from, data| {
                if from.ip().to_canonical() != *peer {
                    return;
                }
                let Ok(packet) = RtpPacket::parse(data) else {
                    if is_rtcp(data) {
                        take(*track, Datagram::Rtp(data));
                    }
                    return;
                };
                // Nearly all come in order: they are never copied nor held.
                if reorder.pass(packet.sequence()) {
                    take(*track, Datagram::Rtp(data));
                    return;
                }
                // It has no place in the order; the relay tells it apart.
                if is_rtcp(data) {
                    take(*track, Datagram::Rtp(data));
                    return;
                }
                reorder.push(packet.sequence(), Bytes::copy_from_slice(data), now);
                release(*track, reorder, now, &mut take);
            });
            pair.rtcp.receive(|from, data| {
                if from.ip().to_canonical() == *peer {
                    if is_rtcp(data) {
                        *rtcp_to = SocketAddr::new(*peer, from.port());
                    }
                    take(*track, Datagram::Rtcp(data));
                }
            });
        }
    }

    /// Gives up what was waited for long enough.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        mut take: impl FnMut(usize, Datagram<'_>),
    ) {
        for udp in &mut self.tracks {
            release(udp.track, &mut udp.reorder, now, &mut take);
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
                let _ = udp.pair.rtcp.socket().try_send_to(&bytes, udp.rtcp_to);
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

fn release(
    track: usize,
    reorder: &mut ReorderBuffer,
    now: Instant,
    take: &mut impl FnMut(usize, Datagram<'_>),
) {
    while let Some(released) = reorder.pop(now) {
        take(track, Datagram::Rtp(&released.packet));
    }
}
