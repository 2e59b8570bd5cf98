//! What people do with a camera, and what it tells: a REST client and a listener at one end, a real
//! camera at the other, the CMS between them over its port.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;
#[path = "common/embedder.rs"]
mod embedder;

use std::process::Stdio;
use std::time::Duration;

use common::{PATIENCE, Peer, TestCms, code};
use easydarwin_camera::CameraEvent;
use easydarwin_camera::control::{
    Command, CommandKind, DeviceEvent, EventLevel, EventVerdict, TalkbackCodec,
};
use easydarwin_core::protocol::ErrorNum;
use embedder::{Embedder, talk};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// A `curl -N` that listens to all events.
struct Listener {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Listener {
    async fn open(cms: &TestCms) -> Self {
        let mut child = tokio::process::Command::new("curl")
            .args(["-sN", &format!("http://{}/api/v2/events", cms.addr)])
            .args(["-H", &format!("X-API-Key: {}", cms.handle.api_key())])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("curl: apt-get install curl");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listener = Self {
            lines,
            _child: child,
        };
        // It listens once it is told where it begins.
        listener.line(|line| line == "event: open").await;
        listener
    }

    async fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let reading = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.expect("the stream goes on");
                if wanted(&line) {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("an event in time")
    }

    async fn until(&mut self, kind: &str) -> Value {
        let wanted = format!("\"kind\":\"{kind}\"");
        let line = self
            .line(|line| line.starts_with("data: ") && line.contains(&wanted))
            .await;
        serde_json::from_str(&line["data: ".len()..]).unwrap()
    }
}

async fn http(cms: &TestCms, request: &str, head: &str, body: &str) -> (u16, Value) {
    let text = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\n{head}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        cms.addr,
        body.len()
    );
    let mut peer = cms.connect().await;
    peer.send(text.as_bytes()).await;
    let reply = peer.expect().await;
    let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    (reply.status, body)
}

async fn with_key(cms: &TestCms, request: &str, body: &str) -> (u16, Value) {
    let head = format!("X-API-Key: {}\r\n", cms.handle.api_key());
    http(cms, request, &head, body).await
}

const ALL: [CommandKind; 6] = [
    CommandKind::Ptz,
    CommandKind::Preset,
    CommandKind::Talkback,
    CommandKind::Snapshot,
    CommandKind::Reboot,
    CommandKind::Config,
];

