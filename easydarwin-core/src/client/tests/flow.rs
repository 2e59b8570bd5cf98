use super::server::{Behaviour, Server};
use super::*;

/// Pushes and pulls; every unit comes through as it was.
async fn through(push: ClientTransport, pull: ClientTransport) {
    const COUNT: u8 = 30;
    let server = Server::start(Behaviour::default()).await;
    let mut publisher = soon(Publisher::connect(
        &server.url(),
        description(),
        options(push),
    ))
    .await
    .unwrap();
    let mut player = soon(Player::connect(&server.url(), options(pull)))
        .await
        .unwrap();
    assert_eq!(player.description().tracks.len(), 2);
    server.players(1).await;

    let receive = async {
        let mut units: [Vec<AccessUnit>; 2] = Default::default();
        // The last picture is complete when it says so by its marker.
        while units.iter().any(|track| track.len() < COUNT.into()) {
            let unit = player.next_unit().await.unwrap().unwrap();
            units[unit.track].push(unit);
        }
        units
    };
    let send = async {
        for n in 0..COUNT {
            for track in 0..2 {
                publisher.send(&unit(track, n)).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let (units, ()) = soon(async { tokio::join!(receive, send) }).await;
    for (track, received) in units.iter().enumerate() {
        for (n, received) in (0..COUNT).zip(received) {
            let sent = unit(track, n);
            assert_eq!(received.data, sent.data);
            assert_eq!(received.key, sent.key);
            // Both began with the first unit.
            assert_eq!(received.pts, sent.pts);
            assert!(!received.lossy);
        }
        // The first sender report came right behind the first unit. Rounding costs microseconds.
        let last = received.last().unwrap();
        let (ours, theirs) = (unit(track, COUNT - 1).ntp.unwrap(), last.ntp.unwrap());
        let apart = ours
            .duration_since(theirs)
            .unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_millis(1), "{apart:?}");
    }
    soon(publisher.close()).await.unwrap();
    soon(player.close()).await.unwrap();
    soon(server.teardowns(2)).await;
}

#[tokio::test]
async fn over_tcp() {
    through(ClientTransport::Tcp, ClientTransport::Tcp).await;
}

#[tokio::test]
async fn over_udp() {
    through(ClientTransport::Udp, ClientTransport::Udp).await;
}

#[tokio::test]
async fn from_udp_to_tcp_and_back() {
    through(ClientTransport::Udp, ClientTransport::Tcp).await;
    through(ClientTransport::Tcp, ClientTransport::UdpThenTcp).await;
}

#[tokio::test]
async fn a_ready_run_is_sent_as_it_is() {
    use crate::rtp::{PacketRun, Packetizer, PacketizerConfig};
    let server = Server::start(Behaviour::default()).await;
    let mut publisher = Publisher::connect(&server.url(), description(), ClientOptions::default())
        .await
        .unwrap();
    let mut player = Player::connect(&server.url(), ClientOptions::default())
        .await
        .unwrap();
    server.players(1).await;
    assert_eq!(publisher.channel(1), Some(2));
    let config = PacketizerConfig {
        ssrc: 7,
        channel: 2,
        payload_type: 97,
        ..PacketizerConfig::default()
    };
    let mut run = PacketRun::new();
    Packetizer::new(&Track::opus(97), config)
        .packetize(&unit(1, 0), 1, &mut run)
        .unwrap();
    publisher.send_run(1, &run).await.unwrap();
    assert!(matches!(
        publisher.send_run(2, &run).await,
        Err(ClientError::NoSuchTrack(2))
    ));
    let packet = soon(player.next_packet()).await.unwrap().unwrap();
    assert_eq!(packet.track, 1);
    assert_eq!(Some(&packet.data[..]), run.packets().next());
}

#[tokio::test]
async fn tcp_where_udp_is_refused() {
    let server = Server::start(Behaviour {
        tcp_only: true,
        ..Behaviour::default()
    })
    .await;
    let refused =
        Publisher::connect(&server.url(), description(), options(ClientTransport::Udp)).await;
    assert_eq!(refused.unwrap_err().status().unwrap().code(), 461);
    let publisher = Publisher::connect(
        &server.url(),
        description(),
        options(ClientTransport::UdpThenTcp),
    )
    .await
    .unwrap();
    assert_eq!(publisher.channel(1), Some(2));
    let player = Player::connect(&server.url(), options(ClientTransport::UdpThenTcp))
        .await
        .unwrap();
    player.close().await.unwrap();
}

#[tokio::test]
async fn a_lost_datagram_is_told() {
    let server = Server::start(Behaviour::default()).await;
    server.describe(SessionDescription {
        name: String::new(),
        control: None,
        tracks: vec![Track::opus(97)],
    });
    let mut player = Player::connect(&server.url(), options(ClientTransport::Udp))
        .await
        .unwrap();
    server.players(1).await;
    // 1 is missing, 3 and 2 are swapped.
    for sequence in [0_u8, 3, 2, 4] {
        let mut packet = vec![0x80, 97, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, 9];
        packet.push(sequence);
        server.send(0, false, packet.into());
    }
    let mut got = Vec::new();
    while got.len() < 4 {
        let packet = soon(player.next_packet()).await.unwrap().unwrap();
        got.push((packet.data[3], packet.lost_before));
    }
    assert_eq!(got, [(0, 0), (2, 1), (3, 0), (4, 0)]);
}
