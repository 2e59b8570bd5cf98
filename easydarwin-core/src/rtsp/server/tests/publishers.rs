use super::*;

const FFMPEG_SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:libavformat 59.27.100\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\na=control:streamid=1\r\n";

fn announce(uri: &str, sdp: &str, headers: &str) -> String {
    format!(
        "ANNOUNCE {uri} RTSP/1.0\r\nContent-Type: application/sdp\r\nCSeq: 2\r\n{headers}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

#[test]
fn ffmpeg_publishes() {
    let mut peer = Peer::new();
    let said = peer.ask(&announce(
        "rtsp://127.0.0.1:10554/dev/1?q=1",
        FFMPEG_SDP,
        "User-Agent: Lavf59.27.100\r\n",
    ));
    assert!(
        said.output
            .ends_with("Session: 5a5a5a5a5a5a5a5a;timeout=60\r\n\r\n")
    );
    let [ServerEvent::Announce { sdp, uri, .. }] = said.events.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!((&sdp[..], uri.path()), (FFMPEG_SDP.as_bytes(), "dev/1"));
    for track in [0, 1] {
        let channels = format!("{}-{}", 2 * track, 2 * track + 1);
        let said = peer.ask(&format!(
            "SETUP rtsp://127.0.0.1:10554/dev/1?q=1/streamid={track} RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved={channels};mode=record\r\nCSeq: 3\r\nUser-Agent: Lavf59.27.100\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n"
        ));
        assert!(
            matches!(said.events.as_slice(), [ServerEvent::Setup(s)] if s.track == Some(track) && s.role == SessionRole::Record),
            "{said:?}"
        );
        assert!(
            said.output.contains(&format!(
                "interleaved={channels};ssrc=0000CAFE;mode=record\r\n"
            )),
            "{}",
            said.output
        );
    }
    let said = peer.ask(
        "RECORD rtsp://127.0.0.1:10554/dev/1?q=1 RTSP/1.0\r\nRange: npt=0.000-\r\nCSeq: 5\r\nUser-Agent: Lavf59.27.100\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    assert_eq!(said.status(), 200);
    // Media and a message in one read.
    let said = peer.ask(
        "$\x02\0\x02ab$\x03\0\x01cTEARDOWN rtsp://127.0.0.1:10554/dev/1?q=1 RTSP/1.0\r\nCSeq: 6\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    assert_eq!(
        said.media,
        [(2, 1, false, b"ab".to_vec()), (3, 1, true, b"c".to_vec())]
    );
    assert_eq!(said.events, [ServerEvent::Teardown]);
}

#[test]
fn rtspclientsink_publishes() {
    let sdp = "v=0\r\no=- 1188340656180883 1 IN IP4 127.0.0.1\r\ns=Session streamed with GStreamer\r\ni=rtsp-server\r\nt=0 0\r\na=tool:GStreamer\r\na=type:broadcast\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 127.0.0.1\r\na=rtpmap:96 H264/90000\r\na=control:stream=0\r\n";
    let mut peer = Peer::new();
    let said = peer.ask(&announce(
        "rtsp://127.0.0.1:8554/dev/1?k=a%2Db",
        sdp,
        "User-Agent: GStreamer/1.22.0\r\n",
    ));
    assert_eq!(said.status(), 200);
    // It decodes the query and puts the track before it.
    let said = peer.ask(
        "SETUP rtsp://127.0.0.1:8554/dev/1/stream=0?k=a-b RTSP/1.0\r\nCSeq: 3\r\nUser-Agent: GStreamer/1.22.0\r\nSession: 5a5a5a5a5a5a5a5a\r\nTransport: RTP/AVP/UDP;unicast;client_port=46780-46781;mode=record,RTP/AVP/TCP;unicast;mode=\"RECORD\"\r\n\r\n",
    );
    let [ServerEvent::Setup(setup)] = said.events.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(setup.track, Some(0));
    assert_eq!(
        setup.offers,
        [
            TransportOffer::Udp {
                rtp: 46780,
                rtcp: 46781
            },
            TransportOffer::Tcp { rtp: 0, rtcp: 1 }
        ]
    );
    let said = peer.ask(
        "RECORD rtsp://127.0.0.1:8554/dev/1?k=a-b RTSP/1.0\r\nCSeq: 4\r\nUser-Agent: GStreamer/1.22.0\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    assert_eq!(said.status(), 200);
}

#[test]
fn a_camera_with_bearer_publishes() {
    let mut peer = Peer::new();
    let said = peer.send(announce(
        "rtsp://h/dev/1",
        FFMPEG_SDP,
        "Authorization: Bearer abc.def\r\n",
    ));
    let [
        ServerEvent::Announce {
            id, credentials, ..
        },
    ] = said.events.as_slice()
    else {
        panic!("{said:?}");
    };
    assert_eq!(credentials.bearer.as_deref(), Some("abc.def"));
    assert!(!format!("{:?}", said.events).contains("abc.def"));
    let output = peer.respond(*id, Reply::unauthorized(vec!["Bearer".to_owned()]));
    assert!(
        output.starts_with("RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\n"),
        "{output}"
    );
    assert!(output.contains("WWW-Authenticate: Bearer\r\n"));
    // A second try on the same connection.
    let said = peer.ask(&announce("rtsp://h/dev/1", FFMPEG_SDP, ""));
    assert_eq!(said.status(), 200);
}

#[test]
fn media_for_nobody_is_dropped() {
    let mut peer = Peer::new();
    // Before anything.
    assert!(peer.send(b"$\0\0\x01x").media.is_empty());
    // Of an unknown channel; of a publisher that has not sent RECORD or is paused.
    let mut peer = recording();
    assert!(peer.send(b"$\x09\0\x01x").media.is_empty());
    assert_eq!(peer.send(b"$\0\0\x01x").media.len(), 1);
    let said = peer.ask(&request("PAUSE", "rtsp://h/a/1", ""));
    assert_eq!(said.status(), 200);
    assert!(peer.send(b"$\0\0\x01x").media.is_empty());
    let said = peer.ask(&request("RECORD", "rtsp://h/a/1", ""));
    assert_eq!(said.status(), 200);
    assert_eq!(peer.send(b"$\0\0\x01x").media.len(), 1);
    // RTP from a player.
    assert!(playing().send(b"$\0\0\x01x").media.is_empty());
}

#[test]
fn a_body_that_is_no_description_is_refused() {
    let mut peer = Peer::new();
    let said = peer.ask("ANNOUNCE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(said.status(), 415);
    let said = peer.ask("ANNOUNCE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert_eq!(said.status(), 400);
    assert!(said.closed.is_none());
}
