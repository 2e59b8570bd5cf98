//! States, transports, redirections, sources on demand.

use std::time::Duration;

use super::rig::{Rig, SDP, frame, spec};
use crate::pull::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn transports_are_tried_in_turn_and_the_one_that_works_is_remembered() {
    let mut spec = spec("rtsp://cam/a");
    spec.transports = vec![PullTransport::Tcp, PullTransport::Udp];
    let mut rig = Rig::new(spec);
    rig.describe("", SDP);
    rig.answer("RTSP/1.0 461 Unsupported Transport\nCSeq: 2");
    // No wait between.
    rig.connect();
    rig.describe("", SDP);
    rig.engine.bound(0, Some((5000, 5001)), rig.now);
    assert!(rig.sent().contains("client_port=5000-5001"));
    rig.answer("RTSP/1.0 200 OK\nCSeq: 2\nSession: 1\nTransport: RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001");
    rig.answer("RTSP/1.0 200 OK\nCSeq: 3");
    // Nothing comes: a firewall. All was tried; TCP is the first again after a wait.
    rig.pass(6 * SECOND, false);
    assert!(rig.sent().is_empty() || rig.engine.state() == LinkState::Waiting);
    let info = rig.engine.info(rig.now);
    assert_eq!(
        (info.state, info.reason),
        (LinkState::Waiting, Some(FailureKind::Silent))
    );
    assert_eq!(info.counters.attempts, 2);
    rig.after_wait();
    rig.play("1");
    assert_eq!(rig.memory().transport, Some(PullTransport::Tcp));
    assert_eq!(rig.engine.info(rig.now).counters.connects, 1);
}

#[test]
fn udp_that_worked_goes_first() {
    let memory = SourceMemory {
        transport: Some(PullTransport::Udp),
        ..SourceMemory::default()
    };
    let mut rig = Rig::idle(spec("rtsp://cam/a"));
    rig.engine = SourceEngine::new(spec("rtsp://cam/a"), PullConfig::default(), memory, 1);
    rig.engine.start(rig.now);
    rig.connect();
    rig.describe("", SDP);
    assert!(rig.outputs.contains(&SourceOutput::Bind { socket: 0 }));
    // The server answers with channels instead: taken.
    rig.engine.bound(0, Some((5000, 5001)), rig.now);
    rig.answer("RTSP/1.0 200 OK\nCSeq: 2\nSession: 1\nTransport: RTP/AVP/TCP;interleaved=4-5");
    rig.answer("RTSP/1.0 200 OK\nCSeq: 3");
    rig.feed(&frame(4, 1));
    assert_eq!(rig.quirk(Quirk::TransportSwapped), 1);
    assert_eq!(rig.memory().transport, Some(PullTransport::Tcp));
}

#[test]
fn a_wrong_password_is_tried_slowly_and_a_new_one_at_once() {
    let mut rig = Rig::new(spec("rtsp://u:wrong@cam/a"));
    let challenge =
        "RTSP/1.0 401 Unauthorized\nCSeq: 1\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"";
    for bound in [60, 120, 240] {
        rig.answer(challenge);
        rig.answer(challenge);
        let info = rig.engine.info(rig.now);
        assert_eq!(info.reason, Some(FailureKind::Unauthorized));
        assert!(
            info.counters
                .last_error
                .unwrap()
                .contains("does not accept this user and password")
        );
        let wait = rig.after_wait();
        assert!(
            wait >= bound * SECOND / 2 && wait <= bound * SECOND,
            "{wait:?}"
        );
    }
    rig.answer(challenge);
    rig.answer(challenge);
    rig.engine.update(spec("rtsp://u:right@cam/a"), rig.now);
    rig.connect();
    rig.answer(challenge);
    rig.play("1");
    assert_eq!(
        rig.engine.info(rig.now).counters.failures[&FailureKind::Unauthorized],
        4
    );
}

