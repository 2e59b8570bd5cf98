//! All come at once.
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
use easydarwin_core::protocol::{AppType, Envelope, Ext, Register, TerminalType};

const WAIT: Duration = Duration::from_millis(800);

async fn slow_door() -> TestCms {
    TestCms::start(|c| {
        c.policy = Policy::Open;
        c.admit_per_second = 10;
        c.admit_wait = WAIT;
    })
    .await
}

/// Connects, and says at once who it is.
async fn arrive(cms: &TestCms, n: u32, ext: &str) -> Peer {
    let mut register = Register::new(format!("cam{n}"), AppType::EasyCamera, TerminalType::Linux);
    register.ext = Ext::parse(ext);
    let mut peer = cms.connect().await;
    peer.send_message(&register.to_envelope(1)).await;
    peer
}

#[tokio::test]
async fn old_devices_wait_their_turn_and_none_is_closed() {
    let cms = slow_door().await;
    let started = Instant::now();
    let mut herd = Vec::new();
    for n in 0..30 {
        herd.push(arrive(&cms, n, "").await);
    }
    let mut answered = Vec::new();
    for peer in &mut herd {
        assert_eq!(code(&peer.expect().await.envelope()), 200);
        answered.push(started.elapsed());
    }
    // One after the other, and none later than allowed.
    assert!(answered[5] >= Duration::from_millis(400), "{answered:?}");
    assert!(answered[29] >= WAIT, "{answered:?}");
    assert!(answered[29] < WAIT * 4, "{answered:?}");
}

#[tokio::test]
async fn a_device_that_can_wait_is_told_when_to_come_again() {
    let cms = slow_door().await;
    let mut herd = Vec::new();
    for n in 0..40 {
        herd.push(arrive(&cms, n, "auth,retry").await);
    }
    let mut answers: Vec<Envelope> = Vec::new();
    for peer in &mut herd {
        answers.push(peer.expect().await.envelope());
    }
    let told = |answer: &Envelope| answer.body.number::<u64>("RetryAfter");
    assert_eq!((code(&answers[0]), told(&answers[0])), (200, None));
    assert_eq!(code(&answers[39]), 503);
    assert!((2..10).contains(&told(&answers[39]).unwrap()));
    let refused = answers.iter().filter(|a| code(a) == 503).count();
    assert!((20..39).contains(&refused), "{refused}");
    // It may come again on the same connection.
    assert_eq!(code(&herd[39].register("cam39", "").await), 200);
}
