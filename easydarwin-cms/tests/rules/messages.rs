//! Rules 1 to 8: how messages are framed, written and read.

use easydarwin_core::protocol::node::StreamChange;
use serde_json::json;

use crate::common::{FakeNode, code};
use crate::{all_strings, answer, device, framed, message, next, open};

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
