//! Each fault of a request: repaired and counted by default, refused with a reason when strict.

use super::*;
use crate::rtsp::Repair;

fn strict() -> Peer {
    Peer::with(ServerConfig {
        strict: true,
        ..ServerConfig::default()
    })
}

impl Peer {
    /// What was repaired since this was last asked.
    fn repaired(&mut self) -> Vec<(Repair, u64)> {
        self.connection.take_repairs().iter().collect()
    }
}

/// The same requests to a lenient and to a strict server; the last one has the fault.
fn faulty(before: &[&str], request: &str, repair: Repair) {
    let mut peer = Peer::new();
    for request in before {
        assert_eq!(peer.ask(request).status(), 200, "{request}");
    }
    assert_eq!(peer.repaired(), []);
    assert_eq!(peer.ask(request).status(), 200, "{request}");
    assert_eq!(peer.repaired(), [(repair, 1)], "{request}");
    assert_eq!(peer.repaired(), []);

    let mut peer = strict();
    for request in before {
        assert_eq!(peer.ask(request).status(), 200, "{request}");
    }
    let said = peer.ask(request);
    let line = format!("RTSP/1.0 400 {}\r\n", repair.fault());
    assert!(said.output.starts_with(&line), "{request}: {}", said.output);
    assert_eq!((said.events.len(), said.closed), (0, None));
    assert_eq!(peer.repaired(), [(repair, 1)]);
    // It does not hold against the next request.
    let said = peer.ask("OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n");
    assert!(said.output.starts_with("RTSP/1.0 200 OK\r\nCSeq: 9\r\n"));
}

const ANNOUNCE: &str = "ANNOUNCE rtsp://h/a/1 RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\n\
                        Content-Length: 40\r\n\r\na=control:trackID=0\r\na=control:trackID=1";

fn setup(track: usize, rest: &str, transport: &str) -> String {
    request(
        "SETUP",
        &format!("rtsp://h/a/1/trackID={track}"),
        &format!("{rest}Transport: {transport}\r\n"),
    )
}

