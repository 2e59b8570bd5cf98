//! What known peers need beside the rules.

use easydarwin_cms::{CmsConfig, Policy};
use easydarwin_core::protocol::node::StreamChange;
use easydarwin_core::protocol::{Envelope, ErrorNum, MessageType};
use serde_json::{Value, json};

use crate::common::{FakeNode, TestCms, code};
use crate::{answer, device, framed, message, next, open};

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
