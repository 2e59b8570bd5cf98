use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::{AacParams, G711Law, G726Packing, G726Params, G726Rate};
use crate::rtp::testing::{
    Clip, bbb, essence, media_packet, packets_of, slices_h264, slices_h265, unit_of,
};
use crate::rtp::{Packetizer, PacketizerConfig, RtpPacket};

mod jpeg;

fn packet(payload: &[u8], timestamp: i64, marker: bool) -> MediaPacket<'_> {
    MediaPacket {
        payload,
        marker,
        timestamp,
        arrival: Instant::now(),
        ntp: None,
        lost_before: false,
    }
}

fn drain(depacketizer: &mut Depacketizer) -> Vec<AccessUnit> {
    std::iter::from_fn(|| depacketizer.pop()).collect()
}

/// Packetizes, lets `change` touch the packets, depacketizes.
fn transmit(
    clip: &Clip,
    max_payload: usize,
    mut change: impl FnMut(usize, &mut MediaPacket<'_>) -> bool,
) -> Vec<AccessUnit> {
    let config = PacketizerConfig {
        max_payload,
        first_sequence: 65_530,
        ..PacketizerConfig::default()
    };
    let mut packetizer = Packetizer::new(&clip.track, config);
    let mut depacketizer = Depacketizer::new(0, &clip.track);
    let mut out = Vec::new();
    let mut count = 0;
    for unit in &clip.units {
        for bytes in packets_of(&mut packetizer, unit) {
            let parsed = RtpPacket::parse(&bytes).unwrap();
            assert!(parsed.payload().len() <= max_payload);
            let mut media = media_packet(&parsed);
            if change(count, &mut media) {
                let _ = depacketizer.push(media);
                out.extend(drain(&mut depacketizer));
            }
            count += 1;
        }
    }
    depacketizer.flush();
    out.extend(drain(&mut depacketizer));
    out
}

fn assert_same(received: &[AccessUnit], clip: &Clip) {
    assert_eq!(received.len(), clip.units.len());
    for (received, sent) in received.iter().zip(&clip.units) {
        assert_eq!(essence(received), essence(sent), "pts {}", sent.pts);
    }
}

#[test]
fn clips_of_real_encoders_come_back() {
    for clip in [bbb(), slices_h264(), slices_h265()] {
        assert!(clip.units.iter().filter(|unit| unit.key).count() >= 1);
        assert_same(&transmit(&clip, 1400, |_, _| true), &clip);
    }
}

#[test]
fn sloppy_markers_do_not_cut_pictures() {
    for clip in [slices_h264(), slices_h265()] {
        // Every packet has one, none has one.
        for marker in [true, false] {
            let received = transmit(&clip, 9000, |_, packet| {
                packet.marker = marker;
                true
            });
            assert_same(&received, &clip);
        }
    }
}

#[test]
fn pictures_of_one_timestamp_are_told_apart_by_their_first_slice() {
    for mut clip in [slices_h264(), slices_h265()] {
        for unit in &mut clip.units {
            unit.pts = 0;
        }
        let received = transmit(&clip, 1400, |_, packet| {
            packet.marker = false;
            true
        });
        assert_same(&received, &clip);
    }
}

#[test]
fn honest_markers_complete_a_picture_at_once() {
    let mut clip = bbb();
    clip.units.truncate(4);
    let mut packetizer = Packetizer::new(&clip.track, PacketizerConfig::default());
    let mut depacketizer = Depacketizer::new(0, &clip.track);
    let mut complete = Vec::new();
    for unit in &clip.units {
        for bytes in packets_of(&mut packetizer, unit) {
            let parsed = RtpPacket::parse(&bytes).unwrap();
            depacketizer.push(media_packet(&parsed)).unwrap();
        }
        complete.push(drain(&mut depacketizer).len());
    }
    // The first picture proves the markers with the packet after it.
    assert_eq!(complete, [0, 2, 1, 1]);
}

#[test]
fn a_lost_packet_marks_its_picture() {
    let clip = bbb();
    let lost = 5;
    let received = transmit(&clip, 1400, |index, packet| {
        packet.lost_before = index == lost + 1;
        index != lost
    });
    assert_eq!(received.len(), clip.units.len());
    assert!(received[0].lossy);
    // Nothing is left of the slice, the parameter sets are.
    assert_eq!(received[0].data, clip.units[0].data[..2]);
    assert!(received[1..].iter().all(|unit| !unit.lossy));
}

#[test]
fn hostile_h264_payloads_are_errors() {
    use DepacketizeError::{MissingStart, Truncated, Unsupported};
    for (payload, error) in [
        (&[][..], Truncated("payload")),
        (&[0x18, 0], Truncated("aggregation packet")),
        (&[0x18, 0, 5, 0x65, 0x80], Truncated("aggregation packet")),
        (
            &[0x18, 0, 2, 0x65, 0x80, 0],
            Truncated("aggregation packet"),
        ),
        (&[0x19, 0], Truncated("STAP-B")),
        (&[0x1a, 0, 0, 0, 0], Unsupported(26)),
        (&[0x7c], Truncated("FU header")),
        (&[0x7d, 0x85, 0], Truncated("FU-B")),
        (&[0x7c, 0x05, 1, 2], MissingStart),
        (&[0x7c, 0x45, 1, 2], MissingStart),
        (&[0x00, 1, 2], Unsupported(0)),
        (&[0x1f, 1, 2], Unsupported(31)),
    ] {
        let mut depacketizer = Depacketizer::new(0, &Track::h264(96, Default::default()));
        assert_eq!(
            depacketizer.push(packet(payload, 0, true)),
            Err(error),
            "{payload:x?}"
        );
        // What comes next is whole but not the beginning.
        depacketizer
            .push(packet(&[0x65, 0x80, 1], 10, true))
            .unwrap();
        depacketizer.flush();
        let units = drain(&mut depacketizer);
        assert!(units.last().is_some_and(|unit| unit.key), "{payload:x?}");
        assert!(units.iter().any(|unit| unit.lossy), "{payload:x?}");
    }
}

#[test]
fn hostile_h265_payloads_are_errors() {
    use DepacketizeError::{MissingStart, Truncated, Unsupported};
    for (payload, error) in [
        (&[0x26][..], Truncated("payload")),
        (&[0x60, 1, 0], Truncated("aggregation packet")),
        (&[0x60, 1, 0, 1, 0x26], Truncated("NAL unit")),
        (&[0x62, 1], Truncated("FU header")),
        (&[0x62, 1, 0x53, 1], MissingStart),
        (&[0x64, 1, 0, 0], Unsupported(50)),
    ] {
        let mut depacketizer = Depacketizer::new(0, &Track::h265(96, Default::default()));
        let result = depacketizer.push(packet(payload, 0, true));
        assert_eq!(result, Err(error), "{payload:x?}");
    }
}

#[test]
fn a_fragment_that_changes_its_type_is_dropped() {
    let mut depacketizer = Depacketizer::new(0, &Track::h264(96, Default::default()));
    depacketizer
        .push(packet(&[0x7c, 0x85, 0x80, 1], 0, false))
        .unwrap();
    let result = depacketizer.push(packet(&[0x7c, 0x41, 2], 0, true));
    assert_eq!(result, Err(DepacketizeError::MissingStart));
    depacketizer.push(packet(&[0x65, 0x80], 1, true)).unwrap();
    depacketizer.flush();
    let units = drain(&mut depacketizer);
    assert_eq!(units.len(), 1);
    assert!(units[0].lossy);
}

#[test]
fn an_endless_fragment_is_bounded() {
    let mut depacketizer = Depacketizer::new(0, &Track::h264(96, Default::default()));
    let mut start = vec![0x7c, 0x85];
    start.resize(60_000, 1);
    depacketizer.push(packet(&start, 0, false)).unwrap();
    let mut middle = start.clone();
    middle[1] = 0x05;
    let refused = (0..200).find_map(|_| depacketizer.push(packet(&middle, 0, false)).err());
    assert_eq!(refused, Some(DepacketizeError::TooLarge));
}

#[test]
fn a_discontinuity_drops_what_is_open_and_marks_the_next() {
    let mut depacketizer = Depacketizer::new(3, &Track::h264(96, Default::default()));
    depacketizer
        .push(packet(&[0x65, 0x80, 1], 0, true))
        .unwrap();
    depacketizer.discontinuity();
    depacketizer
        .push(packet(&[0x65, 0x80, 2], 9, true))
        .unwrap();
    depacketizer.flush();
    let units = drain(&mut depacketizer);
    assert_eq!(units.len(), 1);
    assert!(units[0].discontinuity);
    assert_eq!((units[0].pts, units[0].track), (9, 3));
}

fn aac() -> Track {
    Track::aac(97, 48_000, 2, Bytes::from_static(&[0x11, 0x90]))
}

#[test]
fn several_aac_frames_of_one_packet() {
    let mut depacketizer = Depacketizer::new(1, &aac());
    // Two headers of 16 bits: sizes 2 and 3.
    let payload = [0, 32, 0, 2 << 3, 0, 3 << 3, 1, 2, 3, 4, 5];
    depacketizer.push(packet(&payload, 100, true)).unwrap();
    let units = drain(&mut depacketizer);
    assert_eq!(units.len(), 2);
    assert_eq!(
        (units[0].pts, units[0].data[0].as_ref()),
        (100, &[1, 2][..])
    );
    assert_eq!(
        (units[1].pts, units[1].data[0].as_ref()),
        (1124, &[3, 4, 5][..])
    );
    assert!(units.iter().all(|unit| unit.key && !unit.lossy));
}

#[test]
fn aac_header_lengths_that_lie_are_errors() {
    use DepacketizeError::Truncated;
    for (payload, error) in [
        (&[0][..], Truncated("AU headers")),
        (&[0, 0, 1, 2], Truncated("AU headers")),
        (&[0, 15, 0, 8, 1], Truncated("AU headers")),
        (&[0, 16, 0], Truncated("AU headers")),
        (&[0xff, 0xff, 0, 8, 1], Truncated("AU headers")),
        (&[0, 16, 0xff, 0xf8, 1], Truncated("AAC frame")),
        (&[0, 32, 0, 8, 0xff, 0xf8, 1, 2], Truncated("AAC frame")),
    ] {
        let mut depacketizer = Depacketizer::new(0, &aac());
        assert_eq!(
            depacketizer.push(packet(payload, 0, true)),
            Err(error),
            "{payload:x?}"
        );
    }
}

#[test]
fn an_aac_fragment_that_is_not_continued_marks_the_next_frame() {
    let mut depacketizer = Depacketizer::new(0, &aac());
    depacketizer
        .push(packet(&[0, 16, 0, 9 << 3, 1, 2, 3], 0, false))
        .unwrap();
    depacketizer
        .push(packet(&[0, 16, 0, 1 << 3, 7], 1024, true))
        .unwrap();
    depacketizer
        .push(packet(&[0, 16, 0, 1 << 3, 8], 2048, true))
        .unwrap();
    let units = drain(&mut depacketizer);
    assert_eq!(units.len(), 2);
    assert!(units[0].lossy || units[1].lossy);
}

#[test]
fn g711_and_unknown_codecs_pass() {
    for track in [Track::g711(G711Law::A), Track::opus(111)] {
        let mut depacketizer = Depacketizer::new(0, &track);
        depacketizer.push(packet(&[1, 2, 3], 160, false)).unwrap();
        let unit = depacketizer.pop().unwrap();
        assert_eq!(unit.data, [Bytes::from_static(&[1, 2, 3])]);
        assert!(depacketizer.push(packet(&[], 320, false)).is_err());
    }
}

/// Delimiters, filler data, SEI, parameter sets twice and several of them: what payloaders of
/// others drop or put in another order.
#[test]
fn everything_in_an_access_unit_arrives_in_its_order() {
    let long = [vec![0x65, 0x88], vec![7; 5000]].concat();
    let h264: Vec<Bytes> = [
        &[0x09, 0xf0][..],
        &[0x67, 0x4d, 0x40],
        &[0x68, 0xef, 1],
        &[0x68, 0xef, 2],
        &[0x68, 0xef, 1],
        &[0x06, 5, 1, 0],
        &long,
        &[0x0c, 0xff, 0xff, 0x80],
    ]
    .into_iter()
    .map(Bytes::copy_from_slice)
    .collect();
    let long = [vec![0x26, 1, 0x88], vec![7; 5000]].concat();
    let h265: Vec<Bytes> = [
        &[0x46, 1, 0x50][..],
        &[0x40, 1, 1],
        &[0x42, 1, 1],
        &[0x44, 1, 1],
        &[0x44, 1, 2],
        &[0x4e, 1, 5],
        &long,
        &[0x4c, 1, 0xff, 0x80],
    ]
    .into_iter()
    .map(Bytes::copy_from_slice)
    .collect();
    for (track, data) in [
        (Track::h264(96, Default::default()), h264),
        (Track::h265(96, Default::default()), h265),
    ] {
        let clip = Clip {
            track,
            units: (0..3)
                .map(|n| unit_of(data.clone(), 3600 * n, true))
                .collect(),
        };
        assert_same(&transmit(&clip, 1400, |_, _| true), &clip);
    }
}

/// Any codec, and access units that it can carry.
fn any_clip() -> impl Strategy<Value = Clip> {
    let bytes = |len| proptest::collection::vec(any::<u8>(), 1..len);
    let h264 = (any::<bool>(), bytes(4000)).prop_map(|(key, mut body)| {
        body[0] |= 0x80;
        body.insert(0, if key { 0x65 } else { 0x41 });
        (body, key)
    });
    let h265 = (any::<bool>(), bytes(4000)).prop_map(|(key, mut body)| {
        body[0] |= 0x80;
        body.splice(0..0, [if key { 0x26 } else { 0x02 }, 1]);
        (body, key)
    });
    let frame = bytes(4000).prop_map(|frame| (frame, true));
    let small = bytes(64).prop_map(|frame| (frame, true));
    let of = |track: Track, unit: BoxedStrategy<(Vec<u8>, bool)>| {
        proptest::collection::vec(unit, 1..6).prop_map(move |units| Clip {
            track: track.clone(),
            units: units
                .into_iter()
                .zip(0..)
                .map(|((data, key), n)| unit_of(vec![data.into()], n * 2048, key))
                .collect(),
        })
    };
    let other = Track {
        codec: Codec::Other,
        ..Track::h264(96, Default::default())
    };
    let g726 = G726Params {
        rate: G726Rate::Kbit24,
        packing: G726Packing::Aal2,
    };
    let lbr = Track {
        codec: Codec::Aac(AacParams {
            config: Bytes::from_static(&[0x11, 0x90]),
            size_length: 6,
            index_length: 2,
            index_delta_length: 2,
        }),
        ..aac()
    };
    prop_oneof![
        of(Track::h264(96, Default::default()), h264.boxed()),
        of(Track::h265(96, Default::default()), h265.boxed()),
        of(aac(), frame.boxed()),
        of(
            lbr,
            small
                .clone()
                .prop_filter("63 bytes", |s| s.0.len() < 64)
                .boxed()
        ),
        of(Track::opus(111), small.clone().boxed()),
        of(Track::g711(G711Law::Mu), small.clone().boxed()),
        of(Track::g726(97, g726), small.clone().boxed()),
        of(
            Track::jpeg(),
            jpeg::any_picture()
                .prop_map(|picture| (picture, true))
                .boxed()
        ),
        of(other, small.boxed()),
    ]
}

fn any_track() -> impl Strategy<Value = Track> {
    any_clip().prop_map(|clip| clip.track)
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.track.codec, self.units)
    }
}

