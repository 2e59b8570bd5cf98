//! Publish and play by datagram: what is lost is counted, what is late is put back.

use std::collections::BTreeSet;
use std::time::Duration;

use easydarwin_core::rtp::{Reception, ReorderBuffer, ReorderConfig, RtpPacket};
use easydarwin_core::sim::{Happened, Link, ServerOutcome};

use crate::support::{PLAYER, World};

fn lossy(seed: u64) -> Link {
    let mut link = Link::with_delay(Duration::from_millis(10));
    link.jitter = Duration::from_millis(seed % 30);
    link.loss = u16::try_from(seed % 5).unwrap() * 30;
    link.duplicates = u16::try_from(seed % 3).unwrap() * 50;
    link.late = u16::try_from(seed % 4).unwrap() * 50;
    link
}

/// What the network did to packets on their way to the player, against what our counters say.
#[test]
fn losses_are_counted_and_the_order_is_restored() {
    let mut lost_in_all = 0;
    let mut late_in_all = 0;
    for seed in 0..200 {
        // Requests are not to be lost: only how media fares is at stake.
        let mut world = World::new(seed, Link::with_delay(Duration::from_millis(5)), true);
        world.begin();
        world
            .net
            .set_link(crate::support::SERVER, PLAYER, lossy(seed));
        let sent = world.publish(40);
        for (track, sent) in sent.iter().enumerate() {
            let got = world.got(track);
            let unique: BTreeSet<_> = got.iter().collect();
            let mut order = ReorderBuffer::new(ReorderConfig::default());
            let mut reception = Reception::new([90_000, 8000][track]);
            let (mut released, mut gaps) = (Vec::new(), 0);
            let mut now = world.net.now();
            for data in &got {
                let packet = RtpPacket::parse(data).unwrap();
                let (sequence, timestamp) = (packet.sequence(), packet.timestamp());
                reception.on_packet(packet.ssrc(), sequence, timestamp, now);
                order.push(sequence, data.clone(), now);
                now += Duration::from_millis(5);
                while let Some(next) = order.pop(now) {
                    gaps += u64::from(next.lost_before);
                    released.push(next.packet);
                }
            }
            while let Some(at) = order.deadline() {
                while let Some(next) = order.pop(at) {
                    gaps += u64::from(next.lost_before);
                    released.push(next.packet);
                }
            }
            // In order, each once, nothing that was not sent; what is missing is known.
            let mut from = 0;
            for packet in &released {
                let found = sent[from..].iter().position(|sent| sent == packet);
                from += found.expect("released packets are in the order of sending") + 1;
            }
            let first = sent.iter().position(|sent| *sent == released[0]).unwrap();
            let missing_inside = (from - first - released.len()) as u64;
            assert_eq!(gaps, missing_inside, "seed {seed} track {track}");
            assert_eq!(
                released.len() as u64 + order.dropped(),
                got.len() as u64,
                "seed {seed}"
            );
            assert_eq!(reception.received(), got.len() as u64);
            let repeated = got.len() - unique.len();
            if repeated == 0 && unique.first() == got.first().as_ref() {
                // Without repeated packets the RFC's count is exact.
                let expected = (from - first) as u64;
                assert_eq!(
                    reception.lost(),
                    expected - unique.len() as u64,
                    "seed {seed}"
                );
            }
            lost_in_all += missing_inside;
            late_in_all += got.windows(2).filter(|w| w[1] < w[0]).count();
        }
        // The server got all that the publisher sent: its path is good.
        let packets = world
            .served
            .iter()
            .filter(|outcome| matches!(outcome, ServerOutcome::Packet { rtcp: false, .. }));
        assert_eq!(packets.count(), 80);
    }
    assert!(lost_in_all > 100 && late_in_all > 100, "the network is bad");
}

/// A datagram to a port that nobody has is lost, not given to somebody else.
#[test]
fn after_the_end_nothing_comes() {
    let mut world = World::new(3, Link::default(), true);
    world.begin();
    world.player.stop(&mut world.net);
    let before = world.played.len();
    world.publish(3);
    assert_eq!(world.played.len(), before);
    let lost = |happened: &Happened| matches!(happened, Happened::DatagramLost(..));
    // The server heard the close before it could send.
    assert!(!world.net.trace().entries().any(|entry| lost(&entry.what)));
}
