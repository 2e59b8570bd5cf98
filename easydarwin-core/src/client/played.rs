use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::media::{AccessUnit, Track};
use crate::rtp::rtcp::{self, RtcpPacket, write_receiver_report};
use crate::rtp::{
    Depacketizer, MediaPacket, Reception, Released, ReorderBuffer, ReorderConfig, RtpPacket,
    TimestampUnwrapper,
};

use super::connection::Connection;
use super::handshake::Path;
use super::player::PlayedPacket;
use super::random::random_u32;
use super::udp::UdpPair;

/// Seconds between `RTP-Info` and the first packet beyond which the former is not believed.
const MAX_START_DISTANCE: i64 = 10;

/// The receiving side of one track.
#[derive(Debug)]
pub(super) struct PlayedTrack {
    /// `None`: it was not set up.
    pub(super) path: Option<Path>,
    clock_rate: u32,
    reception: Reception,
    reorder: ReorderBuffer,
    depacketizer: Depacketizer,
    timestamps: TimestampUnwrapper,
    /// RTP time at which the server says it starts.
    start: Option<u32>,
    /// Unwrapped RTP time of `pts` 0.
    origin: Option<i64>,
    /// The sender's clocks: wall and RTP.
    sender: Option<(SystemTime, u32)>,
    ssrc: Option<u32>,
    own_ssrc: u32,
    over: bool,
    /// The next packet is the first after a pause.
    resumed: bool,
}

impl PlayedTrack {
    pub(super) fn new(index: usize, track: &Track, path: Option<Path>) -> Self {
        Self {
            over: path.is_none(),
            path,
            clock_rate: track.clock_rate,
            reception: Reception::new(track.clock_rate),
            reorder: ReorderBuffer::new(ReorderConfig::default()),
            depacketizer: Depacketizer::new(index, track),
            timestamps: TimestampUnwrapper::new(),
            start: None,
            origin: None,
            sender: None,
            ssrc: None,
            own_ssrc: random_u32(),
            resumed: false,
        }
    }

    pub(super) fn udp(&self) -> Option<&UdpPair> {
        match self.path.as_ref()? {
            Path::Udp(pair) => Some(pair),
            Path::Tcp { .. } => None,
        }
    }

    /// Said goodbye, or never came.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn set_start(&mut self, rtp_time: Option<u32>) {
        self.start = rtp_time;
    }

    /// Numbering goes on anywhere after a pause: what was not sent is not missing.
    pub(super) fn resume(&mut self) {
        self.reception = Reception::new(self.clock_rate);
        self.reorder = ReorderBuffer::new(ReorderConfig::default());
        self.resumed = true;
    }

    /// Whether what is handed out now is the first after a pause.
    pub(super) fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    /// Counts a packet; returns how many are missing before it.
    pub(super) fn count(&mut self, packet: &RtpPacket<'_>, now: Instant) -> u32 {
        self.ssrc = Some(packet.ssrc());
        self.reception
            .on_packet(packet.ssrc(), packet.sequence(), packet.timestamp(), now)
    }

    /// Puts a datagram in order. `false`: it came by TCP and is in order.
    pub(super) fn hold(&mut self, sequence: u16, data: &Bytes, now: Instant) -> bool {
        if self.udp().is_none() {
            return false;
        }
        self.reorder.push(sequence, data.clone(), now);
        true
    }

    pub(super) fn release(&mut self, now: Instant) -> Option<Released> {
        self.reorder.pop(now)
    }

    /// When a missing packet is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.reorder.deadline()
    }

    pub(super) fn rtcp(&mut self, data: &[u8], now: Instant) {
        for packet in rtcp::parse(data).flatten() {
            match packet {
                RtcpPacket::SenderReport(report, _) => {
                    self.reception.on_sender_report(report.ntp, now);
                    // Cameras without clock send zero.
                    if report.ntp.0 != 0 {
                        self.sender = Some((report.ntp.into(), report.rtp_time));
                    }
                }
                RtcpPacket::Goodbye(sources) => {
                    // Our own server and others name the source; who names none means all.
                    self.over |=
                        sources.is_empty() || self.ssrc.is_some_and(|ssrc| sources.contains(&ssrc));
                }
                _ => {}
            }
        }
    }

    pub(super) fn report(&mut self, connection: &mut Connection, now: Instant) {
        let Some(path) = &self.path else {
            return;
        };
        let block = self.reception.report_block(now);
        let mut packet = BytesMut::with_capacity(64);
        write_receiver_report(self.own_ssrc, block.as_slice(), "easydarwin", &mut packet);
        path.send_rtcp(connection, &packet);
    }

    /// Errors of single packets cost that access unit, which then says that it is lossy.
    pub(super) fn depacketize(&mut self, played: &PlayedPacket) {
        let Ok(packet) = RtpPacket::parse(&played.data) else {
            return;
        };
        if played.after_pause {
            self.depacketizer.flush();
            self.depacketizer.discontinuity();
        }
        let unwrapped = self.timestamps.unwrap(packet.timestamp());
        let origin = match self.origin {
            Some(origin) => origin,
            None => {
                let origin = unwrapped - self.start_distance(packet.timestamp());
                *self.origin.insert(origin)
            }
        };
        let _ = self.depacketizer.push(MediaPacket {
            payload: packet.payload(),
            marker: packet.marker(),
            timestamp: unwrapped - origin,
            arrival: played.arrival,
            ntp: self.wall_clock(packet.timestamp()),
            lost_before: played.lost_before > 0,
        });
    }

    pub(super) fn pop_unit(&mut self) -> Option<AccessUnit> {
        self.depacketizer.pop()
    }

    pub(super) fn flush(&mut self) {
        self.depacketizer.flush();
    }

    /// Ticks from the announced start to the first packet.
    fn start_distance(&self, first: u32) -> i64 {
        let limit = MAX_START_DISTANCE * i64::from(self.clock_rate);
        self.start
            .map(|start| signed_distance(start, first))
            .filter(|distance| distance.abs() <= limit)
            .unwrap_or(0)
    }

    /// The sender's wall clock for an RTP time.
    fn wall_clock(&self, rtp_time: u32) -> Option<SystemTime> {
        let (wall, reference) = self.sender?;
        let ticks = signed_distance(reference, rtp_time);
        let nanos = u64::try_from(
            u128::from(ticks.unsigned_abs()) * 1_000_000_000 / u128::from(self.clock_rate.max(1)),
        )
        .ok()?;
        let distance = Duration::from_nanos(nanos);
        if ticks < 0 {
            wall.checked_sub(distance)
        } else {
            wall.checked_add(distance)
        }
    }
}

/// From one 32-bit time to another, the shorter way round.
fn signed_distance(from: u32, to: u32) -> i64 {
    i64::from(i32::from_be_bytes(to.wrapping_sub(from).to_be_bytes()))
}
