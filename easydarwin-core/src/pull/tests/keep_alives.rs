//! The ladder of keep-alives: what cameras do with each rung.

use std::time::Duration;

use super::rig::{Rig, spec};
use crate::pull::*;
use crate::rtsp::KeepAlive;

const HALF: Duration = Duration::from_secs(30);

fn playing() -> Rig {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.play("12345678;timeout=60");
    rig
}

#[test]
fn what_is_refused_is_not_asked_again() {
    for refusal in [
        "405 Method Not Allowed",
        "501 Not Implemented",
        "400 Bad Request",
        "551 Option Not Supported",
        // Thingino: the session is well, only the method is not implemented.
        "454 Session Not Found",
    ] {
        let mut rig = playing();
        rig.pass(HALF, true);
        assert!(rig.sent().contains("GET_PARAMETER rtsp://cam/a RTSP/1.0"));
        rig.answer(&format!("RTSP/1.0 {refusal}\nCSeq: 0"));
        assert_eq!(rig.engine.state(), LinkState::Playing, "{refusal}");
        assert_eq!(rig.memory().keep_alive, KeepAlive::Options);
        assert_eq!(rig.quirk(Quirk::KeepAliveRefused), 1);
        rig.pass(HALF, true);
        assert!(rig.sent().contains("OPTIONS rtsp://cam/a RTSP/1.0"));
        rig.answer("RTSP/1.0 405 Method Not Allowed\nCSeq: 0");
        assert_eq!(rig.memory().keep_alive, KeepAlive::Rtcp);
        // From here on receiver reports alone.
        rig.pass(5 * HALF, true);
        let sent = rig.sent();
        assert!(!sent.contains("RTSP/1.0"), "{sent}");
        assert!(sent.contains('$'));
        // The next connection begins where this one got.
        rig.close();
        rig.after_wait();
        rig.play("87654321");
        rig.pass(2 * HALF, true);
        assert!(!rig.sent().contains("RTSP/1.0"));
    }
}

#[test]
fn a_refusal_under_the_number_before() {
    // A camera sold as C520WS counts wrong when it refuses.
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.play("12345678;timeout=15");
    rig.pass(Duration::from_secs(8), true);
    let sent = rig.sent();
    let number: u32 = sent
        .lines()
        .find_map(|line| line.strip_prefix("CSeq: "))
        .unwrap()
        .parse()
        .unwrap();
    rig.answer_as(
        "RTSP/1.0 400 Bad Request\nCSeq: 0",
        &(number - 1).to_string(),
    );
    assert_eq!(rig.memory().keep_alive, KeepAlive::Options);
}

#[test]
fn what_is_not_answered_is_not_asked_again() {
    // Hipcam answers a GET_PARAMETER with nothing, and hangs after some of them.
    let mut rig = playing();
    rig.pass(HALF, true);
    assert!(rig.sent().contains("GET_PARAMETER"));
    rig.pass(HALF, true);
    let sent = rig.sent();
    assert!(
        sent.contains("OPTIONS") && !sent.contains("GET_PARAMETER"),
        "{sent}"
    );
    assert_eq!(rig.memory().keep_alive, KeepAlive::Options);
}

#[test]
fn a_connection_closed_upon_a_keep_alive() {
    let mut rig = playing();
    rig.pass(HALF, true);
    assert!(rig.sent().contains("GET_PARAMETER"));
    rig.pass(Duration::from_millis(20), true);
    rig.close();
    assert_eq!(rig.memory().keep_alive, KeepAlive::Options);
    assert_eq!(rig.quirk(Quirk::KeepAliveCloses), 1);
    assert!(rig.outputs.contains(&SourceOutput::Remember(rig.memory())));
    // Without a keep-alive on the way, a close says nothing about it.
    rig.after_wait();
    rig.play("1;timeout=60");
    for _ in 0..6 {
        rig.pass(HALF, true);
        assert!(rig.sent().contains("OPTIONS"));
        rig.answer("RTSP/1.0 200 OK\nCSeq: 0");
    }
    rig.pass(Duration::from_secs(5), true);
    rig.close();
    assert_eq!(rig.memory().keep_alive, KeepAlive::Options);
}

#[test]
fn a_session_that_expires_all_the_same_begins_with_the_first_again() {
    // EvoStream takes only GET_PARAMETER for a sign of life, though it does not offer it.
    let mut rig = playing();
    rig.pass(HALF, true);
    rig.answer("RTSP/1.0 501 Not Implemented\nCSeq: 0");
    rig.pass(HALF, true);
    rig.answer("RTSP/1.0 200 OK\nCSeq: 0\nPublic: DESCRIBE, OPTIONS, PAUSE, PLAY, SETUP");
    rig.pass(Duration::from_secs(5), true);
    rig.close();
    assert_eq!(rig.memory().keep_alive, KeepAlive::GetParameter);
    assert_eq!(rig.quirk(Quirk::KeepAliveIgnored), 1);
}
