//! Bad input: a clear answer, the connection closed where it must be, everybody else undisturbed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::time::{Duration, Instant};

use common::{Peer, TestCms, code};
use easydarwin_cms::Policy;
use easydarwin_core::protocol::{AppType, MessageType, Register, TerminalType};
use tokio::io::AsyncWriteExt as _;

async fn open() -> TestCms {
    TestCms::start(|c| c.policy = Policy::Open).await
}

fn post(body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn malformed_messages_are_answered() {
    let cms = open().await;
    for (bytes, status) in [
        (post("{\"EasyDarwin\": nonsense"), 400),
        (post("[]"), 400),
        (post("{\"EasyDarwin\":{}}"), 400),
        (post(&"[".repeat(60_000)), 400),
        (
            post("{\"EasyDarwin\":{\"Header\":{\"MessageType\":\"MSG_NO_SUCH\"}}}"),
            501,
        ),
        (b"garbage\r\n\r\n".to_vec(), 400),
        (
            b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n".to_vec(),
            400,
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
            413,
        ),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            501,
        ),
        (b"POST / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(), 400),
    ] {
        let mut peer = cms.connect().await;
        peer.send(&bytes).await;
        let reply = peer.expect().await;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert_eq!(reply.status, status, "{text}");
        assert!(reply.header("Content-Length").is_some());
    }
    assert_eq!(code(&cms.api("getdevicelist").await), 200);
}

#[tokio::test]
async fn hostile_serials_get_nowhere() {
    let cms = open().await;
    let long = "x".repeat(300);
    for serial in ["../x", "%s", "", "a/b", "a b", long.as_str(), "a\\u0000b"] {
        let body = format!(
            "{{\"EasyDarwin\":{{\"Header\":{{\"MessageType\":\"MSG_DS_REGISTER_REQ\",\"AppType\":\"EasyCamera\",\"TerminalType\":\"Linux\"}},\"Body\":{{\"Serial\":\"{serial}\"}}}}}}"
        );
        let mut peer = cms.connect().await;
        peer.send(&post(&body)).await;
        assert_eq!(peer.expect().await.error(), 400, "{serial}");
        let query = serial.replace('%', "%25").replace(' ', "%20");
        if !query.is_empty() {
            for call in ["getdeviceinfo", "startdevicestream", "stopdevicestream"] {
                let answer = cms.api(&format!("{call}?device={query}")).await;
                assert_eq!(code(&answer), 603, "{call} {serial}");
                assert!(answer.body.text_or_empty("Serial").len() <= 64);
            }
        }
    }
    let list = cms.api("getdevicelist").await;
    assert_eq!(list.body.text_or_empty("DeviceCount"), "0");
}

#[tokio::test]
async fn endless_heads_and_bodies_are_cut_off() {
    let cms = open().await;
    // A head of 100 MB: what is not taken is not waited for.
    for first in [
        "POST / HTTP/1.1\r\nX: ",
        "GET /api/v1/getdevicelist HTTP/1.1\r\nX: ",
        "x",
    ] {
        let mut peer = cms.connect().await;
        peer.send(first.as_bytes()).await;
        let chunk = vec![b'a'; 64 * 1024];
        let mut sent = 0usize;
        while sent < 100 << 20 {
            match peer.stream.write_all(&chunk).await {
                Ok(()) => sent += chunk.len(),
                Err(_) => break,
            }
        }
        assert!(sent < 50 << 20, "{sent} bytes of a head were taken");
    }
    let mut peer = cms.connect().await;
    peer.send(b"POST / HTTP/1.1\r\nContent-Length: 104857600\r\n\r\n")
        .await;
    assert_eq!(peer.expect().await.status, 413);
    peer.closed().await;
    assert_eq!(code(&cms.api("getdevicelist").await), 200);
}

#[tokio::test]
async fn a_message_may_come_byte_by_byte_and_two_in_one() {
    let cms = open().await;
    let register = Register::new("cam", AppType::EasyCamera, TerminalType::Linux);
    let bytes = register.to_envelope(1).to_request("x");
    let mut peer = cms.connect().await;
    peer.stream.set_nodelay(true).unwrap();
    for byte in &bytes {
        peer.send(&[*byte]).await;
    }
    assert_eq!(peer.expect().await.error(), 200);
    peer.send(&[&bytes[..], &bytes[..], &bytes[..40]].concat())
        .await;
    assert_eq!(peer.expect().await.error(), 200);
    assert_eq!(peer.expect().await.error(), 200);
    peer.send(&bytes[40..]).await;
    assert_eq!(peer.expect().await.error(), 200);
    // An old client's REST call on the very connection.
    peer.send(b"GET /api/v1/getdevicelist HTTP/1.1\r\n\r\n")
        .await;
    let list = peer.expect().await.envelope();
    assert_eq!(list.kind(), Some(MessageType::DeviceListAck));
    assert_eq!(list.body.text_or_empty("DeviceCount"), "1");
}

#[tokio::test]
async fn rest_calls_may_be_pipelined_and_mixed_with_json() {
    let cms = open().await;
    let list = easydarwin_core::protocol::Envelope::request(MessageType::DeviceListReq, 9);
    let mut bytes = b"GET /api/v1/getdevicelist HTTP/1.1\r\nHost: x\r\n\r\nGET /api/getbaseconfig/ HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    bytes.extend_from_slice(&list.to_request("x"));
    let mut peer = cms.connect().await;
    peer.send(&bytes).await;
    for kind in [
        MessageType::DeviceListAck,
        MessageType::BaseConfigAck,
        MessageType::DeviceListAck,
    ] {
        let reply = peer.expect().await;
        assert_eq!(reply.envelope().kind(), Some(kind));
        assert_eq!(
            reply.header("Content-Type"),
            Some("text/plain; charset=utf-8")
        );
    }
    // A device does not begin in the middle of a web client's connection.
    let register = Register::new("cam", AppType::EasyCamera, TerminalType::Linux);
    assert_eq!(code(&peer.ask(&register.to_envelope(1)).await), 400);
}

#[tokio::test]
async fn a_thousand_silent_connections_disturb_nobody() {
    let cms = open().await;
    cms.handle.provision_token("old", "123456").await.unwrap();
    let home = "127.0.0.9".parse().unwrap();
    let mut resident = Peer::connect_from(home, cms.addr).await;
    assert_eq!(code(&resident.register("old", "123456").await), 200);
    drop(resident);
    let mut silent = Vec::new();
    for n in 0..1000 {
        // From addresses of its own, from one, and from one where a device lives.
        let from = match n % 4 {
            0 => [127, 0, 1, u8::try_from(n / 4).unwrap()].into(),
            1 => home,
            _ => [127, 0, 0, 8].into(),
        };
        let mut peer = Peer::connect_from(from, cms.addr).await;
        if n % 2 == 0 {
            // Of one address so many are taken, others are closed at once.
            let _ = peer
                .stream
                .write_all(b"POST / HTTP/1.1\r\nContent-Le")
                .await;
        }
        silent.push(peer);
    }
    silent[999].closed().await;
    let started = Instant::now();
    let mut camera = cms.connect().await;
    assert_eq!(code(&camera.register("cam", "").await), 200);
    let mut resident = Peer::connect_from(home, cms.addr).await;
    assert_eq!(code(&resident.register("old", "123456").await), 200);
    assert_eq!(code(&cms.api("getdevicelist").await), 200);
    assert!(started.elapsed() < Duration::from_secs(2));
    // They are closed at the shutdown, which takes no longer for them.
    cms.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10));
    silent[0].closed().await;
}

#[tokio::test]
async fn a_device_that_does_not_read_is_closed_and_the_others_go_on() {
    let cms = open().await;
    let mut deaf = cms.connect().await;
    deaf.register("deaf", "").await;
    let ptz = "ptzcontrol?device=deaf&protocol=onvif&actiontype=single&command=down";
    let mut client = cms.connect().await;
    let mut refused = false;
    // The kernel's buffers and our 64 KiB are full at some time.
    for _ in 0..40_000 {
        let reply = client.get(&format!("/api/v1/{ptz}")).await;
        if reply.error() != 200 {
            refused = true;
            break;
        }
    }
    assert!(refused, "the device's queue has no end");
    assert_eq!(code(&cms.api("getdevicelist").await), 200);
}
