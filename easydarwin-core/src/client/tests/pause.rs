use std::future::poll_fn;
use std::task::Poll;

use super::server::{Behaviour, Server};
use super::*;
use crate::rtsp::{Method, Reply, Status};

/// A packet of the sound's track that tells its number.
fn packet(sequence: u8) -> Bytes {
    let header = [0x80, 97, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, 9];
    [&header[..], &[sequence]].concat().into()
}

async fn sound(behaviour: Behaviour, options: ClientOptions) -> (Server, Player) {
    let server = Server::start(behaviour).await;
    server.describe(SessionDescription {
        name: String::new(),
        control: None,
        tracks: vec![Track::opus(97)],
    });
    let player = soon(Player::connect(&server.url(), options)).await.unwrap();
    server.players(1).await;
    (server, player)
}

async fn number(player: &mut Player) -> (u8, u32, bool) {
    let packet = soon(player.next_packet()).await.unwrap().unwrap();
    (packet.data[3], packet.lost_before, packet.after_pause)
}

async fn pause_and_play(transport: ClientTransport) {
    let (server, mut player) = sound(Behaviour::default(), options(transport)).await;
    server.send(0, false, packet(1));
    assert_eq!(number(&mut player).await, (1, 0, false));
    soon(player.pause()).await.unwrap();
    // Once more is none.
    soon(player.pause()).await.unwrap();
    // Nobody gets this one: there is no receiver.
    assert_eq!(server.listeners(), 0);
    soon(player.play()).await.unwrap();
    server.players(2).await;
    for sequence in [40, 41] {
        server.send(0, false, packet(sequence));
    }
    assert_eq!(number(&mut player).await, (40, 0, true));
    assert_eq!(number(&mut player).await, (41, 0, false));
    soon(player.close()).await.unwrap();
}

#[tokio::test]
async fn what_a_pause_left_out_is_not_lost() {
    pause_and_play(ClientTransport::Tcp).await;
    pause_and_play(ClientTransport::Udp).await;
}

#[tokio::test]
async fn units_after_a_pause_say_so() {
    let (server, mut player) = sound(Behaviour::default(), options(ClientTransport::Tcp)).await;
    server.send(0, false, packet(1));
    let first = soon(player.next_unit()).await.unwrap().unwrap();
    // Had, but not asked for before the pause: it is not what follows the gap.
    server.send(0, false, packet(2));
    soon(server.sent()).await;
    soon(player.pause()).await.unwrap();
    soon(player.play()).await.unwrap();
    server.players(2).await;
    server.send(0, false, packet(90));
    let mut got = Vec::new();
    while got.len() < 2 {
        let unit = soon(player.next_unit()).await.unwrap().unwrap();
        got.push((unit.pts - first.pts, unit.discontinuity, unit.lossy));
    }
    assert_eq!(got, [(1, false, false), (89, true, false)]);
}

#[tokio::test]
async fn a_refused_pause_is_told_and_the_media_goes_on() {
    let behaviour = Behaviour {
        gate: Some(|method, _| (method == "PAUSE").then(|| Reply::error(Status::NOT_IMPLEMENTED))),
        ..Behaviour::default()
    };
    let (server, mut player) = sound(behaviour, options(ClientTransport::Tcp)).await;
    let error = soon(player.pause()).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { method: Method::Pause, status, .. } if status.code() == 501),
        "{error:?}"
    );
    // Nothing to resume, so nothing is asked.
    soon(player.play()).await.unwrap();
    server.send(0, false, packet(1));
    assert_eq!(number(&mut player).await, (1, 0, false));
}

/// A pause is longer than the silence after which a player gives up; and who gave up waiting for
/// the answer to PAUSE gets along with it later.
#[tokio::test]
async fn silence_is_what_was_asked_for() {
    let mut options = options(ClientTransport::Tcp);
    options.silence_timeout = Duration::from_millis(300);
    let (server, mut player) = sound(Behaviour::default(), options).await;
    server.send(0, false, packet(1));
    assert_eq!(number(&mut player).await, (1, 0, false));
    {
        let mut pause = std::pin::pin!(player.pause());
        // Written, and dropped before the answer can be there.
        let polled = poll_fn(|cx| Poll::Ready(pause.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }
    let waited = tokio::time::timeout(Duration::from_millis(900), player.next_packet()).await;
    assert!(waited.is_err(), "{waited:?}");
    soon(player.play()).await.unwrap();
    server.players(2).await;
    server.send(0, false, packet(7));
    assert_eq!(number(&mut player).await, (7, 0, true));
    // No pause any more: now silence counts.
    let silent = soon(player.next_packet()).await.unwrap_err();
    assert!(matches!(silent, ClientError::Silent { .. }), "{silent:?}");
}
