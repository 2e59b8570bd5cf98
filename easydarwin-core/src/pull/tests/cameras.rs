//! What real cameras answer. Bytes as they were published; only `CSeq` is ours.

use super::rig::{Rig, SDP, frame, spec};
use crate::media::Repair;
use crate::pull::*;

const OK: &str = "RTSP/1.0 200 OK\nCSeq: 1";

#[test]
fn hikvision_names_every_url_with_its_query() {
    let mut rig = Rig::new(spec("rtsp://admin:pw@192.168.5.106/Streaming/Channels/101"));
    rig.describe(
        "Content-Base: rtsp://192.168.5.106:554/Streaming/Channels/101/\r\n",
        "
v=0
o=- 1620251477190769 1620251477190769 IN IP4 192.168.5.106
s=Media Presentation
e=NONE
b=AS:5050
t=0 0
a=control:rtsp://192.168.5.106:554/Streaming/Channels/101/?transportmode=unicast&profile=Profile_1
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
b=AS:5000
a=recvonly
a=x-dimensions:1920,1080
a=control:rtsp://192.168.5.106:554/Streaming/Channels/101/trackID=1?transportmode=unicast&profile=Profile_1
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AKZpkA8ARPyzUBAQFAAADA+gAAOpgBA==,aO48gA==
m=application 0 RTP/AVP 107
c=IN IP4 0.0.0.0
b=AS:50
a=recvonly
a=control:rtsp://192.168.5.106:554/Streaming/Channels/101/trackID=3?transportmode=unicast&profile=Profile_1
a=rtpmap:107 vnd.onvif.metadata/90000
",
    );
    assert_eq!(
        rig.request(),
        "SETUP rtsp://192.168.5.106:554/Streaming/Channels/101/trackID=1?transportmode=unicast&profile=Profile_1 RTSP/1.0"
    );
    rig.answer(
        "RTSP/1.0 200 OK
CSeq: 2
Session:        708345999;timeout=60
Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc= d6d6627
Date:  Wed, May 05 2021 21:51:17 GMT",
    );
    // Metadata that is not given must not cost the picture.
    assert!(rig.request().contains("/trackID=3?"));
    rig.answer("RTSP/1.0 461 Unsupported Transport\nCSeq: 3");
    assert_eq!(rig.quirk(Quirk::TrackRefused), 1);
    let play = rig.sent();
    assert!(
        play.starts_with("PLAY rtsp://192.168.5.106:554/Streaming/Channels/101/?transportmode=unicast&profile=Profile_1 RTSP/1.0\r\n"),
        "{play}"
    );
    assert!(play.contains("Session: 708345999\r\n"));
    rig.answer(
        "RTSP/1.0 200 OK
CSeq: 3
Session:        708345999
RTP-Info: url=rtsp://192.168.5.106:554/Streaming/Channels/101/trackID=1?transportmode=unicast&profile=Profile_1;seq=24104;rtptime=1270711678",
    );
    rig.feed(&frame(0, 24_104));
    assert_eq!(rig.engine.state(), LinkState::Playing);
    assert_eq!(rig.published.as_ref().unwrap().tracks.len(), 1);
}

#[test]
fn dahua_puts_the_slash_behind_the_query() {
    let mut rig = Rig::new(spec(
        "rtsp://192.168.5.111/cam/realmonitor?channel=1&subtype=1",
    ));
    rig.describe(
        "x-Accept-Dynamic-Rate: 1\r\nContent-Base: rtsp://192.168.5.111:554/cam/realmonitor?channel=1&subtype=1&unicast=true&proto=Onvif/\r\n",
        SDP,
    );
    assert_eq!(
        rig.request(),
        "SETUP rtsp://192.168.5.111:554/cam/realmonitor?channel=1&subtype=1&unicast=true&proto=Onvif/trackID=1 RTSP/1.0"
    );
    rig.answer(
        "RTSP/1.0 200 OK
CSeq: 4
Session: 634214675641;timeout=60
Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=30A98EE7
x-Dynamic-Rate: 1",
    );
    assert_eq!(
        rig.request(),
        "PLAY rtsp://192.168.5.111:554/cam/realmonitor?channel=1&subtype=1&unicast=true&proto=Onvif/ RTSP/1.0"
    );
}

#[test]
fn a_session_timeout_of_zero_is_none() {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.play("9b0d0e54; timeout=0");
    rig.pass(std::time::Duration::from_secs(29), true);
    assert!(!rig.sent().contains("GET_PARAMETER"));
    rig.pass(std::time::Duration::from_secs(2), true);
    assert!(rig.sent().contains("GET_PARAMETER"));
}

