use std::time::Instant;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::media::AccessUnit;
use crate::rtp::testing::{bbb, packets_of, slices_h264, slices_h265, unit_of};
use crate::rtp::{Depacketizer, MediaPacket, PacketizerConfig, RtpPacket};

/// Payload, marker, ticks.
type Wire = (Vec<u8>, bool, i64);

fn parts(repacketizer: &Repacketizer, payload: &[u8], marker: bool) -> Vec<Wire> {
    let mut out = Vec::new();
    repacketizer
        .split(payload, marker, |part| {
            let payload = [part.prefix(), part.body].concat();
            assert!(payload.len() <= DEFAULT_MAX_PAYLOAD);
            out.push((payload, part.marker, part.ticks));
        })
        .unwrap();
    out
}

fn feed(depacketizer: &mut Depacketizer, payload: &[u8], marker: bool, timestamp: i64) {
    let packet = MediaPacket {
        payload,
        marker,
        timestamp,
        arrival: Instant::now(),
        ntp: None,
        lost_before: false,
    };
    depacketizer.push(packet).unwrap();
}

fn drain(mut depacketizer: Depacketizer) -> Vec<(i64, bool, bool, Vec<Bytes>)> {
    depacketizer.flush();
    std::iter::from_fn(|| depacketizer.pop())
        .map(|unit| (unit.pts, unit.key, unit.lossy, unit.data))
        .collect()
}

/// Depacketizes packets as they are, and each cut; both must give the same.
fn same_units(track: &Track, packets: &[(Vec<u8>, bool, i64)]) {
    let repacketizer = Repacketizer::new(track).unwrap();
    let (mut whole, mut cut) = (Depacketizer::new(0, track), Depacketizer::new(0, track));
    for (payload, marker, timestamp) in packets {
        feed(&mut whole, payload, *marker, *timestamp);
        for (payload, marker, ticks) in parts(&repacketizer, payload, *marker) {
            feed(&mut cut, &payload, marker, timestamp + ticks);
        }
    }
    let whole = drain(whole);
    assert!(!whole.is_empty());
    assert_eq!(whole, drain(cut));
}

fn packetized(track: &Track, units: &[AccessUnit], max_payload: usize) -> Vec<Wire> {
    let config = PacketizerConfig {
        max_payload,
        ..PacketizerConfig::default()
    };
    let mut packetizer = Packetizer::new(track, config);
    let mut out = Vec::new();
    for unit in units {
        for bytes in packets_of(&mut packetizer, unit) {
            let packet = RtpPacket::parse(&bytes).unwrap();
            let timestamp = i64::from(packet.timestamp());
            out.push((packet.payload().to_vec(), packet.marker(), timestamp));
        }
    }
    out
}

#[test]
fn pictures_of_real_encoders_stay_the_same() {
    for clip in [bbb(), slices_h264(), slices_h265()] {
        for max_payload in [1401, 1500, 2800, 8000, 60_000] {
            same_units(
                &clip.track,
                &packetized(&clip.track, &clip.units, max_payload),
            );
        }
    }
}

#[test]
fn start_end_and_marker_stand_where_they_stood() {
    let h264 = Repacketizer::new(&Track::h264(96, Default::default())).unwrap();
    // The middle of a fragmented IDR slice: neither start nor end.
    let payload = [&[0x7c, 0x05][..], &[9; 3000]].concat();
    let cut = parts(&h264, &payload, true);
    let heads: Vec<_> = cut.iter().map(|(p, m, _)| (p[0], p[1], *m)).collect();
    assert_eq!(heads, [(0x7c, 5, false), (0x7c, 5, false), (0x7c, 5, true)]);
    // Its first part, and its last.
    let first = parts(&h264, &[&[0x7c, 0x85][..], &[9; 2000]].concat(), false);
    assert_eq!([first[0].0[1], first[1].0[1]], [0x85, 0x05]);
    let last = parts(&h264, &[&[0x7c, 0x45][..], &[9; 2000]].concat(), true);
    assert_eq!([last[0].0[1], last[1].0[1]], [0x05, 0x45]);
    // A whole one gets both; H.265 keeps its layer and temporal identifiers.
    let h265 = Repacketizer::new(&Track::h265(96, Default::default())).unwrap();
    let cut = parts(&h265, &[&[0x26, 0x0b][..], &[9; 2000]].concat(), true);
    assert_eq!(cut[0].0[..3], [0x62, 0x0b, 0x80 | 19]);
    assert_eq!(cut[1].0[..3], [0x62, 0x0b, 0x40 | 19]);
}

