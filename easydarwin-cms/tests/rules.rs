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
#[path = "rules/conduct.rs"]
mod conduct;
#[path = "rules/messages.rs"]
mod messages;
#[path = "rules/peers.rs"]
mod peers;

use std::time::Duration;

use common::{Peer, TestCms};
use easydarwin_cms::Policy;
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
