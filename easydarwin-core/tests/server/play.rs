//! Playing over TCP and UDP.

use std::time::Duration;

use tokio::net::UdpSocket;

use crate::support::{Message, Server, Source, audio_packet, sequence, within};

#[tokio::test]
async fn a_stream_that_is_not_there_is_404() {
    let server = Server::open().await;
    let mut client = server.connect().await;
    let url = server.url("nobody/1");
    assert_eq!(client.describe(&url).await.status, 404);
    let response = client
        .set_up(
            &format!("{url}/trackID=0"),
            "RTP/AVP/TCP;unicast;interleaved=0-1",
        )
        .await;
    assert_eq!(response.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn control_urls_are_absolute_and_keep_the_query() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "cam/1");
    let mut client = server.connect().await;
    let response = client.describe(&server.url("cam/1?x=y")).await;
    assert_eq!(response.status, 200);
    let sdp = response.text();
    let control = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=control:"))
        .find(|control| control.contains("trackID"))
        .expect("a control URL of the track");
    assert!(control.starts_with("rtsp://"), "{sdp}");
    assert!(control.contains("x=y"), "{sdp}");
    let transport = "RTP/AVP/TCP;unicast;interleaved=0-1";
    assert_eq!(client.set_up(control, transport).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn play_tells_where_the_packets_begin() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = server.url("cam/1");
    let mut client = server.connect().await;
    client.describe(&url).await;
    let setup = client
        .set_up(
            &format!("{url}/trackID=0"),
            "RTP/AVP/TCP;unicast;interleaved=4-5",
        )
        .await;
    let transport = setup.header("Transport").unwrap().to_owned();
    assert!(transport.contains("interleaved=4-5"), "{transport}");
    let play = client
        .request("PLAY", &url, &[("Range", "npt=0-")], "")
        .await;
    assert_eq!(play.status, 200);
    let info = play.header("RTP-Info").unwrap_or_default().to_owned();
    let packet = loop {
        match within(client.next()).await.unwrap() {
            Message::Frame(4, packet) => break packet,
            Message::Frame(channel, _) => assert_eq!(channel, 5),
            Message::Response(response) => panic!("{response:?}"),
        }
    };
    if info.contains("seq=") {
        assert!(
            info.contains(&format!("seq={}", sequence(&packet))),
            "{info}"
        );
    }
    let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
    assert!(
        transport
            .to_lowercase()
            .contains(&format!("ssrc={ssrc:08x}")),
        "{transport}, {ssrc:08x}"
    );
    server.stop().await;
}

#[tokio::test]
async fn answers_come_between_packets_and_pause_stops_them() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = server.url("cam/1");
    let mut client = server.connect().await;
    client.play(&url).await;
    for _ in 0..5 {
        assert!(client.packet().await.is_some());
        let response = client.request("OPTIONS", &url, &[], "").await;
        assert_eq!(response.status, 200);
    }
    assert_eq!(client.request("PAUSE", &url, &[], "").await.status, 200);
    let silence = tokio::time::timeout(Duration::from_millis(200), client.next()).await;
    assert!(silence.is_err(), "nothing may come while paused");
    assert_eq!(client.request("PLAY", &url, &[], "").await.status, 200);
    assert!(client.packet().await.is_some());
    assert_eq!(client.request("TEARDOWN", &url, &[], "").await.status, 200);
    client.session = None;
    // The connection lives on: another session on it.
    client.play(&url).await;
    assert!(client.packet().await.is_some());
    server.stop().await;
}

#[tokio::test]
async fn datagrams_go_to_the_ports_that_were_asked_for() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = server.url("cam/1");
    let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rtcp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ports = (
        rtp.local_addr().unwrap().port(),
        rtcp.local_addr().unwrap().port(),
    );
    let mut client = server.connect().await;
    client.describe(&url).await;
    let transport = format!("RTP/AVP;unicast;client_port={}-{}", ports.0, ports.1);
    let setup = client.set_up(&format!("{url}/trackID=0"), &transport).await;
    assert_eq!(setup.status, 200, "{setup:?}");
    assert!(setup.header("Transport").unwrap().contains("server_port="));
    assert_eq!(client.request("PLAY", &url, &[], "").await.status, 200);
    let mut buffer = [0; 2048];
    let mut last: Option<u16> = None;
    for _ in 0..10 {
        let count = within(rtp.recv(&mut buffer)).await.unwrap();
        assert_eq!(count, audio_packet(0).len());
        let sequence = sequence(&buffer);
        assert!(last.is_none_or(|last| sequence == last.wrapping_add(1)));
        last = Some(sequence);
    }
    let count = within(rtcp.recv(&mut buffer)).await.unwrap();
    assert!(count >= 28 && buffer[1] == 200, "a sender report");
    assert_eq!(client.request("TEARDOWN", &url, &[], "").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn the_end_of_a_stream_reaches_players() {
    let server = Server::open().await;
    let source = Source::start(server.hub(), "cam/1");
    let url = server.url("cam/1");
    let mut over_tcp = server.connect().await;
    over_tcp.play(&url).await;
    let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rtcp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut over_udp = server.connect().await;
    over_udp.describe(&url).await;
    let transport = format!(
        "RTP/AVP;unicast;client_port={}-{}",
        rtp.local_addr().unwrap().port(),
        rtcp.local_addr().unwrap().port()
    );
    over_udp
        .set_up(&format!("{url}/trackID=0"), &transport)
        .await;
    over_udp.request("PLAY", &url, &[], "").await;
    assert!(over_tcp.packet().await.is_some());
    drop(source);
    over_tcp.closed().await;
    over_udp.closed().await;
    let mut buffer = [0; 2048];
    let goodbye = async {
        loop {
            let count = rtcp.recv(&mut buffer).await.unwrap();
            let mut rest = &buffer[..count];
            while rest.len() >= 4 {
                if rest[1] == 203 {
                    return;
                }
                let length = 4 * (1 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
                rest = &rest[length.min(rest.len())..];
            }
        }
    };
    within(goodbye).await;
    server.stop().await;
}

#[tokio::test]
async fn a_transport_that_cannot_be_is_461() {
    let server = Server::open().await;
    let _source = Source::start(server.hub(), "cam/1");
    let mut client = server.connect().await;
    let url = server.url("cam/1");
    client.describe(&url).await;
    for transport in [
        "RTP/AVP;multicast;port=5000-5001",
        "RAW/RAW/UDP",
        "RTP/SAVP/TCP;interleaved=0-1",
    ] {
        let response = client.set_up(&format!("{url}/trackID=0"), transport).await;
        assert_eq!(response.status, 461, "{transport}");
    }
    server.stop().await;
}
