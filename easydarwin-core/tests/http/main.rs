//! The HTTP side on real sockets: ffmpeg and ffprobe as players, plain sockets for the rest.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test ends where it fails"
)]

mod client;
mod links;
mod source;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use easydarwin_core::http::{HttpConfig, HttpState, serve};
use easydarwin_core::registry::{AccessRequest, Authorizer, Denied, Principal};
use easydarwin_core::relay::{Hub, RelayConfig};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use client::{Answer, get, request};
use source::{Camera, Clip, run};

/// Lets in who has the token `right`.
struct Token;

#[async_trait]
impl Authorizer for Token {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        match request.credentials.token() {
            Some("right") => Ok(Principal::Named("test".into())),
            Some(_) => Err(Denied::Forbidden),
            None => Err(Denied::Unauthorized),
        }
    }
}

struct Node {
    address: SocketAddr,
    hub: Hub,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Node {
    async fn start(clip: Clip, speed: f64, repeat: bool) -> Self {
        let hub = Hub::new(RelayConfig::default());
        let mut config = HttpConfig::default();
        config.api_tokens = vec!["admin".into()];
        config.head_timeout = Duration::from_secs(1);
        let camera = Camera {
            hub: hub.clone(),
            clip: Arc::new(clip),
            speed,
            repeat,
        };
        let state = HttpState::new(hub.clone())
            .with_authorizer(Arc::new(Token))
            .with_on_demand(Arc::new(camera))
            .with_config(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(listener, state, stopped).await.unwrap();
        });
        Self {
            address,
            hub,
            stop: Some(stop),
            task,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.address, path, &[]).await
    }
}

/// `pts,dts,flags` of all packets.
async fn packets(url: String, stream: &'static str) -> Vec<(f64, f64, bool)> {
    let text = tokio::task::spawn_blocking(move || {
        let entries = "packet=pts_time,dts_time,flags";
        let arguments = [
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_entries",
            entries,
        ];
        run(
            "ffprobe",
            &[&arguments[..], &["-of", "csv=p=0", &url]].concat(),
        )
    })
    .await
    .unwrap();
    let line = |line: &str| {
        let fields: Vec<_> = line.split(',').collect();
        let number = |n: usize| fields[n].parse().unwrap();
        (number(0), number(1), fields[2].starts_with('K'))
    };
    String::from_utf8(text).unwrap().lines().map(line).collect()
}

