//! Bursts against receive buffers of the kernel's default size. The sockets are real, the time
//! is not: what overflows a buffer does so however busy the machine is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::rig::{Camera, PICTURES_PER_GROUP, frame, hub};
use crate::relay::{ReaderOptions, UdpSockets, UdpTarget, UdpTrack};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Half of `net.core.rmem_default`; the kernel doubles what is asked for.
const DEFAULT_BUFFER: usize = 106_496;
const PACKET: usize = 1412;

fn player() -> (UdpSocket, SocketAddr) {
    let socket = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let reference = socket2::SockRef::from(&socket);
    reference.set_recv_buffer_size(DEFAULT_BUFFER).unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    (UdpSocket::from_std(socket).unwrap(), address)
}

/// Takes up to `most` packets every two milliseconds until nothing came for a while; returns
/// picture and index of each.
async fn play(socket: &UdpSocket, most: usize) -> Vec<(u32, u32)> {
    let mut seen = Vec::new();
    let mut quiet = 0;
    let mut buffer = [0; 2048];
    while quiet < 100 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        quiet += 1;
        for _ in 0..most {
            let Ok(len) = socket.try_recv(&mut buffer) else {
                break;
            };
            quiet = 0;
            let [l0, l1] = u16::try_from(len).unwrap().to_be_bytes();
            let framed = [&[b'$', 0, l0, l1], &buffer[..len]].concat();
            let (packet, _) = frame(&framed).unwrap();
            seen.push((packet.picture(), packet.index()));
        }
    }
    seen
}

fn target(sockets: &UdpSockets, rtp: SocketAddr) -> UdpTarget {
    UdpTarget {
        sockets: sockets.clone(),
        source: Some(LOOPBACK),
        tracks: Arc::new([UdpTrack {
            track: 0,
            rtp,
            rtcp: SocketAddr::new(LOOPBACK, 9),
        }]),
    }
}

/// What 190 packets at once would overflow.
#[tokio::test(start_paused = true)]
async fn a_player_with_a_default_buffer_gets_a_large_key_frame() {
    let hub = hub();
    let sockets = UdpSockets::bind(LOOPBACK, 0..=0).unwrap();
    let mut camera = Camera::new(&hub, false);
    (camera.packet_len, camera.key_packets) = (PACKET, 190);
    let (socket, address) = player();
    let stream = camera.publisher.stream().clone();
    let _handle = stream
        .prepare(ReaderOptions::new("player"))
        .start_udp(target(&sockets, address));
    tokio::task::yield_now().await;
    camera.film().await;
    // Seven packets a millisecond, 80 Mbit/s.
    let seen = play(&socket, 14).await;
    let expected: Vec<_> = (0..190).map(|index| (0, index)).collect();
    assert_eq!(seen, expected);
}

/// A reader that joins gets the picture group so far, faster than it was filmed, but not faster
/// than a player can take it that is slow to begin.
#[tokio::test(start_paused = true)]
async fn a_start_burst_of_two_seconds_arrives_whole() {
    let hub = hub();
    let sockets = UdpSockets::bind(LOOPBACK, 0..=0).unwrap();
    let mut camera = Camera::new(&hub, false);
    (camera.packet_len, camera.key_packets, camera.packets) = (PACKET, 180, 52);
    for _ in 0..PICTURES_PER_GROUP {
        tokio::time::advance(Duration::from_millis(40)).await;
        camera.film().await;
    }
    let stream = camera.publisher.stream().clone();
    let bitrate = stream.info().bitrate;
    assert!((7_000_000..9_000_000).contains(&bitrate), "{bitrate}");
    let (socket, address) = player();
    let _handle = stream
        .prepare(ReaderOptions::new("player"))
        .start_udp(target(&sockets, address));
    let began = tokio::time::Instant::now();
    // Busy with something else at first, then five packets a millisecond.
    tokio::time::sleep(Duration::from_millis(15)).await;
    let seen = play(&socket, 10).await;
    let mut expected: Vec<_> = (0..180).map(|index| (0, index)).collect();
    for picture in 1..PICTURES_PER_GROUP {
        expected.extend((0..52).map(|index| (picture, index)));
    }
    assert_eq!(seen.len(), expected.len(), "packets were lost");
    assert_eq!(seen, expected);
    // Less the time in which nothing came any more.
    let took = began.elapsed() - Duration::from_millis(200);
    assert!(took < Duration::from_millis(800), "{took:?}");
}