#[test]
fn play_with_a_trailing_slash_refused_is_asked_without() {
    // PTZOptics answers 405, others 400.
    for refusal in ["405 Method Not Allowed", "400 Bad Request"] {
        let mut rig = Rig::new(spec("rtsp://cam/1"));
        rig.describe("Content-Base: rtsp://cam/1/\r\n", SDP);
        rig.answer("RTSP/1.0 200 OK\nCSeq: 2\nSession: 1\nTransport: RTP/AVP/TCP;ssrc=22345684;interleaved=0-1");
        assert_eq!(rig.request(), "PLAY rtsp://cam/1/ RTSP/1.0");
        rig.answer(&format!("RTSP/1.0 {refusal}\nCSeq: 3"));
        assert_eq!(rig.request(), "PLAY rtsp://cam/1 RTSP/1.0");
        rig.answer(OK);
        assert_eq!(rig.quirk(Quirk::OtherAggregateUrl), 1);
        rig.feed(&frame(0, 1));
        // The form that was taken is the one that is kept alive and torn down.
        rig.sent();
        rig.engine.stop(rig.now);
        assert!(rig.sent().starts_with("TEARDOWN rtsp://cam/1 RTSP/1.0"));
    }
}

#[test]
fn a_base_with_two_schemes() {
    // Vikylin YC2367C.
    let mut rig = Rig::new(spec("rtsp://10.1.8.83/stream0"));
    rig.describe(
        "Content-Base: rtsp://rtsp://10.1.8.83:554/stream0/\r\n",
        SDP,
    );
    assert_eq!(
        rig.request(),
        "SETUP rtsp://10.1.8.83:554/stream0/trackID=1 RTSP/1.0"
    );
}

#[test]
fn a_base_of_the_private_network_is_tried_and_left() {
    // Behind address translation; where it is refused, the URL that was asked for is right.
    let mut rig = Rig::new(spec("rtsp://cameras1.example:554/mpeg4/1/media.amp"));
    rig.describe(
        "Content-Base: rtsp://192.168.1.13:554/mpeg4/1/media.amp/\r\n",
        SDP,
    );
    assert_eq!(
        rig.request(),
        "SETUP rtsp://192.168.1.13:554/mpeg4/1/media.amp/trackID=1 RTSP/1.0"
    );
    rig.answer("RTSP/1.0 404 Not Found\nCSeq: 3");
    assert_eq!(
        rig.request(),
        "SETUP rtsp://cameras1.example:554/mpeg4/1/media.amp/trackID=1 RTSP/1.0"
    );
    assert_eq!(rig.quirk(Quirk::OtherTrackUrl), 1);
}

#[test]
fn absolute_controls_without_port_and_without_session_control() {
    // GeoVision.
    let mut rig = Rig::new(spec("rtsp://wan.example:8554/media/video1"));
    rig.describe(
        "",
        "
v=0
o=- 1001 1 IN IP4 192.168.5.237
s=VCP IPC Realtime stream
m=video 0 RTP/AVP 105
c=IN IP4 192.168.5.237
a=control:rtsp://192.168.5.237/media/video1/video
a=rtpmap:105 H264/90000
a=fmtp:105 profile-level-id=4d4032; packetization-mode=1; sprop-parameter-sets=Z01AMpWgCoAwfiZuAgICgAAB9AAAdTBC,aO48gA==
a=recvonly
",
    );
    assert_eq!(
        rig.request(),
        "SETUP rtsp://192.168.5.237/media/video1/video RTSP/1.0"
    );
    rig.answer(
        "RTSP/1.0 200 OK\nCSeq: 2\nSession: 1\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1",
    );
    assert_eq!(
        rig.request(),
        "PLAY rtsp://wan.example:8554/media/video1 RTSP/1.0"
    );
}

#[test]
fn challenges_and_hexadecimal_in_a_success() {
    // Rubetek.
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.describe("", SDP);
    rig.answer(
        "RTSP/1.0 200 OK
CSeq: 4
Session: 5657612475258969210
Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0x6f7c;mode=\"PLAY\"
WWW-Authenticate: Digest realm=\"Rubetek IP camera device\",nonce=\"7257f76204da0f14294c763e2fba0411\"",
    );
    assert!(rig.request().starts_with("PLAY "));
}

#[test]
fn rtp_info_is_not_believed() {
    for info in [
        "url=trackID=1;seq=1;rtptime=-1",
        "url=rtsp://192.168.1.19:554/0/main/trackID=0;seq=0;rtptime=0;",
        "url=trackID=1;seq=16852;rtptime=1070938629;ssrc=dcc4a0d8,url=trackID=2",
        "",
    ] {
        let mut rig = Rig::new(spec("rtsp://cam/a"));
        rig.describe("", SDP);
        rig.answer("RTSP/1.0 200 OK\nCSeq: 2\nSession: 1234567890");
        rig.answer(&format!(
            "RTSP/1.0 200 OK\nCSeq: 5\nSession: 1234567890\nRange: npt=0.000-\nRTP-Info: {info}"
        ));
        // Also: SETUP named no channels, those that were asked for are meant.
        rig.feed(&frame(0, 40_000));
        assert_eq!(rig.engine.state(), LinkState::Playing, "{info}");
        assert_eq!(rig.media.len(), 1);
    }
}

