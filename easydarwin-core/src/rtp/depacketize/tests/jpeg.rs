use super::*;
use crate::media::jpeg::{Jpeg, Shape, quantisers, write};

/// A picture as it comes out: with sides of whole eights, and headers in our order. What is in
/// the scan does not matter here, as long as it is no marker.
pub(super) fn any_picture() -> impl Strategy<Value = Vec<u8>> {
    (
        (1..=255_u16, 1..=255_u16, any::<bool>()),
        prop_oneof![Just(0_u16), any::<u16>()],
        1..=99_u8,
        prop::collection::vec(0..0xff_u8, 1..4000),
    )
        .prop_map(
            |((width, height, half_height), restart_interval, quality, scan)| {
                let shape = Shape {
                    width: width * 8,
                    height: height * 8,
                    half_height,
                    restart_interval,
                };
                write(&shape, &quantisers(quality), &scan)
            },
        )
}

fn clip_of(pictures: u8) -> Clip {
    let shape = Shape {
        width: 1920,
        height: 1080,
        half_height: true,
        restart_interval: 0,
    };
    let units = (0..pictures).map(|n| {
        let picture = write(&shape, &quantisers(50 + n), &vec![n; 5000]);
        unit_of(vec![picture.into()], 3600 * i64::from(n), true)
    });
    Clip {
        track: Track::jpeg(),
        units: units.collect(),
    }
}

#[test]
fn a_picture_that_lost_a_fragment_is_dropped_and_the_next_one_says_so() {
    // Four packets a picture; of the second picture each is lost once.
    for lost in 4..8 {
        let mut after_loss = false;
        let received = transmit(&clip_of(4), 1400, |index, media| {
            media.lost_before = std::mem::take(&mut after_loss);
            after_loss = index == lost;
            index != lost
        });
        let clip = clip_of(4);
        let found: Vec<_> = received.iter().map(|unit| (unit.pts, unit.lossy)).collect();
        assert_eq!(found, [(0, false), (7200, true), (10_800, false)], "{lost}");
        assert_eq!(received[1].data, clip.units[2].data);
    }
}

#[test]
fn a_publisher_without_markers_and_one_that_starts_in_mid_picture() {
    let received = transmit(&clip_of(4), 1400, |_, media| {
        media.marker = false;
        true
    });
    // The last one waits for what follows.
    assert_same(
        &received,
        &Clip {
            units: clip_of(4).units[..3].to_vec(),
            ..clip_of(4)
        },
    );
    let received = transmit(&clip_of(2), 1400, |index, _| index > 1);
    assert_eq!(received.len(), 1);
    assert!(received[0].lossy);
}

/// Headers as other senders make them: tables by quality, sent once, only one for both.
#[test]
fn tables_that_are_not_in_every_packet() {
    let track = Track::jpeg();
    let mut depacketizer = Depacketizer::new(0, &track);
    let mut push = |quality: u8, tables: Option<&[u8]>, time: i64| {
        let mut payload = vec![0, 0, 0, 0, 1, quality, 40, 30];
        if let Some(tables) = tables {
            let [l0, l1] = u16::try_from(tables.len()).unwrap().to_be_bytes();
            payload.extend_from_slice(&[0, 0, l0, l1]);
            payload.extend_from_slice(tables);
        }
        payload.extend_from_slice(&[1, 2, 3]);
        depacketizer.push(packet(&payload, time, true))?;
        let picture = depacketizer.pop().unwrap().data[0].clone();
        let parts = Jpeg::parse(&picture).unwrap();
        assert_eq!((parts.shape.width, parts.shape.height), (320, 240));
        assert_eq!(parts.scan, [1, 2, 3]);
        Ok(parts.quantisers.map(|table| table[0]))
    };
    assert_eq!(push(50, None, 0), Ok([16, 17]));
    // Never seen.
    assert_eq!(push(200, Some(&[]), 1), Err(DepacketizeError::MissingStart));
    assert_eq!(push(200, Some(&[[5; 64], [6; 64]].concat()), 2), Ok([5, 6]));
    assert_eq!(push(200, Some(&[]), 3), Ok([5, 6]));
    assert_eq!(push(201, Some(&[]), 4), Err(DepacketizeError::MissingStart));
    assert_eq!(push(255, Some(&[9; 64]), 5), Ok([9, 9]));
    // 255 may not leave them away.
    assert!(push(255, Some(&[]), 6).is_err());
    for reserved in [0, 100, 127] {
        assert_eq!(
            push(reserved, None, 7),
            Err(DepacketizeError::Unsupported(1))
        );
    }
}

/// Real sizes: 8 bytes of headers, and 132 for the tables in the first payload.
#[test]
fn payloads_are_full() {
    let clip = clip_of(1);
    let mut packetizer = Packetizer::new(&clip.track, PacketizerConfig::default());
    let lengths: Vec<_> = packets_of(&mut packetizer, &clip.units[0])
        .iter()
        .map(|packet| packet.len() - 12)
        .collect();
    assert_eq!(lengths, [1400, 1400, 1400, 5000 + 4 * 8 + 132 - 4200]);
}

#[test]
fn what_cannot_be_carried_is_said_and_nothing_sent() {
    let mut packetizer = Packetizer::new(&Track::jpeg(), PacketizerConfig::default());
    let mut run = crate::rtp::PacketRun::new();
    let unit = unit_of(vec![Bytes::from_static(b"GIF89a")], 0, true);
    let error = packetizer.packetize(&unit, 0, &mut run).unwrap_err();
    assert_eq!(error.to_string(), "no JPEG picture");
    assert!(run.is_empty());
}
