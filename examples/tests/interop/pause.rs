//! PAUSE between us and GStreamer: its player at our server, our player at its server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use easydarwin_core::client::{ClientOptions, ClientTransport, Player};
use easydarwin_test_support::api::{eventually, wait_live};
use easydarwin_test_support::gst_server::{GstServer, Guard};
use easydarwin_test_support::media::Clip;
use easydarwin_test_support::peers::{Transport, ffmpeg_publish_endlessly};
use easydarwin_test_support::process::{Process, Workdir, free_port};
use serde_json::Value;

/// Longest wait for a step of the player, which says itself what it waits for in vain.
const STEP: Duration = Duration::from_secs(25);
/// No media for so long is silence: pictures come every 40 ms.
const SILENCE: Duration = Duration::from_secs(1);

#[test]
fn gstreamer_pauses_at_our_server() {
    std::thread::scope(|scope| {
        for transport in [Transport::Tcp, Transport::Udp] {
            scope.spawn(move || gstreamer_pauses(transport));
        }
    });
}

fn gstreamer_pauses(transport: Transport) {
    let workdir = Workdir::new(&format!("interop-pause-{}", transport.name()));
    let clip = Clip::Aac;
    clip.published();
    let (rtsp, http) = (free_port(), free_port());
    let _server = Process::spawn_ready(
        &workdir,
        "easydarwin",
        "easydarwin",
        [
            "--rtsp".to_owned(),
            format!("127.0.0.1:{rtsp}"),
            "--http".to_owned(),
            format!("127.0.0.1:{http}"),
            "--anonymous".to_owned(),
            "--api-key".to_owned(),
            "admin".to_owned(),
        ],
    );
    let url = format!("rtsp://127.0.0.1:{rtsp}/live/film");
    let _publisher = ffmpeg_publish_endlessly(&workdir, clip, &url);
    wait_live(&url, STEP);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(root.join("scripts/gst-rtsp-pause"));
    command.args(["--protocols", transport.name(), &url]);
    let mut player = Process::spawn_talking(&workdir, "gst-rtsp-pause", command);
    player.wait_line("playing", STEP);
    player.wait_line("paused", STEP);
    // Who is paused is sent nothing, so the server counts no reader.
    readers(http, 0);
    player.wait_line("resumed", STEP);
    readers(http, 1);
    player.wait_line("done", STEP);
    let status = player.wait(STEP);
    assert!(status.is_some_and(|s| s.success()), "{}", player.log());
}

/// Waits until the stream has so many readers.
fn readers(http: u16, count: usize) {
    eventually(&format!("{count} readers"), STEP, || {
        let mut answer = ureq::get(format!("http://127.0.0.1:{http}/api/v1/streams"))
            .header("Authorization", "Bearer admin")
            .call()
            .map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| error.to_string())?;
        let streams: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let readers = streams["streams"][0]["readers"].as_array();
        if readers.is_some_and(|readers| readers.len() == count) {
            Ok(())
        } else {
            Err(text)
        }
    });
}

#[test]
fn our_player_pauses_at_gst_rtsp_server() {
    let workdir = Workdir::new("interop-pause-gst-rtsp-server");
    let server = GstServer::start(&workdir, &Clip::Aac.path(), Guard::Open);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for transport in [ClientTransport::Tcp, ClientTransport::Udp] {
        let url = server.url();
        let pause = pause_and_play_on(&url, transport);
        let result = runtime.block_on(async { tokio::time::timeout(2 * STEP, pause).await });
        result.unwrap_or_else(|_| panic!("{transport:?}: it hangs"));
    }
}

async fn pause_and_play_on(url: &str, transport: ClientTransport) {
    let mut options = ClientOptions::default();
    options.transport = transport;
    let mut player = Player::connect(url, options).await.expect("a stream");
    let mut before = 0;
    for _ in 0..100 {
        let unit = player.next_unit().await.expect("media").expect("no end");
        if unit.track == 0 {
            before = unit.pts;
        }
    }
    player.pause().await.expect("PAUSE is answered");
    // What was on its way, then nothing.
    while let Ok(unit) = tokio::time::timeout(SILENCE, player.next_unit()).await {
        let unit = unit.expect("no error").expect("no end");
        if unit.track == 0 {
            before = unit.pts;
        }
    }
    player.play().await.expect("PLAY is answered");
    let (mut first, mut after) = (None, 0);
    for _ in 0..100 {
        let unit = player.next_unit().await.expect("media").expect("no end");
        if unit.track == 0 {
            assert!(!unit.lossy, "{transport:?}");
            first.get_or_insert((unit.pts, unit.discontinuity));
            after += 1;
        }
    }
    let (pts, discontinuity) = first.expect("pictures");
    assert!(discontinuity && after > 10, "{transport:?}");
    // A file goes on where it stopped, give or take what the pause cut off.
    let step = pts - before;
    assert!((0..90_000).contains(&step), "{transport:?}: {step}");
    player.close().await.expect("TEARDOWN");
}
