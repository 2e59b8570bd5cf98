use std::time::{Duration, Instant};

use super::*;
use crate::rtsp::{Limits, Status, Transport};

struct Peer {
    session: ClientSession,
    now: Instant,
}

impl Peer {
    fn new(url: &str, login: Login) -> Self {
        let url = ClientUrl::parse(url).unwrap();
        Self {
            session: ClientSession::new(&url, login, "cafe", "test", Limits::default()),
            now: Instant::now(),
        }
    }

    fn sent(&mut self) -> String {
        let bytes = self.session.take_output().unwrap_or_default();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn answer(&mut self, text: &str) -> Option<ClientEvent> {
        match self.session.next(text.as_bytes(), self.now) {
            ClientStep::Event { consumed, event } => {
                assert_eq!(consumed, text.len());
                Some(event)
            }
            ClientStep::Handled { consumed } => {
                assert_eq!(consumed, text.len());
                None
            }
            other => panic!("{other:?}"),
        }
    }
}

fn failed(event: Option<ClientEvent>) -> LoginError {
    match event {
        Some(ClientEvent::LoginFailed { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=1\r\n";

fn described(headers: &str, sdp: &str) -> String {
    format!(
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\n{headers}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

#[test]
fn plays_a_camera() {
    let mut peer = Peer::new("rtsp://cam/live?ch=1", Login::FromUrl);
    peer.session.describe();
    assert_eq!(
        peer.sent(),
        "DESCRIBE rtsp://cam/live?ch=1 RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: test\r\nAccept: application/sdp\r\n\r\n"
    );
    let event = peer.answer(&described(
        "Content-Base: rtsp://10.0.0.2/live?ch=1/\r\n",
        SDP,
    ));
    assert!(matches!(event, Some(ClientEvent::Described { sdp }) if sdp == SDP));
    let asked = Transport {
        tcp: true,
        interleaved: Some((0, 1)),
        ..Transport::default()
    };
    peer.session.setup(Some("trackID=1"), &asked);
    assert_eq!(
        peer.sent(),
        "SETUP rtsp://10.0.0.2/live?ch=1/trackID=1 RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: test\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    );
    // It takes other channels, and says so.
    let event = peer.answer("RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 1234 ; timeout=20\r\nTransport: RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=1\r\n\r\n");
    let Some(ClientEvent::SetUp { transport }) = event else {
        panic!("{event:?}");
    };
    assert_eq!(transport.interleaved, Some((4, 5)));
    peer.session.play();
    assert_eq!(
        peer.sent(),
        "PLAY rtsp://10.0.0.2/live?ch=1/ RTSP/1.0\r\nCSeq: 3\r\nSession: 1234\r\nUser-Agent: test\r\nRange: npt=0.000-\r\n\r\n"
    );
    let event = peer.answer("RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 1234\r\nRTP-Info: url=rtsp://c/a,b/trackID=1;seq=7;rtptime=4294967295, url=trackID=2;seq=x\r\n\r\n");
    let Some(ClientEvent::Playing { starts }) = event else {
        panic!("{event:?}");
    };
    assert_eq!(starts.len(), 2);
    assert_eq!(
        starts[0],
        TrackStart {
            url: "rtsp://c/a,b/trackID=1".to_owned(),
            sequence: Some(7),
            rtp_time: Some(u32::MAX)
        }
    );
    assert_eq!(starts[1].sequence, None);
    // Media before anything else, then a keep-alive at half the timeout.
    assert!(matches!(
        peer.session.next(b"$\x04\0\x01x", peer.now),
        ClientStep::Interleaved {
            consumed: 5,
            channel: 4,
            data: b"x"
        }
    ));
    assert_eq!(
        peer.session.poll_timeout(),
        Some(peer.now + Duration::from_secs(10))
    );
    peer.now += Duration::from_secs(10);
    peer.session.handle_timeout(peer.now);
    assert!(peer.sent().starts_with(
        "GET_PARAMETER rtsp://10.0.0.2/live?ch=1/ RTSP/1.0\r\nCSeq: 4\r\nSession: 1234\r\n"
    ));
    assert_eq!(peer.answer("RTSP/1.0 501 No\r\nCSeq: 4\r\n\r\n"), None);
    peer.now += Duration::from_secs(10);
    peer.session.handle_timeout(peer.now);
    assert!(peer.sent().starts_with("OPTIONS "));
    assert_eq!(
        peer.answer("RTSP/1.0 454 Session Not Found\r\nCSeq: 5\r\n\r\n"),
        Some(ClientEvent::Ended)
    );
    peer.session.teardown();
    assert!(
        peer.sent()
            .starts_with("TEARDOWN rtsp://10.0.0.2/live?ch=1/ RTSP/1.0\r\n")
    );
    assert_eq!(
        peer.answer("RTSP/1.0 454 Session Not Found\r\nCSeq: 6\r\n\r\n"),
        Some(ClientEvent::TornDown)
    );
}

#[test]
fn publishes_with_a_token() {
    let mut peer = Peer::new("rtsp://h:1/cam/1", Login::Bearer("t.o.k".to_owned()));
    assert!(!format!("{:?}", peer.session).contains("t.o.k"));
    peer.session.announce(SDP.into());
    let sent = peer.sent();
    assert!(sent.starts_with(
        "ANNOUNCE rtsp://h:1/cam/1 RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Bearer t.o.k\r\n"
    ));
    assert!(sent.ends_with(&format!("Content-Length: {}\r\n\r\n{SDP}", SDP.len())));
    // No CSeq in the answer.
    assert_eq!(
        peer.answer("RTSP/1.0 200\r\n\r\n"),
        Some(ClientEvent::Announced)
    );
    peer.session.setup(
        Some("trackID=0"),
        &Transport {
            client_port: Some((5000, 5001)),
            record: true,
            ..Transport::default()
        },
    );
    assert!(
        peer.sent()
            .contains("Transport: RTP/AVP;unicast;client_port=5000-5001;mode=record\r\n")
    );
    assert_eq!(
        peer.answer("RTSP/1.0 461 Unsupported Transport\r\nCSeq: 2\r\n\r\n"),
        Some(ClientEvent::Refused {
            method: crate::rtsp::Method::Setup,
            status: Status::UNSUPPORTED_TRANSPORT,
            reason: "Unsupported Transport".to_owned()
        })
    );
    // A wrong token is not tried again.
    peer.session.record();
    peer.sent();
    let event =
        peer.answer("RTSP/1.0 401 Unauthorized\r\nCSeq: 3\r\nWWW-Authenticate: Bearer\r\n\r\n");
    assert_eq!(failed(event), LoginError::Token);
}

#[test]
fn follows_where_the_server_points() {
    let mut peer = Peer::new("rtsp://h/a", Login::FromUrl);
    peer.session.describe();
    assert_eq!(
        peer.answer("RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: rtsp://h2/b\r\n\r\n"),
        Some(ClientEvent::Redirected {
            location: "rtsp://h2/b".to_owned()
        })
    );
}

#[test]
fn control_attributes_are_joined_as_servers_expect() {
    for (headers, sdp, control, url) in [
        ("", SDP, Some("trackID=1"), "rtsp://h/a?b=c/trackID=1"),
        ("", SDP, Some("/trackID=1"), "rtsp://h/a?b=c/trackID=1"),
        ("", SDP, Some("rtsp://x/y"), "rtsp://x/y"),
        ("", SDP, Some("*"), "rtsp://h/a?b=c"),
        ("", SDP, None, "rtsp://h/a?b=c"),
        ("Content-Base: /a/\r\n", SDP, Some("t"), "rtsp://h/a?b=c/t"),
        (
            "Content-Location: rtsp://i/\r\n",
            SDP,
            Some("t"),
            "rtsp://i/t",
        ),
    ] {
        let mut peer = Peer::new("rtsp://h/a?b=c", Login::FromUrl);
        peer.session.describe();
        peer.answer(&described(headers, sdp));
        assert_eq!(peer.session.track_url(control), url);
    }
    // A control of the whole session names the URL of PLAY.
    let mut peer = Peer::new("rtsp://h/a", Login::FromUrl);
    peer.session.describe();
    peer.answer(&described(
        "",
        "v=0\r\na=control:rtsp://h/all\r\nm=x\r\na=control:y\r\n",
    ));
    peer.sent();
    peer.session.play();
    assert!(peer.sent().starts_with("PLAY rtsp://h/all RTSP/1.0\r\n"));
}

#[test]
fn what_the_server_asks_is_answered() {
    let mut peer = Peer::new("rtsp://h/a", Login::FromUrl);
    assert_eq!(peer.answer("OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n"), None);
    assert_eq!(peer.sent(), "RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n");
    assert_eq!(peer.answer("PLAY * RTSP/1.0\r\nCSeq: 9\r\n\r\n"), None);
    assert!(peer.sent().starts_with("RTSP/1.0 501 "));
    assert_eq!(
        peer.answer("TEARDOWN * RTSP/1.0\r\nCSeq: 10\r\n\r\n"),
        Some(ClientEvent::Ended)
    );
    // An answer to nothing.
    assert_eq!(peer.answer("RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n"), None);
}

#[cfg(feature = "auth")]
#[test]
fn answers_a_digest_once_and_keeps_it() {
    let mut peer = Peer::new("rtsp://admin:pw@cam/a", Login::FromUrl);
    peer.session.describe();
    assert!(!peer.sent().contains("Authorization"));
    let challenge = "WWW-Authenticate: Basic realm=\"r\"\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    assert_eq!(
        peer.answer(&format!(
            "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n{challenge}\r\n"
        )),
        None
    );
    let sent = peer.sent();
    assert!(
        sent.starts_with("DESCRIBE rtsp://cam/a RTSP/1.0\r\nCSeq: 2\r\nAuthorization: Digest username=\"admin\", realm=\"r\", nonce=\"n\", uri=\"rtsp://cam/a\", response=\""),
        "{sent}"
    );
    assert_eq!(sent.matches("Accept:").count(), 1);
    // Refused again: no third try.
    let event = peer.answer(&format!(
        "RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\n{challenge}\r\n"
    ));
    assert_eq!(failed(event), LoginError::Password);
    // Only the nonce was old: one more.
    peer.session.play();
    peer.sent();
    let stale = "WWW-Authenticate: Digest realm=\"r\", nonce=\"m\", stale=TRUE\r\n";
    for cseq in [3, 4] {
        assert_eq!(
            peer.answer(&format!("RTSP/1.0 401 U\r\nCSeq: {cseq}\r\n{stale}\r\n")),
            None
        );
        assert!(peer.sent().contains("nonce=\"m\""));
    }
    let event = peer.answer(&format!("RTSP/1.0 401 U\r\nCSeq: 5\r\n{stale}\r\n"));
    assert_eq!(failed(event), LoginError::Password);
}

#[cfg(feature = "auth")]
#[test]
fn the_strongest_scheme_is_answered() {
    let md5 = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    let sha256 =
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";
    let other = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256, qop=\"auth\"\r\n";
    let basic = "WWW-Authenticate: Basic realm=\"r\"\r\n";
    let bearer = "WWW-Authenticate: Bearer realm=\"r\"\r\n";
    let ask = |offered: &[&str], allow_basic| {
        let mut peer = Peer::new("rtsp://admin:pw@cam/a", Login::FromUrl);
        peer.session.allow_basic(allow_basic);
        peer.session.describe();
        peer.sent();
        let event = peer.answer(&format!(
            "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n{}\r\n",
            offered.concat()
        ));
        (event, peer)
    };
    for (offered, allow_basic, answer) in [
        (&[basic, md5, sha256, other][..], true, "algorithm=SHA-256"),
        (&[bearer, md5, other], false, "Authorization: Digest"),
        (&[bearer, basic], true, "Authorization: Basic YWRtaW46cHc="),
    ] {
        let (event, mut peer) = ask(offered, allow_basic);
        assert_eq!(event, None);
        let sent = peer.sent();
        assert!(sent.contains(answer), "{sent}");
    }
    assert_eq!(failed(ask(&[basic], false).0), LoginError::PlainBasic);
    assert_eq!(failed(ask(&[bearer], true).0), LoginError::Scheme);
    assert_eq!(failed(ask(&[], true).0), LoginError::Scheme);
    // The count goes up with each request that uses the nonce.
    let (_, mut peer) = ask(&[md5], false);
    assert!(peer.sent().contains("nc=00000001"));
    peer.session.play();
    let sent = peer.sent();
    assert!(sent.contains("nc=00000002, cnonce=\"cafe\""), "{sent}");
}

#[test]
fn whoever_has_nothing_to_show_is_told() {
    let mut peer = Peer::new("rtsp://cam/a", Login::FromUrl);
    peer.session.describe();
    let event =
        peer.answer("RTSP/1.0 401 U\r\nCSeq: 1\r\nWWW-Authenticate: Digest nonce=\"n\"\r\n\r\n");
    assert_eq!(failed(event), LoginError::Missing);
}

#[test]
fn what_answers_needed_to_be_understood_is_counted() {
    use crate::rtsp::Repair;

    let url = ClientUrl::parse("rtsp://10.0.0.9/live").unwrap();
    let mut session = ClientSession::new(&url, Login::FromUrl, "c", "test", Limits::default());
    session.describe();
    let sdp = "v=0\r\n";
    let answer = format!(
        "RTSP/1.0 200 OK\nContent-Base: rtsp://rtsp://10.0.0.9/live/\nContent-Length: {}\n\n{sdp}",
        sdp.len()
    );
    let step = session.next(answer.as_bytes(), Instant::now());
    assert!(matches!(
        step,
        ClientStep::Event {
            event: ClientEvent::Described { .. },
            ..
        }
    ));
    assert_eq!(session.base_url(), "rtsp://10.0.0.9/live/");
    assert_eq!(
        session.repairs().iter().collect::<Vec<_>>(),
        [
            (Repair::LineEnds, 1),
            (Repair::MissingCseq, 1),
            (Repair::WrongBase, 1)
        ]
    );
}
