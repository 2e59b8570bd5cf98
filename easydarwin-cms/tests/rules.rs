//! The rules by which devices and clients of the EasyDarwin era are served, one by one as
//! `docs/protocol.md` numbers them, and what its known peers need. Bytes are looked at where the
//! rule is about bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::time::Duration;

use common::{FakeNode, Peer, TestCms, code};
use easydarwin_cms::{CmsConfig, Policy};
use easydarwin_core::protocol::node::StreamChange;
use easydarwin_core::protocol::{Envelope, ErrorNum, MessageType};
use easydarwin_core::registry::StreamPath;
use serde_json::{Value, json};

async fn open() -> TestCms {
    TestCms::start(|config| {
        config.policy = Policy::Open;
        config.push_ack = Duration::from_millis(300);
        config.control_ack = Duration::from_millis(300);
    })
    .await
}

fn message(kind: &str, cseq: Value, body: Value) -> Value {
    let mut header = json!({ "Version": "1.0", "CSeq": cseq, "MessageType": kind });
    if kind == "MSG_DS_REGISTER_REQ" {
        header["AppType"] = "EasyCamera".into();
        header["TerminalType"] = "ARM_Linux".into();
    }
    json!({ "EasyDarwin": { "Header": header, "Body": body } })
}

fn framed(start: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("{start}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A device that has registered.
async fn device(cms: &TestCms, serial: &str) -> Peer {
    let mut peer = cms.connect().await;
    let register = message(
        "MSG_DS_REGISTER_REQ",
        json!("1"),
        json!({ "Serial": serial }),
    );
    peer.send(&framed("POST / HTTP/1.1", &register)).await;
    assert_eq!(peer.expect().await.error(), 200);
    peer
}

/// The next message, as JSON.
async fn next(peer: &mut Peer) -> Value {
    let reply = peer.expect().await;
    serde_json::from_slice(&reply.body).unwrap()
}

/// Answers a request as an old device does: From and To swapped, extra fields on top.
async fn answer(peer: &mut Peer, start: &str, request: &Value, kind: &str, error: &str) {
    let body = &request["EasyDarwin"]["Body"];
    let mut answer = message(
        kind,
        request["EasyDarwin"]["Header"]["CSeq"].clone(),
        json!({
            "Serial": body["Serial"], "Channel": body["Channel"], "Reserve": "1",
            "Server_IP": body["Server_IP"], "Server_Port": body["Server_PORT"],
            "From": body["To"], "To": body["From"], "Via": body["Via"],
        }),
    );
    answer["EasyDarwin"]["Header"]["ErrorNum"] = error.into();
    peer.send(&framed(start, &answer)).await;
}

fn all_strings(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(all_strings),
        Value::Array(list) => list.iter().all(all_strings),
        other => other.is_string(),
    }
}

#[tokio::test]
async fn rule_01_either_start_line_and_scalars_of_either_kind() {
    let cms = open().await;
    for start in [
        "POST / HTTP/1.1",
        "HTTP/1.1 200 OK",
        "POST http://cms/ HTTP/1.1",
    ] {
        let mut peer = cms.connect().await;
        let body = json!({ "Serial": "cam1", "Name": 7, "ChannelCount": 0 });
        let register = message("MSG_DS_REGISTER_REQ", json!(41), body);
        let text = register.to_string();
        let head = format!("{start}\r\ncontent-LENGTH: {}\r\n\r\n{text}", text.len());
        peer.send(head.as_bytes()).await;
        let ack = peer.expect().await.envelope();
        assert_eq!((code(&ack), ack.cseq().as_str()), (200, "41"), "{start}");
    }
}

#[tokio::test]
async fn rule_02_to_devices_a_status_line_content_length_and_sorted_strings() {
    use tokio::io::AsyncReadExt as _;
    let cms = open().await;
    let mut peer = cms.connect().await;
    let register = message(
        "MSG_DS_REGISTER_REQ",
        json!("1"),
        json!({ "Serial": "cam1" }),
    );
    peer.send(&framed("POST / HTTP/1.1", &register)).await;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}\n") {
        assert_ne!(peer.stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
    let keys: Vec<_> = body
        .lines()
        .filter_map(|line| line.trim().split_once(" : ").map(|(key, _)| key))
        .collect();
    let expected = [
        "\"EasyDarwin\"",
        "\"Body\"",
        "\"Serial\"",
        "\"Header\"",
        "\"CSeq\"",
        "\"ErrorNum\"",
        "\"ErrorString\"",
        "\"MessageType\"",
        "\"Version\"",
    ];
    assert_eq!(keys, expected);
    assert!(all_strings(&serde_json::from_str(body).unwrap()));
}

#[tokio::test]
async fn rule_03_errors_have_a_body_as_well() {
    let cms = open().await;
    let mut peer = cms.connect().await;
    for (kind, body) in [
        ("MSG_DS_REGISTER_REQ", json!({})),
        ("MSG_DS_POST_SNAP_REQ", json!({ "Serial": "x" })),
        ("MSG_CS_DEVICE_INFO_REQ", json!({ "Serial": "nobody" })),
        ("MSG_CS_TALKBACK_CONTROL_REQ", json!({ "Serial": "nobody" })),
        (
            "MSG_CS_FREE_STREAM_REQ",
            json!({ "Serial": "nobody", "Channel": "1" }),
        ),
        ("MSG_NOBODY_KNOWS_THIS", json!({})),
    ] {
        let request = message(kind, json!("3"), body);
        peer.send(&framed("POST / HTTP/1.1", &request)).await;
        let reply = next(&mut peer).await;
        assert_ne!(reply["EasyDarwin"]["Header"]["ErrorNum"], "200", "{kind}");
        assert!(reply["EasyDarwin"]["Body"].is_object(), "{kind}");
    }
}

#[tokio::test]
async fn rules_04_05_06_push_and_stop_have_all_that_any_device_reads() {
    let cms = open().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = device(&cms, "cam1").await;
    let device = async {
        let push = next(&mut camera).await;
        let body = &push["EasyDarwin"]["Body"];
        for name in ["Server_PORT", "Server_Port"] {
            assert_eq!(body[name], "11554", "{name}");
        }
        assert_eq!(
            (&body["Protocol"], &body["Reserve"]),
            (&"RTSP".into(), &"1".into())
        );
        for name in ["From", "To", "Via"] {
            assert!(
                body[name].as_str().is_some_and(|id| id.len() == 32),
                "{name}"
            );
        }
        assert!(all_strings(&push));
        assert_eq!(
            push["EasyDarwin"]["Header"]["CSeq"], "1",
            "of our own, from 1"
        );
        // Named by the other port name only.
        answer(
            &mut camera,
            "HTTP/1.1 200 OK",
            &push,
            "MSG_DS_PUSH_STREAM_ACK",
            "200",
        )
        .await;
        let grant = node.granted().await;
        node.tell(StreamChange::Ready, "cam1/1", grant.generation);
    };
    let (reply, ()) = tokio::join!(cms.api("startdevicestream?device=cam1"), device);
    assert_eq!(code(&reply), 200);
    assert_eq!(code(&cms.api("stopdevicestream?device=cam1").await), 200);
    let stop = next(&mut camera).await;
    let header = &stop["EasyDarwin"]["Header"];
    assert_eq!(header["MessageType"], "MSG_SD_STREAM_STOP_REQ");
    assert_eq!(header["CSeq"], "2");
    for name in [
        "Serial", "Channel", "Protocol", "Reserve", "From", "To", "Via",
    ] {
        assert!(stop["EasyDarwin"]["Body"][name].is_string(), "{name}");
    }
}

#[tokio::test]
async fn rule_07_terminals_of_documents_and_clients_are_taken_and_kept_as_written() {
    let cms = open().await;
    let mut peers = Vec::new();
    for terminal in ["iOS", "IOS", "PC", "Camera"] {
        let mut peer = cms.connect().await;
        let serial = format!("of-{terminal}");
        let mut register = message(
            "MSG_DS_REGISTER_REQ",
            json!("1"),
            json!({ "Serial": serial }),
        );
        register["EasyDarwin"]["Header"]["TerminalType"] = terminal.into();
        peer.send(&framed("POST / HTTP/1.1", &register)).await;
        assert_eq!(peer.expect().await.error(), 200, "{terminal}");
        peers.push(peer);
    }
    for (filter, count) in [
        ("ios", "2"),
        ("IOS%7Cpc", "3"),
        ("windows", "1"),
        ("android", "0"),
    ] {
        let list = cms
            .api(&format!("getdevicelist?TerminalType={filter}"))
            .await;
        assert_eq!(list.body.text_or_empty("DeviceCount"), count, "{filter}");
    }
    let list = cms.api("getdevicelist?apptype=EASYCAMERA").await;
    let shown: Vec<_> = list.body.list("Devices").to_vec();
    assert!(
        shown
            .iter()
            .any(|d| d.text_or_empty("TerminalType") == "PC")
    );
}

#[tokio::test]
async fn rule_08_commands_reach_devices_in_upper_case() {
    let cms = open().await;
    let mut camera = device(&cms, "cam1").await;
    cms.api("ptzcontrol?device=cam1&protocol=onvif&actiontype=single&command=down&speed=5")
        .await;
    let ptz = next(&mut camera).await;
    let body = &ptz["EasyDarwin"]["Body"];
    assert_eq!(
        (&body["Protocol"], &body["Command"]),
        (&"ONVIF".into(), &"DOWN".into())
    );
    assert_eq!(body["ActionType"], "SINGLE");
    let device = async {
        let preset = next(&mut camera).await;
        assert_eq!(preset["EasyDarwin"]["Body"]["Command"], "GOTO");
        answer(
            &mut camera,
            "HTTP/1.1 200 OK",
            &preset,
            "MSG_DS_CONTROL_PRESET_ACK",
            "200",
        )
        .await;
    };
    let call = cms.api("presetcontrol?device=cam1&protocol=onvif&command=goto&preset=2");
    let (ack, ()) = tokio::join!(call, device);
    assert_eq!(
        (code(&ack), ack.body.text_or_empty("Protocol")),
        (200, "ONVIF".into())
    );
}

#[tokio::test]
async fn rule_09_everything_is_answered() {
    let cms = open().await;
    let _node = FakeNode::join(&cms, "n1").await;
    let mut camera = device(&cms, "cam1").await;
    let start = "startdevicestream?device=cam1";
    assert_eq!(code(&cms.api(start).await), 408, "silent");
    next(&mut camera).await;
    let refuses = async {
        let push = next(&mut camera).await;
        answer(
            &mut camera,
            "HTTP/1.1 200 OK",
            &push,
            "MSG_DS_PUSH_STREAM_ACK",
            "603",
        )
        .await;
    };
    let (reply, ()) = tokio::join!(cms.api(start), refuses);
    assert_eq!(code(&reply), 603, "refused: its own number");
    for call in [
        "startdevicestream",
        "stopdevicestream",
        "getdeviceinfo",
        "ptzcontrol?protocol=onvif&actiontype=single&command=up&x=",
        "presetcontrol?protocol=onvif&command=goto&x=",
    ] {
        let mark = if call.contains('?') { '&' } else { '?' };
        let reply = cms.get(&format!("/api/v1/{call}{mark}device=nobody")).await;
        assert_eq!((reply.status, reply.error()), (200, 603), "{call}");
    }
    let mut peer = cms.connect().await;
    peer.send(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n{x}")
        .await;
    let reply = peer.expect().await;
    assert_eq!(reply.error(), 400);
    assert!(reply.header("Content-Length").is_some());
}

#[tokio::test]
async fn rule_10_talkback_is_acknowledged_in_digits() {
    let cms = open().await;
    let _camera = device(&cms, "cam1").await;
    let mut client = cms.connect().await;
    // As one client really sends it: no blank before the version.
    for (start, command, error) in [
        ("POST /HTTP/1.1", "SENDDATA", "400"),
        ("POST http://cms:10000/HTTP/1.1", "START", "200"),
        ("POST / HTTP/1.1", "SENDDATA", "200"),
        ("POST / HTTP/1.1", "STOP", "200"),
    ] {
        let body = json!({
            "Serial": "cam1", "Channel": "1", "Protocol": "SDK", "Reserve": "1",
            "Command": command, "AudioType": "G711A", "AudioData": "1dXV1Q==", "Pts": "200",
        });
        let request = message("MSG_CS_TALKBACK_CONTROL_REQ", json!("5"), body);
        client.send(&framed(start, &request)).await;
        let ack = next(&mut client).await;
        assert_eq!(ack["EasyDarwin"]["Header"]["ErrorNum"], error, "{command}");
    }
}

#[tokio::test]
async fn rule_11_the_rightful_newcomer_takes_over_and_a_wrong_token_disturbs_nobody() {
    let cms = TestCms::start(|_| {}).await;
    cms.handle.provision_token("cam1", "right").await.unwrap();
    let mut holder = cms.connect().await;
    assert_eq!(code(&holder.register("cam1", "right").await), 200);
    let mut stranger = cms.connect().await;
    assert_eq!(code(&stranger.register("cam1", "wrong").await), 401);
    assert_eq!(
        code(&holder.register("cam1", "right").await),
        200,
        "still there"
    );
    let mut newcomer = cms.connect().await;
    assert_eq!(code(&newcomer.register("cam1", "right").await), 200);
    holder.closed().await;
    assert_eq!(code(&newcomer.register("cam1", "right").await), 200);
}

#[test]
fn rule_12_thirty_seconds_between_keep_alives_and_ninety_of_silence() {
    let config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
    assert_eq!(config.keep_alive, Duration::from_secs(30));
    assert_eq!(config.idle, Duration::from_secs(90));
}

#[tokio::test]
async fn rule_13_json_for_browsers_text_for_the_rest_and_nothing_for_devices() {
    let cms = open().await;
    for (agent, kind) in [
        ("User-Agent: Mozilla/5.0 (X11)\r\n", "application/json"),
        (
            "User-Agent: EasyClient/1.0 CFNetwork\r\n",
            "text/plain; charset=utf-8",
        ),
        ("", "text/plain; charset=utf-8"),
    ] {
        let mut peer = cms.connect().await;
        let request =
            format!("GET /api/v1/getdevicelist HTTP/1.1\r\nHost: 127.0.0.1\r\n{agent}\r\n");
        peer.send(request.as_bytes()).await;
        let reply = peer.expect().await;
        assert_eq!(reply.error(), 200);
        assert_eq!(reply.header("Content-Type"), Some(kind), "{agent}");
    }
    let mut camera = cms.connect().await;
    let register = message(
        "MSG_DS_REGISTER_REQ",
        json!("1"),
        json!({ "Serial": "cam1" }),
    );
    camera.send(&framed("POST / HTTP/1.1", &register)).await;
    assert_eq!(camera.expect().await.header("Content-Type"), None);
}

#[tokio::test]
async fn rule_14_paths_of_both_generations_and_service_is_ourselves() {
    let cms = open().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = device(&cms, "cam1").await;
    let device = async {
        let push = next(&mut camera).await;
        answer(
            &mut camera,
            "POST / HTTP/1.1",
            &push,
            "MSG_DS_PUSH_STREAM_ACK",
            "200",
        )
        .await;
        let grant = node.granted().await;
        node.tell(StreamChange::Ready, "cam1/1", grant.generation);
    };
    // One call does it all, as in the third generation.
    let (reply, ()) = tokio::join!(
        cms.get("/api/getdevicestream?device=cam1&channel=0&protocol=RTSP&reserve=1"),
        device
    );
    let envelope = reply.envelope();
    let url = envelope.body.text_or_empty("URL");
    assert!(
        url.starts_with("rtsp://127.0.0.2:11554/cam1/1?token="),
        "{url}"
    );
    for path in [
        "/api/getdevicelist",
        "/API/V1/GetDeviceList/",
        "/api/v1/getdevicelist",
    ] {
        let envelope = cms.get(path).await.envelope();
        assert_eq!(envelope.body.text_or_empty("DeviceCount"), "1", "{path}");
    }
    // Two steps, as in the fourth: where Service sends them the URL is had.
    let mut client = cms.connect().await;
    let host = format!("127.0.0.1:{}", cms.addr.port());
    for target in [
        "/api/v1/startdevicestream?device=cam1",
        "/api/v1/getdevicestream?device=cam1&protocol=hls",
        "/api/v1/livedevicestream?device=cam1&protocol=hls",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(request.as_bytes()).await;
        let envelope = client.expect().await.envelope();
        assert_eq!(code(&envelope), 200, "{target}");
        if target.contains("start") {
            let service = envelope.body.text_or_empty("Service");
            let own = format!("IP=127.0.0.1;Port={};Type=EasyDarwin", cms.addr.port());
            assert_eq!(service, own);
        }
    }
}

#[test]
fn rule_15_all_forms_of_push_urls_are_one_stream() {
    for (text, stream) in [
        ("/001001000099", "001001000099/1"),
        ("/001001000099.sdp", "001001000099/1"),
        ("/001001000099/1.sdp", "001001000099/1"),
        ("/001001000099?channel=2", "001001000099/2"),
        ("/001001000099/2.sdp", "001001000099/2"),
        ("/001001000099/02", "001001000099/2"),
        ("/001001000099/0", "001001000099/1"),
    ] {
        assert_eq!(StreamPath::parse(text).unwrap().as_str(), stream, "{text}");
    }
}

#[tokio::test]
async fn rule_16_what_the_original_did_not_check_is_checked() {
    let cms = open().await;
    let long = "x".repeat(65);
    for serial in ["../x", "a b", "%s", "a/b", "a;b", "", long.as_str()] {
        let mut peer = cms.connect().await;
        let register = message(
            "MSG_DS_REGISTER_REQ",
            json!("1"),
            json!({ "Serial": serial }),
        );
        peer.send(&framed("POST / HTTP/1.1", &register)).await;
        assert_eq!(peer.expect().await.error(), 400, "{serial:?}");
    }
    let mut peer = cms.connect().await;
    let channels: Vec<_> = (1..=65)
        .map(|n| json!({ "Channel": n.to_string(), "Name": "x", "Status": "online" }))
        .collect();
    let body = json!({ "Serial": "nvr", "ChannelCount": "65", "Channels": channels });
    let mut register = message("MSG_DS_REGISTER_REQ", json!("1"), body);
    register["EasyDarwin"]["Header"]["AppType"] = "EasyNVR".into();
    peer.send(&framed("POST / HTTP/1.1", &register)).await;
    assert_eq!(
        peer.expect().await.error(),
        400,
        "more channels than there can be"
    );
    let mut camera = device(&cms, "cam1").await;
    let foreign = json!({ "Serial": "cam2", "Type": "JPEG", "Image": "/9j/2Q==" });
    let snap = message("MSG_DS_POST_SNAP_REQ", json!("7"), foreign);
    camera.send(&framed("POST / HTTP/1.1", &snap)).await;
    assert_eq!(
        camera.expect().await.error(),
        403,
        "another device's picture"
    );
}

/// An old media server says that nobody watches: only a joined node, or somebody of a trusted
/// network with the right to control.
#[tokio::test]
async fn free_stream_is_taken_from_nodes_and_trusted_networks_only() {
    let free = message(
        "MSG_CS_FREE_STREAM_REQ",
        json!("1"),
        json!({ "Serial": "cam1", "Channel": "1" }),
    );
    let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
    config.policy = Policy::Open;
    let closed = TestCms::run(easydarwin_cms::Cms::builder(config).build().await.unwrap());
    let mut camera = device(&closed, "cam1").await;
    let mut stranger = closed.connect().await;
    stranger.send(&framed("POST / HTTP/1.1", &free)).await;
    assert_eq!(stranger.expect().await.error(), 401);
    // Neither does a device speak for media servers.
    camera.send(&framed("POST / HTTP/1.1", &free)).await;
    assert_eq!(camera.expect().await.error(), 401);
    let mut node = FakeNode::join(&closed, "n1").await;
    node.send(Envelope::parse(free.to_string().as_bytes()).unwrap());
    assert_eq!(code(&node.asked(MessageType::FreeStreamAck).await), 200);
    assert_eq!(
        next(&mut camera).await["EasyDarwin"]["Header"]["MessageType"],
        "MSG_SD_STREAM_STOP_REQ"
    );

    let trusting = open().await;
    let _camera = device(&trusting, "cam1").await;
    let mut server = trusting.connect().await;
    server.send(&framed("POST / HTTP/1.1", &free)).await;
    assert_eq!(server.expect().await.error(), 200);
}

/// The Android camera reads what we send with a reader that knows little.
#[tokio::test]
async fn the_android_camera_gets_what_its_reader_needs() {
    let cms = open().await;
    let _node = FakeNode::join(&cms, "n1").await;
    let mut camera = cms.connect().await;
    let mut register = message(
        "MSG_DS_REGISTER_REQ",
        json!("1"),
        json!({ "Serial": "phone" }),
    );
    register["EasyDarwin"]["Header"]["TerminalType"] = "Android".into();
    let start = "POST / HTTP/1.1\r\nUser-Agent:Android device\r\nConnection: Keep-Alive";
    camera.send(&framed(start, &register)).await;
    let ack = camera.expect().await;
    let text = String::from_utf8(ack.body.clone()).unwrap();
    assert!(
        text.contains("\"ErrorNum\" : \"200\""),
        "with the blanks: {text}"
    );
    assert!(ack.headers.iter().any(|(name, _)| name == "Content-Length"));
    // Its push URL has no channel, its acks come as requests.
    let device = async {
        let push = next(&mut camera).await;
        let cseq: u32 = push["EasyDarwin"]["Header"]["CSeq"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(cseq < 100_000, "its own begin there");
        answer(&mut camera, start, &push, "MSG_DS_PUSH_STREAM_ACK", "500").await;
    };
    let (reply, ()) = tokio::join!(cms.api("startdevicestream?device=phone"), device);
    assert_eq!(code(&reply), 500);
    // It knows nothing of PTZ and never answers: its client is answered all the same.
    let ptz = "ptzcontrol?device=phone&protocol=sdk&actiontype=single&command=up";
    assert_eq!(code(&cms.api(ptz).await), 200);
    assert_eq!(ErrorNum::OK.code(), 200);
}

/// The web client and the one for iOS want opposite content types, leave the channel out or ask
/// for 0, and use the old path for PTZ.
#[tokio::test]
async fn the_h5_and_ios_clients_get_what_they_ask_for_in_their_ways() {
    let cms = open().await;
    let mut node = FakeNode::join(&cms, "n1").await;
    let mut camera = device(&cms, "cam1").await;
    let device = async {
        let push = next(&mut camera).await;
        assert_eq!(push["EasyDarwin"]["Body"]["Channel"], "1");
        answer(
            &mut camera,
            "HTTP/1.1 200 OK",
            &push,
            "MSG_DS_PUSH_STREAM_ACK",
            "200",
        )
        .await;
        let grant = node.granted().await;
        node.tell(StreamChange::Ready, "cam1/1", grant.generation);
    };
    let h5 = "User-Agent: Mozilla/5.0\r\nX-Requested-With: XMLHttpRequest\r\n";
    let ios = "User-Agent: EasyClient/1 CFNetwork/808 Darwin/16\r\n";
    let call = |target: &'static str, agent: &'static str| {
        let cms = &cms;
        async move {
            let mut peer = cms.connect().await;
            let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{agent}\r\n");
            peer.send(request.as_bytes()).await;
            peer.expect().await
        }
    };
    let first = call("/api/v1/getdevicestream?device=cam1&protocol=hls", h5);
    let (reply, ()) = tokio::join!(first, device);
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["EasyDarwin"]["Header"]["ErrorNum"], "200");
    let beat = call("/api/v1/livedevicestream?device=cam1&protocol=hls", h5).await;
    assert_eq!(beat.error(), 200);
    let rtmp = call("/api/v1/getdevicestream?device=cam1&protocol=rtmp", h5).await;
    assert_eq!(
        (rtmp.status, rtmp.error()),
        (200, 400),
        "told, not hung up on"
    );

    let reply = call(
        "/api/v1/getdevicestream?device=cam1&channel=0&protocol=RTSP",
        ios,
    )
    .await;
    assert_eq!(reply.error(), 200);
    assert_eq!(
        reply.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    let ptz = "/api/ptzcontrol?device=cam1&channel=0&protocol=onvif&actiontype=continuous&command=left&speed=5";
    assert_eq!(call(ptz, ios).await.error(), 200);
    let moved = next(&mut camera).await;
    assert_eq!(moved["EasyDarwin"]["Body"]["Channel"], "1");
    assert_eq!(moved["EasyDarwin"]["Body"]["Command"], "LEFT");
    // Android's client posts an empty form.
    let mut peer = cms.connect().await;
    let post = format!(
        "POST {ptz} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n"
    );
    peer.send(post.as_bytes()).await;
    assert_eq!(peer.expect().await.error(), 200);
}
