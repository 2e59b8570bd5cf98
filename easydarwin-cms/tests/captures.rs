//! What the original answered, byte by byte, against what we answer: the same message, the same
//! `ErrorNum`, at least the same fields in the body. Where the rules of our implementation ask for
//! something else, the table below says so, by number of the capture and with the reason; a
//! deviation that is none fails the test, too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{FakeNode, Peer, Reply, TestCms};
use easydarwin_cms::Policy;
use easydarwin_core::protocol::node::StreamChange;
use easydarwin_core::protocol::{Envelope, FrameDecoder, MessageType};
use serde_json::Value;

/// Capture, what we answer instead (HTTP status, ErrorNum), why.
const DEVIATIONS: &[(u32, u16, u16, &str)] = &[
    (
        25,
        400,
        400,
        "a missing parameter: JSON with a length instead of a bare 400",
    ),
    (
        29,
        200,
        603,
        "an unknown device: HTTP 200 with 603 instead of a bare 400",
    ),
    (
        31,
        200,
        404,
        "an offline channel: told in JSON instead of a bare 400",
    ),
    (
        37,
        200,
        404,
        "the device refused: its ErrorNum is passed on instead of 200",
    ),
    (
        38,
        200,
        408,
        "the device is silent: told instead of hanging up",
    ),
    (
        86,
        501,
        501,
        "not served in JSON: told in JSON instead of a bare 501",
    ),
    (
        88,
        501,
        501,
        "unknown message: told in JSON, the connection stays",
    ),
    (
        90,
        400,
        400,
        "malformed: told in JSON instead of a bare 501",
    ),
    (102, 200, 200, "TerminalType PC is taken for Windows"),
    (
        104,
        200,
        401,
        "another token on a living connection does not pass",
    ),
    (106, 200, 200, "the rightful newcomer takes over at once"),
];

/// Fields whose values are made up by each server.
const OWN_VALUES: &[&str] = &[
    "SnapURL",
    "Service",
    "From",
    "To",
    "Via",
    "Server_IP",
    "Server_PORT",
    "CSeq",
    "Example",
    "Parameter",
    "Description",
];

fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A recorded message: its head's first line and its JSON, if it has any.
fn recorded(name: &str) -> (u16, Option<Value>) {
    let bytes = file(name);
    if bytes.is_empty() {
        return (0, None);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    (status, serde_json::from_str(body).ok())
}

fn number(name: &str) -> u32 {
    name.split('-').next().and_then(|n| n.parse().ok()).unwrap()
}

/// Compares an answer with the recorded one.
fn check(name: &str, reply: &Reply) {
    let (status, theirs) = recorded(name);
    let ours: Value = serde_json::from_slice(&reply.body).unwrap();
    let error = ours["EasyDarwin"]["Header"]["ErrorNum"].clone();
    // One device's reader dies of messages without a Body.
    assert!(ours["EasyDarwin"]["Body"].is_object(), "{name}");
    let deviation = DEVIATIONS.iter().find(|(n, ..)| *n == number(name));
    let Some((_, our_status, our_error, why)) = deviation else {
        let theirs = theirs.unwrap_or_else(|| panic!("{name} is bare: a deviation is missing"));
        assert_eq!(reply.status, status, "{name}");
        let (theirs, ours) = (&theirs["EasyDarwin"], &ours["EasyDarwin"]);
        for field in ["MessageType", "ErrorNum", "ErrorString", "Version"] {
            assert_eq!(
                ours["Header"][field], theirs["Header"][field],
                "{name} {field}"
            );
        }
        assert!(ours["Header"]["CSeq"].is_string());
        superset(name, &ours["Body"], &theirs["Body"]);
        return;
    };
    assert_eq!(reply.status, *our_status, "{name}: {why}");
    assert_eq!(error, our_error.to_string(), "{name}: {why}");
    let their_error = theirs.map(|t| t["EasyDarwin"]["Header"]["ErrorNum"].clone());
    let same = their_error == Some(error) && status == reply.status;
    assert!(
        !same,
        "{name} does not deviate any more; take it off the list"
    );
}

/// Everything that stands in `theirs` stands in `ours`.
fn superset(name: &str, ours: &Value, theirs: &Value) {
    match theirs {
        Value::Null => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                assert!(
                    ours.get(key).is_some(),
                    "{name}: {key} is missing in {ours}"
                );
                if !OWN_VALUES.contains(&key.as_str()) {
                    superset(name, &ours[key], value);
                }
            }
        }
        Value::Array(items) => {
            // The original's order is that of its hash table.
            let mine = ours.as_array().unwrap();
            for item in items {
                let key = ["Serial", "Channel", "Action"]
                    .into_iter()
                    .find(|key| item.get(key).is_some())
                    .unwrap();
                let own = mine.iter().find(|own| own[key] == item[key]);
                superset(name, own.unwrap_or_else(|| panic!("{name}: {item}")), item);
            }
        }
        scalar => assert_eq!(ours, scalar, "{name}"),
    }
}

