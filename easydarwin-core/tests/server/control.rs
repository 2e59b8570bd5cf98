//! PAUSE and what follows it, over TCP and UDP.

use std::time::{Duration, Instant};

use easydarwin_core::registry::AllowAll;
use easydarwin_core::relay::EndReason;
use easydarwin_core::rtsp::ServerConfig;
use easydarwin_core::server::MediaServer;
use tokio::net::UdpSocket;

use crate::start::Film;
use crate::support::{Message, Response, Rtsp, Server, sequence, within};

/// Asks, and fails if media comes before the answer.
async fn ask_in_silence(client: &mut Rtsp, method: &str, url: &str) -> Response {
    client.write_request(method, url, &[], "").await;
    match client.next().await.expect("an answer") {
        Message::Response(response) => response,
        Message::Frame(channel, _) => panic!("media on channel {channel} while paused"),
    }
}

fn rtp_info(response: &Response) -> &str {
    response.header("RTP-Info").unwrap_or_default()
}

/// A player that paused when it had got the first two pictures.
async fn paused_after_two(server: &Server, film: &mut Film, url: &str) -> Rtsp {
    film.picture(true);
    let mut client = server.connect().await;
    client.play(url).await;
    film.picture(false);
    for expected in [0, 1] {
        assert_eq!(sequence(&client.packet().await.unwrap()), expected);
    }
    assert_eq!(client.request("PAUSE", url, &[], "").await.status, 200);
    client
}

#[tokio::test]
async fn a_pause_ends_at_the_key_frame_that_came_meanwhile() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    let url = server.url("cam/1");
    let mut client = paused_after_two(&server, &mut film, &url).await;
    film.picture(false);
    let key = film.picture(true);
    film.picture(false);
    for method in ["OPTIONS", "GET_PARAMETER", "PAUSE"] {
        assert_eq!(ask_in_silence(&mut client, method, &url).await.status, 200);
    }
    let played = ask_in_silence(&mut client, "PLAY", &url).await;
    assert_eq!(played.status, 200);
    film.picture(false);
    let first = client.packet().await.unwrap();
    assert_eq!(sequence(&first), key);
    let time = u32::from_be_bytes([first[4], first[5], first[6], first[7]]);
    let info = format!("seq={key};rtptime={time}");
    assert!(rtp_info(&played).ends_with(&info), "{played:?}");
    for expected in [key + 1, key + 2] {
        assert_eq!(sequence(&client.packet().await.unwrap()), expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_twice_after_a_short_pause() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    let url = server.url("cam/1");
    let mut client = paused_after_two(&server, &mut film, &url).await;
    film.picture(false);
    let played = ask_in_silence(&mut client, "PLAY", &url).await;
    // The first picture to come is not there yet.
    assert!(!rtp_info(&played).contains("seq="), "{played:?}");
    film.picture(false);
    let key = film.picture(true);
    assert_eq!(sequence(&client.packet().await.unwrap()), key);
    server.stop().await;
}

/// A player over UDP that has got the first picture.
async fn play_udp(server: &Server, url: &str) -> (Rtsp, UdpSocket, UdpSocket) {
    let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rtcp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let mut client = server.connect().await;
    client.describe(url).await;
    let transport = format!("RTP/AVP;unicast;client_port={}-{}", port(&rtp), port(&rtcp));
    let setup = client.set_up(&format!("{url}/trackID=0"), &transport).await;
    assert_eq!(setup.status, 200, "{setup:?}");
    let ports = setup.header("Transport").unwrap();
    let ports = ports.split("server_port=").nth(1).unwrap();
    let to = ports.split(['-', ';']).nth(1).unwrap().parse().unwrap();
    rtcp.connect(("127.0.0.1", to)).await.unwrap();
    assert_eq!(client.request("PLAY", url, &[], "").await.status, 200);
    let mut buffer = [0; 2048];
    within(rtp.recv(&mut buffer)).await.unwrap();
    assert_eq!(sequence(&buffer), 0);
    (client, rtp, rtcp)
}

/// The packet types of a compound.
fn kinds(mut compound: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [_, kind, high, low, ..] = *compound {
        kinds.push(kind);
        let words = usize::from(u16::from_be_bytes([high, low])) + 1;
        compound = compound.get(words * 4..).unwrap_or_default();
    }
    kinds
}

#[tokio::test]
async fn a_pause_over_udp_is_no_goodbye() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    let url = server.url("cam/1");
    let (mut client, rtp, rtcp) = play_udp(&server, &url).await;
    assert_eq!(client.request("PAUSE", &url, &[], "").await.status, 200);
    let key = film.picture(true);
    assert_eq!(client.request("OPTIONS", &url, &[], "").await.status, 200);
    let mut buffer = [0; 2048];
    assert!(rtp.try_recv(&mut buffer).is_err(), "media while paused");
    let played = client.request("PLAY", &url, &[], "").await;
    assert!(rtp_info(&played).contains(&format!("seq={key};")));
    within(rtp.recv(&mut buffer)).await.unwrap();
    assert_eq!(sequence(&buffer), key);
    assert_eq!(client.request("TEARDOWN", &url, &[], "").await.status, 200);
    // A sender report before the pause and one after it; the goodbye, behind an empty report and
    // a name (RFC 3550, 6.1), comes at the end only.
    let mut reports = 0;
    loop {
        let len = within(rtcp.recv(&mut buffer)).await.unwrap();
        let kinds = kinds(&buffer[..len]);
        if kinds.contains(&203) {
            break;
        }
        assert_eq!(kinds.first(), Some(&200), "{kinds:?}");
        reports += 1;
    }
    assert!(reports >= 2, "{reports}");
    server.stop().await;
}

