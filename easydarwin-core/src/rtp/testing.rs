//! Streams of real encoders and a way through packets, for the tests of this room.

use std::time::Instant;

use bytes::Bytes;

use super::{MediaPacket, PacketRun, Packetizer, RtpPacket};
use crate::media::{AccessUnit, Track, nal};

/// A clip in access units of NAL units, cut with the knowledge of how it was made.
pub(super) struct Clip {
    pub(super) track: Track,
    pub(super) units: Vec<AccessUnit>,
}

/// The first pictures of the real clip: one slice each.
pub(super) fn bbb() -> Clip {
    clip(
        Track::h264(96, Default::default()),
        include_bytes!("../../../testdata/bbb.h264"),
        1,
    )
}

/// H.264 of three slices a picture, with an IDR and a recovery point.
pub(super) fn slices_h264() -> Clip {
    clip(
        Track::h264(96, Default::default()),
        include_bytes!("../../../testdata/slices.h264"),
        3,
    )
}

/// H.265 of three slices a picture, with an IDR, a CRA and RASL pictures.
pub(super) fn slices_h265() -> Clip {
    clip(
        Track::h265(96, Default::default()),
        include_bytes!("../../../testdata/slices.h265"),
        3,
    )
}

fn clip(track: Track, stream: &'static [u8], slices: usize) -> Clip {
    let h264 = track.encoding == "H264";
    let mut units = Vec::new();
    let mut data = Vec::new();
    let mut vcl = 0;
    let mut key = false;
    for unit in nal::split_annex_b(&Bytes::from_static(stream)) {
        let kind = if h264 {
            unit[0] & 0x1f
        } else {
            unit[0] >> 1 & 0x3f
        };
        let is_vcl = if h264 { kind <= 5 } else { kind < 32 };
        // The recovery point SEI of x264 is the short one.
        key |= if h264 {
            kind == 5 || kind == 6 && unit.len() < 10
        } else {
            (16..=21).contains(&kind)
        };
        vcl += usize::from(is_vcl);
        data.push(unit);
        if vcl == slices {
            let pts = 3600 * i64::try_from(units.len()).unwrap();
            units.push(unit_of(std::mem::take(&mut data), pts, key));
            (vcl, key) = (0, false);
        }
    }
    assert!(data.is_empty());
    Clip { track, units }
}

pub(super) fn unit_of(data: Vec<Bytes>, pts: i64, key: bool) -> AccessUnit {
    AccessUnit {
        track: 0,
        pts,
        arrival: Instant::now(),
        ntp: None,
        key,
        discontinuity: false,
        lossy: false,
        data,
    }
}

/// The packets of one access unit.
pub(super) fn packets_of(packetizer: &mut Packetizer, unit: &AccessUnit) -> Vec<Vec<u8>> {
    let mut run = PacketRun::new();
    let time = u32::try_from(unit.pts & 0xffff_ffff).unwrap();
    packetizer.packetize(unit, time, &mut run).unwrap();
    run.packets().map(<[u8]>::to_vec).collect()
}

/// A packet as a depacketizer wants it.
pub(super) fn media_packet<'a>(packet: &RtpPacket<'a>) -> MediaPacket<'a> {
    MediaPacket {
        payload: packet.payload(),
        marker: packet.marker(),
        timestamp: i64::from(packet.timestamp()),
        arrival: Instant::now(),
        ntp: None,
        lost_before: false,
    }
}

/// What is the same on both ends of a transmission.
pub(super) fn essence(unit: &AccessUnit) -> (i64, bool, bool, &[Bytes]) {
    (unit.pts, unit.key, unit.lossy, &unit.data)
}
