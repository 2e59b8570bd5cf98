//! Publishers whose packets no datagram can carry.

use super::rig::{Camera, Peer, Seen, frames, header, hub, now, path, settle, video};
use crate::media::{SessionDescription, Track};
use crate::registry::Principal;
use crate::relay::{MAX_DATAGRAM, ReaderOptions};
use crate::rtp::{DEFAULT_MAX_PAYLOAD, Depacketizer, MediaPacket};

/// The NAL units in packets as a reader got them.
fn nal_units(packets: &[Seen]) -> Vec<Vec<u8>> {
    let mut depacketizer = Depacketizer::new(0, &Track::h264(96, Default::default()));
    let mut out = Vec::new();
    for packet in packets {
        let media = MediaPacket {
            payload: &packet.payload,
            marker: packet.marker,
            timestamp: i64::from(packet.ts),
            arrival: now(),
            ntp: None,
            lost_before: false,
        };
        depacketizer.push(media).unwrap();
    }
    depacketizer.flush();
    while let Some(unit) = depacketizer.pop() {
        out.extend(unit.data.iter().map(|nal| nal.to_vec()));
    }
    out
}

/// What a reader gets is the same pictures in packets that fit, numbered through; markers and
/// times are where they were; what the publisher's network lost is missing for the reader too.
#[tokio::test(start_paused = true)]
async fn long_packets_are_cut_and_losses_stay_visible() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    camera.packet_len = 4000;
    let peer = Peer::eager();
    let stream = camera.publisher.stream().clone();
    let _handle = stream.prepare(ReaderOptions::new("t")).start(peer.sink());
    camera.film_many(3).await;
    // One packet is lost before the fourth picture, at the end of the third.
    camera.seq = camera.seq.wrapping_add(1);
    camera.film_many(2).await;
    // And one comes twice.
    let (seq, picture, ts) = (camera.seq, camera.picture, camera.ts);
    camera.film().await;
    (camera.seq, camera.picture, camera.ts) = (seq, picture, ts);
    camera.film().await;
    settle().await;

    let got = video(&frames(&peer.take()));
    let sent: Vec<_> = nal_units(&got);
    assert_eq!(sent.len(), 20 + 5 * 4);
    assert!(sent.iter().all(|nal| nal.len() == 4000 - 12));
    let gaps: Vec<_> = got
        .windows(2)
        .map(|pair| pair[1].seq.wrapping_sub(pair[0].seq))
        .filter(|step| *step != 1)
        .collect();
    assert_eq!(gaps, [2], "the packet that was lost, and no other");
    for packet in &got {
        assert!(packet.payload.len() <= DEFAULT_MAX_PAYLOAD);
    }
    for pair in got.windows(2) {
        assert_eq!(pair[0].marker, pair[0].ts != pair[1].ts);
    }
    let info = stream.info();
    assert_eq!(info.tracks[0].packets, 20 + 6 * 4);
    assert_eq!(info.tracks[0].repacketized, 20 + 5 * 4);
    assert_eq!(info.tracks[0].lost, 1);
    assert!(info.tracks[0].max_packet <= MAX_DATAGRAM);
}

/// A header extension goes with the first part; short packets pass untouched.
#[tokio::test(start_paused = true)]
async fn what_fits_is_left_as_it_is() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    let peer = Peer::eager();
    let stream = camera.publisher.stream().clone();
    let _handle = stream.prepare(ReaderOptions::new("t")).start(peer.sink());
    let mut fits = header(96, 1, 0, 7, false);
    fits.extend_from_slice(&[0x65, 0x88]);
    fits.resize(MAX_DATAGRAM, 0x65);
    camera.publisher.push_rtp(0, &fits, now());
    let mut long = header(96, 2, 0, 7, true);
    long[0] |= 0x30;
    long.extend_from_slice(&[0xab, 0xac, 0, 1, 1, 2, 3, 4]);
    long.extend_from_slice(&[0x65; 2000]);
    long.extend_from_slice(&[0, 0, 0, 4]);
    camera.publisher.push_rtp(0, &long, now());
    camera.publisher.flush(now());
    settle().await;
    let bytes = peer.take();
    let first = &bytes[4..4 + fits.len()];
    assert_eq!((first[0], &first[12..]), (fits[0], &fits[12..]));
    let rest = &bytes[4 + fits.len()..];
    assert_eq!(u16::from_be_bytes([rest[2], rest[3]]), 12 + 8 + 1400);
    assert_eq!(rest[4], 0x90, "the extension, no padding");
    assert_eq!(rest[16..24], [0xab, 0xac, 0, 1, 1, 2, 3, 4]);
    assert_eq!(rest[24..26], [0x7c, 0x85]);
    let second = &rest[4 + 12 + 8 + 1400..];
    assert_eq!((second[4], second[5] & 0x80), (0x80, 0x80));
    assert_eq!(second.len(), 4 + 12 + 2 + (1999 - 1398));
}

/// Codecs that cannot be cut keep their packets: readers over UDP are refused by their size.
#[tokio::test(start_paused = true)]
async fn other_codecs_keep_their_packets() {
    let hub = hub();
    let description = SessionDescription {
        name: "test".to_owned(),
        control: None,
        tracks: vec![Track::opus(97)],
    };
    let mut publisher = hub
        .publish(&path(), description, Principal::Anonymous)
        .unwrap();
    let mut packet = header(97, 1, 0, 7, false);
    packet.extend_from_slice(&[1; 3000]);
    publisher.push_rtp(0, &packet, now());
    publisher.flush(now());
    assert_eq!(publisher.stream().max_packet(0), 3012);
    assert_eq!(publisher.stream().info().tracks[0].repacketized, 0);
}
