//! CMS, media server and camera find each other in whatever order they are started, also after all
//! three were killed.

// A test may panic; that is how it fails.
#![allow(clippy::expect_used)]

use std::time::Duration;

use easydarwin_test_support::api::{eventually, wait_live};
use easydarwin_test_support::parts::Parts;
use easydarwin_test_support::process::{Process, Workdir};

/// For a part that has to find another one again: back-off and lease are inside.
const BACK_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Part {
    Cms,
    Server,
    Camera,
}

use Part::{Camera, Cms, Server};

const ORDERS: [[Part; 3]; 6] = [
    [Camera, Cms, Server],
    [Camera, Server, Cms],
    [Server, Camera, Cms],
    [Server, Cms, Camera],
    [Cms, Camera, Server],
    [Cms, Server, Camera],
];

#[test]
fn the_stream_plays_in_whatever_order_they_start() {
    let mut parts = Parts::new(Workdir::new("start-orders"), 600);
    for order in ORDERS {
        let running: Vec<Process> = order
            .into_iter()
            .map(|part| match part {
                Cms => parts.start_cms(),
                Server => parts.start_server(),
                Camera => parts.start_camera("pattern"),
            })
            .collect();
        eventually(
            &format!("{order:?}: the stream starts"),
            BACK_WITHIN,
            || parts.start_stream(),
        );
        wait_live(&parts.url("RTSP").expect("a URL"), BACK_WITHIN);
        drop(running);
    }
}
