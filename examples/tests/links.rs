//! Streams that the binary `easydarwin` fetches, pushes on and points to: between instances of
//! it, from gst-rtsp-server, and with players that follow. What arrives must be a contiguous run
//! of the very NAL units that were published.

// A test may panic; that is how it fails.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use easydarwin_core::client::{ClientOptions, Player};
use easydarwin_core::registry::{AllowAll, Principal, StreamPath};
use easydarwin_core::server::{DemandError, MediaServer, OnDemand};
use easydarwin_test_support::api::{eventually, wait_live};
use easydarwin_test_support::gst_server::{GstServer, Guard};
use easydarwin_test_support::media::Clip;
use easydarwin_test_support::peers::{
    FFMPEG_PACKET, Transport, ffmpeg_listen, ffmpeg_publish, ffmpeg_read, gstreamer_read, recorded,
};
use easydarwin_test_support::process::{Process, Workdir, free_port};
use easydarwin_test_support::tls::{nameless, self_signed};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(15);

/// One `easydarwin` that lets everybody in, with these settings beside.
struct Instance {
    rtsp: u16,
    http: u16,
    _process: Process,
}

impl Instance {
    fn start(workdir: &Workdir, name: &str, settings: &str) -> Self {
        let (rtsp, http) = (free_port(), free_port());
        let file = workdir.file(&format!("{name}.toml"));
        let text = format!(
            "rtsp = \"127.0.0.1:{rtsp}\"\nhttp = \"127.0.0.1:{http}\"\nanonymous = true\napi-key = [\"admin\"]\n{settings}"
        );
        std::fs::write(&file, text).expect("target/ is writable");
        let file = file.to_str().expect("a path in UTF-8");
        let process = Process::spawn_ready(workdir, name, "easydarwin", ["--config", file]);
        Self {
            rtsp,
            http,
            _process: process,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.rtsp)
    }

    /// Of an instance with a certificate: its port for RTSP takes TLS, too.
    fn tls_url(&self, path: &str) -> String {
        format!("rtsps://127.0.0.1:{}/{path}", self.rtsp)
    }

    /// The answer of the node's API.
    fn api(&self, what: &str) -> Value {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(SOON))
            .build()
            .into();
        let mut answer = agent
            .get(format!("http://127.0.0.1:{}/api/v1/{what}", self.http))
            .header("Authorization", "Bearer admin")
            .call()
            .expect("the API answers");
        let text = answer.body_mut().read_to_string().expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits for the state of a source.
    fn source(&self, path: &str, state: &str) -> Value {
        eventually(&format!("{path} is {state}"), SOON, || {
            let info = self.api(&format!("sources/{path}"));
            match info["state"].as_str() {
                Some(now) if now == state => Ok(info),
                _ => Err(info.to_string()),
            }
        })
    }
}

/// All readers at the same time.
fn read_all(workdir: &Workdir, clip: Clip, readers: &[(&str, &str, Transport)]) {
    std::thread::scope(|scope| {
        for (index, &(program, url, transport)) in readers.iter().enumerate() {
            let workdir = workdir.sub(&format!("{index}-{program}"));
            scope.spawn(move || {
                let received = match program {
                    "ffmpeg" => ffmpeg_read(&workdir, clip, url, transport),
                    _ => gstreamer_read(&workdir, clip, url, transport),
                };
                let result = received.and_then(|received| received.check(clip, true));
                assert_eq!(result, Ok(()), "{program} from {url}");
            });
        }
    });
}

const TCP: Transport = Transport::Tcp;
const UDP: Transport = Transport::Udp;