#[tokio::test]
async fn commands_reach_the_camera_and_its_answer_comes_back() {
    let cms = TestCms::start(|_| {}).await;
    let mut camera = Embedder::start(&cms, ALL).await;
    let mut told = Listener::open(&cms).await;

    let ptz = cms
        .api("ptzcontrol?device=cam&protocol=onvif&actiontype=single&command=left&speed=3")
        .await;
    assert_eq!(code(&ptz), 200);
    let Command::Ptz(ptz) = camera.does(ErrorNum::OK).await else {
        panic!("no PTZ");
    };
    assert_eq!((&*ptz.command, &*ptz.speed), ("LEFT", "3"));

    let preset = cms.api("presetcontrol?device=cam&protocol=onvif&command=goto&preset=2");
    let (preset, command) = tokio::join!(preset, camera.does(ErrorNum::CONFLICT));
    assert_eq!(code(&preset), 409, "the camera's own answer");
    assert!(matches!(command, Command::Preset(_)));

    let reboot = "POST /api/v2/devices/cam/reboot";
    let (reply, command) = tokio::join!(with_key(&cms, reboot, ""), camera.does(ErrorNum::OK));
    assert_eq!(reply, (200, json!({ "result": 200 })));
    assert_eq!(command, Command::Reboot);
    let event = told.until("device.commanded").await;
    assert_eq!(event["serial"], "cam");
    assert_eq!(event["data"]["command"], "reboot");
    assert_eq!(event["data"]["result"], 200);
    // By its address alone nobody reboots anything, though it may move the camera.
    assert_eq!(http(&cms, reboot, "", "").await.0, 403);

    let config = "PUT /api/v2/devices/cam/config";
    let body = r#"{"osd.text": "Hall", "wifi.password": "hunter2"}"#;
    let failed = ErrorNum::DEVICE_FAILURE;
    let (reply, command) = tokio::join!(with_key(&cms, config, body), camera.does(failed));
    assert_eq!((reply.0, &reply.1["result"]), (502, &json!(701)));
    let Command::Config(settings) = command else {
        panic!("{command:?}");
    };
    assert_eq!(settings.len(), 2);
    assert_eq!(
        (&*settings[1].name, &*settings[1].value),
        ("wifi.password", "hunter2")
    );
    let event = told.until("device.commanded").await;
    assert_eq!(event["data"]["names"], json!(["osd.text", "wifi.password"]));
    assert!(!event.to_string().contains("hunter2"));
    for bad in ["{}", "[]", r#"{"a b": "x"}"#, r#"{"a": 1}"#] {
        assert_eq!(with_key(&cms, config, bad).await.0, 400, "{bad}");
    }

    let snapshot = "POST /api/v2/devices/cam/snapshot?channel=1";
    camera
        .until(|event| matches!(event, CameraEvent::SnapshotSent { .. }))
        .await;
    assert_eq!(with_key(&cms, snapshot, "").await.0, 200);
    // Long before the next one that nobody asks for.
    camera
        .until(|event| matches!(event, CameraEvent::SnapshotSent { channel: 1 }))
        .await;
    drop(camera);
    cms.stop().await;
}

