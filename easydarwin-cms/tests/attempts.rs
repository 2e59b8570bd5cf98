//! Guessing: slow, then shut out; and nobody rightful is shut out with the guesser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::{FakeNode, Peer, TestCms, code};
use easydarwin_cms::{Cms, CmsConfig};
use easydarwin_core::protocol::ErrorNum;

const KEY: &str = "the camera's key";

/// Not in the trusted network of this CMS.
const GUESSER: [u8; 4] = [127, 0, 0, 66];

/// A CMS that trusts no network. Wrong secrets are answered after `delay`.
async fn strict(delay: Duration) -> TestCms {
    let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
    config.refusal_delay = delay;
    let cms = TestCms::run(Cms::builder(config).build().await.unwrap());
    cms.handle.provision_key("cam", KEY).await.unwrap();
    cms.handle.provision_token("old", "123456").await.unwrap();
    cms
}

async fn quick() -> TestCms {
    strict(Duration::from_millis(5)).await
}

async fn from(cms: &TestCms, address: impl Into<IpAddr>) -> Peer {
    Peer::connect_from(address.into(), cms.addr).await
}

/// Whether somebody at this address gets an answer.
async fn is_let_in(cms: &TestCms, address: impl Into<IpAddr>) -> bool {
    let mut peer = from(cms, address).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, request).await;
    peer.next().await.is_some()
}

async fn with_key(peer: &mut Peer, key: &str) -> common::Reply {
    let request = format!(
        "GET /api/v1/getdevicelist HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    peer.send(request.as_bytes()).await;
    peer.expect().await
}

#[tokio::test]
async fn a_guesser_is_shut_out_and_others_are_not() {
    let cms = quick().await;
    let mut holder = from(&cms, [127, 0, 0, 2]).await;
    assert_eq!(code(&holder.register("old", "123456").await), 200);
    let mut guesser = from(&cms, GUESSER).await;
    for guess in 0..10 {
        assert!(is_let_in(&cms, GUESSER).await, "after {guess} guesses");
        let token = guess.to_string();
        assert_eq!(code(&guesser.register("old", &token).await), 401);
    }
    assert!(!is_let_in(&cms, GUESSER).await);
    // The connection is kept, and the rightful one is not kept from his device.
    assert_eq!(code(&guesser.register("old", "x").await), 401);
    assert_eq!(code(&holder.register("old", "123456").await), 200);
    let mut newcomer = from(&cms, [127, 0, 0, 3]).await;
    assert_eq!(code(&newcomer.register("old", "123456").await), 200);
    // A right secret is taken from there, too, and opens the door.
    assert_eq!(code(&guesser.login("cam", KEY).await), 200);
    assert!(is_let_in(&cms, GUESSER).await);
}

#[tokio::test]
async fn nobody_is_shut_out_where_a_device_lives() {
    let cms = quick().await;
    let site = [127, 0, 0, 20];
    let mut camera = from(&cms, site).await;
    assert_eq!(code(&camera.login("cam", KEY).await), 200);
    let mut guesser = from(&cms, site).await;
    for _ in 0..15 {
        assert_eq!(code(&guesser.register("old", "guess").await), 401);
    }
    // Also when it went and comes again.
    drop(camera);
    let mut camera = from(&cms, site).await;
    assert_eq!(code(&camera.login("cam", KEY).await), 200);
}

#[tokio::test]
async fn wrong_keys_of_clients_count() {
    let cms = quick().await;
    let mut client = from(&cms, GUESSER).await;
    for _ in 0..9 {
        assert_eq!(with_key(&mut client, "guess").await.status, 401);
    }
    let refused = with_key(&mut client, "guess").await;
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=300).contains(&seconds));
    assert!(!is_let_in(&cms, GUESSER).await);
    // Without a key nothing is guessed.
    let mut other = from(&cms, [127, 0, 0, 67]).await;
    for _ in 0..15 {
        assert_eq!(other.get("/api/v1/getdevicelist").await.status, 401);
    }
    assert!(is_let_in(&cms, [127, 0, 0, 67]).await);
    // The right one is taken at once.
    let key = cms.handle.api_key().to_owned();
    assert_eq!(with_key(&mut client, &key).await.status, 200);
    assert!(is_let_in(&cms, GUESSER).await);
}

#[tokio::test]
async fn wrong_join_keys_count() {
    let cms = quick().await;
    let mut peer = from(&cms, GUESSER).await;
    for _ in 0..10 {
        let ack = FakeNode::join_with(&mut peer, "node", "guess").await;
        assert_eq!(ack.error, ErrorNum::UNAUTHORIZED);
    }
    assert!(!is_let_in(&cms, GUESSER).await);
    let key = cms.handle.join_key().to_owned();
    let ack = FakeNode::join_with(&mut peer, "node", &key).await;
    assert_eq!(ack.error, ErrorNum::OK);
    assert!(is_let_in(&cms, GUESSER).await);
}

#[tokio::test]
async fn wrong_secrets_wait_and_right_ones_do_not() {
    let cms = strict(Duration::from_millis(400)).await;
    let mut guesser = from(&cms, GUESSER).await;
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(code(&guesser.login("cam", "guess").await), 401);
    }
    let waited = started.elapsed();
    assert!(
        waited >= Duration::from_millis(400 + 800 + 1200),
        "{waited:?}"
    );
    let started = Instant::now();
    assert_eq!(code(&guesser.login("cam", KEY).await), 200);
    let mut elsewhere = from(&cms, [127, 0, 0, 4]).await;
    assert_eq!(code(&elsewhere.login("cam", KEY).await), 200);
    assert!(started.elapsed() < Duration::from_millis(400));
}