/// Sends one recorded request and compares the answer.
async fn step(peer: &mut Peer, request: &str, answer: &str) {
    peer.send(&file(request)).await;
    check(answer, &peer.expect().await);
}

/// Sends recorded requests, each on a connection of its own.
async fn alone(cms: &TestCms, steps: &[(&str, &str)]) {
    for (request, answer) in steps {
        step(&mut cms.connect().await, request, answer).await;
    }
}

/// A recorded message of a device, with the CSeq and the route that it answers.
fn from_device(name: &str, request: &Envelope) -> Vec<u8> {
    let bytes = file(name);
    let frame = FrameDecoder::default().decode(&bytes).unwrap().unwrap();
    let mut message = Envelope::parse(frame.body).unwrap();
    message.header.set("CSeq", request.cseq());
    for (field, from) in [("From", "To"), ("To", "From"), ("Via", "Via")] {
        message.body.set(field, request.body.text_or_empty(from));
    }
    message.to_response("EasyCamera/1.1").to_vec()
}

/// What we send to a device holds everything that the original sends.
fn check_to_device(name: &str, reply: &Reply) {
    let theirs = recorded(name).1.unwrap();
    let ours: Value = serde_json::from_slice(&reply.body).unwrap();
    let (ours, theirs) = (&ours["EasyDarwin"], &theirs["EasyDarwin"]);
    assert_eq!(
        ours["Header"]["MessageType"],
        theirs["Header"]["MessageType"]
    );
    let mut expected = theirs["Body"].clone();
    // The original leaves it empty; documents say RTSP.
    if expected["Protocol"] == "" {
        expected["Protocol"] = "RTSP".into();
    }
    superset(name, &ours["Body"], &expected);
    // Known devices look for these very bytes.
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert!(text.contains("\"Version\" : \"v1\""));
    assert_eq!(reply.status, 200);
    assert!(reply.header("Content-Length").is_some());
}

#[tokio::test]
async fn the_originals_sessions_are_answered_alike() {
    let cms = TestCms::start(|config| {
        config.policy = Policy::Open;
        config.push_ack = Duration::from_millis(500);
    })
    .await;

    alone(
        &cms,
        &[
            (
                "01-usage-root-unknown-path.req",
                "02-usage-root-unknown-path.resp",
            ),
            ("03-devicelist-empty.req", "04-devicelist-empty.resp"),
        ],
    )
    .await;

    let mut camera = cms.connect().await;
    step(
        &mut camera,
        "05-register-camera.req",
        "06-register-camera.resp",
    )
    .await;
    let mut nvr = cms.connect().await;
    step(&mut nvr, "08-register-nvr.req", "09-register-nvr.resp").await;
    alone(
        &cms,
        &[
            ("10-devicelist-two.req", "11-devicelist-two.resp"),
            (
                "12-devicelist-filter-app.req",
                "13-devicelist-filter-app.resp",
            ),
            (
                "14-devicelist-filter-app-lowercase-param.req",
                "15-devicelist-filter-app-lowercase-param.resp",
            ),
            (
                "16-devicelist-filter-terminal.req",
                "17-devicelist-filter-terminal.resp",
            ),
            ("18-deviceinfo-camera.req", "19-deviceinfo-camera.resp"),
            ("20-deviceinfo-nvr.req", "21-deviceinfo-nvr.resp"),
            ("22-deviceinfo-unknown.req", "23-deviceinfo-unknown.resp"),
            ("24-deviceinfo-noparam.req", "25-deviceinfo-noparam.resp"),
            ("26-start-no-easydarwin.req", "27-start-no-easydarwin.resp"),
            (
                "28-start-unknown-device.req",
                "29-start-unknown-device.resp",
            ),
            (
                "30-start-nvr-offline-channel.req",
                "31-start-nvr-offline-channel.resp",
            ),
        ],
    )
    .await;

    streams(&cms, &mut camera).await;
    snapshots(&cms, &mut camera).await;

    alone(
        &cms,
        &[
            ("79-json-devicelist.req", "80-json-devicelist.resp"),
            ("81-json-deviceinfo-nvr.req", "82-json-deviceinfo-nvr.resp"),
            (
                "83-json-deviceinfo-unknown.req",
                "84-json-deviceinfo-unknown.resp",
            ),
            ("85-json-getstream.req", "86-json-getstream.resp"),
            ("87-json-unknown-type.req", "88-json-unknown-type.resp"),
            ("89-json-malformed.req", "90-json-malformed.resp"),
            ("91-json-integer-cseq.req", "92-json-integer-cseq.resp"),
            (
                "93-register-no-terminal.req",
                "94-register-no-terminal.resp",
            ),
            ("95-register-no-serial.req", "96-register-no-serial.resp"),
            (
                "97-register-apptype-easydarwin.req",
                "98-register-apptype-easydarwin.resp",
            ),
            (
                "99-register-unknown-apptype.req",
                "100-register-unknown-apptype.resp",
            ),
            (
                "101-register-unknown-terminal.req",
                "102-register-unknown-terminal.resp",
            ),
        ],
    )
    .await;

    // The conflict: the newcomer is let in at its first try and the old connection is closed,
    // which the original does, too (107 is empty).
    step(
        &mut camera,
        "103-register-other-token-same-session.req",
        "104-register-other-token-same-session.resp",
    )
    .await;
    let mut newcomer = cms.connect().await;
    step(
        &mut newcomer,
        "105-register-conflict-first.req",
        "106-register-conflict-first.resp",
    )
    .await;
    assert!(file("107-register-conflict-old-session.resp").is_empty());
    camera.closed().await;
    step(
        &mut newcomer,
        "108-register-conflict-retry.req",
        "109-register-conflict-retry.resp",
    )
    .await;
    alone(
        &cms,
        &[(
            "110-devicelist-after-conflict.req",
            "111-devicelist-after-conflict.resp",
        )],
    )
    .await;
}

