//! The short programs that embed the relay: each is started, fed or played, and ended.

// A test may panic; that is how it fails.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use easydarwin_core::client::{ClientOptions, Player};
use easydarwin_core::media::{AccessUnit, MediaKind};
use easydarwin_core::rtsp::Status;
use easydarwin_test_support::api::{eventually, wait_live};
use easydarwin_test_support::media::Clip;
use easydarwin_test_support::parts::Parts;
use easydarwin_test_support::peers::{FFMPEG_PACKET, Transport, ffmpeg_publish};
use easydarwin_test_support::process::{Process, Workdir, free_port};

/// Programs end as soon as they are asked.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked for a stream that is not there yet.
const POLL: Duration = Duration::from_millis(50);
/// A player gets what it waits for, or the test fails.
const PLAY_WITHIN: Duration = Duration::from_secs(20);

struct Program {
    process: Process,
    workdir: Workdir,
    rtsp: String,
}

impl Program {
    fn start(name: &str) -> Self {
        let workdir = Workdir::new(&format!("program-{name}"));
        let rtsp = format!("127.0.0.1:{}", free_port());
        let process = Process::spawn_ready(&workdir, name, name, ["--rtsp", &*rtsp]);
        Self {
            process,
            workdir,
            rtsp,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.rtsp)
    }

    fn end(mut self) {
        let status = self.process.terminate(END_WITHIN).expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// Plays until `enough` of what came.
async fn play(url: &str, enough: impl Fn(&[AccessUnit]) -> bool) -> (Player, Vec<AccessUnit>) {
    tokio::time::timeout(PLAY_WITHIN, async {
        let mut player = loop {
            match Player::connect(url, ClientOptions::default()).await {
                Ok(player) => break player,
                // Nobody publishes yet, and these programs have no other way to say so.
                Err(error) if error.status() == Some(Status::NOT_FOUND) => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let mut units = Vec::new();
        while !enough(&units) {
            let unit = player.next_unit().await.expect("no fault");
            units.push(unit.expect("it goes on"));
        }
        (player, units)
    })
    .await
    .expect("it plays soon")
}

fn of(units: &[AccessUnit], track: usize) -> impl Iterator<Item = &AccessUnit> {
    units.iter().filter(move |unit| unit.track == track)
}

#[tokio::test]
async fn publish_films_and_serves() {
    let program = Program::start("publish");
    let (player, units) = play(&program.url("studio/1"), |units| {
        of(units, 0).count() >= 30 && of(units, 1).count() >= 30
    })
    .await;
    let kinds: Vec<_> = player.description().tracks.iter().map(|t| t.kind).collect();
    assert_eq!(kinds, [MediaKind::Video, MediaKind::Audio]);
    assert!(of(&units, 0).next().expect("pictures").key);
    assert!(units.iter().all(|unit| !unit.lossy));
    drop(player);
    program.end();
}

#[tokio::test]
async fn filter_leaves_sound_out_and_tells_the_times() {
    let program = Program::start("filter");
    let url = program.url("house/1");
    let mut ffmpeg = ffmpeg_publish(
        &program.workdir,
        Clip::Aac,
        &url,
        Transport::Tcp,
        FFMPEG_PACKET,
    );
    let (player, units) = play(&url, |units| {
        of(units, 0).count() >= 30 && of(units, 1).count() >= 30
    })
    .await;
    let tracks = &player.description().tracks;
    assert_eq!(tracks.len(), 2);
    assert_eq!(tracks[0].kind, MediaKind::Video);
    assert_eq!(&*tracks[1].encoding, "x-picture-times");
    assert!(units.iter().all(|unit| !unit.lossy));
    for note in of(&units, 1) {
        let note: serde_json::Value = serde_json::from_slice(&note.data[0]).expect("a document");
        assert!(note["picture"].as_u64() > Some(0) && note["blank"] == false);
    }
    // Each picture has its note, with its time.
    let first = of(&units, 0).next().expect("pictures").pts;
    let times: Vec<_> = of(&units, 1).map(|note| note.pts).collect();
    assert!(times.contains(&first), "{first} in {times:?}");
    drop(player);
    ffmpeg.kill();
    program.end();
}

#[tokio::test]
async fn tap_counts_what_flows() {
    let mut program = Program::start("tap");
    let url = program.url("film/1");
    let mut ffmpeg = ffmpeg_publish(
        &program.workdir,
        Clip::Aac,
        &url,
        Transport::Tcp,
        FFMPEG_PACKET,
    );
    let line = program.process.wait_line("access units", PLAY_WITHIN);
    assert!(
        line.starts_with("film/1: ") && line.ends_with(" 0 gaps"),
        "{line}"
    );
    ffmpeg.kill();
    program.end();
}

#[tokio::test]
async fn a_camera_without_tokio_is_watched_and_leaves() {
    let mut parts = Parts::new(Workdir::new("program-own-loop"), 600);
    let running = [parts.start_cms(), parts.start_server()];
    let mut camera = parts.start_example("own_loop");
    let url = tokio::task::spawn_blocking(move || {
        eventually("the stream starts", PLAY_WITHIN, || parts.start_stream());
        let url = parts.url("RTSP").expect("a URL");
        wait_live(&url, PLAY_WITHIN);
        url
    });
    let url = url.await.expect("no panic");
    // Two seconds of pictures and sound, in order.
    let (_, units) = play(&url, |units| of(units, 0).count() >= 50).await;
    assert!(of(&units, 0).next().is_some_and(|unit| unit.key));
    assert!(of(&units, 1).count() >= 20);
    assert!(of(&units, 0).is_sorted_by_key(|unit| unit.pts));
    assert!(units.iter().all(|unit| !unit.lossy));
    let status = camera.terminate(END_WITHIN).expect("it ends");
    assert!(status.success(), "{status}");
    drop(running);
}