#[test]
fn between_instances_over_tcp_and_udp_and_pushed_on() {
    let workdir = Workdir::new("links-instances");
    let clip = Clip::Aac;
    clip.published();
    let backup = Instance::start(&workdir, "backup", "");
    let origin_settings = format!(
        "[[forward]]\npath = \"live/film\"\nurl = \"{}\"\n",
        backup.url("pushed/film")
    );
    let origin = Instance::start(&workdir, "origin", &origin_settings);
    let film = origin.url("live/film");
    let mut settings = String::new();
    for (path, rest) in [
        ("tcp/film", "transports = [\"tcp\"]"),
        ("udp/film", "transports = [\"udp\"]"),
        ("demand/film", "mode = \"on-demand\""),
    ] {
        settings.push_str(&format!(
            "[[pull]]\npath = \"{path}\"\nurl = \"{film}\"\n{rest}\n"
        ));
    }
    let edge = Instance::start(&workdir, "edge", &settings);
    // Nobody publishes yet: it waits, and says for what.
    assert_eq!(edge.source("tcp/film", "waiting")["reason"], "not_found");
    let _publisher = ffmpeg_publish(&workdir, clip, &film, TCP, FFMPEG_PACKET);
    wait_live(&film, SOON);
    assert_eq!(edge.source("udp/film", "playing")["transport"], "udp");
    assert_eq!(edge.source("tcp/film", "playing")["transport"], "tcp");
    assert_eq!(edge.source("demand/film", "stopped")["attempts"], 0);
    wait_live(&backup.url("pushed/film"), SOON);
    read_all(
        &workdir,
        clip,
        &[
            ("ffmpeg", &edge.url("tcp/film"), TCP),
            ("gstreamer", &edge.url("tcp/film"), UDP),
            ("ffmpeg", &edge.url("udp/film"), TCP),
            ("gstreamer", &edge.url("udp/film"), TCP),
            ("ffmpeg", &backup.url("pushed/film"), TCP),
            ("gstreamer", &backup.url("pushed/film"), TCP),
        ],
    );
    let forward = &origin.api("forwards")["forwards"][0];
    assert_eq!(forward["state"], "playing", "{forward}");
    assert_eq!(forward["attempts"], 1, "{forward}");

    // The first viewer of a source on demand: its picture, then the end of the source.
    let took = first_picture(&edge.url("demand/film"));
    println!("first picture of a source on demand after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let stopped = edge.source("demand/film", "stopped");
    assert_eq!(stopped["connects"], 1);
    assert_eq!(stopped["reconnects"], 0);
}

/// From the connection to the first key frame.
fn first_picture(url: &str) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let begin = Instant::now();
        let mut player = Player::connect(url, ClientOptions::default())
            .await
            .expect("a player");
        loop {
            let unit = player.next_unit().await.expect("media").expect("no end");
            if unit.track == 0 && unit.key {
                break;
            }
        }
        let took = begin.elapsed();
        player.close().await.expect("TEARDOWN");
        took
    })
}

#[test]
fn from_gst_rtsp_server_over_tcp_and_udp() {
    let workdir = Workdir::new("links-gstreamer");
    let clip = Clip::Aac;
    clip.published();
    let open = GstServer::start(&workdir, &clip.path(), Guard::Open);
    let digest = GstServer::start(&workdir.sub("digest"), &clip.path(), Guard::Digest);
    let settings = format!(
        "[[pull]]\npath = \"tcp/film\"\nurl = \"{}\"\ntransports = [\"tcp\"]\nmode = \"on-demand\"\n\
         [[pull]]\npath = \"udp/film\"\nurl = \"{}\"\ntransports = [\"udp\"]\nmode = \"on-demand\"\n\
         [[pull]]\npath = \"digest/film\"\nurl = \"{}\"\nmode = \"on-demand\"\n\
         [[pull]]\npath = \"wrong/film\"\nurl = \"{}\"\n",
        open.url(),
        open.url(),
        digest.url(),
        digest.wrong_url(),
    );
    let edge = Instance::start(&workdir, "edge", &settings);
    read_all(
        &workdir,
        clip,
        &[
            ("ffmpeg", &edge.url("tcp/film"), TCP),
            ("gstreamer", &edge.url("udp/film"), TCP),
            ("ffmpeg", &edge.url("digest/film"), UDP),
        ],
    );
    let wrong = edge.source("wrong/film", "waiting");
    assert_eq!(wrong["reason"], "unauthorized", "{wrong}");
    let all = edge.api("sources").to_string();
    assert!(!all.contains("guess") && !all.contains("secret"), "{all}");
}

