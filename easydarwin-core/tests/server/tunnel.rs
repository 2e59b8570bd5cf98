//! RTSP over two HTTP connections: as clients do it, as hostile ones would, and our own client.

use std::time::{Duration, Instant};

use easydarwin_core::client::{ClientOptions, ClientTransport, Player, Publisher};
use easydarwin_core::media::{AccessUnit, G711Law, MediaKind, SessionDescription, Track};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::rtsp::ServerConfig;
use easydarwin_core::server::{Limits, MediaServer, MediaServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Rtsp, Server, Source, Witness, path, within};

fn get(cookie: &str) -> String {
    format!(
        "GET /cam/1 HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\
         Accept: application/x-rtsp-tunnelled\r\n\r\n"
    )
}

fn post(cookie: &str, length: &str) -> String {
    format!("POST /cam/1 HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n{length}\r\n")
}

fn base64(text: &[u8]) -> String {
    use std::fmt::Write as _;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.chunks(3) {
        let bits = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..4 {
            let symbol = match place > chunk.len() {
                true => '=',
                false => char::from(ALPHABET[bits >> (18 - 6 * place) & 63]),
            };
            write!(out, "{symbol}").unwrap();
        }
    }
    out
}

/// Opens a GET half and reads the head of its answer.
async fn open_get(server: &Server, cookie: &str) -> Rtsp {
    let mut half = server.connect().await;
    half.send(get(cookie).as_bytes()).await;
    let head = head(&mut half.socket).await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(head.contains("application/x-rtsp-tunnelled"), "{head}");
    half
}

async fn open_post(server: &Server, cookie: &str) -> TcpStream {
    let mut half = TcpStream::connect(server.addr).await.unwrap();
    let head = post(cookie, "Content-Length: 32767\r\n");
    half.write_all(head.as_bytes()).await.unwrap();
    half
}

