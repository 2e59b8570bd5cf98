//! What may be asked of a session that plays: where, how fast, and what it knows.

use super::*;

const URL: &str = "rtsp://h/a/1";

/// Set up and paused.
fn paused() -> Peer {
    let mut peer = playing();
    assert_eq!(peer.ask(&request("PAUSE", URL, "")).status(), 200);
    peer
}

#[test]
fn a_live_stream_is_played_from_now_on_whatever_was_asked() {
    for range in [
        "npt=now-",
        "npt=0.000-",
        "npt=0-",
        "npt=10-20",
        "npt=10",
        "npt=-",
        "npt=1:02:03.5-",
        "npt=0-;time=20260101T000000Z",
        "clock=20200101T000000Z-",
        "clock=20200101T000000.25Z-20200101T000001Z",
        "smpte=10:07:33-",
        "smpte-30-drop=10:07:33:05.01-10:07:34",
    ] {
        let said = paused().ask(&request("PLAY", URL, &format!("Range: {range}\r\n")));
        assert_eq!(said.status(), 200, "{range}");
        assert!(said.output.contains("\r\nRange: npt=now-\r\n"), "{range}");
        assert!(!said.output.contains("Scale"), "not asked for");
    }
}

#[test]
fn a_range_that_is_none_is_refused_and_changes_nothing() {
    for (range, status) in [
        ("", 457),
        ("npt", 457),
        ("npt=x-y", 457),
        ("npt=20-10", 457),
        ("npt=1:2-", 457),
        ("npt=99999999999999999999-", 457),
        ("clock=20200101-", 457),
        ("clock=-20200101T000000Z", 457),
        ("smpte=1-", 457),
        ("bananas=1-2", 501),
    ] {
        let mut peer = paused();
        let said = peer.ask(&request("PLAY", URL, &format!("Range: {range}\r\n")));
        assert_eq!(said.status(), status, "{range}");
        assert!(said.events.is_empty(), "{range}");
        assert_eq!(peer.ask(&request("PLAY", URL, "")).status(), 200);
    }
    // Backwards, an end before the start is in order.
    let said = paused().ask(&request("PLAY", URL, "Scale: -1\r\nRange: npt=20-10\r\n"));
    assert_eq!(said.status(), 200);
}

#[test]
fn the_pace_is_the_one_at_which_it_happens() {
    for (headers, answered) in [
        ("Scale: 2.0\r\n", "Scale: 1.0\r\n"),
        ("Scale: -1\r\n", "Scale: 1.0\r\n"),
        ("Scale: 0\r\n", "Scale: 1.0\r\n"),
        ("Speed: 4\r\n", "Speed: 1.0\r\n"),
        (
            "Speed: 2.5\r\nScale: 0.5\r\n",
            "Scale: 1.0\r\nSpeed: 1.0\r\n",
        ),
    ] {
        // While it plays already, and after a pause.
        for mut peer in [playing(), paused()] {
            let said = peer.ask(&request("PLAY", URL, headers));
            assert_eq!(said.status(), 200, "{headers}");
            assert!(said.output.contains(answered), "{}", said.output);
        }
    }
    for headers in [
        "Scale: fast\r\n",
        "Speed: -1\r\n",
        "Speed: inf\r\n",
        "Scale: NaN\r\n",
    ] {
        let said = paused().ask(&request("PLAY", URL, headers));
        assert_eq!(said.status(), 400, "{headers}");
    }
}

fn parameters(method: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    request(
        method,
        URL,
        &format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n"),
    ) + body
}

#[test]
fn parameters_of_a_session() {
    const KIND: &str = "text/parameters";
    let long = format!("position\r\n{}", " ".repeat(5000));
    let many = "position\r\n".repeat(33);
    for (method, kind, body, status, answer) in [
        (
            "GET_PARAMETER",
            KIND,
            "position\r\n",
            200,
            "position: npt=now-\r\n",
        ),
        ("GET_PARAMETER", KIND, "timeout", 200, "timeout: 60\r\n"),
        (
            "GET_PARAMETER",
            "text/parameters; charset=utf-8",
            "Timeout\nposition\n",
            200,
            "Timeout: 60\r\nposition: npt=now-\r\n",
        ),
        (
            "GET_PARAMETER",
            KIND,
            "jitter\r\nposition\r\nloss\r\n",
            451,
            "jitter\r\nloss\r\n",
        ),
        (
            "SET_PARAMETER",
            KIND,
            "position: npt=5-\r\n",
            458,
            "position\r\n",
        ),
        (
            "SET_PARAMETER",
            KIND,
            "barparam: barstuff\r\n",
            451,
            "barparam\r\n",
        ),
        ("SET_PARAMETER", KIND, "barparam\r\n", 400, ""),
        ("GET_PARAMETER", "application/json", "{}", 415, ""),
        ("GET_PARAMETER", KIND, ": x\r\n", 400, ""),
        ("GET_PARAMETER", KIND, &long, 413, ""),
        ("GET_PARAMETER", KIND, &many, 413, ""),
        // What cameras and players send to stay alive.
        ("GET_PARAMETER", KIND, "\r\n", 200, ""),
        ("SET_PARAMETER", KIND, "", 200, ""),
    ] {
        let mut peer = playing();
        let said = peer.ask(&parameters(method, kind, body));
        assert_eq!(said.status(), status, "{method} {body}");
        let (_, said_body) = said.output.split_once("\r\n\r\n").unwrap();
        assert_eq!(said_body, answer, "{method} {body}");
        // The session goes on.
        assert_eq!(peer.ask(&request("OPTIONS", URL, "")).status(), 200);
    }
    // There is no session yet of which to know anything.
    let said = Peer::new().ask(&parameters("GET_PARAMETER", KIND, "position\r\n"));
    assert_eq!(said.status(), 455);
    // And none of another stream.
    let said =
        playing().ask(&parameters("GET_PARAMETER", KIND, "position\r\n").replace("/a/1", "/b"));
    assert_eq!(said.status(), 404);
}

#[test]
fn one_track_is_controlled_by_every_form_of_its_url() {
    // A session of two tracks is paused and ended as a whole; one of a single track by either.
    let track = [
        "rtsp://h/a/1/trackID=0",
        "rtsp://h/a/1/trackID=0?token=T",
        "rtsp://h/a/1?token=T/trackID=0",
        "rtsp://h/a/1/?token=T/trackID=0",
        "rtsp://h/a/1/trackID=0/",
    ];
    let whole = [
        URL,
        "rtsp://h/a/1/",
        "rtsp://h/a/1?token=T",
        "rtsp://h/a/1/?token=T",
        "*",
    ];
    for method in ["PLAY", "PAUSE", "TEARDOWN"] {
        for url in whole {
            assert_eq!(
                playing().ask(&request(method, url, "")).status(),
                200,
                "{method} {url}"
            );
        }
        for url in track {
            let said = playing().ask(&request(method, url, ""));
            assert_eq!(said.status(), 460, "{method} {url}");
            let mut peer = Peer::new();
            peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=0", TCP));
            peer.ask(&request("PLAY", URL, ""));
            assert_eq!(
                peer.ask(&request(method, url, "")).status(),
                200,
                "{method} {url}"
            );
        }
        let said = playing().ask(&request(method, "rtsp://h/other", ""));
        assert_eq!(said.status(), 404, "{method}");
    }
}
