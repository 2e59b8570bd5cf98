use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::media::Track;
use crate::rtp::rtcp::{self, RtcpPacket, write_receiver_report};
use crate::rtp::{Reception, Released, ReorderBuffer, ReorderConfig, RtpPacket};

/// How one track of a source travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// On these channels.
    Tcp { rtp: u8, rtcp: u8 },
    /// Through the socket pair with this track's number.
    Udp,
}

/// The receiving side of one track.
#[derive(Debug)]
pub(super) struct ReceivedTrack {
    pub(super) lane: Lane,
    pub(super) payload_type: u8,
    /// Something came on its own channels.
    pub(super) heard: bool,
    pub(super) over: bool,
    reception: Reception,
    reorder: ReorderBuffer,
    ssrc: Option<u32>,
    own_ssrc: u32,
}

impl ReceivedTrack {
    pub(super) fn new(track: &Track, lane: Lane, own_ssrc: u32) -> Self {
        Self {
            lane,
            payload_type: track.payload_type,
            heard: false,
            over: false,
            reception: Reception::new(track.clock_rate),
            reorder: ReorderBuffer::new(ReorderConfig::default()),
            ssrc: None,
            own_ssrc,
        }
    }

    pub(super) fn on_rtp(&mut self, packet: &RtpPacket<'_>, now: Instant) {
        self.heard = true;
        self.ssrc = Some(packet.ssrc());
        self.reception
            .on_packet(packet.ssrc(), packet.sequence(), packet.timestamp(), now);
    }

    pub(super) fn on_rtcp(&mut self, data: &[u8], now: Instant) {
        for packet in rtcp::parse(data).flatten() {
            match packet {
                RtcpPacket::SenderReport(report, _) => {
                    self.reception.on_sender_report(report.ntp, now);
                }
                // Who names no source means all.
                RtcpPacket::Goodbye(sources) => {
                    self.over |=
                        sources.is_empty() || self.ssrc.is_some_and(|ssrc| sources.contains(&ssrc));
                }
                _ => {}
            }
        }
    }

    pub(super) fn hold(&mut self, sequence: u16, packet: Bytes, now: Instant) {
        self.reorder.push(sequence, packet, now);
    }

    pub(super) fn release(&mut self, now: Instant) -> Option<Released> {
        self.reorder.pop(now)
    }

    /// When a missing packet is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.reorder.deadline()
    }

    pub(super) fn report(&mut self, now: Instant) -> Bytes {
        let block = self.reception.report_block(now);
        let mut packet = BytesMut::with_capacity(64);
        write_receiver_report(self.own_ssrc, block.as_slice(), "easydarwin", &mut packet);
        packet.freeze()
    }
}
