//! Viewers' sessions against CMS, media server and camera in this process, over their ports: what
//! ends them, and when a camera is asked to stop.

// A test may panic; that is how it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "sessions/platform.rs"]
mod platform;
#[path = "sessions/viewer.rs"]
mod viewer;

use std::time::{Duration, Instant};

use easydarwin_core::protocol::node::Revoked;
use easydarwin_core::registry::{Author, DevicePatch, UnixMillis};

use platform::{Platform, within};
use viewer::{Kind, Viewer};

/// Within this a session without right is over.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test]
async fn who_has_no_right_any_more_sees_no_more_and_others_do() {
    let platform = Platform::start(Duration::from_secs(15)).await;
    let camera = platform.camera("cam").await;
    let mut all = Vec::new();
    let (ann, bob) = (platform.key("ann").await, platform.key("bob").await);
    for key in [&ann, &bob] {
        for kind in Kind::ALL {
            let mut viewer = Viewer::of(&platform, "cam", kind, key).await;
            assert!(viewer.sees().await, "{kind:?}");
            all.push(viewer);
        }
    }
    let others = all.split_off(Kind::ALL.len());
    platform.viewers("cam", 2 * Kind::ALL.len()).await;

    let begun = Instant::now();
    platform.revoke_key("ann").await;
    for viewer in &mut all {
        viewer.ends().await;
        let took = begun.elapsed();
        assert!(took < SOON, "{:?} took {took:?}", viewer.kind);
    }
    // Afterwards: who is refused waits for his answer.
    for viewer in &all {
        assert!(!viewer.may_come_again().await, "{:?}", viewer.kind);
    }
    platform.viewers("cam", Kind::ALL.len()).await;
    let mut others = others;
    for viewer in &mut others {
        assert!(viewer.sees().await, "{:?}", viewer.kind);
    }
    drop(camera);
    platform.stop().await;
}

#[tokio::test]
async fn a_device_that_is_shut_out_publishes_no_more_and_another_does() {
    let platform = Platform::start(Duration::from_secs(15)).await;
    let (_out, _in) = (platform.camera("out").await, platform.camera("in").await);
    let key = platform.key("ann").await;
    let mut watched = Viewer::of(&platform, "out", Kind::Rtsp, &key).await;
    let mut other = Viewer::of(&platform, "in", Kind::Rtsp, &key).await;
    assert!(watched.sees().await && other.sees().await);
    let devices = platform.cms.devices();
    let patch = DevicePatch {
        enabled: Some(false),
        ..DevicePatch::default()
    };
    let author = Author::new("test", UnixMillis::system());
    let begun = Instant::now();
    devices.patch("out", patch, &author).await.unwrap();
    watched.ends().await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    within(async {
        while platform.has_stream("out").await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(other.sees().await);
    platform.stop().await;
}

#[tokio::test]
async fn a_node_that_was_away_learns_what_was_taken_back() {
    let mut platform = Platform::start(Duration::from_secs(15)).await;
    let _camera = platform.camera("cam").await;
    let key = platform.key("ann").await;
    let mut viewer = Viewer::of(&platform, "cam", Kind::Rtsp, &key).await;
    assert!(viewer.sees().await);
    platform.unlink().await;
    platform.cms.revoke(Revoked::Subject("key:ann".into()));
    assert!(viewer.sees().await, "the node cannot know");
    platform.link();
    viewer.ends().await;
    // It was not she who was locked out, but what she had: what she is given now counts.
    platform.joined().await;
    let mut again = Viewer::of(&platform, "cam", Kind::Rtsp, &key).await;
    assert!(again.sees().await);
    platform.stop().await;
}

#[tokio::test]
async fn a_stream_lasts_as_long_as_somebody_watches_in_whatever_way() {
    let idle = Duration::from_millis(500);
    let platform = Platform::start(idle).await;
    let key = platform.key("ann").await;
    for kind in Kind::ALL {
        let serial = format!("cam-{kind:?}");
        let _camera = platform.camera(&serial).await;
        let mut viewer = Viewer::of(&platform, &serial, kind, &key).await;
        let begun = Instant::now();
        while begun.elapsed() < 4 * idle {
            assert!(viewer.sees().await, "{kind:?}");
        }
        // Somebody else wants it no more: the media server is asked, and it is watched there.
        let stop = format!("/api/v1/stopdevicestream?device={serial}");
        assert_eq!(
            viewer::get(platform.address, &stop, Some(&key)).await.0,
            200
        );
        platform.viewers(&serial, 1).await;
        let begun = Instant::now();
        while begun.elapsed() < 2 * idle {
            assert!(viewer.sees().await, "{kind:?}");
        }
        drop(viewer);
        within(async {
            while platform.has_stream(&serial).await {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // And it can be had again.
        let mut again = Viewer::of(&platform, &serial, kind, &key).await;
        assert!(again.sees().await, "{kind:?}");
    }
    platform.stop().await;
}
