//! Publishing over TCP and UDP, rights, takeover.

use async_trait::async_trait;
use easydarwin_core::registry::{AccessRequest, Action, Authorizer, Denied, Principal};
use easydarwin_core::relay::{Hub, RelayConfig};
use easydarwin_core::server::{MediaServer, ServerEvent};
use std::time::Duration;
use tokio::net::UdpSocket;

use crate::support::{
    AUDIO_SDP, Server, audio_packet, interleaved, path, publish, sequence, within,
};

#[tokio::test]
async fn what_is_published_over_tcp_is_played() {
    let server = Server::open().await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    assert_eq!(publish(&mut camera, &url).await.status, 200);
    camera.send(&interleaved(0, &audio_packet(10))).await;
    let mut player = server.connect().await;
    player.play(&url).await;
    camera.send(&interleaved(0, &audio_packet(11))).await;
    // In two pieces, with an RTCP packet of the publisher between.
    let frame = interleaved(0, &audio_packet(12));
    camera.send(&frame[..50]).await;
    camera.send(&frame[50..]).await;
    camera
        .send(&interleaved(1, &[0x80, 201, 0, 1, 1, 2, 3, 4]))
        .await;
    camera.send(&interleaved(0, &audio_packet(13))).await;
    let first = within(player.packet()).await.unwrap();
    let mut next = sequence(&first);
    assert_eq!(first[12..], audio_packet(0)[12..]);
    for _ in 0..2 {
        next = next.wrapping_add(1);
        let packet = within(player.packet()).await.unwrap();
        assert_eq!(sequence(&packet), next);
    }
    assert_eq!(camera.request("TEARDOWN", &url, &[], "").await.status, 200);
    player.closed().await;
    assert!(server.hub().get(&path("cam/1")).is_none());
    server.stop().await;
}

#[tokio::test]
async fn what_is_published_over_udp_is_put_in_order() {
    let server = Server::open().await;
    let url = server.url("cam/1");
    let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rtcp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut camera = server.connect().await;
    let kind = [("Content-Type", "application/sdp")];
    assert_eq!(
        camera
            .request("ANNOUNCE", &url, &kind, AUDIO_SDP)
            .await
            .status,
        200
    );
    let transport = format!(
        "RTP/AVP;unicast;client_port={}-{};mode=record",
        rtp.local_addr().unwrap().port(),
        rtcp.local_addr().unwrap().port()
    );
    let setup = camera
        .set_up(&format!("{url}/streamid=0"), &transport)
        .await;
    assert_eq!(setup.status, 200, "{setup:?}");
    let port = setup
        .header("Transport")
        .unwrap()
        .split(';')
        .find_map(|part| part.strip_prefix("server_port="))
        .unwrap()
        .split('-')
        .next()
        .unwrap()
        .parse::<u16>()
        .unwrap();
    assert_eq!(camera.request("RECORD", &url, &[], "").await.status, 200);
    let mut player = server.connect().await;
    player.play(&url).await;
    let target = ("127.0.0.1", port);
    for number in [1_u16, 2, 4, 3, 3, 5] {
        rtp.send_to(&audio_packet(number), target).await.unwrap();
    }
    // Somebody else's datagrams are not the camera's.
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    stranger.send_to(&audio_packet(6), target).await.unwrap();
    let mut last = sequence(&within(player.packet()).await.unwrap());
    for _ in 0..4 {
        let packet = within(player.packet()).await.unwrap();
        assert_eq!(sequence(&packet), last.wrapping_add(1));
        last = sequence(&packet);
    }
    let more = tokio::time::timeout(Duration::from_millis(200), player.packet()).await;
    assert!(more.is_err(), "the stranger's packet came through");
    // The camera is told how its packets arrive.
    let mut report = [0; 512];
    let count = within(rtcp.recv(&mut report)).await.unwrap();
    assert!(count >= 32 && report[1] == 201, "a receiver report");
    server.stop().await;
}