#[test]
fn pushed_on_to_servers_of_others() {
    let workdir = Workdir::new("links-forward");
    let clip = Clip::Aac;
    clip.published();
    let guards = [
        ("open", Guard::Open),
        ("digest", Guard::Digest),
        ("wrong", Guard::Digest),
    ];
    let [open, digest, (_, wrong)] = guards.map(|(name, guard)| {
        let workdir = workdir.sub(name);
        let server = GstServer::start_recording(&workdir, workdir.path(), guard);
        (workdir, server)
    });
    let listening = format!("rtsp://127.0.0.1:{}/film", free_port());
    let settings = [
        open.1.url(),
        digest.1.url(),
        listening.clone(),
        wrong.wrong_url(),
    ]
    .map(|url| format!("[[forward]]\npath = \"live/film\"\nurl = \"{url}\"\n"))
    .concat();
    std::thread::scope(|scope| {
        // It is there only for the one publisher for which it waits.
        let ffmpeg = workdir.sub("ffmpeg");
        let listener = scope.spawn(move || ffmpeg_listen(&ffmpeg, clip, &listening));
        let origin = Instance::start(&workdir, "origin", &settings);
        let film = origin.url("live/film");
        let _publisher = ffmpeg_publish(&workdir, clip, &film, TCP, FFMPEG_PACKET);
        for (workdir, mut server) in [open, digest] {
            let (video, frames) = (workdir.file("video"), workdir.path().join("frames"));
            let received = recorded(&mut server.process, clip, &video, &frames);
            let result = received.and_then(|received| received.check(clip, true));
            assert_eq!(result, Ok(()), "gst-rtsp-server, {}", server.address);
        }
        let received = listener.join().expect("the listening thread");
        let result = received.and_then(|received| received.check(clip, true));
        assert_eq!(result, Ok(()), "ffmpeg, listening");
        // The one with the wrong password waits, disturbs nobody, and gives nothing away.
        let forwards = origin.api("forwards");
        let refused = forwards["forwards"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|forward| forward["reason"] == "unauthorized");
        assert!(refused.is_some(), "{forwards}");
        let text = forwards.to_string();
        assert!(
            !text.contains("guess") && !text.contains("secret"),
            "{text}"
        );
    });
}

/// A setting for a path in a file of settings.
fn path_setting(name: &str, path: &Path) -> String {
    format!("{name} = \"{}\"\n", path.display())
}

#[test]
fn over_tls_and_tunnels_to_instances_that_are_believed() {
    let workdir = Workdir::new("links-tls");
    let clip = Clip::Aac;
    clip.published();
    let (certificate, key) = self_signed(&workdir);
    let shown = path_setting("tls-cert", &certificate) + &path_setting("tls-key", &key);
    let believed = path_setting("tls-ca", &certificate);
    let backup = Instance::start(&workdir, "backup", &shown);
    let forward = |url: String| format!("[[forward]]\npath = \"live/film\"\nurl = \"{url}\"\n");
    let origin_settings = format!(
        "{shown}{believed}{}",
        forward(backup.tls_url("pushed/film"))
    );
    let origin = Instance::start(&workdir, "origin", &origin_settings);
    let film = origin.url("live/film");
    let _publisher = ffmpeg_publish(&workdir, clip, &film, TCP, FFMPEG_PACKET);
    wait_live(&film, SOON);
    let pulls = [
        ("tls/film", origin.tls_url("live/film"), "tcp"),
        ("tunnel/film", film.clone(), "tunnel"),
        ("both/film", origin.tls_url("live/film"), "tunnel"),
    ]
    .map(|(path, url, transport)| {
        format!("[[pull]]\npath = \"{path}\"\nurl = \"{url}\"\ntransports = [\"{transport}\"]\n")
    })
    .concat();
    let edge = Instance::start(&workdir, "edge", &(believed + &pulls));
    assert_eq!(edge.source("tls/film", "playing")["transport"], "tcp");
    assert_eq!(edge.source("tunnel/film", "playing")["transport"], "tunnel");
    assert_eq!(edge.source("both/film", "playing")["transport"], "tunnel");
    wait_live(&backup.url("pushed/film"), SOON);
    read_all(
        &workdir,
        clip,
        &[
            ("ffmpeg", &edge.url("tls/film"), TCP),
            ("gstreamer", &edge.url("tunnel/film"), TCP),
            ("ffmpeg", &edge.url("both/film"), TCP),
            ("gstreamer", &backup.url("pushed/film"), TCP),
        ],
    );

    // Who was told of no certificate believes the public authorities only, and says what is wrong.
    let stranger = Instance::start(&workdir, "stranger", &pulls);
    for path in ["tls/film", "both/film"] {
        let waiting = stranger.source(path, "waiting");
        assert_eq!(waiting["reason"], "unreachable", "{waiting}");
        let error = waiting["last_error"].as_str().unwrap_or_default();
        assert!(error.contains("whom is trusted"), "{waiting}");
        assert_eq!(waiting["connects"], 0, "{waiting}");
    }
    stranger.source("tunnel/film", "playing");
}

