use super::*;
use crate::rtsp::Status;

#[test]
fn methods_in_the_wrong_state() {
    for method in ["PLAY", "RECORD", "PAUSE", "TEARDOWN"] {
        let said = Peer::new().ask(&request(method, "rtsp://h/a/1", ""));
        assert_eq!(said.status(), 455, "{method}");
    }
    // A player does not record, a publisher does not play; nobody sets up while media flows.
    assert_eq!(
        playing()
            .ask(&request("RECORD", "rtsp://h/a/1", ""))
            .status(),
        455
    );
    assert_eq!(
        playing()
            .ask(&request("ANNOUNCE", "rtsp://h/a/1", ""))
            .status(),
        455
    );
    assert_eq!(
        playing()
            .ask(&request("SETUP", "rtsp://h/a/1/trackID=0", TCP))
            .status(),
        455
    );
    for method in ["PLAY", "DESCRIBE"] {
        let said = recording().ask(&request(method, "rtsp://h/a/1", ""));
        assert_eq!(said.status(), 455, "{method}");
    }
    // Recording without ANNOUNCE.
    let said = Peer::new().ask(&request(
        "SETUP",
        "rtsp://h/a/1/trackID=0",
        "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n",
    ));
    assert_eq!(said.status(), 455);
    // The same track twice.
    let mut peer = Peer::new();
    peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=0", TCP));
    let said = peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=0", TCP2));
    assert_eq!(said.status(), 455);
    // Twice the same is harmless.
    assert_eq!(
        playing().ask(&request("PLAY", "rtsp://h/a/1", "")).status(),
        200
    );
    assert_eq!(
        recording()
            .ask(&request("RECORD", "rtsp://h/a/1", ""))
            .status(),
        200
    );
}

#[test]
fn what_is_not_supported() {
    let mut peer = Peer::new();
    for method in ["REDIRECT", "FOO", "GET"] {
        assert_eq!(
            peer.ask(&request(method, "rtsp://h/a/1", "")).status(),
            501,
            "{method}"
        );
    }
    let said = peer.ask(&request(
        "DESCRIBE",
        "rtsp://h/a/1",
        "Require: onvif-replay\r\n",
    ));
    assert_eq!(said.status(), 551);
    assert!(said.output.contains("Unsupported: onvif-replay\r\n"));
    for transport in [
        "RTP/AVP;multicast;port=5000-5001",
        "RAW/RAW/UDP;unicast",
        "RTP/SAVP;unicast;client_port=1-2",
        "RTP/AVP;unicast",
        "",
    ] {
        let said = peer.ask(&request(
            "SETUP",
            "rtsp://h/a/1/trackID=0",
            &format!("Transport: {transport}\r\n"),
        ));
        assert_eq!(said.status(), 461, "{transport}");
    }
    let said = peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=0", ""));
    assert_eq!(said.status(), 400);
    let said =
        peer.ask("SET_PARAMETER rtsp://h/a/1 RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\na: b");
    assert_eq!(said.status(), 451);
}

#[test]
fn aggregates() {
    let mut peer = Peer::new();
    peer.ask(&request("DESCRIBE", "rtsp://h/a/1", ""));
    assert_eq!(
        peer.ask(&request("SETUP", "rtsp://h/a/1", TCP)).status(),
        459
    );
    assert_eq!(
        peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=2", TCP))
            .status(),
        404
    );
    let mut peer = playing();
    for method in ["PAUSE", "TEARDOWN"] {
        let said = peer.ask(&request(method, "rtsp://h/a/1/trackID=0", ""));
        assert_eq!(said.status(), 460, "{method}");
    }
}

#[test]
fn another_stream_is_not_found() {
    let mut peer = playing();
    for method in ["PLAY", "PAUSE", "TEARDOWN", "DESCRIBE"] {
        let said = peer.ask(&request(method, "rtsp://h/a/2", ""));
        assert_eq!(said.status(), 404, "{method}");
    }
    assert!(peer.connection.session().is_some());
}

