//! What the sources' tests share.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::future::poll_fn;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use easydarwin_core::media::{AccessUnit, SessionDescription};

use super::{MediaSource, blank_unit};

/// Runs ffmpeg so that any error or warning fails the test.
pub(super) fn ffmpeg(args: &[&str], input: Vec<u8>) -> Vec<u8> {
    run(
        "ffmpeg",
        &[&["-v", "warning", "-xerror", "-nostdin"], args].concat(),
        input,
    )
}

pub(super) fn run(program: &str, args: &[&str], input: Vec<u8>) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg must be installed: apt-get install ffmpeg");
    let mut stdin = child.stdin.take().unwrap();
    // A program that has seen enough closes its input early.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{program} {args:?}: {complaints}"
    );
    output.stdout
}

pub(super) async fn open(source: &mut dyn MediaSource) -> SessionDescription {
    poll_fn(|cx| source.poll_open(cx)).await.unwrap()
}

/// The next units of a source that is open.
pub(super) async fn take(source: &mut dyn MediaSource, count: usize) -> Vec<AccessUnit> {
    let mut units = Vec::new();
    for _ in 0..count {
        let mut unit = blank_unit(Instant::now());
        poll_fn(|cx| source.poll_frame(cx, &mut unit))
            .await
            .unwrap();
        units.push(unit);
    }
    units
}
