//! What no peer should send: a clear answer, the connection closed where it must be, and a good
//! stream beside it undisturbed.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::support::{
    AUDIO_SDP, Message, Rtsp, Server, Source, Witness, audio_packet, interleaved, publish,
    sequence, within,
};

struct Bench {
    server: Server,
    witness: Witness,
    _source: Source,
}

impl Bench {
    async fn new() -> Self {
        let server = Server::open().await;
        let source = Source::start(server.hub(), "good/1");
        let witness = Witness::watch(&server, "good/1").await;
        Self {
            server,
            witness,
            _source: source,
        }
    }

    async fn connect(&self) -> Rtsp {
        self.server.connect().await
    }
}

#[tokio::test]
async fn garbage_is_answered_with_400_or_nothing_and_closed() {
    let bench = Bench::new().await;
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"GARBAGE\r\n\r\n",
        b"DESCRIBE rtsp://x/cam/1\r\n\r\n",
        b"DESCRIBE rtsp://x/cam/1 RTSP/9.9\r\nCSeq: 1\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        &[0xff; 4096],
    ] {
        let mut client = bench.connect().await;
        client.send(garbage).await;
        client.socket.shutdown().await.unwrap();
        if let Some(message) = client.next().await {
            let Message::Response(response) = message else {
                panic!("{message:?}");
            };
            assert!((400..600).contains(&response.status), "{response:?}");
        }
        client.closed().await;
    }
    bench.witness.fine().await;
}

#[tokio::test]
async fn half_a_message_waits_for_the_other_half() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await;
    client.send(b"OPTIONS * RT").await;
    bench.witness.fine().await;
    client.send(b"SP/1.0\r\nCSeq: 1\r\n").await;
    bench.witness.fine().await;
    client.send(b"\r\n").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_head_without_end_is_refused_early() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await;
    client.send(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: ").await;
    let megabyte = vec![b'a'; 1 << 20];
    let mut sent = 0;
    // 100 MB: the server must not take (or keep) more than a little of it.
    while sent < 100 {
        match tokio::time::timeout(Duration::from_secs(3), client.socket.write_all(&megabyte)).await
        {
            Ok(Ok(())) => sent += 1,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert!(sent < 20, "{sent} MB were taken");
    client.closed().await;
    bench.witness.fine().await;
}

#[tokio::test]
async fn impossible_lengths_are_refused() {
    let bench = Bench::new().await;
    let url = bench.server.url("cam/1");
    for length in ["-1", "99999999999999999999", "100000000", "x", "1e9"] {
        let mut client = bench.connect().await;
        client
            .send(
                format!("ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\n")
                    .as_bytes(),
            )
            .await;
        let response = client.response().await;
        assert!(
            matches!(response.status, 400 | 413),
            "{length}: {response:?}"
        );
        client.closed().await;
    }
    bench.witness.fine().await;
}

#[tokio::test]
async fn frames_for_unknown_channels_are_skipped() {
    let bench = Bench::new().await;
    let mut player = bench.connect().await;
    player.send(&interleaved(77, &[0; 1400])).await;
    player.play(&bench.server.url("good/1")).await;
    player.send(&interleaved(200, &[1; 65_535])).await;
    player.send(&interleaved(0, &audio_packet(1))).await;
    let url = bench.server.url("good/1");
    let response = player.request("GET_PARAMETER", &url, &[], "").await;
    assert_eq!(response.status, 200);

    let mut publisher = bench.connect().await;
    let url = bench.server.url("odd/1");
    assert_eq!(publish(&mut publisher, &url).await.status, 200);
    let mut reader = bench.connect().await;
    reader.play(&url).await;
    publisher.send(&interleaved(0, &audio_packet(1))).await;
    publisher.send(&interleaved(9, &[0x80; 500])).await;
    publisher.send(&interleaved(0, &audio_packet(2))).await;
    let first = within(reader.packet()).await.unwrap();
    assert_eq!(first.len(), audio_packet(1).len());
    bench.witness.fine().await;
}

#[tokio::test]
async fn packets_that_are_no_rtp_are_dropped() {
    let bench = Bench::new().await;
    let mut publisher = bench.connect().await;
    let url = bench.server.url("odd/1");
    assert_eq!(publish(&mut publisher, &url).await.status, 200);
    let mut reader = bench.connect().await;
    reader.play(&url).await;
    publisher.send(&interleaved(0, &audio_packet(1))).await;
    let mut wrong_version = audio_packet(2);
    wrong_version[0] = 0x40;
    let mut long_extension = audio_packet(2);
    long_extension[0] = 0x90;
    long_extension.truncate(16);
    long_extension[14..16].copy_from_slice(&[0xff, 0xff]);
    for packet in [
        wrong_version,
        long_extension,
        vec![],
        vec![0x80],
        vec![0x8f; 13],
    ] {
        publisher.send(&interleaved(0, &packet)).await;
        publisher.send(&interleaved(1, &packet)).await;
    }
    publisher.send(&interleaved(0, &audio_packet(2))).await;
    let mut last = None;
    for _ in 0..2 {
        let packet = within(reader.packet()).await.unwrap();
        assert_eq!(packet.len(), audio_packet(1).len());
        if let Some(last) = last {
            assert_eq!(sequence(&packet), u16::wrapping_add(last, 1));
        }
        last = Some(sequence(&packet));
    }
    bench.witness.fine().await;
}

#[tokio::test]
async fn descriptions_without_tracks_are_refused() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await;
    let url = bench.server.url("cam/1");
    let kind = [("Content-Type", "application/sdp")];
    let no_tracks = AUDIO_SDP.split("m=").next().unwrap();
    for sdp in [no_tracks, "nonsense", "v=0\r\n"] {
        let response = client.request("ANNOUNCE", &url, &kind, sdp).await;
        assert_eq!(response.status, 400, "{sdp:?}: {response:?}");
    }
    // The connection lives on, and so does the path.
    assert_eq!(publish(&mut client, &url).await.status, 200);
    bench.witness.fine().await;
}

#[tokio::test]
async fn a_taken_path_is_refused() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await;
    let response = publish(&mut client, &bench.server.url("good/1")).await;
    assert_eq!(response.status, 406, "{response:?}");
    bench.witness.fine().await;
}

#[tokio::test]
async fn hostile_paths_are_refused() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await;
    let long = "x".repeat(300);
    for path in [
        "../etc/passwd",
        "%2e%2e/x",
        "cam/%s",
        "a%00b",
        "",
        long.as_str(),
    ] {
        let url = bench.server.url(path);
        let response = client.describe(&url).await;
        assert!(matches!(response.status, 400 | 404), "{path}: {response:?}");
    }
    bench.witness.fine().await;
}

#[tokio::test]
async fn a_thousand_silent_connections_harm_nobody() {
    let bench = Bench::new().await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(bench.connect().await);
    }
    bench.witness.fine().await;
    // Others come in as before.
    let mut player = bench.connect().await;
    player.play(&bench.server.url("good/1")).await;
    assert!(player.packet().await.is_some());
    bench.witness.fine().await;
}
