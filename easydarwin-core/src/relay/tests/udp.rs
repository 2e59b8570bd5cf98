use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::net::UdpSocket;

use super::rig::{Camera, frame, hub};
use crate::relay::{ReaderOptions, UdpSockets, UdpTarget, UdpTrack};
use crate::rtp::rtcp::{self, ReportBlock, RtcpPacket};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Player {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Player {
    async fn new() -> Self {
        Self {
            rtp: UdpSocket::bind((LOOPBACK, 0)).await.unwrap(),
            rtcp: UdpSocket::bind((LOOPBACK, 0)).await.unwrap(),
        }
    }

    fn target(&self, sockets: &UdpSockets) -> UdpTarget {
        UdpTarget {
            sockets: sockets.clone(),
            source: Some(LOOPBACK),
            tracks: Arc::new([UdpTrack {
                track: 0,
                rtp: self.rtp.local_addr().unwrap(),
                rtcp: self.rtcp.local_addr().unwrap(),
            }]),
        }
    }
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let wait = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer));
    let len = wait.await.expect("a datagram in time").unwrap();
    buffer.truncate(len);
    buffer
}

/// A key frame that needs several bursts arrives whole and in order; reports go both ways; the
/// end is a goodbye.
#[tokio::test]
async fn datagrams_reports_and_goodbye() {
    let hub = hub();
    let sockets = UdpSockets::bind(LOOPBACK, 0..=0).unwrap();
    assert_eq!(sockets.ports().0 % 2, 0);
    assert_eq!(sockets.ports().1, sockets.ports().0 + 1);
    let mut camera = Camera::new(&hub, true);
    camera.key_packets = 120;
    camera.push_picture();
    camera.publisher.flush(Instant::now());
    let player = Player::new().await;
    let options = ReaderOptions::new("test");
    let handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start_udp(player.target(&sockets));
    let mut next = None;
    for picture in 0..5 {
        let count = if picture == 0 { 120 } else { 4 };
        for index in 0..count {
            let datagram = receive(&player.rtp).await;
            let mut framed = vec![b'$', 0];
            framed.extend_from_slice(&u16::try_from(datagram.len()).unwrap().to_be_bytes());
            framed.extend_from_slice(&datagram);
            let (seen, _) = frame(&framed).unwrap();
            assert_eq!((seen.picture(), seen.index()), (picture, index));
            assert!(next.is_none_or(|next| next == seen.seq));
            next = Some(seen.seq.wrapping_add(1));
        }
        camera.push_picture();
        camera.publisher.flush(Instant::now());
    }
    let report = receive(&player.rtcp).await;
    let first = rtcp::parse(&report).next().unwrap().unwrap();
    assert!(matches!(first, RtcpPacket::SenderReport(..)), "{first:?}");

    let block = ReportBlock {
        fraction_lost: 7,
        cumulative_lost: 3,
        jitter: 11,
        ..ReportBlock::default()
    };
    let mut report = BytesMut::new();
    rtcp::write_receiver_report(1, &[block], "player", &mut report);
    player
        .rtcp
        .send_to(&report, (LOOPBACK, sockets.ports().1))
        .await
        .unwrap();
    while handle.info().rr_jitter != 11 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        (handle.info().rr_fraction_lost, handle.info().rr_lost),
        (7, 3)
    );

    drop(camera);
    loop {
        let packet = receive(&player.rtcp).await;
        let mut parts = rtcp::parse(&packet).map_while(Result::ok);
        if parts.any(|part| matches!(part, RtcpPacket::Goodbye(_))) {
            break;
        }
    }
    handle.ended().await;
}
