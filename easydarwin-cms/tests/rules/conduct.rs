//! Rules 9 to 16: who is answered what, and what is checked.

use std::time::Duration;

use easydarwin_cms::CmsConfig;
use easydarwin_core::protocol::node::StreamChange;
use easydarwin_core::registry::StreamPath;
use serde_json::json;

use crate::common::{FakeNode, TestCms, code};
use crate::{answer, device, framed, message, next, open};

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
