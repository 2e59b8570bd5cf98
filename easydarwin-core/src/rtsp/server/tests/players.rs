use super::*;

const SESSION: &str = "Session: 5a5a5a5a5a5a5a5a";

#[test]
fn ffmpeg_plays_over_tcp() {
    let mut peer = Peer::new();
    let said = peer.ask(
        "OPTIONS rtsp://127.0.0.1:10554/dev/1?token=T RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: Lavf59.27.100\r\n\r\n",
    );
    assert_eq!(
        said.output,
        format!(
            "RTSP/1.0 200 OK\r\nCSeq: 1\r\nServer: EasyDarwin/{}\r\nPublic: OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, RECORD, TEARDOWN, GET_PARAMETER, SET_PARAMETER\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    let said = peer.ask(
        "DESCRIBE rtsp://127.0.0.1:10554/dev/1?token=T RTSP/1.0\r\nAccept: application/sdp\r\nCSeq: 2\r\nUser-Agent: Lavf59.27.100\r\n\r\n",
    );
    assert!(said.output.ends_with(
        "Content-Base: rtsp://127.0.0.1:10554/dev/1/?token=T\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
    ), "{}", said.output);
    let [
        ServerEvent::Describe {
            uri, credentials, ..
        },
    ] = said.events.as_slice()
    else {
        panic!("{said:?}");
    };
    assert_eq!(uri.path(), "dev/1");
    assert_eq!(
        uri.track_control(1),
        "rtsp://127.0.0.1:10554/dev/1/trackID=1?token=T"
    );
    assert_eq!(credentials.url_token.as_deref(), Some("T"));

    for (track, channels) in [(0, "0-1"), (1, "2-3")] {
        let said = peer.ask(&format!(
            "SETUP rtsp://127.0.0.1:10554/dev/1/trackID={track}?token=T RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved={channels}\r\nCSeq: 3\r\nUser-Agent: Lavf59.27.100\r\n{}\r\n",
            if track == 1 { "Session: 5a5a5a5a5a5a5a5a\r\n" } else { "" }
        ));
        assert!(said.output.ends_with(&format!(
            "Transport: RTP/AVP/TCP;unicast;interleaved={channels};ssrc=0000CAFE\r\n{SESSION};timeout=60\r\n\r\n"
        )), "{}", said.output);
        let [ServerEvent::Setup(setup)] = said.events.as_slice() else {
            panic!("{said:?}");
        };
        assert!(setup.authorized && setup.track == Some(track));
    }
    let said = peer.ask(
        "PLAY rtsp://127.0.0.1:10554/dev/1/?token=T RTSP/1.0\r\nRange: npt=0.000-\r\nCSeq: 5\r\nUser-Agent: Lavf59.27.100\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    assert!(said.output.ends_with(
        "Session: 5a5a5a5a5a5a5a5a\r\nRange: npt=now-\r\nRTP-Info: url=rtsp://127.0.0.1:10554/dev/1/trackID=0?token=T;seq=65535;rtptime=4000000000,url=rtsp://127.0.0.1:10554/dev/1/trackID=1?token=T\r\n\r\n"
    ), "{}", said.output);
    // Receiver reports come interleaved; its keep-alive is GET_PARAMETER.
    let said = peer.send(b"$\x01\x00\x08\x81\xc9\x00\x01\x00\x00\x00\x01");
    assert_eq!(said.media.len(), 1);
    assert_eq!(said.media[0].0, 1);
    assert!(said.media[0].2);
    let said = peer.ask(
        "GET_PARAMETER rtsp://127.0.0.1:10554/dev/1/?token=T RTSP/1.0\r\nCSeq: 6\r\nUser-Agent: Lavf59.27.100\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    assert_eq!(said.status(), 200);
    let said = peer.ask(
        "TEARDOWN rtsp://127.0.0.1:10554/dev/1/?token=T RTSP/1.0\r\nCSeq: 7\r\nUser-Agent: Lavf59.27.100\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    assert_eq!(said.status(), 200);
    assert_eq!(said.events, [ServerEvent::Teardown]);
    assert_eq!(peer.connection.session(), None);
}

#[test]
fn gstreamer_plays_over_udp() {
    let mut peer = Peer::new();
    peer.ask(
        "DESCRIBE rtsp://127.0.0.1:8554/dev/1 RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: GStreamer/1.22.0\r\nAccept: application/sdp\r\nAccept-Language: en-US;q=1.000\r\n\r\n",
    );
    let said = peer.ask(
        "SETUP rtsp://127.0.0.1:8554/dev/1/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nUser-Agent: GStreamer/1.22.0\r\nTransport: RTP/AVP;unicast;client_port=40286-40287\r\nDate: Sun, 22 Nov 2026 21:00:00 GMT\r\n\r\n",
    );
    assert!(
        said.output.contains(
            "Transport: RTP/AVP;unicast;client_port=40286-40287;server_port=20000-20001;ssrc=0000CAFE\r\n"
        ),
        "{}",
        said.output
    );
    let said = peer.ask(
        "SETUP rtsp://127.0.0.1:8554/dev/1/trackID=1 RTSP/1.0\r\nCSeq: 4\r\nUser-Agent: GStreamer/1.22.0\r\nTransport: RTP/AVP;unicast;client_port=38510-38511,RTP/AVP;multicast,RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    let [ServerEvent::Setup(setup)] = said.events.as_slice() else {
        panic!("{said:?}");
    };
    // One session, one kind of transport.
    assert_eq!(
        setup.offers,
        [TransportOffer::Udp {
            rtp: 38510,
            rtcp: 38511
        }]
    );
    let said = peer.ask(
        "PLAY rtsp://127.0.0.1:8554/dev/1/ RTSP/1.0\r\nCSeq: 5\r\nUser-Agent: GStreamer/1.22.0\r\nRange: npt=0-\r\nSession: 5a5a5a5a5a5a5a5a\r\n\r\n",
    );
    assert_eq!(said.status(), 200);
    let said = peer.ask(&request("PAUSE", "rtsp://127.0.0.1:8554/dev/1/", ""));
    assert_eq!(said.status(), 200);
    assert_eq!(peer.connection.session(), Some((SessionRole::Play, false)));
    let said = peer.ask(&request("PLAY", "rtsp://127.0.0.1:8554/dev/1/", ""));
    assert_eq!(said.status(), 200);
    assert_eq!(peer.connection.session(), Some((SessionRole::Play, true)));
}

#[test]
fn vlc_plays_over_udp() {
    // live555 as VLC uses it: "User-Agent" names both, SETUP is by the control URL, PLAY by the
    // Content-Base.
    let mut peer = Peer::new();
    peer.ask(
        "OPTIONS rtsp://10.0.0.9:554/dev/1 RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: LibVLC/3.0.18 (LIVE555 Streaming Media v2016.11.28)\r\n\r\n",
    );
    peer.ask(
        "DESCRIBE rtsp://10.0.0.9:554/dev/1 RTSP/1.0\r\nCSeq: 3\r\nUser-Agent: LibVLC/3.0.18 (LIVE555 Streaming Media v2016.11.28)\r\nAccept: application/sdp\r\n\r\n",
    );
    let said = peer.ask(
        "SETUP rtsp://10.0.0.9:554/dev/1/trackID=1 RTSP/1.0\r\nCSeq: 4\r\nUser-Agent: LibVLC/3.0.18 (LIVE555 Streaming Media v2016.11.28)\r\nTransport: RTP/AVP;unicast;client_port=58368-58369\r\n\r\n",
    );
    assert_eq!(said.status(), 200);
    let said = peer.ask(
        "PLAY rtsp://10.0.0.9:554/dev/1/ RTSP/1.0\r\nCSeq: 5\r\nUser-Agent: LibVLC/3.0.18 (LIVE555 Streaming Media v2016.11.28)\r\nSession: 5a5a5a5a5a5a5a5a\r\nRange: npt=0.000-\r\n\r\n",
    );
    assert_eq!(said.status(), 200);
}

#[test]
fn players_that_mangle_the_query_stay_within_their_stream() {
    for setup in [
        "rtsp://h/dev/1?token=T/trackID=0",
        "rtsp://h/dev/1/?token=T/trackID=0",
        "rtsp://h/dev/1/trackID=0",
        "rtsp://h/dev/1/trackID=0/",
        "/dev/1/trackID=0",
    ] {
        let mut peer = Peer::new();
        peer.ask(&request("DESCRIBE", "rtsp://h/dev/1?token=T", ""));
        let said = peer.ask(&request("SETUP", setup, TCP));
        let [ServerEvent::Setup(event)] = said.events.as_slice() else {
            panic!("{setup}: {said:?}");
        };
        assert!(event.authorized, "{setup}");
        assert_eq!(event.track, Some(0), "{setup}");
        let said = peer.ask(&request("PLAY", "rtsp://h/dev/1/?token=T", ""));
        assert_eq!(said.status(), 200, "{setup}");
    }
}

#[test]
fn a_single_track_is_set_up_by_the_url_of_the_stream() {
    let mut peer = Peer::new();
    let said = peer.send(request("DESCRIBE", "rtsp://h/dev/1", ""));
    let reply = Reply::Describe {
        sdp: Bytes::from_static(b"v=0\r\n"),
        tracks: 1,
    };
    peer.respond(id_of(&said.events[0]), reply);
    let said = peer.ask(&request("SETUP", "rtsp://h/dev/1/", TCP));
    assert_eq!(said.status(), 200);
    let said = peer.ask(&request("PLAY", "rtsp://h/dev/1/trackID=0", ""));
    assert_eq!(said.status(), 200);
}

#[test]
fn an_audio_only_player_gets_the_channels_it_asks_for() {
    let mut peer = Peer::new();
    peer.ask(&request("DESCRIBE", "rtsp://h/a/1", ""));
    let said = peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=1", TCP));
    assert!(said.output.contains("interleaved=0-1;"));
    peer.ask(&request("PLAY", "rtsp://h/a/1", ""));
    let said = peer.send(b"$\x01\x00\x01\x81");
    assert_eq!(said.media, [(1, 1, true, vec![0x81])]);
}

#[test]
fn taken_channels_are_replaced_and_missing_ones_given() {
    let mut peer = Peer::new();
    peer.ask(&request("DESCRIBE", "rtsp://h/a/1", ""));
    let said = peer.ask(&request(
        "SETUP",
        "rtsp://h/a/1/trackID=0",
        "Transport: RTP/AVP/TCP;unicast;interleaved=1-2\r\n",
    ));
    assert!(said.output.contains("interleaved=1-2;"), "{}", said.output);
    let said = peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=1", TCP2));
    assert!(said.output.contains("interleaved=4-5;"), "{}", said.output);

    let mut peer = Peer::new();
    let said = peer.ask(&request(
        "SETUP",
        "rtsp://h/a/1/trackID=0",
        "Transport: RTP/AVP/TCP;unicast\r\n",
    ));
    assert!(said.output.contains("interleaved=0-1;"), "{}", said.output);
}

#[test]
fn a_setup_without_describe_asks_for_the_right() {
    let mut peer = Peer::new();
    let said = peer.ask(&request("SETUP", "rtsp://h/dev/1/trackID=1?token=T", TCP));
    let [ServerEvent::Setup(setup)] = said.events.as_slice() else {
        panic!("{said:?}");
    };
    assert!(!setup.authorized);
    assert_eq!(setup.uri.path(), "dev/1");
    assert_eq!(setup.credentials.url_token.as_deref(), Some("T"));
    // From then on it is bound, and another stream is out of reach.
    let said = peer.ask(&request("SETUP", "rtsp://h/dev/1/trackID=0", TCP2));
    assert!(matches!(said.events.as_slice(), [ServerEvent::Setup(s)] if s.authorized));
    let said = peer.ask(&request("SETUP", "rtsp://h/dev/2/trackID=3?token=T", TCP));
    assert_eq!(said.status(), 404);
    assert!(said.events.is_empty());
}