#[tokio::test]
async fn what_a_device_does_not_do_is_said_clearly() {
    let cms = TestCms::start(|_| {}).await;
    cms.handle.provision_token("old", "123456").await.unwrap();
    let mut old = cms.connect().await;
    old.register("old", "123456").await;
    let camera = Embedder::start(&cms, [CommandKind::Ptz]).await;
    for serial in ["old", "cam"] {
        let path = format!("POST /api/v2/devices/{serial}/reboot");
        let (status, body) = with_key(&cms, &path, "").await;
        assert_eq!(status, 501);
        assert_eq!(body["error"], "the device does not support reboot");
    }
    let preset = cms
        .api("presetcontrol?device=cam&protocol=onvif&command=goto&preset=2")
        .await;
    assert_eq!(code(&preset), 501, "answered by the camera at once");
    let path = "POST /api/v2/devices/nobody/reboot";
    assert_eq!(with_key(&cms, path, "").await.0, 404);
    drop(old);
    let path = "POST /api/v2/devices/old/reboot";
    let gone = async {
        while with_key(&cms, path, "").await.0 != 409 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("409");
    drop(camera);
    cms.stop().await;
}

#[tokio::test]
async fn speech_arrives_whole_in_order_and_in_pace() {
    let cms = TestCms::start(|_| {}).await;
    let mut camera = Embedder::start(&cms, ALL).await;
    let mut client: Peer = cms.connect().await;
    let answer = client.ask(&talk(1, "START", 0, &[])).await;
    assert_eq!(code(&answer), 200);
    let codec = TalkbackCodec::G711A;
    let start = camera.does(ErrorNum::OK).await;
    assert_eq!(start, Command::TalkbackStart { channel: 1, codec });

    // A second of speech as it is spoken.
    let talking = async {
        let mut pace = tokio::time::interval(Duration::from_millis(40));
        for n in 1..=25u8 {
            pace.tick().await;
            let piece = talk(1 + u32::from(n), "SENDDATA", 40 * u64::from(n), &[n; 320]);
            assert_eq!(code(&client.ask(&piece).await), 200);
        }
        assert_eq!(code(&client.ask(&talk(30, "STOP", 0, &[])).await), 200);
    };
    let listening = async {
        let mut heard = Vec::new();
        loop {
            let speech = |event: &CameraEvent| {
                matches!(
                    event,
                    CameraEvent::Talkback(_) | CameraEvent::TalkbackEnded { .. }
                )
            };
            match camera.until(speech).await {
                CameraEvent::Talkback(frame) => {
                    let now = tokio::time::Instant::now();
                    heard.extend(frame.audio.map(|audio| (now, frame.pts_ms, audio)));
                }
                CameraEvent::TalkbackEnded { stats, .. } => return (heard, stats),
                _ => {}
            }
        }
    };
    let ((), (heard, stats)) = tokio::join!(talking, listening);
    assert_eq!(stats.pieces, 25);
    assert_eq!(stats.played + stats.late + stats.skipped, 50);
    // A machine that is busy with something else may hold pieces up for longer than speech waits.
    assert!(stats.played >= 35, "{stats:?}");
    assert_eq!(heard.len(), usize::try_from(stats.played).unwrap());
    for pair in heard.windows(2) {
        assert!(pair[0].1 < pair[1].1, "in order");
    }
    for (_, pts, audio) in &heard {
        assert_eq!(pts % 20, 0);
        let piece = u8::try_from(pts / 40).unwrap();
        assert!(audio.len() == 160 && audio.iter().all(|b| *b == piece));
    }
    // In one heap it would be done at once.
    let took = heard.last().unwrap().0 - heard[0].0;
    assert!(took >= Duration::from_millis(500), "{took:?}");
    drop(camera);
    cms.stop().await;
}

#[tokio::test]
async fn what_a_camera_tells_is_heard_and_too_much_of_it_is_not() {
    let cms = TestCms::start(|_| {}).await;
    let mut told = Listener::open(&cms).await;
    let camera = Embedder::start(&cms, []).await;
    let motion = DeviceEvent::new("motion.begun")
        .level(EventLevel::Warning)
        .channel(1)
        .with("zone", "door");
    assert_eq!(camera.handle.send_event(motion), EventVerdict::Queued);
    let event = told.until("device.event").await;
    assert_eq!(
        (&event["serial"], &event["channel"]),
        (&json!("cam"), &json!(1))
    );
    let data = &event["data"];
    assert_eq!(
        (&data["name"], &data["level"]),
        (&json!("motion.begun"), &json!("warning"))
    );
    assert_eq!(
        (&data["data"], &data["number"]),
        (&json!({ "zone": "door" }), &json!(1))
    );
    assert!(data["time"].as_u64().is_some(), "by the CMS's clock");

    let hot = DeviceEvent::health(EventLevel::Critical).with("celsius", "91");
    assert_eq!(camera.handle.send_event(hot), EventVerdict::Queued);
    let event = told.until("device.health").await;
    assert_eq!(
        (&event["data"]["level"], &event["data"]["before"]),
        (&json!("critical"), &json!("info"))
    );
    let (_, presence) = with_key(&cms, "GET /api/v2/devices/cam/presence", "").await;
    assert_eq!(presence["health"]["level"], "critical");
    assert_eq!(presence["health"]["data"], json!({ "celsius": "91" }));

    // A device that knows no measure.
    cms.handle.provision_token("old", "123456").await.unwrap();
    let mut old = cms.connect().await;
    old.register("old", "123456").await;
    let mut answers = Vec::new();
    for n in 1..=40 {
        let mut event = DeviceEvent::new("noise");
        event.number = u64::from(n);
        let answer = old.ask(&event.to_envelope("old", n)).await;
        answers.push(code(&answer));
    }
    let taken = answers.iter().filter(|code| **code == 200).count();
    assert!((30..40).contains(&taken), "{answers:?}");
    assert!(answers.iter().all(|code| [200, 429].contains(code)));
    let mut stranger = cms.connect().await;
    let answer = stranger
        .ask(&DeviceEvent::new("noise").to_envelope("cam", 1))
        .await;
    assert_eq!(code(&answer), 401);
    drop(camera);
    cms.stop().await;
}