fn assert_monotonic(packets: &[(f64, f64, bool)]) {
    assert!(packets[0].2, "begins with a key frame");
    for pair in packets.windows(2) {
        assert!(pair[1].1 > pair[0].1, "{pair:?}");
        assert!(pair[1].0 >= pair[1].1 - 1e-6, "{pair:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_carries_every_picture_and_frame_of_sound() {
    let clip = Clip::big_buck_bunny();
    let (pictures, frames) = (clip.count(0), clip.count(1));
    let node = Node::start(clip, 4.0, false).await;
    let url = node.url("/t/right/cam/1/index.m3u8");
    let (video, sound) = tokio::join!(packets(url.clone(), "v"), packets(url, "a"));
    assert_eq!(video.len(), pictures);
    assert_monotonic(&video);
    // What sounded before the first picture is not shown; what came last may be cut with it.
    assert!(sound.len() + 3 >= frames, "{} of {frames}", sound.len());
    assert_monotonic(&sound);
    assert!(
        (video[0].0 - sound[0].0).abs() < 0.1,
        "{:?} {:?}",
        video[0],
        sound[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_carries_b_frames_and_h265() {
    for options in [
        &["-c:v", "libx264", "-bf", "2", "-g", "50"][..],
        &[
            "-c:v",
            "libx265",
            "-x265-params",
            "log-level=none:keyint=50:bframes=3",
        ],
    ] {
        let clip = Clip::test_picture(options);
        let pictures = clip.count(0);
        let node = Node::start(clip, 4.0, false).await;
        let video = packets(node.url("/cam/1/index.m3u8?token=right"), "v").await;
        assert_eq!(video.len(), pictures, "{options:?}");
        assert_monotonic(&video);
        assert!(
            video.windows(2).any(|w| w[1].0 < w[0].0),
            "no reordering seen"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progressive_mp4_carries_every_picture() {
    let clip = Clip::big_buck_bunny();
    let pictures = clip.count(0);
    let node = Node::start(clip, 4.0, false).await;
    let video = packets(node.url("/t/right/cam/1/live.mp4"), "v").await;
    assert_eq!(video.len(), pictures);
    assert_monotonic(&video);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_tells_codecs_then_sends_init_then_fragments() {
    let node = Node::start(Clip::big_buck_bunny(), 4.0, false).await;
    let messages = client::websocket(node.address, "/t/right/cam/1/live.ws").await;
    let (first, text) = &messages[0];
    assert_eq!(*first, client::TEXT);
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.contains(r#"video/mp4; codecs=\"avc1."#), "{text}");
    assert!(text.contains("mp4a.40.2"), "{text}");
    assert_eq!(&messages[1].1[4..8], b"ftyp");
    let file: Vec<u8> = messages[1..]
        .iter()
        .filter(|(kind, _)| *kind == client::BINARY)
        .flat_map(|(_, bytes)| bytes.clone())
        .collect();
    assert_eq!(
        messages.last().unwrap().0,
        client::CLOSE,
        "says that the stream ended"
    );
    let path = std::env::temp_dir().join(format!("easydarwin-ws-{}.mp4", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let video = packets(path.to_str().unwrap().to_owned(), "v").await;
    let _ = std::fs::remove_file(&path);
    assert_eq!(video.len(), Clip::big_buck_bunny().count(0));
    assert_monotonic(&video);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poster_is_the_last_key_frame() {
    let node = Node::start(Clip::big_buck_bunny(), 1.0, true).await;
    let answer = node.get("/t/right/cam/1/poster.mp4").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("video/mp4"));
    let path = node.url("/t/right/cam/1/poster.mp4");
    assert_eq!(packets(path, "v").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_sessions_are_viewers_while_they_ask() {
    let node = Node::start(
        Clip::test_picture(&["-c:v", "libx264", "-g", "12"]),
        8.0,
        true,
    )
    .await;
    let path = "/t/right/cam/1/index.m3u8";
    assert_eq!(node.get(path).await.status, 200);
    let stream = node.hub.streams().pop().unwrap();
    assert_eq!(stream.viewers(), 1);
    assert_eq!(node.get(path).await.status, 200);
    assert_eq!(stream.viewers(), 1, "the same session");
    let other = get(node.address, path, &["User-Agent: other"]).await;
    assert_eq!(other.status, 200);
    assert_eq!(stream.viewers(), 2);
    let mut events = node.hub.events();
    while stream.viewers() > 0 {
        let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
        event.expect("sessions end").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_when_its_token_no_longer_opens_new_ones() {
    let node = Node::start(
        Clip::test_picture(&["-c:v", "libx264", "-g", "12"]),
        8.0,
        true,
    )
    .await;
    let segment = "/t/right/cam/1/init-1.mp4";
    assert_eq!(
        node.get(segment).await.status,
        404,
        "segments need a session"
    );
    assert_eq!(node.get("/t/right/cam/1/index.m3u8").await.status, 200);
    let answer = node.get(segment).await;
    assert_eq!(answer.status, 200);
    assert_eq!(&answer.body[4..8], b"ftyp");
    assert_eq!(node.get("/t/wrong/cam/1/init-1.mp4").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let node = Node::start(Clip::test_picture(&["-c:v", "libx264"]), 1.0, true).await;
    for (path, headers, status) in [
        ("/cam/1/index.m3u8", &[][..], 401),
        ("/t/wrong/cam/1/index.m3u8", &[], 403),
        ("/t/right/none/1/index.m3u8", &[], 404),
        ("/t/right/none/1/live.mp4", &[], 404),
        ("/t/right/none/1/live.ws", &[], 426),
        ("/t/right/a%2fb/../1/live.mp4", &[], 400),
        ("/nothing", &[], 404),
        ("/cam/1/live.mp4", &["Origin: http://evil.example"], 403),
        ("/api/v1/streams", &[], 401),
        ("/api/v1/streams", &["Authorization: Bearer wrong"], 401),
        ("/api/v1/nothing", &["Authorization: Bearer admin"], 404),
        (
            "/api/v1/streams/none/1",
            &["Authorization: Bearer admin"],
            404,
        ),
    ] {
        let answer = get(node.address, path, headers).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(
            answer.text().contains(r#""message":"#),
            "{path}: {}",
            answer.text()
        );
    }
    let page = node.get("/cam/1/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<video"));
    let redirect = node.get("//evil.example/1").await;
    assert_eq!(redirect.header("location"), Some("./1/"));
    let redirect = node.get("/cam/1/index.m3u8?token=right").await;
    assert_eq!(redirect.status, 307);
    let location = redirect.header("location");
    assert_eq!(location, Some("../../t/right/cam/1/index.m3u8"));
    let hostile = node.get("/cam/1/index.m3u8?token=a/../../b").await;
    assert_eq!(hostile.status, 403);
    let script = get(node.address, "/player.js", &["Origin: http://any.example"]).await;
    assert_eq!(script.header("access-control-allow-origin"), Some("*"));
    assert_eq!(node.get("/healthz").await.text(), "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_streams_and_closes_them() {
    let node = Node::start(Clip::test_picture(&["-c:v", "libx264"]), 1.0, true).await;
    let admin = &["Authorization: Bearer admin"];
    assert_eq!(node.get("/t/right/cam/1/poster.mp4").await.status, 200);
    let list = get(node.address, "/api/v1/streams", admin).await;
    assert!(list.text().contains(r#""path":"cam/1""#), "{}", list.text());
    let one = get(node.address, "/api/v1/streams/cam/1", admin).await;
    assert!(one.text().contains(r#""readers":["#), "{}", one.text());
    let sessions = get(node.address, "/api/v1/getrtsplivesessions", admin).await;
    assert_eq!(
        sessions.text(),
        r#"{"EasyDarwin":{"Body":{"SessionCount":"1","Sessions":[{"Channel":1,"NumOutputs":0,"index":0,"name":"cam","url":"rtsp://127.0.0.1/cam/1"}]},"Header":{"CSeq":"1","MessageType":"MSG_SC_RTSP_LIVE_SESSIONS_ACK","Version":"1.0"}}}"#
    );
    let info = get(node.address, "/api/v1/getserverinfo", admin).await;
    assert!(info.text().contains("MSG_SC_SERVER_INFO_ACK"));
    let closed = request(node.address, "DELETE", "/api/v1/streams/cam/1", admin).await;
    assert_eq!(closed.status, 200, "{}", closed.text());
    assert_eq!(
        get(node.address, "/api/v1/streams/cam/1", admin)
            .await
            .status,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_start_is_400_before_anything_is_done() {
    let node = Node::start(Clip::test_picture(&["-c:v", "libx264"]), 1.0, true).await;
    for output in ["live.mp4", "live.ws", "poster.mp4"] {
        let answer = node
            .get(&format!("/t/right/cam/1/{output}?start=now"))
            .await;
        assert_eq!(answer.status, 400, "{output}");
        assert!(answer.text().contains("start=live"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_and_shutdown_ends_endless_answers() {
    let mut node = Node::start(Clip::test_picture(&["-c:v", "libx264"]), 1.0, true).await;
    let silent = client::until_closed(node.address, b"GET /cam");
    assert!(
        tokio::time::timeout(Duration::from_secs(5), silent)
            .await
            .is_ok()
    );
    let address = node.address;
    let endless =
        tokio::spawn(async move { client::websocket(address, "/t/right/cam/1/live.ws").await });
    let path = easydarwin_core::registry::StreamPath::parse("cam/1").unwrap();
    node.hub
        .wait(&path, true, Duration::from_secs(5))
        .await
        .unwrap();
    node.stop.take().unwrap().send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        node.task.await.unwrap();
        endless.await.unwrap()
    });
    ended.await.expect("ends at shutdown");
}