async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(socket.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// What the server says before it closes.
async fn refusal(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    within(socket.read_to_end(&mut all)).await.unwrap();
    String::from_utf8(all).unwrap()
}

fn request(method: &str, url: &str, more: &str) -> String {
    format!("{method} {url} RTSP/1.0\r\nCSeq: 1\r\n{more}\r\n")
}

async fn ask(post: &mut TcpStream, get: &mut Rtsp, text: &str) -> crate::support::Response {
    post.write_all(base64(text.as_bytes()).as_bytes())
        .await
        .unwrap();
    get.response().await
}

/// A server that takes new connections' patience from `patience`.
fn impatient(patience: Duration) -> MediaServerBuilder {
    let mut config = ServerConfig::default();
    config.first_request_timeout = patience;
    MediaServer::builder()
        .authorizer(AllowAll)
        .rtsp_config(config)
}

#[tokio::test]
async fn played_however_the_base64_is_cut_and_whatever_length_is_claimed() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = server.url("cam/1");
    for (cookie, length) in [
        ("a", ""),
        ("b", "Content-Length: 0\r\n"),
        ("c", "Content-Length: 99999999999999999999999\r\n"),
        ("d", "Content-Length: -1\r\nContent-Length: x\r\n"),
    ] {
        let mut get = open_get(&server, cookie).await;
        let mut post_half = TcpStream::connect(server.addr).await.unwrap();
        post_half.set_nodelay(true).unwrap();
        // The first request behind the head, byte by byte; each is padded by itself.
        let options = base64(request("OPTIONS", &url, "").as_bytes());
        let first = format!("{}{options}", post(cookie, length));
        for byte in first.bytes() {
            post_half.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(get.response().await.status, 200);
        let describe = request("DESCRIBE", &url, "");
        assert_eq!(ask(&mut post_half, &mut get, &describe).await.status, 200);
        let track = format!("{url}/trackID=0");
        let setup = request(
            "SETUP",
            &track,
            "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
        );
        let answer = ask(&mut post_half, &mut get, &setup).await;
        assert_eq!(answer.status, 200);
        let session = format!("Session: {}\r\n", answer.session());
        let play = request("PLAY", &url, &session);
        assert_eq!(ask(&mut post_half, &mut get, &play).await.status, 200);
        for _ in 0..3 {
            within(get.packet()).await.unwrap();
        }
        let teardown = request("TEARDOWN", &url, &session);
        assert_eq!(ask(&mut post_half, &mut get, &teardown).await.status, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn another_post_is_taken_when_the_one_before_has_ended() {
    let server = Server::open().await;
    let url = server.url("cam/1");
    let mut get = open_get(&server, "c").await;
    let options = request("OPTIONS", &url, "");
    for _ in 0..3 {
        // A new one may come before the server has seen the end of the old one.
        let mut answered = false;
        while !answered {
            let mut post = open_post(&server, "c").await;
            post.write_all(base64(options.as_bytes()).as_bytes())
                .await
                .unwrap();
            answered = tokio::select! {
                response = get.response() => { assert_eq!(response.status, 200); true }
                refused = refusal(&mut post) => { assert!(refused.contains("409"), "{refused}"); false }
            };
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn halves_that_do_not_belong_together_are_refused() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "good");
    let witness = Witness::watch(&server, "good").await;
    // A POST without GET.
    let mut lonely = open_post(&server, "nobody").await;
    assert!(refusal(&mut lonely).await.starts_with("HTTP/1.1 404"));
    // A GET whose cookie is in use.
    let mut first = open_get(&server, "c").await;
    let mut again = TcpStream::connect(server.addr).await.unwrap();
    again.write_all(get("c").as_bytes()).await.unwrap();
    assert!(refusal(&mut again).await.starts_with("HTTP/1.1 409"));
    // A POST from another address that knows the cookie.
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind(([127, 0, 0, 9], 0).into()).unwrap();
    let mut thief = elsewhere.connect(server.addr).await.unwrap();
    thief.write_all(post("c", "").as_bytes()).await.unwrap();
    assert!(refusal(&mut thief).await.starts_with("HTTP/1.1 404"));
    // Two POSTs.
    let mut rightful = open_post(&server, "c").await;
    let options = request("OPTIONS", &server.url("x"), "");
    assert_eq!(ask(&mut rightful, &mut first, &options).await.status, 200);
    let mut second = open_post(&server, "c").await;
    assert!(refusal(&mut second).await.starts_with("HTTP/1.1 409"));
    assert_eq!(ask(&mut rightful, &mut first, &options).await.status, 200);
    // The end of the GET is the end of both, and the cookie is free again.
    drop(first);
    assert_eq!(refusal(&mut rightful).await, "");
    drop(open_get(&server, "c").await);
    witness.fine().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_tunnel_is_refused() {
    let server = Server::open().await;
    let long = "x".repeat(200);
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (
            "GET / HTTP/1.1\r\nx-sessioncookie:\r\n\r\n".to_owned(),
            "400",
        ),
        (get(&long), "400"),
        (get("a\r\nx-sessioncookie: b"), "400"),
        ("POST / RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\n", "y".repeat(9000)), "400"),
    ] {
        let mut socket = TcpStream::connect(server.addr).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        let refused = refusal(&mut socket).await;
        assert!(
            refused.starts_with(&format!("HTTP/1.1 {status}")),
            "{text}: {refused}"
        );
    }
    // Requests on the half that is ours, at once, later, and in a tunnel that is open.
    let mut socket = TcpStream::connect(server.addr).await.unwrap();
    socket
        .write_all(get("c").repeat(3).as_bytes())
        .await
        .unwrap();
    let mut all = Vec::new();
    // Closed with something unread, so it may be a reset.
    let _ = within(socket.read_to_end(&mut all)).await;
    assert!(!String::from_utf8(all).unwrap().contains("409"));
    let mut half = open_get(&server, "c").await;
    half.send(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").await;
    half.closed().await;
    let mut half = open_get(&server, "c").await;
    let mut post_half = open_post(&server, "c").await;
    let options = request("OPTIONS", &server.url("x"), "");
    assert_eq!(ask(&mut post_half, &mut half, &options).await.status, 200);
    half.send(b"OPTIONS").await;
    half.closed().await;
    // Bytes that are no base64 end the tunnel.
    let mut get = open_get(&server, "c").await;
    let mut post = open_post(&server, "c").await;
    post.write_all(b"OPTIONS * RTSP/1.0\r\n").await.unwrap();
    get.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn halves_wait_neither_long_nor_in_numbers() {
    let mut limits = Limits::default();
    limits.waiting_tunnels = 2;
    let server = Server::of(impatient(Duration::from_millis(500)).limits(limits)).await;
    let mut first = open_get(&server, "1").await;
    let mut second = open_get(&server, "2").await;
    let mut third = TcpStream::connect(server.addr).await.unwrap();
    third.write_all(get("3").as_bytes()).await.unwrap();
    assert!(refusal(&mut third).await.starts_with("HTTP/1.1 503"));
    first.closed().await;
    second.closed().await;
    // A head that never ends.
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nx-sess").await.unwrap();
    assert_eq!(refusal(&mut slow).await, "");
    drop(open_get(&server, "1").await);
    server.stop().await;
}

pub(crate) fn tunnelled() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.transport = ClientTransport::Tunnel;
    options
}

/// 20 ms of silence.
pub(crate) fn sound(pts: i64) -> AccessUnit {
    AccessUnit {
        track: 0,
        pts,
        arrival: Instant::now(),
        ntp: None,
        key: true,
        discontinuity: false,
        lossy: false,
        data: vec![bytes::Bytes::from(vec![0xd5; 160])],
    }
}

pub(crate) fn sound_description() -> SessionDescription {
    SessionDescription {
        name: "sound".to_owned(),
        tracks: vec![Track::g711(G711Law::A)],
        ..SessionDescription::default()
    }
}

/// Publishes and plays with our own client; all that is played must be what was published.
pub(crate) async fn publish_and_play(url: &str, options: &ClientOptions) {
    let mut publisher = within(Publisher::connect(
        url,
        sound_description(),
        options.clone(),
    ))
    .await
    .unwrap();
    let mut player = within(Player::connect(url, options.clone())).await.unwrap();
    assert_eq!(player.description().tracks[0].kind, MediaKind::Audio);
    let mut sent = 0;
    let mut played = 0;
    within(async {
        while played < 30 {
            tokio::select! {
                unit = player.next_unit() => {
                    let unit = unit.unwrap().unwrap();
                    assert!(!unit.lossy);
                    played += 1;
                }
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    publisher.send(&sound(sent * 160)).await.unwrap();
                    sent += 1;
                }
            }
        }
    })
    .await;
    within(player.close()).await.unwrap();
    within(publisher.close()).await.unwrap();
}

#[tokio::test]
async fn our_client_publishes_and_plays_through_a_tunnel() {
    let server = Server::open().await;
    publish_and_play(&server.url("cam/1?x=1"), &tunnelled()).await;
    assert!(server.hub().get(&path("cam/1")).is_none());
    server.stop().await;
}
