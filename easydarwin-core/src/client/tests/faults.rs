use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Behaviour, Server};
use super::*;
use crate::rtsp::Method;

/// A listener that does with its first connection what it is told.
async fn listener<F: Future<Output = ()> + Send + 'static>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtsp://{}/a", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await;
    });
    url
}

fn short() -> ClientOptions {
    ClientOptions {
        request_timeout: Duration::from_millis(100),
        stall_timeout: Duration::from_millis(100),
        silence_timeout: Duration::from_millis(100),
        ..ClientOptions::default()
    }
}

async fn play_error(url: &str) -> ClientError {
    soon(Player::connect(url, short())).await.unwrap_err()
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtsp://{}/a", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(
        play_error(&url).await,
        ClientError::Connect { .. }
    ));
    assert!(matches!(play_error("http://h/").await, ClientError::Url(_)));
}

#[tokio::test]
async fn nobody_answers() {
    let url = listener(|mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    })
    .await;
    assert!(matches!(
        play_error(&url).await,
        ClientError::NoAnswer {
            method: Method::Describe,
            ..
        }
    ));
}

#[tokio::test]
async fn somebody_hangs_up_or_talks_nonsense() {
    let url = listener(|stream| async move { drop(stream) }).await;
    assert!(matches!(
        play_error(&url).await,
        ClientError::Closed | ClientError::Io(_)
    ));
    let url = listener(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    assert!(matches!(play_error(&url).await, ClientError::Protocol(_)));
}

#[tokio::test]
async fn the_refused_request_is_named() {
    let server = Server::start(Behaviour::default()).await;
    let error = play_error(&server.url()).await;
    assert_eq!(error.to_string(), "DESCRIBE was refused: 404 Not Found");
    assert_eq!(error.status().unwrap().code(), 404);
}

#[tokio::test]
async fn the_server_ends() {
    let server = Server::start(Behaviour::default()).await;
    let mut publisher = Publisher::connect(&server.url(), description(), ClientOptions::default())
        .await
        .unwrap();
    let mut player = Player::connect(&server.url(), ClientOptions::default())
        .await
        .unwrap();
    server.end();
    assert!(soon(player.next_unit()).await.unwrap().is_none());
    assert!(soon(player.next_unit()).await.unwrap().is_none());
    assert!(matches!(
        soon(publisher.drive()).await,
        Err(ClientError::Closed | ClientError::Io(_))
    ));
}

#[tokio::test]
async fn goodbyes_of_all_tracks_are_the_end() {
    let server = Server::start(Behaviour::default()).await;
    server.describe(description());
    let mut player = Player::connect(&server.url(), options(ClientTransport::Udp))
        .await
        .unwrap();
    server.players(1).await;
    for track in [0, 1] {
        let mut goodbye = bytes::BytesMut::new();
        crate::rtp::rtcp::write_goodbye(5, "x", &mut goodbye);
        let packet = [0x80, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 1];
        server.send(track, false, Bytes::copy_from_slice(&packet));
        // Datagrams of two sockets overtake each other.
        assert!(soon(player.next_packet()).await.unwrap().is_some());
        server.send(track, true, goodbye.freeze());
    }
    assert!(soon(player.next_packet()).await.unwrap().is_none());
}

#[tokio::test]
async fn silence_is_an_error() {
    let server = Server::start(Behaviour::default()).await;
    server.describe(description());
    let mut player = Player::connect(&server.url(), short()).await.unwrap();
    assert!(matches!(
        soon(player.next_unit()).await,
        Err(ClientError::Silent { .. })
    ));
}

#[tokio::test]
async fn a_server_that_takes_nothing_stalls_the_publisher() {
    let url = listener(|mut stream| async move {
        for answer in [
            "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n",
        ] {
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let mut publisher = Publisher::connect(&url, description(), short())
        .await
        .unwrap();
    let mut large = unit(0, 0);
    large.data = vec![vec![0x65; 1_000_000].into()];
    let error = soon(async {
        loop {
            if let Err(error) = publisher.send(&large).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(error, ClientError::Stalled { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dropped_send_tears_no_packet() {
    let server = Server::start(Behaviour::default()).await;
    let mut publisher = Publisher::connect(&server.url(), description(), ClientOptions::default())
        .await
        .unwrap();
    let mut player = Player::connect(&server.url(), ClientOptions::default())
        .await
        .unwrap();
    server.players(1).await;
    let mut large = unit(0, 0);
    large.data = vec![vec![0x65; 1_000_000].into()];
    let mut sent = 0;
    loop {
        sent += 1;
        large.pts += 3600;
        // Polled once: as much is written as the socket takes.
        let mut send = std::pin::pin!(publisher.send(&large));
        let once = std::future::poll_fn(|cx| std::task::Poll::Ready(send.as_mut().poll(cx)));
        if once.await.is_pending() {
            break;
        }
    }
    let rest = async {
        publisher.send(&unit(1, 1)).await.unwrap();
        publisher.drive().await
    };
    let received = async {
        let mut units = Vec::new();
        while units.len() < sent + 1 {
            units.push(player.next_unit().await.unwrap().unwrap());
        }
        units
    };
    let units = tokio::select! {
        ended = rest => panic!("{ended:?}"),
        units = soon(received) => units,
    };
    for unit in units.iter().filter(|unit| unit.track == 0) {
        assert_eq!(unit.len(), 1_000_000);
        assert!(!unit.lossy);
    }
    assert_eq!(units.iter().filter(|unit| unit.track == 1).count(), 1);
}