/// 32 to 53.
async fn streams(cms: &TestCms, camera: &mut Peer) {
    let mut node = FakeNode::join(cms, "n1").await;
    let path = "001001000099/1";
    let mut client = cms.connect().await;

    client.send(&file("32-start-camera-client.req")).await;
    let push = camera.expect().await;
    check_to_device("33-start-camera-to-device.req", &push);
    let answer = from_device("34-start-camera-from-device.resp", &push.envelope());
    camera.send(&answer).await;
    let generation = node.granted().await.generation;
    node.tell(StreamChange::Ready, path, generation);
    check("35-start-camera-client.resp", &client.expect().await);

    node.tell(StreamChange::Ended, path, generation);
    while !cms.handle.nodes().streams().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    client.send(&file("32-start-camera-client.req")).await;
    let push = camera.expect().await.envelope();
    camera
        .send(&from_device("36-start-refused-from-device.resp", &push))
        .await;
    check("37-start-refused-client.resp", &client.expect().await);

    // The original hangs up after ten seconds of the device's silence.
    client.send(&file("32-start-camera-client.req")).await;
    let push = camera.expect().await.envelope();
    assert_eq!(push.kind(), Some(MessageType::PushStreamReq));
    check("38-start-silent-client.resp", &client.expect().await);

    node.tell(StreamChange::Ready, path, generation + 10);
    while cms.handle.nodes().streams().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    step(
        &mut client,
        "39-start-already-live.req",
        "40-start-already-live.resp",
    )
    .await;

    step(&mut client, "41-stop-client.req", "42-stop-client.resp").await;
    let stop = camera.expect().await;
    check_to_device("43-stop-to-device.req", &stop);
    camera
        .send(&from_device("44-stop-from-device.resp", &stop.envelope()))
        .await;
    assert!(file("45-stop-from-device-reaction.resp").is_empty());

    let mut server = cms.connect().await;
    step(
        &mut server,
        "46-freestream-from-easydarwin.req",
        "47-freestream-from-easydarwin.resp",
    )
    .await;
    check_to_device("48-freestream-to-device.req", &camera.expect().await);
    step(
        &mut server,
        "49-freestream-unknown.req",
        "50-freestream-unknown.resp",
    )
    .await;

    step(&mut client, "51-ptz-client.req", "52-ptz-client.resp").await;
    check_to_device("53-ptz-to-device.req", &camera.expect().await);
}

/// 73 to 78.
async fn snapshots(cms: &TestCms, camera: &mut Peer) {
    step(camera, "73-snap.req", "74-snap.resp").await;
    alone(
        cms,
        &[
            (
                "75-deviceinfo-camera-after-snap.req",
                "76-deviceinfo-camera-after-snap.resp",
            ),
            ("77-snap-unregistered.req", "78-snap-unregistered.resp"),
        ],
    )
    .await;
}

/// Each file is replayed, or compared, or known to be empty.
#[test]
fn no_capture_is_forgotten() {
    let source = include_str!("captures.rs");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".md") || source.contains(&name), "{name}");
    }
}
