//! Limits on connections, shutdown.

use std::time::Duration;

use easydarwin_core::registry::AllowAll;
use easydarwin_core::relay::StreamEvent;
use easydarwin_core::server::{Limits, MediaServer, ServerEvent};

use crate::support::{Server, Source, publish, within};

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_place_is_given_back() {
    let mut limits = Limits::default();
    limits.connections_per_address = 2;
    let builder = MediaServer::builder().authorizer(AllowAll).limits(limits);
    let server = Server::of(builder).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    let url = server.url("cam/1");
    assert_eq!(second.request("OPTIONS", &url, &[], "").await.status, 200);
    server.connect().await.closed().await;
    drop(first);
    within(async {
        while server.handle.connections() == 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut third = server.connect().await;
    assert_eq!(third.request("OPTIONS", &url, &[], "").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let mut config = easydarwin_core::rtsp::ServerConfig::default();
    config.first_request_timeout = Duration::from_millis(100);
    let builder = MediaServer::builder()
        .authorizer(AllowAll)
        .rtsp_config(config);
    let server = Server::of(builder).await;
    server.connect().await.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn a_player_lives_by_what_it_takes_or_by_its_reports() {
    let mut config = easydarwin_core::rtsp::ServerConfig::default();
    config.session_timeout = Duration::from_millis(300);
    let builder = MediaServer::builder()
        .authorizer(AllowAll)
        .rtsp_config(config);
    let server = Server::of(builder).await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = server.url("cam/1");
    let mut over_tcp = server.connect().await;
    over_tcp.play(&url).await;
    let mut over_udp = server.connect().await;
    over_udp.describe(&url).await;
    let gone = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = gone.local_addr().unwrap().port();
    let transport = format!(
        "RTP/AVP;unicast;client_port={port}-{}",
        port.wrapping_add(1)
    );
    over_udp
        .set_up(&format!("{url}/trackID=0"), &transport)
        .await;
    over_udp.request("PLAY", &url, &[], "").await;
    // It never reports: nobody can tell whether it is still there.
    over_udp.closed().await;
    // It never says anything either, but it takes what is sent.
    for _ in 0..50 {
        assert!(over_tcp.packet().await.is_some());
    }
    server.stop().await;
}

#[tokio::test]
async fn shutdown_ends_players_and_publishers() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "good/1");
    let mut player = server.connect().await;
    player.play(&server.url("good/1")).await;
    let mut camera = server.connect().await;
    publish(&mut camera, &server.url("cam/1")).await;
    let mut silent = server.connect().await;
    let addr = server.addr;
    server.stop().await;
    player.closed().await;
    camera.closed().await;
    silent.closed().await;
    assert!(
        tokio::net::TcpStream::connect(addr).await.is_err(),
        "the listener is closed"
    );
}

#[tokio::test]
async fn events_tell_what_happens() {
    let server = Server::open().await;
    let mut events = server.handle.events();
    let mut camera = server.connect().await;
    publish(&mut camera, &server.url("cam/1")).await;
    let ServerEvent::Stream(event) = within(events.recv()).await.unwrap() else {
        panic!("another event");
    };
    assert_eq!(event.path.as_str(), "cam/1");
    assert!(matches!(event.event, StreamEvent::Published { .. }));
    server.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let server = Server::open().await;
    let error = MediaServer::builder()
        .rtsp(server.addr)
        .build()
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&server.addr.to_string()));
    server.stop().await;
}