fn first_setup() -> String {
    setup(0, "", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
}

fn session() -> String {
    format!("Session: {ID}\r\n")
}

#[test]
fn faults_of_any_request() {
    for (request, repair) in [
        ("OPTIONS rtsp://h/a RTSP/1.0\nCSeq: 3\n\n", Repair::LineEnds),
        (
            "OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 3\n\r\n",
            Repair::LineEnds,
        ),
        (
            "OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\nX: a\rb\r\n\r\n",
            Repair::LineEnds,
        ),
        (
            "OPTIONS  rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\n\r\n",
            Repair::StartLineBlanks,
        ),
        (
            "OPTIONS rtsp://h/a RTSP/1.0 \r\nCSeq: 3\r\n\r\n",
            Repair::StartLineBlanks,
        ),
        (
            "options rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\n\r\n",
            Repair::MethodCase,
        ),
        (
            "OPTIONS rtsp://h/a RTSP/1.1\r\nCSeq: 3\r\n\r\n",
            Repair::Version,
        ),
        (
            "OPTIONS rtsp://h/a rtsp/1.0\r\nCSeq: 3\r\n\r\n",
            Repair::Version,
        ),
        (
            "OPTIONS rtsp://h/my cam RTSP/1.0\r\nCSeq: 3\r\n\r\n",
            Repair::UnencodedUri,
        ),
        (
            "OPTIONS rtsp://h/\u{fc} RTSP/1.0\r\nCSeq: 3\r\n\r\n",
            Repair::UnencodedUri,
        ),
        (
            "OPTIONS /a RTSP/1.0\r\nCSeq: 3\r\n\r\n",
            Repair::RelativeUri,
        ),
        (
            "OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\nno colon\r\n\r\n",
            Repair::HeaderWithoutColon,
        ),
        (
            "OPTIONS rtsp://h/a RTSP/1.0\r\nX: y\r\n\r\n",
            Repair::MissingCseq,
        ),
        (
            "OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: three\r\n\r\n",
            Repair::MissingCseq,
        ),
        ("DESCRIBE rtsp://h/a RTSP/1.0\r\n\r\n", Repair::MissingCseq),
    ] {
        faulty(&[], request, repair);
    }
    let mut peer = strict();
    let said = peer.send(b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\nX: \xff\r\n\r\n");
    assert!(
        said.output
            .starts_with("RTSP/1.0 400 Not UTF-8\r\nCSeq: 3\r\n")
    );
    assert_eq!(peer.repaired(), [(Repair::NotUtf8, 1)]);
    assert_eq!(peer.connection.faulty_path(), Some("a"));
}

#[test]
fn faults_of_publishers() {
    let first = first_setup();
    let announced = [ANNOUNCE, &first];
    let tcp = "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record";
    let second = setup(1, &session(), tcp);
    let record = |rest: &str| request("RECORD", "rtsp://h/a/1", rest);
    let untyped = ANNOUNCE.replacen("Content-Type: application/sdp\r\n", "", 1);
    faulty(&[], &untyped, Repair::MissingContentType);
    faulty(
        &[ANNOUNCE],
        &setup(0, "", "RTP/AVP/TCP;unicast;interleaved=0-1"),
        Repair::TransportMode,
    );
    faulty(
        &[ANNOUNCE],
        &setup(0, "", "RTP/AVP;unicast;interleaved=0-1;mode=record"),
        Repair::TransportWithoutTcp,
    );
    faulty(
        &announced,
        &setup(
            1,
            &session(),
            "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record",
        ),
        Repair::ChannelsReassigned,
    );
    faulty(&announced, &setup(1, "", tcp), Repair::MissingSession);
    faulty(
        &[ANNOUNCE, &first, &second],
        &record(""),
        Repair::MissingSession,
    );
    // And nothing of it is a fault.
    let mut peer = strict();
    for request in [ANNOUNCE, &first, &second, &record(&session())] {
        assert_eq!(peer.ask(request).status(), 200, "{request}");
    }
    assert_eq!(peer.repaired(), []);
}

#[test]
fn what_rfc_2326_allows_is_taken_strictly() {
    for transport in [
        "RTP/AVP;multicast, RTP/SAVP;unicast, RTP/AVP;unicast;client_port=5000-5001,,RTP/AVP/TCP",
        "RTP/AVP/TCP",
        "RTP/AVP/TCP;unicast;interleaved=4",
        "RTP/AVP/TCP ; unicast ; interleaved = 6 - 7 ; mode = \"PLAY\"",
        "RTP/AVP/UDP;unicast;client_port=5000",
    ] {
        let mut peer = strict();
        // A folded header, blank lines before a request, no blank behind a colon.
        let said = peer
            .ask("\r\n\r\nDESCRIBE rtsp://h/a/1 RTSP/1.0\r\nCSeq:1\r\nAccept: x,\r\n y\r\n\r\n");
        assert_eq!(said.status(), 200);
        let said = peer.ask(&setup(0, "", transport));
        assert_eq!(said.status(), 200, "{transport}");
        assert_eq!(peer.repaired(), [], "{transport}");
    }
}

#[test]
fn refusals_keep_the_order_of_requests() {
    let mut peer = strict();
    let said = peer.send(
        "DESCRIBE rtsp://h/a/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n\
         OPTIONS * RTSP/1.0\nCSeq: 2\n\n\
         OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n",
    );
    assert_eq!(said.output, "");
    let answer = usual(&said.events[0]).unwrap();
    peer.respond(answer.0, answer.1);
    let said = peer.send("");
    let lines: Vec<_> = said
        .output
        .lines()
        .filter(|l| l.contains("RTSP/1.0 "))
        .collect();
    assert_eq!(
        lines,
        ["RTSP/1.0 400 Line ends other than CRLF", "RTSP/1.0 200 OK"]
    );
}

/// A publisher that records one track on channels 0 and 1.
fn publisher(mut peer: Peer) -> Peer {
    let record = request("RECORD", "rtsp://h/a/1", &session());
    for request in [ANNOUNCE, &first_setup(), &record] {
        assert_eq!(peer.ask(request).status(), 200, "{request}");
    }
    peer
}

#[test]
fn frames_that_belong_to_nothing() {
    let frame = b"$\x06\0\x04abcd";
    let mut peer = publisher(Peer::new());
    assert_eq!(peer.send(frame).closed, None);
    assert_eq!(peer.repaired(), [(Repair::UnknownChannel, 1)]);
    assert_eq!(peer.send("\0\0\0junk\0$").closed, None);
    assert_eq!(peer.repaired(), [(Repair::Junk, 1)]);

    let faulty = |repair| Some(CloseReason::Faulty(repair));
    let mut peer = publisher(strict());
    assert_eq!(peer.send(frame).closed, faulty(Repair::UnknownChannel));
    assert_eq!(peer.repaired(), [(Repair::UnknownChannel, 1)]);
    let mut peer = publisher(strict());
    assert_eq!(peer.send("\0junk").closed, faulty(Repair::Junk));
    // Who does not publish yet, or no more, may have some on the way.
    let mut peer = strict();
    peer.ask(ANNOUNCE);
    assert_eq!(peer.send(frame).closed, None);
}

#[test]
fn rtp_on_the_channel_of_rtcp_is_a_sign_of_life() {
    let mut peer = publisher(Peer::new());
    later(&mut peer, 8);
    let said = peer.send(b"$\x01\0\x0c\x80\x60\0\x01\0\0\0\0\0\0\0\0");
    assert_eq!(said.media.len(), 1);
    later(&mut peer, 8);
    assert_eq!(peer.connection.handle_timeout(peer.now), None);
    peer.send(b"$\x01\0\x08\x80\xc9\0\x01\0\0\0\0");
    later(&mut peer, 8);
    assert_eq!(
        peer.connection.handle_timeout(peer.now),
        Some(CloseReason::PublisherSilent)
    );
}