#[tokio::test]
async fn reports_by_datagram_keep_a_paused_session() {
    let mut config = ServerConfig::default();
    config.session_timeout = Duration::from_secs(1);
    let builder = MediaServer::builder()
        .authorizer(AllowAll)
        .rtsp_config(config);
    let server = Server::of(builder).await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    let url = server.url("cam/1");
    let (mut client, _rtp, rtcp) = play_udp(&server, &url).await;
    assert_eq!(client.request("PAUSE", &url, &[], "").await.status, 200);
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while began.elapsed() < Duration::from_millis(2500) {
        tick.tick().await;
        // An empty receiver report.
        rtcp.send(&[0x80, 201, 0, 1, 0, 0, 0, 1]).await.unwrap();
    }
    assert_eq!(client.request("OPTIONS", &url, &[], "").await.status, 200);
    // And silence ends it.
    within(client.closed()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_ends_ends_paused_players() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    let url = server.url("cam/1");
    let mut client = server.connect().await;
    client.play(&url).await;
    assert_eq!(client.request("PAUSE", &url, &[], "").await.status, 200);
    film.end(EndReason::Closed);
    within(client.closed()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_description_disturbs_no_session() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    let url = server.url("cam/1");
    let mut client = server.connect().await;
    client.play(&url).await;
    assert_eq!(client.describe(&url).await.status, 200);
    let next = film.picture(false);
    while sequence(&within(client.packet()).await.unwrap()) != next {}
    server.stop().await;
}

/// Requests that come at once while a packet is half written: no answer goes into its middle.
#[tokio::test]
async fn answers_to_a_train_of_requests_tear_no_packet() {
    let server = Server::open().await;
    let mut film = Film::new(server.hub());
    film.picture(true);
    let url = server.url("cam/1");
    for methods in [["PAUSE", "TEARDOWN", "OPTIONS"], ["PAUSE", "PLAY", "PAUSE"]] {
        let mut client = server.connect().await;
        client.play(&url).await;
        // More than the sockets hold: the last packet under way is cut where they are full.
        for _ in 0..4000 {
            film.picture_of(true, 1400);
            tokio::task::yield_now().await;
        }
        let session = client.session.clone().unwrap();
        let train: String = methods
            .iter()
            .zip(100..)
            .map(|(method, cseq)| {
                let session = match *method {
                    "OPTIONS" => String::new(),
                    _ => format!("Session: {session}\r\n"),
                };
                format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n{session}\r\n")
            })
            .collect();
        client.send(train.as_bytes()).await;
        for cseq in ["100", "101", "102"] {
            let response = client.response().await;
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.header("CSeq"), Some(cseq));
        }
        if methods.contains(&"TEARDOWN") {
            client.session = None;
        }
        assert_eq!(
            ask_in_silence(&mut client, "OPTIONS", "*").await.status,
            200
        );
    }
    server.stop().await;
}