#[test]
fn xiongmai_recorder_over_udp() {
    let mut spec = spec("rtsp://127.0.0.1/user=a_password=hush_channel=1_stream=0.sdp");
    spec.transports = vec![PullTransport::Udp];
    let mut rig = Rig::new(spec);
    rig.describe(
        "Server: H264DVR 1.0\r\nContent-Base: rtsp://127.0.0.1:554/camera\r\n",
        "
v=0
o=- 38990265062388 38990265062388 IN IP4 127.0.0.1
s=RTSP Session
c=IN IP4 192.168.168.100
t=0 0
a=control:*
a=range:npt=0-
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000 
a=framerate:0S
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z0IAKZY1QPAET8s3AQEBQAAAAwBAAAAHoQ==,aM4xsg==
a=control:trackID=3
m=audio 0 RTP/AVP 8
a=control:trackID=4
",
    );
    assert!(rig.outputs.contains(&SourceOutput::Bind { socket: 0 }));
    rig.engine.bound(0, Some((18_714, 18_715)), rig.now);
    let setup = rig.sent();
    assert!(
        setup.contains("Transport: RTP/AVP;unicast;client_port=18714-18715\r\n"),
        "{setup}"
    );
    rig.answer(
        "RTSP/1.0 200 OK
Server: H264DVR 1.0
Cseq: 4
Session: 231970;timeout=60
Transport: RTP/AVP;unicast;mode=PLAY;source=127.0.0.1;client_port=18714-18715;server_port=40004-40005;ssrc=0
Cache-Control: private
x-Dynamic-Rate: 1",
    );
    assert!(rig.outputs.contains(&SourceOutput::Peer {
        socket: 0,
        source: Some("127.0.0.1".to_owned()),
        ports: Some((40_004, 40_005)),
    }));
    // The sound is refused: the picture comes alone.
    rig.engine.bound(1, Some((18_716, 18_717)), rig.now);
    rig.answer("RTSP/1.0 500 Internal Server Error\nCSeq: 5");
    rig.answer("RTSP/1.0 200 OK\nServer: H264DVR 1.0\nCseq: 6\nRange: npt=now-\nSession: 231970");
    // Out of order; it comes out in order.
    for sequence in [1, 3, 2] {
        let datagram = frame(0, sequence)[4..].to_vec();
        assert_eq!(
            rig.engine.datagram(0, false, datagram.into(), rig.now),
            None
        );
    }
    rig.drain();
    let mut order = Vec::new();
    while let Some((track, packet)) = rig.engine.pop_packet(rig.now) {
        order.push((track, packet.packet[3]));
    }
    assert_eq!(order, [(0, 1), (0, 2), (0, 3)]);
    assert_eq!(rig.published.as_ref().unwrap().tracks.len(), 1);
    let info = rig.engine.info(rig.now);
    assert_eq!(info.counters.packets, 3);
    assert_eq!(info.transport, Some(PullTransport::Udp));
    let shown = format!(
        "{info:?} {:?} {}",
        rig.engine,
        serde_json::to_string(&info).unwrap()
    );
    assert!(!shown.contains("hush"), "{shown}");
}

/// A made-up one: a blank in the origin, a base that is none, an answer without number.
const FAULTY: &str = "
v=0
o=My Camera 1 2 IN IP4 10.0.0.9
s=x
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
";

#[test]
fn faults_of_descriptions_and_answers_are_counted() {
    let mut rig = Rig::new(spec("rtsp://10.0.0.9/live"));
    rig.describe("Content-Base: /live/\r\n", FAULTY);
    assert_eq!(rig.request(), "SETUP rtsp://10.0.0.9/live RTSP/1.0");
    rig.answer("RTSP/1.0 200 OK\nSession: 1\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1");
    assert!(rig.request().starts_with("PLAY "));
    assert_eq!(
        rig.engine.repairs().iter().collect::<Vec<_>>(),
        [
            (Repair::MissingCseq, 1),
            (Repair::SdpLines, 1),
            (Repair::WrongBase, 1)
        ]
    );
}

#[test]
fn a_faulty_description_is_not_taken_strictly() {
    let mut rig = Rig::strict(spec("rtsp://10.0.0.9/live"));
    rig.describe("", FAULTY);
    rig.close();
    let failure = rig.outputs.iter().find_map(|output| match output {
        SourceOutput::Failed(failure, _) => Some(failure.to_string()),
        _ => None,
    });
    assert_eq!(
        failure.as_deref(),
        Some(
            "what it answered cannot be used: \
             session description, line 2: line missing, misplaced or malformed"
        )
    );
    let mut rig = Rig::strict(spec("rtsp://10.0.0.9/live"));
    rig.play("1");
}
