use super::*;
use crate::rtsp::ParseError;

fn refused(input: &[u8]) -> (Option<u16>, CloseReason) {
    let mut peer = Peer::new();
    let said = peer.send(input);
    let status = (!said.output.is_empty()).then(|| said.status());
    let reason = said.closed.unwrap_or_else(|| panic!("{:?}", said.output));
    // It stays closed.
    assert_eq!(
        peer.send("OPTIONS * RTSP/1.0\r\n\r\n").closed,
        Some(reason.clone())
    );
    (status, reason)
}

#[test]
fn passing_a_limit_is_told_and_closes() {
    let long_uri = format!("DESCRIBE rtsp://h/{}", "a".repeat(100_000));
    let long_head = format!(
        "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n{}",
        "X: y\r\n".repeat(20_000)
    );
    let many = format!(
        "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n{}\r\n",
        "X: y\r\n".repeat(65)
    );
    for (input, status, reason) in [
        (&long_uri[..], 414, ParseError::StartLineTooLong),
        (&long_head, 431, ParseError::HeadTooLong),
        (&many, 431, ParseError::TooManyHeaders),
        (
            "OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
            400,
            ParseError::ContentLength,
        ),
        (
            "OPTIONS * RTSP/1.0\r\nContent-Length: \r\n\r\n",
            400,
            ParseError::ContentLength,
        ),
        (
            "OPTIONS * RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            ParseError::ContentLength,
        ),
        (
            "OPTIONS * RTSP/1.0\r\nContent-Length: 65537\r\n\r\n",
            413,
            ParseError::BodyTooLong,
        ),
        (
            "OPTIONS * RTSP/1.0\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            413,
            ParseError::BodyTooLong,
        ),
        ("OPTIONS *\r\n\r\n", 400, ParseError::StartLine),
        ("GET / HTTP/1.1\r\n\r\n", 400, ParseError::StartLine),
        ("OPTIONS * RTSP/2.0\r\n\r\n", 505, ParseError::Version),
        ("RTSP/1.0 abc OK\r\n\r\n", 400, ParseError::StartLine),
        ("\x16\x03\x01\x02\0\x01\0\x01", 400, ParseError::Junk),
        ("{\"json\": 1}", 400, ParseError::Junk),
    ] {
        assert_eq!(
            refused(input.as_bytes()),
            (Some(status), CloseReason::Unreadable(reason)),
            "{:?}",
            &input[..input.len().min(80)]
        );
    }
}

#[test]
fn the_refusal_names_the_request_where_it_can() {
    let mut peer = Peer::new();
    let said = peer.send("SET_PARAMETER * RTSP/1.0\r\nCSeq: 42\r\nContent-Length: -5\r\n\r\n");
    assert!(
        said.output
            .starts_with("RTSP/1.0 400 Bad Request\r\nCSeq: 42\r\n"),
        "{}",
        said.output
    );
}

#[test]
fn waiting_requests_are_bounded_in_number_and_size() {
    let mut peer = Peer::new();
    peer.send(request("DESCRIBE", "rtsp://h/a/1", ""));
    for _ in 0..16 {
        assert_eq!(peer.send(request("OPTIONS", "*", "")).closed, None);
    }
    assert_eq!(
        peer.send(request("OPTIONS", "*", "")).closed,
        Some(CloseReason::TooManyWaiting)
    );

    let mut peer = Peer::new();
    peer.send(request("DESCRIBE", "rtsp://h/a/1", ""));
    let big = format!(
        "SET_PARAMETER * RTSP/1.0\r\nContent-Length: 60000\r\n\r\n{}",
        "x".repeat(60_000)
    );
    assert_eq!(peer.send(&big).closed, None);
    assert_eq!(peer.send(&big).closed, None);
    assert_eq!(peer.send(&big).closed, Some(CloseReason::TooManyWaiting));
}

#[test]
fn sloppy_requests_are_understood() {
    for input in [
        "OPTIONS rtsp://h/a RTSP/1.0\nCSeq: 3\n\n",
        "options rtsp://h/a rtsp/1.0\r\ncseq:3\r\n\r\n",
        "\r\n\r\nOPTIONS   /a   RTSP/1.1 \r\n CSeq : 3\r\nCSeq  :  3  \r\n\r\n",
        "OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\nno colon here\r\nX:\r\nSession:\r\n",
    ] {
        let mut peer = Peer::new();
        let said = peer.send(input);
        if input.ends_with("Session:\r\n") {
            assert_eq!(said.output, "", "not complete yet");
            continue;
        }
        assert!(
            said.output.starts_with("RTSP/1.0 200 OK\r\nCSeq: 3\r\n"),
            "{input:?}: {}",
            said.output
        );
    }
    // No CSeq, a value that is no text, a blank in the path, a folded header.
    let mut peer = Peer::new();
    let said = peer.send(b"OPTIONS rtsp://h/my cam RTSP/1.0\r\nX: \xff\xfe\r\n more\r\n\r\n");
    assert!(
        said.output.starts_with("RTSP/1.0 200 OK\r\nServer:"),
        "{}",
        said.output
    );
    // A CSeq that would break our line is not repeated.
    let said = peer.send("OPTIONS * RTSP/1.0\r\nCSeq: 1 \rEvil: yes\r\n\r\n");
    assert!(
        said.output.starts_with("RTSP/1.0 200 OK\r\nServer:"),
        "{}",
        said.output
    );
}

#[test]
fn junk_between_frames_is_skipped_within_a_bound() {
    let mut peer = recording();
    let mut input = b"$\0\0\x0c\x80\x60\0\x01\0\0\0\0\0\0\0\0".to_vec();
    input.extend_from_slice(b"\0\0junk $ and more\xff");
    input.extend_from_slice(b"$\x02\0\x0c\x80\x61\0\x01\0\0\0\0\0\0\0\0");
    input.extend_from_slice(b"\x01\x02");
    input.extend_from_slice(b"OPTIONS * RTSP/1.0\r\nCSeq: 5\r\n\r\n");
    let said = peer.send(&input);
    assert_eq!(said.media.len(), 2);
    assert_eq!(said.media[1].1, 1);
    assert_eq!(said.status(), 200);

    let said = peer.send(vec![0; 64 * 1024 + 1]);
    assert_eq!(said.closed, Some(CloseReason::Unreadable(ParseError::Junk)));
}