#[tokio::test]
async fn a_camera_that_vanishes_ends_its_stream() {
    let server = Server::open().await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    publish(&mut camera, &url).await;
    camera.send(&interleaved(0, &audio_packet(1))).await;
    let mut player = server.connect().await;
    player.play(&url).await;
    drop(camera);
    player.closed().await;
    let mut again = server.connect().await;
    assert_eq!(publish(&mut again, &url).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_silent_camera_is_given_up() {
    let mut config = easydarwin_core::rtsp::ServerConfig::default();
    config.publisher_timeout = Duration::from_millis(300);
    let builder = MediaServer::builder()
        .authorizer(easydarwin_core::registry::AllowAll)
        .rtsp_config(config);
    let server = Server::of(builder).await;
    let url = server.url("cam/1");
    let mut camera = server.connect().await;
    publish(&mut camera, &url).await;
    let mut player = server.connect().await;
    player.play(&url).await;
    // The power is cut: nothing comes, nothing is closed.
    player.closed().await;
    camera.closed().await;
    assert!(server.hub().get(&path("cam/1")).is_none());
    server.stop().await;
}

/// Devices may publish with their serial as token, nobody may play `secret/…`.
struct Rules;

#[async_trait]
impl Authorizer for Rules {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        match (request.action, request.credentials.token()) {
            (Action::Play, _) if request.path.as_str().starts_with("secret/") => {
                Err(Denied::Forbidden)
            }
            (Action::Play, _) if request.path.as_str().starts_with("busy/") => {
                Err(Denied::Unavailable)
            }
            (Action::Play, Some("play")) => Ok(Principal::Named("viewer".into())),
            (Action::Publish, Some(serial)) => Ok(Principal::Device {
                serial: serial.into(),
                generation: 1,
            }),
            _ => Err(Denied::Unauthorized),
        }
    }
}

#[tokio::test]
async fn rights_are_asked_for() {
    let server = Server::of(MediaServer::builder().authorizer(Rules)).await;
    let mut events = server.handle.events();
    let mut client = server.connect().await;
    let url = server.url("cam/1");
    let kind = ("Content-Type", "application/sdp");
    let refused = client.request("ANNOUNCE", &url, &[kind], AUDIO_SDP).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("WWW-Authenticate").is_some());
    assert!(matches!(
        within(events.recv()).await.unwrap(),
        ServerEvent::Refused { .. }
    ));
    let bearer = ("Authorization", "Bearer cam");
    let announced = client
        .request("ANNOUNCE", &url, &[kind, bearer], AUDIO_SDP)
        .await;
    assert_eq!(announced.status, 200);

    let mut player = server.connect().await;
    assert_eq!(player.describe(&url).await.status, 401);
    let secret = server.url("secret/1?token=play");
    assert_eq!(player.describe(&secret).await.status, 403);
    let busy = server.url("busy/1?token=play");
    assert_eq!(player.describe(&busy).await.status, 503);
    let missing = server.url("other/1?token=play");
    assert_eq!(player.describe(&missing).await.status, 404);
    let track = format!("{url}/trackID=0");
    let transport = "RTP/AVP/TCP;unicast;interleaved=0-1";
    assert_eq!(player.set_up(&track, transport).await.status, 401);
    let allowed = server.url("cam/1?token=play");
    assert_eq!(player.describe(&allowed).await.status, 200);
    // From here on the session has the right, with or without token.
    assert_eq!(player.set_up(&track, transport).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn only_the_same_device_may_take_its_path_over() {
    let mut relay = RelayConfig::default();
    relay.takeover_interval = Duration::ZERO;
    let builder = MediaServer::builder()
        .authorizer(Rules)
        .hub(Hub::new(relay));
    let server = Server::of(builder).await;
    let url = server.url("cam/1");
    let mut first = server.connect().await;
    let with_right = format!("{url}?token=cam");
    assert_eq!(publish(&mut first, &with_right).await.status, 200);
    let mut player = server.connect().await;
    player.play(&format!("{url}?token=play")).await;
    first.send(&interleaved(0, &audio_packet(1))).await;
    let before = sequence(&within(player.packet()).await.unwrap());

    let mut stranger = server.connect().await;
    let other = format!("{url}?token=other");
    assert_eq!(publish(&mut stranger, &other).await.status, 406);

    let mut second = server.connect().await;
    assert_eq!(publish(&mut second, &with_right).await.status, 200);
    first.closed().await;
    second.send(&interleaved(0, &audio_packet(7000))).await;
    let after = sequence(&within(player.packet()).await.unwrap());
    assert_eq!(after, before.wrapping_add(1), "players see one stream");
    server.stop().await;
}