#[test]
fn another_connections_session_is_not_found() {
    let mut peer = playing();
    for method in ["PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "OPTIONS"] {
        let said = peer.ask(&request(
            method,
            "rtsp://h/a/1",
            "Session: 1111222233334444\r\n",
        ));
        assert_eq!(said.status(), 454, "{method}");
    }
    let said = Peer::new().ask(&request(
        "TEARDOWN",
        "rtsp://h/a/1",
        "Session: 5a5a5a5a5a5a5a5a\r\n",
    ));
    assert_eq!(said.status(), 454);
    // Its own, with what some repeat behind it.
    let said = peer.ask(&request(
        "TEARDOWN",
        "rtsp://h/a/1",
        "Session: 5a5a5a5a5a5a5a5a;timeout=60\r\n",
    ));
    assert_eq!(said.status(), 200);
    // The next session of the connection has another name, and the old one is gone.
    peer.ask(&request("DESCRIBE", "rtsp://h/b/1", ""));
    let said = peer.ask(&request("SETUP", "rtsp://h/b/1/trackID=0", TCP));
    assert!(
        said.output
            .contains("Session: 5a5a5a5a5a5a5a5a.2;timeout=60")
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut peer = Peer::new();
    let said = peer.send(
        "DESCRIBE rtsp://h/a/1 RTSP/1.0\r\nCSeq: 7\r\n\r\n\
         OPTIONS * RTSP/1.0\r\nCSeq: 8\r\n\r\n\
         FOO * RTSP/1.0\r\nCSeq: 9\r\n\r\n\
         DESCRIBE rtsp://h/b/1 RTSP/1.0\r\nCSeq: 10\r\n\r\n",
    );
    assert_eq!(said.output, "");
    let [first] = said.events.as_slice() else {
        panic!("{said:?}");
    };
    let error = Reply::error_with(Status::GATEWAY_TIMEOUT, "camera did not answer\r\nX: y");
    let output = peer.respond(id_of(first), error);
    assert!(
        output.starts_with("RTSP/1.0 504 camera did not answerX: y\r\nCSeq: 7\r\n"),
        "{output}"
    );
    assert!(!peer.connection.respond(id_of(first), Reply::Ok));
    let said = peer.send("");
    let order: Vec<&str> = said
        .output
        .matches("CSeq: 8")
        .chain(said.output.matches("CSeq: 9"))
        .collect();
    assert_eq!(order, ["CSeq: 8", "CSeq: 9"]);
    let [second] = said.events.as_slice() else {
        panic!("{said:?}");
    };
    // The wrong kind of answer is our own fault.
    let output = peer.respond(id_of(second), Reply::Ok);
    assert!(output.starts_with("RTSP/1.0 500 "), "{output}");
}

#[test]
fn a_wait_for_an_answer_is_no_silence() {
    let mut peer = Peer::new();
    let said = peer.send(request("DESCRIBE", "rtsp://h/a/1", ""));
    later(&mut peer, 300);
    assert_eq!(peer.connection.handle_timeout(peer.now), None);
    peer.respond(id_of(&said.events[0]), Reply::error(Status::NOT_FOUND));
    assert_eq!(peer.connection.handle_timeout(peer.now), None);
    later(&mut peer, 60);
    assert_eq!(
        peer.connection.handle_timeout(peer.now),
        Some(CloseReason::Idle)
    );
}

#[test]
fn silence_ends_what_it_should() {
    // A connection that says nothing.
    let mut peer = Peer::new();
    assert_eq!(
        peer.connection.poll_timeout(),
        peer.now + Duration::from_secs(10)
    );
    later(&mut peer, 10);
    assert_eq!(
        peer.connection.handle_timeout(peer.now),
        Some(CloseReason::Idle)
    );

    // A player: any request, RTCP and taken media count.
    let mut peer = playing();
    for sign in 0..3 {
        later(&mut peer, 59);
        match sign {
            0 => drop(peer.ask(&request("GET_PARAMETER", "rtsp://h/a/1", ""))),
            1 => drop(peer.send(b"$\x01\0\x01x")),
            _ => peer.connection.note_alive(peer.now),
        }
        assert_eq!(peer.connection.handle_timeout(peer.now), None);
        assert_eq!(
            peer.connection.poll_timeout(),
            peer.now + Duration::from_secs(60)
        );
    }
    later(&mut peer, 60);
    assert_eq!(
        peer.connection.handle_timeout(peer.now),
        Some(CloseReason::SessionTimeout)
    );

    // A publisher has to send media, requests alone will not do.
    let mut peer = recording();
    assert_eq!(
        peer.connection.poll_timeout(),
        peer.now + Duration::from_secs(10)
    );
    later(&mut peer, 9);
    peer.send(b"$\0\0\x01x");
    later(&mut peer, 9);
    peer.connection.note_media(peer.now);
    later(&mut peer, 9);
    peer.ask(&request("OPTIONS", "rtsp://h/a/1", ""));
    assert_eq!(peer.connection.handle_timeout(peer.now), None);
    later(&mut peer, 1);
    assert_eq!(
        peer.connection.handle_timeout(peer.now),
        Some(CloseReason::PublisherSilent)
    );
}
