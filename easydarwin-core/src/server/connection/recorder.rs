use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;

use crate::media::Repairs;
use crate::relay::{EndReason, Publisher, SocketId};
use crate::rtp::is_rtcp;
use crate::rtsp::{TransportAnswer, TransportOffer};
use crate::server::udp::{Datagram, PortPool, UdpIngest};

/// The publishing side of a session.
pub(super) struct Recorder {
    publisher: Publisher,
    closed: BoxFuture<'static, EndReason>,
    udp: UdpIngest,
    recording: bool,
}

impl Recorder {
    pub(super) fn new(publisher: Publisher, peer: SocketAddr, now: Instant) -> Self {
        Self {
            closed: Box::pin(publisher.closed()),
            publisher,
            udp: UdpIngest::new(peer.ip(), now),
            recording: false,
        }
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    pub(super) fn has_track(&self, track: usize) -> bool {
        track < self.publisher.offered_tracks()
    }

    pub(super) fn only_track(&self) -> Option<usize> {
        (self.publisher.offered_tracks() == 1).then_some(0)
    }

    pub(super) fn count_repairs(&mut self, repairs: &Repairs) {
        self.publisher.count_repairs(repairs);
    }

    /// Takes the first offer that can be met.
    pub(super) fn set_up(
        &mut self,
        track: usize,
        offers: &[TransportOffer],
        local: SocketAddr,
        ports: &PortPool,
    ) -> Option<TransportAnswer> {
        offers.iter().find_map(|offer| match *offer {
            TransportOffer::Tcp { rtp, rtcp } => Some(TransportAnswer::Tcp { rtp, rtcp }),
            TransportOffer::Udp { rtp, rtcp } => {
                let pair = match ports.bind(local.ip()) {
                    Ok(pair) => pair,
                    Err(error) => {
                        tracing::warn!(%error, "no UDP ports for a publisher");
                        return None;
                    }
                };
                let server = pair.ports();
                self.publisher
                    .watch_socket(track, SocketId::of(pair.rtp.socket()));
                self.udp.set_track(track, pair, (rtp, rtcp));
                Some(TransportAnswer::Udp {
                    client: (rtp, rtcp),
                    server,
                })
            }
        })
    }

    pub(super) fn record(&mut self, recording: bool) {
        self.recording = recording;
    }

    /// Takes an interleaved packet.
    pub(super) fn push(&mut self, track: usize, rtcp: bool, data: &[u8], now: Instant) {
        if !self.recording {
            return;
        }
        if rtcp {
            self.publisher.push_rtcp(track, data, now);
        } else {
            self.publisher.push_rtp(track, data, now);
        }
    }

    /// Takes what came by datagram. Whether there was RTP among it: a sign of life.
    pub(super) fn receive(&mut self, now: Instant) -> bool {
        let Self {
            publisher,
            udp,
            recording,
            ..
        } = self;
        let mut any = false;
        udp.receive(now, |track, datagram| {
            any |= match datagram {
                Datagram::Rtp(_) => true,
                Datagram::Rtcp(data) => !is_rtcp(data),
            };
            if *recording {
                push_datagram(publisher, track, &datagram, now);
            }
        });
        any
    }

    /// Makes what came visible to readers.
    pub(super) fn flush(&mut self, now: Instant) {
        // `closed` tells the same, at the place where connections end.
        let _still_live = self.publisher.flush(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Self {
            publisher,
            udp,
            recording,
            ..
        } = self;
        udp.handle_timeout(now, |track, datagram| {
            if *recording {
                push_datagram(publisher, track, &datagram, now);
            }
        });
        udp.report(now, |track| publisher.receiver_report(track, now));
        self.flush(now);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match (self.publisher.flush_deadline(), self.udp.deadline()) {
            (Some(flush), Some(udp)) => Some(flush.min(udp)),
            (flush, udp) => flush.or(udp),
        }
    }

    pub(super) fn poll_datagrams(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.udp.poll_ready(cx)
    }

    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<EndReason> {
        self.closed.as_mut().poll(cx)
    }

    pub(super) fn end(self, reason: EndReason) {
        self.publisher.end(reason);
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("publisher", &self.publisher)
            .field("udp", &self.udp)
            .field("recording", &self.recording)
            .finish_non_exhaustive()
    }
}

fn push_datagram(publisher: &mut Publisher, track: usize, datagram: &Datagram<'_>, now: Instant) {
    match datagram {
        Datagram::Rtp(packet) => publisher.push_rtp(track, packet, now),
        Datagram::Rtcp(packet) => publisher.push_rtcp(track, packet, now),
    }
}
