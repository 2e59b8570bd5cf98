//! Packets: the view, RTCP, order and loss, payload formats in both directions.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use easydarwin_core::media::{
    AccessUnit, Codec, G711Law, G726Packing, G726Params, G726Rate, H264Params, H265Params,
    MediaKind, Track,
};
use easydarwin_core::rtp::{
    Depacketizer, Inspector, MAX_ACCESS_UNIT, MediaPacket, PacketRun, Packetizer, PacketizerConfig,
    Reception, ReorderBuffer, ReorderConfig, RtpPacket, is_rtcp, rtcp,
};

use crate::Meter;
use crate::input::Input;

/// A series of datagrams of one track: RTP and RTCP, in whatever order.
pub fn rtp(data: &[u8]) {
    let start = Instant::now();
    let config = ReorderConfig {
        window: 8,
        ..ReorderConfig::default()
    };
    let mut order = ReorderBuffer::new(config);
    let mut reception = Reception::new(90_000);
    let mut now = start;
    let mut input = Input::new(data);
    let (mut pushed, mut released) = (0_u64, 0_u64);
    while !input.is_empty() {
        now += Duration::from_millis(u64::from(input.byte()));
        let datagram = input.piece();
        if is_rtcp(datagram) {
            of_rtcp(datagram, &mut reception, now);
            continue;
        }
        let Ok(packet) = RtpPacket::parse(datagram) else {
            continue;
        };
        assert!(packet.header_len() + packet.payload().len() <= datagram.len());
        let _ = (packet.csrcs().count(), packet.extension(), packet.marker());
        let lost = reception.on_packet(packet.ssrc(), packet.sequence(), packet.timestamp(), now);
        assert!(lost <= 3000);
        order.push(packet.sequence(), Bytes::copy_from_slice(datagram), now);
        pushed += 1;
        while let Some(next) = order.pop(now) {
            assert!(next.lost_before <= 3000);
            released += 1;
        }
    }
    while order.deadline().is_some() {
        now += config.max_wait;
        while order.pop(now).is_some() {
            released += 1;
        }
    }
    assert_eq!(pushed, released + order.dropped());
    assert_eq!(reception.received(), pushed);
    let _ = (
        reception.lost(),
        reception.jitter(),
        reception.report_block(now),
    );
}

fn of_rtcp(datagram: &[u8], reception: &mut Reception, now: Instant) {
    for item in rtcp::parse(datagram) {
        let Ok(item) = item else {
            break;
        };
        if let rtcp::RtcpPacket::SenderReport(report, blocks) = item {
            reception.on_sender_report(report.ntp, now);
            let mut out = BytesMut::new();
            rtcp::write_sender_report(&report, &blocks, "x", &mut out);
            let again = rtcp::parse(&out).next().expect("a packet");
            assert_eq!(again, Ok(rtcp::RtcpPacket::SenderReport(report, blocks)));
        }
    }
}

fn track(kind: u8) -> Track {
    match kind % 9 {
        0 => Track::h264(96, H264Params::default()),
        1 => Track::h265(96, H265Params::default()),
        2 => Track::aac(97, 48_000, 2, Bytes::from_static(&[0x11, 0x90])),
        3 => Track::opus(98),
        4 => Track::g711(G711Law::A),
        7 => Track::jpeg(),
        8 => Track::g726(
            98,
            G726Params {
                rate: G726Rate::Kbit24,
                packing: G726Packing::Aal2,
            },
        ),
        kind => {
            let mut track = Track::g711(G711Law::Mu);
            track.codec = Codec::Other;
            if kind == 5 {
                track.kind = MediaKind::Video;
            }
            track
        }
    }
}