#[test]
fn viewers_cannot_hurry_a_refused_login() {
    let mut spec = spec("rtsp://u:wrong@cam/a");
    spec.mode = SourceMode::OnDemand;
    let mut rig = Rig::idle(spec);
    rig.engine.start(rig.now);
    assert_eq!(rig.drain(), None, "nobody wants it yet");
    rig.engine.set_wanted(true, rig.now);
    rig.connect();
    let challenge =
        "RTSP/1.0 401 Unauthorized\nCSeq: 1\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"";
    rig.answer(challenge);
    rig.answer(challenge);
    for _ in 0..5 {
        rig.engine.set_wanted(false, rig.now);
        assert!(rig.engine.is_stopped());
        rig.pass(SECOND, false);
        rig.engine.set_wanted(true, rig.now);
        assert_eq!(rig.drain(), None);
        assert_eq!(
            rig.engine.info(rig.now).reason,
            Some(FailureKind::Unauthorized)
        );
    }
    assert_eq!(rig.engine.info(rig.now).counters.attempts, 1);
}

#[test]
fn on_demand_lasts_from_the_first_viewer_until_some_time_after_the_last() {
    let mut spec = spec("rtsp://cam/a");
    spec.mode = SourceMode::OnDemand;
    let mut rig = Rig::idle(spec);
    rig.engine.set_wanted(true, rig.now);
    rig.connect();
    rig.play("1");
    rig.engine.set_wanted(false, rig.now);
    rig.pass(9 * SECOND, true);
    // Somebody comes back within the grace.
    rig.engine.set_wanted(true, rig.now);
    rig.pass(30 * SECOND, true);
    assert_eq!(rig.engine.state(), LinkState::Playing);
    rig.engine.set_wanted(false, rig.now);
    rig.sent();
    rig.pass(10 * SECOND, true);
    assert!(rig.sent().contains("TEARDOWN rtsp://cam/a"));
    rig.answer("RTSP/1.0 200 OK\nCSeq: 9");
    assert!(rig.engine.is_stopped());
    let info = rig.engine.info(rig.now);
    assert_eq!(info.counters.failures.len(), 0, "a stop is no failure");
    assert_eq!(rig.engine.poll_timeout(), None);
    // The next one starts it anew; that is no reconnect.
    rig.engine.set_wanted(true, rig.now);
    rig.connect();
    rig.play("2");
    assert_eq!(rig.engine.info(rig.now).counters.reconnects, 0);
}

#[test]
fn a_half_open_connection_is_noticed_by_its_silence() {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.play("1");
    rig.pass(60 * SECOND, true);
    rig.sent();
    rig.pass(9 * SECOND, false);
    assert_eq!(rig.engine.state(), LinkState::Playing);
    rig.pass(SECOND, false);
    // Perhaps it still hears us.
    assert!(rig.sent().contains("TEARDOWN"));
    rig.pass(SECOND, false);
    let info = rig.engine.info(rig.now);
    assert_eq!(
        (info.state, info.reason),
        (LinkState::Waiting, Some(FailureKind::Silent))
    );
    assert!(
        rig.outputs
            .contains(&SourceOutput::Offline(FailureKind::Silent))
    );
    rig.after_wait();
    rig.play("2");
    assert_eq!(rig.engine.info(rig.now).counters.reconnects, 1);
}

#[test]
fn redirections_are_followed_within_bounds() {
    let mut rig = Rig::new(spec("rtsp://u:p@door/a"));
    let challenge =
        "RTSP/1.0 401 Unauthorized\nCSeq: 1\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"";
    rig.answer(challenge);
    assert!(rig.sent().contains("username=\"u\""));
    rig.answer("RTSP/1.0 302 Found\nCSeq: 2\nLocation: rtsp://node:8554/a?token=hush");
    assert_eq!(rig.connect(), "node:8554");
    assert_eq!(
        rig.request(),
        "DESCRIBE rtsp://node:8554/a?token=hush RTSP/1.0"
    );
    // The login is the door's, not the node's.
    rig.answer(challenge);
    assert_eq!(
        rig.engine.info(rig.now).reason,
        Some(FailureKind::Unauthorized)
    );
    // A new round begins at the door.
    rig.engine.update(spec("rtsp://door/a"), rig.now);
    assert_eq!(rig.connect(), "door:554");
    rig.answer("RTSP/1.0 301 Moved\nCSeq: 1\nLocation: rtsp://door/b");
    rig.connect();
    rig.answer("RTSP/1.0 301 Moved\nCSeq: 1\nLocation: rtsp://door/a");
    let info = rig.engine.info(rig.now);
    assert_eq!(info.reason, Some(FailureKind::Redirect));
    assert_eq!(info.counters.redirects, 2);
    assert!(!format!("{info:?}").contains("hush"));
}

