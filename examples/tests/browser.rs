//! The page of `platform` in headless Chromium: the list, a click, the moving picture.
//!
//! `SCREENSHOT=docs/platform.png` stores the picture of the page there, too (relative to the
//! repository's root); the README shows it.

// A test may panic; that is how it fails.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use easydarwin_test_support::process::{Process, Workdir, free_port};
use easydarwin_test_support::webdriver::Browser;

/// Port of the CMS without offset.
const CMS_PORT: u16 = 10000;

/// Highest of the platform's ports without offset.
const HIGHEST_PORT: u16 = 10554;

/// From the click to the running picture.
const RUNS_WITHIN_MS: f64 = 2000.0;

/// For anything in the page.
const SCRIPT_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_click_plays_the_camera_within_two_seconds() {
    let workdir = Workdir::new("browser");
    let offset = free_offset();
    let _platform = Process::spawn_ready(
        &workdir,
        "platform",
        "platform",
        ["--port-offset", &offset.to_string(), "--log", "info"],
    );
    let browser = Browser::start(&workdir, 1200, 1240);
    browser.open(&format!("http://127.0.0.1:{}/", CMS_PORT + offset));

    // The list shows the camera, that it is online, and its snapshot.
    let listed = browser.run_async(
        "const done = arguments[arguments.length - 1];
         const look = () => {
           const card = document.querySelector('#devices .card');
           const img = card?.querySelector('img');
           if (card?.querySelector('.state.online') && img && !img.hidden && img.naturalWidth > 0) {
             done({ text: card.innerText, width: img.naturalWidth });
           } else requestAnimationFrame(look);
         };
         look();",
        SCRIPT_LIMIT,
    );
    let text = listed["text"].as_str().expect("the card's text");
    assert!(text.contains("001001000001"), "{text}");

    // Click, and wait until the picture has moved on for half a second.
    let played = browser.run_async(
        "const done = arguments[arguments.length - 1];
         const start = performance.now();
         document.querySelector('#devices .card button').click();
         const video = document.querySelector('video#video');
         let first = null, at = 0;
         const look = () => {
           const now = performance.now() - start;
           if (first === null && video.readyState >= 2 && video.currentTime > 0 && !video.paused) {
             first = now;
             at = video.currentTime;
           }
           if (first !== null && video.currentTime > at + 0.5) {
             done({ first, moved: now, time: video.currentTime, width: video.videoWidth });
           } else if (now > 15000) {
             done({ error: document.querySelector('#message').textContent, time: video.currentTime,
                    ready: video.readyState, paused: video.paused });
           } else requestAnimationFrame(look);
         };
         look();",
        SCRIPT_LIMIT,
    );
    let console = browser.console().join("\n");
    let first = played["first"]
        .as_f64()
        .unwrap_or_else(|| panic!("no picture: {played}\nconsole: {console}"));
    println!(
        "click to running picture: {first:.0} ms; half a second of it at {} ms",
        played["moved"]
    );
    assert!(
        first < RUNS_WITHIN_MS,
        "the picture ran after {first:.0} ms: {played}"
    );
    assert!(
        played["width"].as_f64().is_some_and(|width| width > 0.0),
        "{played}"
    );

    // What it shows is no black rectangle: the test picture has bright and dark places.
    let colours = browser.run(
        "const video = document.querySelector('video#video');
         const canvas = document.createElement('canvas');
         canvas.width = 64; canvas.height = 36;
         const context = canvas.getContext('2d');
         context.drawImage(video, 0, 0, 64, 36);
         const data = context.getImageData(0, 0, 64, 36).data;
         return new Set(Array.from({ length: 64 * 36 }, (_, i) => data[4 * i] >> 5)).size;",
    );
    assert!(
        colours.as_u64().is_some_and(|count| count >= 3),
        "{colours} shades"
    );

    let picture = workdir.file("platform.png");
    browser.screenshot(&picture);
    if let Some(copy) = std::env::var_os("SCREENSHOT") {
        let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(copy);
        std::fs::copy(&picture, copy).expect("the screenshot can be stored");
    }
}

/// What to add to the platform's ports so that all of them are free.
fn free_offset() -> u16 {
    loop {
        let port = free_port();
        let Some(offset) = port.checked_sub(HIGHEST_PORT) else {
            continue;
        };
        let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if [10000, 10080].iter().all(|base| free(base + offset)) {
            return offset;
        }
    }
}