#[test]
fn an_aggregate_is_taken_apart() {
    let h264 = Repacketizer::new(&Track::h264(96, Default::default())).unwrap();
    let nals = [vec![0x67; 20], vec![0x68; 8], vec![0x65; 2000]];
    let mut payload = vec![0x78];
    for nal in &nals {
        payload.extend_from_slice(&u16::try_from(nal.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(nal);
    }
    let cut = parts(&h264, &payload, true);
    assert_eq!((&cut[0].0, cut[0].1), (&nals[0], false));
    assert_eq!((&cut[1].0, cut[1].1), (&nals[1], false));
    assert_eq!(cut[2].0[..2], [0x7c, 0x85]);
    assert!(cut[3].1 && cut.len() == 4);
    // It ends early: what is whole comes out, without the marker.
    payload.truncate(100);
    let mut count = 0;
    let result = h264.split(&payload, true, |part| {
        assert!(!part.marker);
        count += 1;
    });
    assert!(matches!(result, Err(RepacketizeError::Broken(_))));
    assert_eq!(count, 2);
}

#[test]
fn what_names_its_decoding_order_is_left_alone() {
    let h264 = Repacketizer::new(&Track::h264(96, Default::default())).unwrap();
    let h265 = Repacketizer::new(&Track::h265(96, Default::default())).unwrap();
    for (repacketizer, first, kind) in [
        (&h264, 25, 25),
        (&h264, 26, 26),
        (&h264, 29, 29),
        (&h265, 50 << 1, 50),
    ] {
        let result = repacketizer.split(&[first; 2000], true, |_| panic!("a part"));
        assert_eq!(result, Err(RepacketizeError::Unsupported(kind)));
    }
    assert!(Repacketizer::new(&Track::opus(97)).is_none());
}

fn aac() -> Track {
    Track::aac(97, 48_000, 2, Bytes::from_static(&[0x11, 0x90]))
}

/// Frames in one payload, with the headers of AAC-hbr.
fn aac_payload(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.extend_from_slice(&u16::try_from(frames.len() * 16).unwrap().to_be_bytes());
    for frame in frames {
        out.extend_from_slice(&u16::try_from(frame.len() << 3).unwrap().to_be_bytes());
    }
    for frame in frames {
        out.extend_from_slice(frame);
    }
    out.to_vec()
}

#[test]
fn several_aac_frames_get_a_packet_and_a_time_each() {
    let frames = [vec![1; 900], vec![2; 1500], vec![3; 10]];
    let payload = aac_payload(&frames);
    let cut = parts(&Repacketizer::new(&aac()).unwrap(), &payload, true);
    let shape: Vec<_> = cut.iter().map(|(p, m, t)| (p.len(), *m, *t)).collect();
    assert_eq!(
        shape,
        [
            (904, true, 0),
            (1400, false, 1024),
            (108, true, 1024),
            (14, true, 2048)
        ]
    );
    same_units(&aac(), &[(payload, true, 5000)]);
}

/// A NAL unit and how long its fragments are.
fn nal_h264() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let header = prop_oneof![
        Just(0x65_u8),
        Just(0x41),
        Just(0x06),
        Just(0x67),
        Just(0x01)
    ];
    (header, proptest::collection::vec(any::<u8>(), 1..9000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_nal_units_in_arbitrary_packets_stay_the_same(
        nals in proptest::collection::vec(nal_h264(), 1..6),
        max_payload in 64_usize..9000,
        h265 in any::<bool>(),
        aggregate in any::<bool>(),
    ) {
        let track = if h265 {
            Track::h265(96, Default::default())
        } else {
            Track::h264(96, Default::default())
        };
        let data: Vec<Bytes> = nals
            .into_iter()
            .map(|(header, mut body)| {
                if h265 {
                    // Slices, a CRA, SEI, SPS of the same shape.
                    body.insert(0, 1);
                    body.insert(0, match header & 0x1f { 5 => 42, 6 => 78, 7 => 66, _ => 2 });
                } else {
                    if header == 0x06 {
                        // Never by chance a recovery point, which is only seen in a whole SEI.
                        body.fill(0xff);
                    }
                    body.insert(0, header);
                }
                body.into()
            })
            .collect();
        let mut packets = packetized(&track, &[unit_of(data.clone(), 0, false)], max_payload);
        let total: usize = data.iter().map(|nal| nal.len() + 2).sum();
        if aggregate && total < 60_000 {
            let mut payload = if h265 { vec![96, 1] } else { vec![0x78] };
            for nal in &data {
                payload.extend_from_slice(&u16::try_from(nal.len()).unwrap().to_be_bytes());
                payload.extend_from_slice(nal);
            }
            packets = vec![(payload, true, 0)];
        }
        same_units(&track, &packets);
    }

    #[test]
    fn arbitrary_aac_stays_the_same(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..5000), 1..5),
        max_payload in 64_usize..5000,
        together in any::<bool>(),
    ) {
        let packets = if together {
            vec![(aac_payload(&frames), true, 90)]
        } else {
            let data = frames.into_iter().map(Bytes::from).collect();
            packetized(&aac(), &[unit_of(data, 90, true)], max_payload)
        };
        same_units(&aac(), &packets);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        for track in [
            Track::h264(96, Default::default()),
            Track::h265(96, Default::default()),
            aac(),
        ] {
            let _ = Repacketizer::new(&track).unwrap().split(&bytes, true, |part| {
                assert!(part.prefix().len() + part.body.len() <= DEFAULT_MAX_PAYLOAD);
            });
        }
    }
}