/// Payloads of one track through depacketizer and inspector, with losses and odd markers.
pub fn depacketize(data: &[u8]) {
    let arrival = Instant::now();
    let mut input = Input::new(data);
    let track = track(input.byte());
    let mut depacketizer = Depacketizer::new(0, &track);
    let mut inspector = Inspector::new(&track);
    let mut timestamp = 0_i64;
    let mut bytes = 0;
    let meter = Meter::new();
    while !input.is_empty() {
        let flags = input.byte();
        timestamp += i64::from((flags >> 4).cast_signed()) * 900;
        if flags & 8 != 0 {
            timestamp = i64::from(input.long());
        }
        if flags & 4 != 0 {
            depacketizer.discontinuity();
            inspector.reset();
        }
        let payload = input.piece();
        bytes += payload.len();
        let info = inspector.inspect(payload);
        assert!(!info.random_access || info.key);
        assert!(!(info.has_vcl && info.parameter_sets_only));
        let _ = depacketizer.push(MediaPacket {
            payload,
            marker: flags & 1 != 0,
            timestamp,
            arrival,
            ntp: None,
            lost_before: flags & 2 != 0,
        });
        take(&mut depacketizer);
        // Payloads are held once, with room to grow; what the units consist of is listed.
        assert!(
            meter.held() <= 64 * 1024 + 64 * bytes,
            "{} held",
            meter.held()
        );
    }
    depacketizer.flush();
    take(&mut depacketizer);
}

fn take(depacketizer: &mut Depacketizer) {
    while let Some(unit) = depacketizer.pop() {
        assert!(unit.len() <= MAX_ACCESS_UNIT);
        assert!(!unit.data.is_empty());
    }
}

/// Access units into packets and back: the same bytes, in packets within the limit.
pub fn packetize(data: &[u8]) {
    let arrival = Instant::now();
    let mut input = Input::new(data);
    let kind = input.byte();
    let track = track(kind);
    let config = PacketizerConfig {
        max_payload: usize::from(input.word()),
        first_sequence: input.word(),
        ..PacketizerConfig::default()
    };
    let limit = config.max_payload.max(64);
    let mut packetizer = Packetizer::new(&track, config);
    let mut unit = AccessUnit {
        track: 0,
        pts: 0,
        arrival,
        ntp: None,
        key: false,
        discontinuity: false,
        lossy: false,
        data: Vec::new(),
    };
    while !input.is_empty() {
        unit.data.push(Bytes::copy_from_slice(input.piece()));
    }
    if !matches!(track.codec, Codec::H264(_) | Codec::H265(_)) {
        // There is no empty frame of sound.
        unit.data.retain(|part| !part.is_empty());
    }
    let mut run = PacketRun::new();
    if packetizer.packetize(&unit, 1000, &mut run).is_err() {
        assert!(run.is_empty());
        return;
    }
    let mut depacketizer = Depacketizer::new(0, &track);
    let mut out: Vec<Bytes> = Vec::new();
    let mut sequence = config.first_sequence;
    for packet in run.packets() {
        let packet = RtpPacket::parse(packet).expect("our own packet");
        assert_eq!(packet.sequence(), sequence);
        sequence = sequence.wrapping_add(1);
        // Codecs that cannot be cut are sent whole.
        let whole = matches!(track.codec, Codec::Opus | Codec::Other);
        let limit = match track.codec {
            // Its first headers need room.
            Codec::Jpeg => limit.max(256),
            _ => limit,
        };
        assert!(packet.payload().len() <= limit || whole);
        let pushed = depacketizer.push(MediaPacket {
            payload: packet.payload(),
            marker: packet.marker(),
            timestamp: i64::from(packet.timestamp()),
            arrival,
            ntp: None,
            lost_before: false,
        });
        assert!(pushed.is_ok(), "{pushed:?}");
        while let Some(unit) = depacketizer.pop() {
            assert!(!unit.lossy);
            out.extend(unit.data);
        }
    }
    depacketizer.flush();
    while let Some(unit) = depacketizer.pop() {
        out.extend(unit.data);
    }
    assert_eq!(packetizer.next_sequence(), sequence);
    if track.codec == Codec::Jpeg {
        // The headers are ours now, and sides whole eights: what is sent of it is the same.
        let mut again = PacketRun::new();
        unit.data = out;
        let mut packetizer = Packetizer::new(&track, config);
        assert_eq!(packetizer.packetize(&unit, 1000, &mut again), Ok(()));
        assert_eq!(again.interleaved(), run.interleaved());
    } else {
        assert_eq!(out.concat(), unit.data.concat());
    }
}
