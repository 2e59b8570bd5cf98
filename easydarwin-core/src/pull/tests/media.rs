//! What comes over the channels although it should not.

use super::rig::{Rig, SDP, frame, spec};
use crate::pull::*;

fn set_up() -> Rig {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.describe("", SDP);
    rig.answer(
        "RTSP/1.0 200 OK\nCSeq: 2\nSession: 1\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1",
    );
    rig
}

fn playing() -> Rig {
    let mut rig = set_up();
    rig.answer("RTSP/1.0 200 OK\nCSeq: 3");
    rig
}

#[test]
fn media_before_the_answer_to_play_is_taken() {
    let mut rig = set_up();
    rig.sent();
    // The key frame that the camera begins with.
    rig.feed(&frame(0, 7));
    assert!(rig.published.is_some());
    assert_eq!(rig.media.len(), 1);
    assert_eq!(rig.quirk(Quirk::EarlyMedia), 1);
    rig.answer("RTSP/1.0 200 OK\nCSeq: 3\nSession: 1");
    assert_eq!(rig.engine.state(), LinkState::Playing);
    let published = |output: &&SourceOutput| matches!(output, SourceOutput::Publish(_));
    assert_eq!(rig.outputs.iter().filter(published).count(), 1);
    assert_eq!(rig.engine.info(rig.now).counters.connects, 1);
}

#[test]
fn frames_of_nobody_are_dropped() {
    let mut rig = set_up();
    // Of a session that the camera has not ended, on a connection that got its number.
    let mut early = Rig::new(spec("rtsp://cam/a"));
    early.feed(&frame(0, 1));
    assert!(early.media.is_empty());
    assert_eq!(early.quirk(Quirk::UnknownChannel), 1);
    rig.answer("RTSP/1.0 200 OK\nCSeq: 3");
    rig.feed(&frame(0, 1));
    rig.feed(&frame(6, 2));
    rig.feed(&frame(7, 3));
    assert_eq!(rig.media.len(), 1);
    assert_eq!(rig.quirk(Quirk::UnknownChannel), 2);
    assert_eq!(rig.engine.state(), LinkState::Playing);
}

#[test]
fn other_channels_than_agreed_on() {
    let mut rig = playing();
    rig.feed(&frame(2, 1));
    rig.feed(&frame(2, 2));
    assert_eq!(rig.media.len(), 2);
    assert_eq!(rig.quirk(Quirk::ChannelAdopted), 1);
    // Its RTCP goes with it, and now the old channel is nobody's.
    rig.feed(b"$\x03\0\x08\x80\xc9\0\x01\0\0\0\x09");
    assert!(rig.media[2].1);
    rig.feed(&frame(0, 3));
    assert_eq!(rig.quirk(Quirk::UnknownChannel), 1);
}

#[test]
fn no_rtp_and_junk_between() {
    let mut rig = playing();
    rig.feed(b"$\0\0\x04abcd");
    assert_eq!(rig.quirk(Quirk::NotRtp), 1);
    let mut bytes = frame(0, 1);
    // Padding behind a frame, as some cameras send it.
    bytes.extend(b"\0\0\0\0");
    bytes.extend(frame(0, 2));
    rig.feed(&bytes);
    assert_eq!(rig.media.len(), 2);
    // A receiver report on the channel of the media.
    rig.feed(b"$\0\0\x08\x80\xc9\0\x01\0\0\0\x09");
    assert!(rig.media[2].1);
    assert_eq!(rig.quirk(Quirk::RtcpOnRtpChannel), 1);
    assert_eq!(rig.engine.info(rig.now).counters.packets, 2);
}

#[test]
fn goodbye_of_all_tracks_is_the_end() {
    let mut rig = playing();
    rig.feed(&frame(0, 1));
    // BYE of source 9.
    rig.feed(b"$\x01\0\x08\x81\xcb\0\x01\0\0\0\x09");
    assert_eq!(rig.engine.state(), LinkState::Waiting);
    assert!(rig.published.is_none());
}

#[test]
fn what_is_no_rtsp_is_given_up() {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let info = rig.engine.info(rig.now);
    assert_eq!(info.reason, Some(FailureKind::BadAnswer));
}

proptest::proptest! {
    #[test]
    fn arbitrary_answers_never_panic(parts in proptest::collection::vec(
        proptest::prop_oneof![
            proptest::prelude::Just(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 1\r\n\r\n".to_vec()),
            proptest::prelude::Just(b"RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: rtsp://x/\r\n\r\n".to_vec()),
            proptest::prelude::Just(b"RTSP/1.0 454 No\r\n\r\n".to_vec()),
            proptest::prelude::Just(frame(0, 3)),
            proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        ], 0..30)) {
        let mut rig = playing();
        for part in parts {
            rig.feed(&part);
            rig.pass(std::time::Duration::from_secs(3), false);
            rig.sent();
            if rig.drain().is_some() {
                rig.connect();
            }
        }
        rig.engine.stop(rig.now);
        rig.pass(std::time::Duration::from_secs(2), false);
        proptest::prop_assert!(rig.engine.is_stopped());
    }
}