proptest! {
    #[test]
    fn packets_of_any_size_come_back_as_they_were(clip in any_clip(), max_payload in 64..1500_usize) {
        let least = if clip.track.codec == Codec::Jpeg { 256 } else { 64 };
        let max_payload = max_payload.max(least);
        let received = transmit(&clip, max_payload, |_, _| true);
        assert_same(&received, &clip);
    }

    #[test]
    fn arbitrary_payloads_never_panic(
        track in any_track(),
        packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..60), any::<bool>(), 0..3_i64, any::<bool>()),
            0..30,
        ),
    ) {
        let mut depacketizer = Depacketizer::new(0, &track);
        let mut inspector = crate::rtp::Inspector::new(&track);
        for (payload, marker, timestamp, lost_before) in packets {
            let _ = depacketizer.push(MediaPacket {
                lost_before,
                ..packet(&payload, timestamp, marker)
            });
            let _ = inspector.inspect(&payload);
        }
        depacketizer.flush();
        for unit in drain(&mut depacketizer) {
            prop_assert!(!unit.data.is_empty());
        }
    }

    #[test]
    fn structured_garbage_never_panics(
        h265 in any::<bool>(),
        packets in proptest::collection::vec(
            (0..8_usize, any::<u8>(), proptest::collection::vec(0..6_u8, 0..20), any::<bool>()),
            0..40,
        ),
    ) {
        let track = if h265 { Track::h265(96, Default::default()) } else { Track::h264(96, Default::default()) };
        let mut depacketizer = Depacketizer::new(0, &track);
        let mut inspector = crate::rtp::Inspector::new(&track);
        let kinds: [&[u8]; 8] = if h265 {
            [&[0x62, 1], &[0x60, 1], &[0x26, 1], &[0x02, 1], &[0x40, 1], &[0x42, 1], &[0x44, 1], &[0x4e, 1]]
        } else {
            [&[0x7c], &[0x7d], &[0x18], &[0x19], &[0x65], &[0x67], &[0x68], &[0x06]]
        };
        for (kind, flags, body, marker) in packets {
            let mut payload = kinds[kind].to_vec();
            payload.push(flags);
            payload.extend_from_slice(&body);
            let _ = depacketizer.push(packet(&payload, i64::from(flags & 1), marker));
            let _ = inspector.inspect(&payload);
        }
        depacketizer.flush();
    }
}
