//! Clients that we did not write, with user and password in the URL.

use std::process::{Output, Stdio};
use std::time::Duration;

use easydarwin_core::rtsp::auth::{Algorithm, AuthConfig};
use tokio::process::{Child, Command};

use crate::support::{Server, path};
use crate::with_users;

/// Longest wait for a program to start, log in and do its work.
const SOON: Duration = Duration::from_secs(45);

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/bigbuckbunny.mp4");

fn url(server: &Server, login: &str) -> String {
    format!("rtsp://{login}@{}/hall/1", server.addr)
}

fn start(program: &str, args: &[&str]) -> Child {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `scripts/peers` installs it"))
}

async fn run(program: &str, args: &[&str]) -> Output {
    let child = start(program, args);
    tokio::time::timeout(SOON, child.wait_with_output())
        .await
        .expect("it ends")
        .unwrap()
}

fn ffmpeg_publishes(url: &str) -> Child {
    start(
        "ffmpeg",
        &[
            "-nostdin",
            "-v",
            "warning",
            "-re",
            "-stream_loop",
            "-1",
            "-i",
            CLIP,
            "-an",
            "-c",
            "copy",
            "-f",
            "rtsp",
            "-rtsp_transport",
            "tcp",
            url,
        ],
    )
}

async fn ffmpeg_reads(url: &str) -> Output {
    run(
        "ffmpeg",
        &[
            "-nostdin",
            "-v",
            "warning",
            "-rtsp_transport",
            "tcp",
            "-i",
            url,
            "-t",
            "1",
            "-c",
            "copy",
            "-f",
            "null",
            "-",
        ],
    )
    .await
}

async fn gstreamer_reads(url: &str) -> Output {
    let location = format!("location={url}");
    run(
        "gst-launch-1.0",
        &["-q", "rtspsrc", &location, "protocols=tcp", "!", "fakesink"],
    )
    .await
}

/// GStreamer plays until it got some packets, and is ended then: told to end by itself after some
/// buffers it says that it "could not write" when more of them are under way.
async fn gstreamer_plays(server: &Server, login: &str) {
    let location = format!("location={}", url(server, login));
    let mut player = start(
        "gst-launch-1.0",
        &["-q", "rtspsrc", &location, "protocols=tcp", "!", "fakesink"],
    );
    let stream = server.hub().get(&path("hall/1")).expect("it is live");
    let got_some = async {
        while !stream
            .info()
            .readers
            .iter()
            .any(|reader| reader.packets >= 50)
        {
            let ended = player.try_wait().unwrap();
            assert!(ended.is_none(), "GStreamer ended: {ended:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, got_some)
        .await
        .expect("it gets packets");
    player.kill().await.unwrap();
}

/// Waits until somebody publishes.
async fn published(server: &Server, publisher: &mut Child) {
    let stream = path("hall/1");
    let appears = server.hub().wait(&stream, true, SOON);
    tokio::select! {
        stream = appears => assert!(stream.is_some(), "nobody came"),
        status = publisher.wait() => panic!("the publisher ended: {status:?}"),
    }
}

fn succeeded(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
}

/// It ends with an error that names what was wrong.
fn was_refused(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("401") || text.contains("Unauthorized"),
        "{text}"
    );
}

async fn all_read(server: &Server) {
    succeeded(&ffmpeg_reads(&url(server, "viewer:look")).await);
    succeeded(&ffmpeg_reads(&url(server, "anna:p%40ss%3Aw")).await);
    was_refused(&ffmpeg_reads(&url(server, "viewer:wrong")).await);
    gstreamer_plays(server, "viewer:look").await;
    was_refused(&gstreamer_reads(&url(server, "viewer:wrong")).await);
}

#[tokio::test]
async fn ffmpeg_publishes_and_everybody_reads() {
    let server = Server::of(with_users()).await;
    was_refused(
        &ffmpeg_publishes(&url(&server, "anna:wrong"))
            .wait_with_output()
            .await
            .unwrap(),
    );
    let mut publisher = ffmpeg_publishes(&url(&server, "anna:p%40ss%3Aw"));
    published(&server, &mut publisher).await;
    all_read(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn gstreamer_publishes_and_everybody_reads() {
    // With qop, which ffmpeg answers and GStreamer does not look at.
    let mut config = AuthConfig::default();
    config.md5_with_qop = true;
    let server = Server::of(with_users().auth(config)).await;
    let publish = |login: &str| {
        let location = format!("location={}", url(&server, login));
        let pipeline = format!(
            "-q audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc \
             ! rtspclientsink protocols=tcp {location}"
        );
        start(
            "gst-launch-1.0",
            &pipeline.split_whitespace().collect::<Vec<_>>(),
        )
    };
    was_refused(&publish("anna:wrong").wait_with_output().await.unwrap());
    let mut publisher = publish("anna:p%40ss%3Aw");
    published(&server, &mut publisher).await;
    all_read(&server).await;
    server.stop().await;
}

/// Why SHA-256 is opt-in: who knows only MD5 gets in where both are offered, if MD5 comes last, and
/// is shut out where SHA-256 stands alone.
#[tokio::test]
async fn players_that_know_only_md5_take_the_last_digest() {
    let both = |digest| {
        let mut config = AuthConfig::default();
        config.digest = digest;
        with_users().auth(config)
    };
    let server = Server::of(both(vec![Algorithm::Sha256, Algorithm::Md5])).await;
    let mut publisher = ffmpeg_publishes(&url(&server, "anna:p%40ss%3Aw"));
    published(&server, &mut publisher).await;
    succeeded(&ffmpeg_reads(&url(&server, "viewer:look")).await);
    gstreamer_plays(&server, "viewer:look").await;
    server.stop().await;
    let server = Server::of(both(vec![Algorithm::Sha256])).await;
    let publisher = ffmpeg_publishes(&url(&server, "anna:p%40ss%3Aw"));
    was_refused(&publisher.wait_with_output().await.unwrap());
    server.stop().await;
}