#[test]
fn from_gst_rtsp_server_over_tls_and_tunnels() {
    let workdir = Workdir::new("links-gstreamer-tls");
    let clip = Clip::Aac;
    clip.published();
    let (pem, pin) = nameless(&workdir);
    let secure = GstServer::start_tls(&workdir, &clip.path(), &pem);
    let open = GstServer::start(&workdir.sub("open"), &clip.path(), Guard::Open);
    let settings = [
        ("tls/film", secure.url(), "tcp"),
        ("tunnel/film", open.url(), "tunnel"),
    ]
    .map(|(path, url, transport)| {
        format!(
            "[[pull]]\npath = \"{path}\"\nurl = \"{url}\"\ntransports = [\"{transport}\"]\nmode = \"on-demand\"\n"
        )
    })
    .concat();
    // Its certificate names no host: only the key itself can be believed.
    let edge = Instance::start(
        &workdir,
        "edge",
        &format!("tls-pin = [\"{pin}\"]\n{settings}"),
    );
    read_all(
        &workdir,
        clip,
        &[
            ("ffmpeg", &edge.url("tls/film"), TCP),
            ("gstreamer", &edge.url("tunnel/film"), TCP),
        ],
    );
    let wrong = Instance::start(
        &workdir,
        "wrong",
        &format!(
            "tls-pin = [\"{}\"]\n{}",
            "0".repeat(64),
            settings.replace("mode = \"on-demand\"\n", "")
        ),
    );
    let waiting = wrong.source("tls/film", "waiting");
    assert_eq!(waiting["reason"], "unreachable", "{waiting}");
    wrong.source("tunnel/film", "playing");
}

/// Knows that all streams are at one node.
struct Door(String);

#[async_trait]
impl OnDemand for Door {
    async fn demand(&self, path: &StreamPath, _viewer: &Principal) -> Result<(), DemandError> {
        // A token as a CMS would sign it: it has to reach the node as it is.
        let url = format!("{}/{path}?token=dG9r.ZW4-_w", self.0);
        Err(DemandError::Redirect(url.parse().expect("a URL")))
    }
}

#[test]
fn players_follow_a_redirection() {
    let workdir = Workdir::new("links-redirect");
    let clip = Clip::Aac;
    clip.published();
    let node = Instance::start(&workdir, "node", "");
    let film = node.url("live/film");
    let _publisher = ffmpeg_publish(&workdir, clip, &film, TCP, FFMPEG_PACKET);
    wait_live(&film, SOON);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let server = runtime
        .block_on(
            MediaServer::builder()
                .authorizer(AllowAll)
                .on_demand(Door(format!("rtsp://127.0.0.1:{}", node.rtsp)))
                .build(),
        )
        .expect("a door");
    let url = format!("rtsp://{}/live/film", server.rtsp_addr());
    let handle = server.handle();
    let serving = runtime.spawn(server.run(std::future::pending()));
    read_all(
        &workdir,
        clip,
        &[
            ("ffmpeg", &url, TCP),
            ("ffmpeg", &url, UDP),
            ("gstreamer", &url, TCP),
            ("gstreamer", &url, UDP),
        ],
    );
    let took = first_picture(&url);
    assert!(took < Duration::from_secs(3), "{took:?}");
    handle.shutdown();
    runtime
        .block_on(serving)
        .expect("the door ends")
        .expect("without an error");
}
