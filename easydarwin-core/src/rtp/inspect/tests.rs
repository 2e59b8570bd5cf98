use bytes::Bytes;

use super::*;
use crate::rtp::testing::{Clip, bbb, packets_of, slices_h264, slices_h265};
use crate::rtp::{Packetizer, PacketizerConfig, RtpPacket};

/// What the inspector says of all packets of each access unit.
fn inspect(clip: &Clip, inspector: &mut Inspector) -> Vec<Vec<PacketInfo>> {
    let mut packetizer = Packetizer::new(&clip.track, PacketizerConfig::default());
    clip.units
        .iter()
        .map(|unit| {
            packets_of(&mut packetizer, unit)
                .iter()
                .map(|packet| inspector.inspect(RtpPacket::parse(packet).unwrap().payload()))
                .collect()
        })
        .collect()
}

#[test]
fn key_pictures_of_real_encoders_are_found_once_each() {
    for clip in [bbb(), slices_h264(), slices_h265()] {
        let pictures = inspect(&clip, &mut Inspector::new(&clip.track));
        for (infos, unit) in pictures.iter().zip(&clip.units) {
            let count = |what: fn(&PacketInfo) -> bool| infos.iter().filter(|i| what(i)).count();
            assert_eq!(count(|i| i.starts_picture), 1, "pts {}", unit.pts);
            assert_eq!(count(|i| i.random_access), usize::from(unit.key));
            let slices = count(|i| i.has_vcl);
            assert_eq!(count(|i| i.key), if unit.key { slices } else { 0 });
            // What comes before the first slice can serve as start point.
            let first = infos.iter().position(|i| i.has_vcl).unwrap();
            assert!(infos[..first].iter().all(|i| i.parameter_sets_only));
            assert!(infos[first..].iter().all(|i| !i.parameter_sets_only));
        }
    }
}

#[test]
fn disposable_and_rasl_pictures_are_told() {
    let clip = slices_h264();
    let pictures = inspect(&clip, &mut Inspector::new(&clip.track));
    for (infos, unit) in pictures.iter().zip(&clip.units) {
        let reference = unit.data.last().is_some_and(|slice| slice[0] & 0x60 != 0);
        let slices = || infos.iter().filter(|i| i.has_vcl);
        assert!(slices().all(|i| i.disposable != reference));
    }
    let clip = slices_h265();
    let pictures = inspect(&clip, &mut Inspector::new(&clip.track));
    let mut rasl = 0;
    for (infos, unit) in pictures.iter().zip(&clip.units) {
        let kind = unit.data.last().unwrap()[0] >> 1;
        let slices = || infos.iter().filter(|i| i.has_vcl);
        assert!(slices().all(|i| i.rasl == matches!(kind, 8 | 9)));
        assert!(slices().all(|i| i.disposable == matches!(kind, 0 | 8)));
        rasl += usize::from(matches!(kind, 8 | 9));
    }
    assert_eq!(rasl, 2);
}

#[test]
fn parameter_sets_are_learnt_and_changes_told_once() {
    let clip = bbb();
    let mut inspector = Inspector::new(&clip.track);
    let changes = |infos: Vec<Vec<PacketInfo>>| {
        let flat = infos.into_iter().flatten();
        flat.filter(|i| i.params_changed).count()
    };
    assert_eq!(changes(inspect(&clip, &mut inspector)), 2);
    assert_eq!(changes(inspect(&clip, &mut inspector)), 0);
    let Codec::H264(params) = inspector.codec() else {
        panic!("H.264");
    };
    assert!(params.is_complete());
    assert_eq!(params.parse_sps().unwrap().width, 1280);
    // Another encoder: its SPS makes the PPS of the first worthless.
    let other = slices_h264();
    assert_eq!(changes(inspect(&other, &mut inspector)), 2);
    let Codec::H264(params) = inspector.codec() else {
        panic!("H.264");
    };
    assert_eq!(params.parse_sps().unwrap().width, 320);
    assert_eq!(params.pps.len(), 1);

    let clip = slices_h265();
    let mut inspector = Inspector::new(&clip.track);
    assert_eq!(changes(inspect(&clip, &mut inspector)), 3);
}

#[test]
fn a_picture_parameter_set_replaces_that_of_its_id() {
    let mut inspector = Inspector::new(&Track::h264(96, H264Params::default()));
    // ue(v) 0 is the bit 1, ue(v) 1 is 010.
    for (pps, changed) in [
        (&[0x68, 0x80, 1][..], true),
        (&[0x68, 0x40, 1], true),
        (&[0x68, 0x80, 1], false),
        (&[0x68, 0x80, 2], true),
    ] {
        assert_eq!(inspector.inspect(pps).params_changed, changed);
    }
    let Codec::H264(params) = inspector.codec() else {
        panic!("H.264");
    };
    assert_eq!(
        params.pps,
        [
            Bytes::from_static(&[0x68, 0x80, 2]),
            Bytes::from_static(&[0x68, 0x40, 1])
        ]
    );
}

#[test]
fn aggregates_and_fragments_are_looked_into() {
    let mut inspector = Inspector::new(&Track::h264(96, H264Params::default()));
    // STAP-A of SPS, PPS and the first slice of an IDR.
    let stap = [0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 0x80, 0, 2, 0x65, 0x88];
    let info = inspector.inspect(&stap);
    assert!(info.random_access && info.starts_picture && info.params_changed);
    assert!(!info.parameter_sets_only);
    // The second slice of an IDR.
    let info = inspector.inspect(&[0x65, 0x40]);
    assert!(info.key && !info.random_access && !info.starts_picture);
    // FU-A: start, middle.
    let info = inspector.inspect(&[0x7c, 0x85, 0x88]);
    assert!(info.random_access && info.starts_picture);
    let info = inspector.inspect(&[0x7c, 0x05, 0x88]);
    assert!(info.key && !info.random_access && !info.starts_picture);
    // A recovery point that takes 10 frames (ue(v) 10 is 0001011) is no random access.
    inspector.inspect(&[0x06, 6, 1, 0b0001_0110, 0x80]);
    assert!(!inspector.inspect(&[0x41, 0x9a]).random_access);
    // One behind another message, with count 0.
    inspector.inspect(&[0x06, 5, 2, 9, 9, 6, 1, 0xc4, 0x80]);
    assert!(inspector.inspect(&[0x41, 0x9a]).random_access);
    assert!(!inspector.inspect(&[0x41, 0x9a]).random_access);
}

#[test]
fn broken_payloads_start_nothing() {
    let mut inspector = Inspector::new(&Track::h264(96, H264Params::default()));
    for payload in [
        &[][..],
        &[0x78, 0, 9, 0x65, 0x88],
        &[0x78, 0, 2, 0x65, 0x88, 0],
        &[0x7c],
        &[0x00, 0x88],
    ] {
        assert_eq!(inspector.inspect(payload), PacketInfo::default());
    }
    let audio = Inspector::new(&Track::opus(111)).inspect(&[1]);
    assert!(audio.random_access && audio.has_vcl);
}
