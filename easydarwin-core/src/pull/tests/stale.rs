//! Sessions that a source still holds.

use std::time::Duration;

use super::rig::{Rig, SDP, spec};
use crate::pull::*;

/// Reolink: an old live555.
const LIVE555: &str = "
v=0
o=- 1619813458434609 1 IN IP4 192.168.5.206
s=Session streamed by \"preview\"
t=0 0
a=tool:LIVE555 Streaming Media v2013.04.08
a=control:*
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=control:trackID=1
";

/// Playing from a server of this description, then the connection is cut.
fn cut(sdp: &str) -> Rig {
    let mut rig = Rig::new(spec("rtsp://cam/a"));
    rig.describe("", sdp);
    rig.answer("RTSP/1.0 200 OK\nCSeq: 4\nTransport: RTP/AVP/TCP;unicast;destination=192.168.1.210;source=192.168.5.206;interleaved=0-1\nSession: F8F8E425");
    rig.answer("RTSP/1.0 200 OK\nServer: Rtsp Server/2.0\nCSeq: 6\nSession: F8F8E425");
    rig.feed(&super::rig::frame(0, 1));
    rig.close();
    rig.after_wait();
    rig
}

#[test]
fn live555_is_told_of_the_end_of_the_session_before() {
    let mut rig = cut(LIVE555);
    let sent = rig.sent();
    assert!(
        sent.starts_with("TEARDOWN rtsp://cam/a RTSP/1.0\r\n")
            && sent.contains("Session: F8F8E425"),
        "{sent}"
    );
    assert_eq!(rig.quirk(Quirk::StaleTeardown), 1);
    rig.answer("RTSP/1.0 200 OK\nCSeq: 7\nDate: Thu, Dec 30 2021 03:21:51 GMT");
    assert!(rig.request().starts_with("DESCRIBE "));
    rig.play("1");
    // It ended well this time: nothing is left to be ended.
    rig.engine.stop(rig.now);
    assert!(rig.sent().contains("TEARDOWN"));
    rig.answer("RTSP/1.0 200 OK\nCSeq: 0");
    assert!(rig.engine.is_stopped());
}

#[test]
fn others_are_not_told() {
    let mut rig = cut(SDP);
    assert!(rig.request().starts_with("DESCRIBE "));
}

#[test]
fn who_has_no_room_is_told_then_waited_for() {
    let mut rig = cut(SDP);
    rig.describe("", SDP);
    rig.answer("RTSP/1.0 453 Not Enough Bandwidth\nCSeq: 2");
    // At once, on a new connection.
    rig.connect();
    assert!(rig.request().starts_with("TEARDOWN "));
    rig.answer("RTSP/1.0 454 Session Not Found\nCSeq: 1");
    rig.describe("", SDP);
    rig.answer("RTSP/1.0 453 Not Enough Bandwidth\nCSeq: 2");
    let info = rig.engine.info(rig.now);
    assert_eq!(info.reason, Some(FailureKind::StaleSession));
    assert_eq!(rig.quirk(Quirk::StaleWait), 1);
    let wait = rig.after_wait();
    assert!(
        wait > Duration::from_secs(50) && wait <= Duration::from_secs(65),
        "{wait:?}"
    );
    assert!(rig.request().starts_with("DESCRIBE "));
}

#[test]
fn one_that_hangs_up_on_it_is_not_told_again() {
    let mut rig = cut(LIVE555);
    assert!(rig.request().starts_with("TEARDOWN "));
    rig.close();
    rig.after_wait();
    assert!(rig.request().starts_with("DESCRIBE "));
}