#[test]
fn other_refusals_and_dead_ends() {
    for (answer, kind) in [
        ("RTSP/1.0 404 Not Found\nCSeq: 1", FailureKind::NotFound),
        ("RTSP/1.0 403 Forbidden\nCSeq: 1", FailureKind::Forbidden),
        ("RTSP/1.0 500 Oops\nCSeq: 1", FailureKind::Refused),
        ("RTSP/1.0 200 OK\nCSeq: 1", FailureKind::BadAnswer),
    ] {
        let mut rig = Rig::new(spec("rtsp://cam/a"));
        rig.answer(answer);
        assert_eq!(rig.engine.info(rig.now).reason, Some(kind), "{answer}");
    }
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.pass(10 * SECOND, false);
    assert_eq!(
        rig.engine.info(rig.now).reason,
        Some(FailureKind::Unreachable)
    );
    let mut rig = Rig::idle(spec("rtsp://cam/a"));
    rig.engine.start(rig.now);
    rig.drain();
    let late = rig.attempt;
    rig.pass(5 * SECOND, false);
    assert_eq!(
        rig.engine.info(rig.now).reason,
        Some(FailureKind::Unreachable)
    );
    // News of a connection that was given up changes nothing.
    rig.engine.connected(late, false, rig.now);
    assert_eq!(rig.engine.state(), LinkState::Waiting);
}

#[test]
fn a_path_that_somebody_else_publishes() {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.play("1");
    rig.engine
        .publish_refused("it belongs to somebody else", rig.now);
    assert!(rig.sent().contains("TEARDOWN"));
    rig.answer("RTSP/1.0 200 OK\nCSeq: 9");
    let info = rig.engine.info(rig.now);
    assert_eq!(info.reason, Some(FailureKind::PathTaken));
    assert!(info.counters.last_error.unwrap().contains("somebody else"));
}

#[test]
fn the_tunnel_is_the_last_rung() {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    for rung in PullTransport::LADDER {
        rig.describe("", SDP);
        if rung == PullTransport::Udp {
            rig.engine.bound(0, Some((5000, 5001)), rig.now);
        }
        let tunnel = |output: &SourceOutput| match output {
            SourceOutput::Connect { tunnel, .. } => Some(*tunnel),
            _ => None,
        };
        let through = rig.outputs.iter().rev().find_map(tunnel);
        assert_eq!(through, Some(rung == PullTransport::Tunnel));
        if rung != PullTransport::Tunnel {
            rig.answer("RTSP/1.0 461 Unsupported Transport\nCSeq: 2");
            rig.connect();
        }
    }
    rig.answer(
        "RTSP/1.0 200 OK\nCSeq: 2\nSession: 1\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1",
    );
    rig.answer("RTSP/1.0 200 OK\nCSeq: 3");
    rig.feed(&frame(0, 1));
    assert_eq!(rig.memory().transport, Some(PullTransport::Tunnel));
}

#[test]
fn basic_in_the_clear_has_to_be_allowed() {
    let challenge = "RTSP/1.0 401 Unauthorized\nCSeq: 1\nWWW-Authenticate: Basic realm=\"r\"";
    let mut rig = Rig::new(spec("rtsp://u:p@cam/a"));
    rig.answer(challenge);
    let info = rig.engine.info(rig.now);
    assert_eq!(info.reason, Some(FailureKind::Unauthorized));
    assert!(info.counters.last_error.unwrap().contains("unencrypted"));
    let mut allowed = spec("rtsp://u:p@cam/a");
    allowed.plain_basic = true;
    rig.engine.update(allowed, rig.now);
    rig.connect();
    rig.answer(challenge);
    assert!(rig.sent().contains("Authorization: Basic dTpw\r\n"));
}
