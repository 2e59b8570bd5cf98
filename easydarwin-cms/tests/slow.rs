//! Peers that say a little, slowly, for ever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::time::{Duration, Instant};

use common::{TestCms, code};
use easydarwin_cms::Policy;
use easydarwin_core::protocol::{AppType, Register, TerminalType};
use tokio::io::AsyncWriteExt as _;

const FIRST: Duration = Duration::from_millis(600);

async fn hurried() -> TestCms {
    TestCms::start(|c| {
        c.policy = Policy::Open;
        c.first_message = FIRST;
        c.whole_message = FIRST;
        // The sweep goes as often as the shortest of all times needs.
        c.node_lease = Duration::from_millis(150);
    })
    .await
}

fn register() -> Vec<u8> {
    let register = Register::new("slow", AppType::EasyCamera, TerminalType::Linux);
    register.to_envelope(1).to_request("x").to_vec()
}

#[tokio::test]
async fn the_first_message_has_to_be_whole_in_time() {
    let cms = hurried().await;
    let started = Instant::now();
    let mut camera = cms.connect().await;
    assert_eq!(code(&camera.register("cam", "").await), 200);
    let mut peers = Vec::new();
    for begin in [
        &b""[..],
        b"P",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n1",
        b"GET /api/v1/getdevicelist HTTP/1.1\r\nHost: x\r\n",
        b"GET ",
    ] {
        let mut peer = cms.connect().await;
        peer.send(begin).await;
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.closed().await;
    }
    assert!(started.elapsed() >= FIRST);
    // Who has said something may be silent.
    assert_eq!(code(&camera.register("cam", "").await), 200);
}

#[tokio::test]
async fn a_byte_now_and_then_is_not_enough() {
    let cms = hurried().await;
    let mut dripping = Vec::new();
    for bytes in [
        register(),
        b"GET /api/v1/getdevicelist HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: aaaaaaaaaaaaaaa\r\n\r\n"
            .to_vec(),
    ] {
        let peer = cms.connect().await;
        peer.stream.set_nodelay(true).unwrap();
        dripping.push(tokio::spawn(async move {
            let mut peer = peer;
            // Whole after many times of what it may take.
            for byte in bytes {
                if peer.stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                let pause = tokio::time::timeout(FIRST / 6, peer.next());
                if matches!(pause.await, Ok(None)) {
                    return;
                }
            }
            panic!("it was let to the end");
        }));
    }
    for peer in dripping {
        peer.await.unwrap();
    }
}

#[tokio::test]
async fn a_message_that_was_begun_has_to_end() {
    let cms = hurried().await;
    let mut quiet = cms.connect().await;
    assert_eq!(code(&quiet.register("quiet", "").await), 200);
    let mut slow = cms.connect().await;
    assert_eq!(code(&slow.register("slow", "").await), 200);
    let bytes = register();
    slow.send(&[&bytes[..], &bytes[..40]].concat()).await;
    assert_eq!(slow.expect().await.error(), 200);
    let started = Instant::now();
    slow.closed().await;
    assert!(started.elapsed() < common::PATIENCE / 2);
    assert_eq!(code(&quiet.register("quiet", "").await), 200);
}

#[tokio::test]
async fn a_body_over_http_has_to_end() {
    let cms = hurried().await;
    let mut peer = cms.connect().await;
    // A connection that began with a client's request.
    assert_eq!(peer.get("/healthz").await.status, 200);
    peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        .await;
    assert_eq!(peer.expect().await.status, 408);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_let_go() {
    let cms = TestCms::start(|c| c.stalled = FIRST).await;
    cms.handle.provision_token("cam", "123456").await.unwrap();
    let mut listener = cms.connect().await;
    listener
        .send(b"GET /api/v2/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await;
    listener.until("event: open").await;
    // Asks on and on and reads nothing: when neither side's buffers take any more, nobody goes on.
    let mut deaf = cms.connect().await;
    let started = Instant::now();
    let asking = async {
        while deaf
            .stream
            .write_all(b"GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            .await
            .is_ok()
        {}
    };
    tokio::time::timeout(common::PATIENCE, asking)
        .await
        .expect("the connection is closed");
    assert!(started.elapsed() >= FIRST);
    // Nothing was there for the listener, who has missed nothing.
    let mut camera = cms.connect().await;
    assert_eq!(code(&camera.register("cam", "123456").await), 200);
    listener.until("device.online").await;
}
