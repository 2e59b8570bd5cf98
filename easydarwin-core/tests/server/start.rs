//! Where players start: by what the URL asks for, else by the server's setting.

use std::time::{Duration, Instant};

use easydarwin_core::media::{H264Params, SessionDescription, Track};
use easydarwin_core::registry::{AllowAll, Principal};
use easydarwin_core::relay::{EndReason, Hub, Publisher, RelayConfig, Start};
use easydarwin_core::server::MediaServer;

use crate::support::{Rtsp, Server, path, sequence};

const TRANSPORT: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";

/// A stream of one-packet pictures that are sent when the test says so.
pub(crate) struct Film {
    publisher: Publisher,
    sequence: u16,
}

impl Film {
    pub(crate) fn new(hub: &Hub) -> Self {
        let params = H264Params {
            sps: Some(vec![0x67, 0x42, 0xc0, 0x0a, 0xa6, 0x11, 0x11, 0xe8].into()),
            pps: vec![vec![0x68, 0xce, 0x38, 0x80].into()],
        };
        let description = SessionDescription {
            tracks: vec![Track::h264(96, params)],
            ..SessionDescription::default()
        };
        let publisher = hub.publish(&path("cam/1"), description, Principal::Named("test".into()));
        Self {
            publisher: publisher.unwrap(),
            sequence: 0,
        }
    }

    /// Sends a picture; returns its sequence number.
    pub(crate) fn picture(&mut self, key: bool) -> u16 {
        self.picture_of(key, 4)
    }

    /// Sends a picture of so many bytes.
    pub(crate) fn picture_of(&mut self, key: bool, len: usize) -> u16 {
        let sequence = self.sequence;
        let mut packet = vec![0x80, 0x80 | 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 3600).to_be_bytes());
        packet.extend(7_u32.to_be_bytes());
        packet.extend([if key { 0x65 } else { 0x41 }, 0x88, 0x84, 0, 1]);
        packet.resize(packet.len() + len.saturating_sub(4), 1);
        let now = Instant::now();
        self.publisher.push_rtp(0, &packet, now);
        assert!(self.publisher.flush(now));
        self.sequence += 1;
        sequence
    }

    pub(crate) fn end(self, reason: EndReason) {
        self.publisher.end(reason);
    }
}

/// Plays; returns `RTP-Info`.
async fn play(client: &mut Rtsp, url: &str) -> String {
    assert_eq!(client.describe(url).await.status, 200);
    let track = format!("{url}/trackID=0");
    assert_eq!(client.set_up(&track, TRANSPORT).await.status, 200);
    let play = client.request("PLAY", url, &[], "").await;
    assert_eq!(play.status, 200);
    play.header("RTP-Info").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_url_says_where_a_player_starts_else_the_server_does() {
    for (default, query, live) in [
        (Start::Key, "", false),
        (Start::Key, "?start=live", true),
        (Start::Live, "", true),
        (Start::Live, "?start=key", false),
    ] {
        let mut config = RelayConfig::default();
        config.start = default;
        let builder = MediaServer::builder().authorizer(AllowAll).relay(config);
        let server = Server::of(builder).await;
        let mut film = Film::new(server.hub());
        let first = film.picture(true);
        film.picture(false);
        let mut client = server.connect().await;
        let info = play(&mut client, &server.url(&format!("cam/1{query}"))).await;
        film.picture(false);
        let next = film.picture(true);
        film.picture(false);
        let seen = sequence(&client.packet().await.unwrap());
        assert_eq!(seen, if live { next } else { first }, "{default:?} {query}");
        // What is not known yet is not claimed.
        assert_eq!(info.contains("seq="), !live, "{info}");
        server.stop().await;
    }
}

#[tokio::test]
async fn play_may_ask_for_another_start_than_describe() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    let mut client = server.connect().await;
    let url = server.url("cam/1");
    assert_eq!(client.describe(&url).await.status, 200);
    let track = format!("{url}/trackID=0");
    assert_eq!(client.set_up(&track, TRANSPORT).await.status, 200);
    let live = format!("{url}?start=live");
    assert_eq!(client.request("PLAY", &live, &[], "").await.status, 200);
    film.picture(false);
    let next = film.picture(true);
    assert_eq!(sequence(&client.packet().await.unwrap()), next);
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_start_is_400_and_says_what_is_known() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    let good = server.url("cam/1");
    let bad = server.url("cam/1?start=now");
    for at in ["DESCRIBE", "SETUP", "PLAY"] {
        let mut client = server.connect().await;
        let url = |step| if at == step { &bad } else { &good }.clone();
        let mut answer = client.describe(&url("DESCRIBE")).await;
        if answer.status == 200 {
            let track = format!("{}/trackID=0", url("SETUP"));
            answer = client.set_up(&track, TRANSPORT).await;
        }
        if answer.status == 200 {
            answer = client.request("PLAY", &url("PLAY"), &[], "").await;
        }
        assert_eq!(answer.status, 400, "{at}");
        assert!(answer.reason.contains("start=key"), "{}", answer.reason);
        assert!(answer.reason.contains("start=live"), "{}", answer.reason);
    }
    // A refused PLAY spoils nothing.
    let mut client = server.connect().await;
    play(&mut client, &good).await;
    let packet = tokio::time::timeout(Duration::from_secs(5), client.packet()).await;
    assert!(packet.unwrap().is_some());
    server.stop().await;
}

/// How late a player may be, and whether it keeps the sound then: as the URL asks, within what
/// the server allows.
#[tokio::test]
async fn the_url_says_what_becomes_of_a_slow_player() {
    let mut config = RelayConfig::default();
    config.max_lag = Duration::from_secs(3);
    let builder = MediaServer::builder().authorizer(AllowAll).relay(config);
    let server = Server::of(builder).await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    for (query, max_lag_ms, keep_audio) in [
        ("", 3_000, false),
        ("?max-lag=700ms", 700, false),
        ("?audio=keep&start=live", 3_000, true),
        ("?max-lag=60s&audio=skip", 3_000, false),
    ] {
        let mut client = server.connect().await;
        play(&mut client, &server.url(&format!("cam/1{query}"))).await;
        film.picture(true);
        assert!(client.packet().await.is_some());
        let info = server.hub().get(&path("cam/1")).unwrap().info();
        let reader = info.readers.last().unwrap();
        assert_eq!(reader.max_lag_ms, max_lag_ms, "{query}");
        assert_eq!(reader.keep_audio, keep_audio, "{query}");
    }
    for (query, says) in [
        ("?audio=loud", "audio=keep"),
        ("?max-lag=soon", "max-lag=500ms"),
    ] {
        let mut client = server.connect().await;
        let answer = client.describe(&server.url(&format!("cam/1{query}"))).await;
        assert_eq!(answer.status, 400);
        assert!(answer.reason.contains(says), "{}", answer.reason);
    }
    server.stop().await;
}
