//! Readers that move to another shard because theirs has no time for all.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::rig::{Camera, PICTURES_PER_GROUP, Peer, Seen, frames, hub_with, settle, video};
use crate::relay::{Hub, ReaderEnd, ReaderHandle, ReaderInfo, ReaderOptions, RelayConfig};

const READERS: usize = 300;
/// Enough for some decisions.
const PICTURES: u32 = 150;

/// A hub of two shards that have time for nobody.
fn busy() -> Hub {
    hub_with(RelayConfig {
        spread_after: Duration::ZERO,
        max_lag: Duration::from_secs(3600),
        keep: Duration::from_secs(3600),
        stream_bytes: 64 << 20,
        ..RelayConfig::default()
    })
}

/// In real time: it is what passes are measured by.
async fn film(camera: &mut Camera, pictures: u32) {
    for _ in 0..pictures {
        camera.push_picture();
        assert!(camera.publisher.flush(Instant::now()));
        settle().await;
    }
}

/// Before anything is pushed: all are at home.
fn watch(camera: &Camera, count: usize) -> Vec<(Peer, ReaderHandle)> {
    let stream = camera.publisher.stream();
    let readers = (0..count).map(|_| {
        let peer = Peer::eager();
        let prepared = stream.prepare(ReaderOptions::new("test"));
        let handle = prepared.start(peer.sink());
        (peer, handle)
    });
    readers.collect()
}

fn on_shard(infos: &[ReaderInfo], shard: usize) -> usize {
    let there = infos.iter().filter(|info| info.shard == Some(shard));
    there.count()
}

/// All packets of the rig's camera, 20 for a key frame and 4 for others.
fn exact(packets: &[Seen], pictures: u32) {
    let keys = pictures.div_ceil(PICTURES_PER_GROUP);
    let count = keys * 20 + (pictures - keys) * 4;
    assert_eq!(packets.len(), usize::try_from(count).unwrap());
    for pair in packets.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1));
    }
}

/// An answer that is told apart by its number.
fn answer(number: u8) -> Bytes {
    let mut frame = vec![b'$', 9, 0, 13];
    frame.extend([number; 13]);
    frame.into()
}

/// Half of them go, once; everybody gets everything once and in order, also answers that were
/// queued while they moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_move_and_miss_nothing() {
    let hub = busy();
    let mut camera = Camera::new(&hub, true);
    camera.packet_len = 100;
    let readers = watch(&camera, READERS);
    let stream = camera.publisher.stream().clone();
    let home = stream.info().readers[0].shard.unwrap();
    let mut moved_at = None;
    for picture in 0..PICTURES {
        camera.push_picture();
        assert!(camera.publisher.flush(Instant::now()));
        if picture % 10 == 0 {
            let number = u8::try_from(picture / 10).unwrap();
            for (_, handle) in &readers {
                handle.control(answer(number)).unwrap();
            }
        }
        // Each pass comes to its end: that is what is measured.
        while readers
            .iter()
            .any(|(_, handle)| handle.info().units < u64::from(2 * picture))
        {
            tokio::task::yield_now().await;
        }
        let infos = stream.info().readers;
        if moved_at.is_none() && on_shard(&infos, home) < READERS {
            moved_at = Some(picture);
        }
    }
    assert!(moved_at.is_some_and(|at| at >= 15), "{moved_at:?}");
    let infos = stream.info().readers;
    assert_eq!(on_shard(&infos, home), READERS / 2);
    assert_eq!(on_shard(&infos, 1 - home), READERS / 2);
    drop(camera);
    for (peer, handle) in readers {
        assert!(matches!(handle.ended().await, ReaderEnd::Stream(_)));
        let all = frames(&peer.take());
        exact(&video(&all), PICTURES);
        let sound = all.iter().filter(|seen| seen.channel == 2);
        assert_eq!(sound.count(), usize::try_from(PICTURES).unwrap());
        let answers: Vec<_> = all.iter().filter(|seen| seen.channel == 9).collect();
        let numbers: Vec<_> = answers.iter().map(|seen| seen.payload[0]).collect();
        assert_eq!(numbers, (0..15).collect::<Vec<u8>>());
    }
}

/// A reader is found and stopped wherever it is, also on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_stopped_while_they_move() {
    for round in 0..10 {
        let hub = busy();
        let mut camera = Camera::new(&hub, false);
        camera.packet_len = 50;
        let readers = watch(&camera, 150);
        let stop = tokio::spawn(async move {
            for (index, (_, handle)) in readers.into_iter().enumerate() {
                // Some before, some while, some after the others move.
                let handed_back = handle.stop().await;
                assert!(handed_back.sink.is_some(), "reader {index}");
                tokio::task::yield_now().await;
            }
        });
        let filming = tokio::spawn(async move {
            for _ in 0..PICTURES {
                camera.push_picture();
                assert!(camera.publisher.flush(Instant::now()));
                tokio::task::yield_now().await;
            }
            camera
        });
        stop.await.unwrap();
        let camera = filming.await.unwrap();
        let info = camera.publisher.stream().info();
        assert_eq!(
            (info.ended.stopped, info.readers.len()),
            (150, 0),
            "{round}"
        );
        assert_eq!(hub.info().readers, 0);
    }
}

/// Those who are late stay where they are: the ring keeps for them what they need.
#[tokio::test]
async fn blocked_readers_stay_and_lose_nothing() {
    let hub = busy();
    let mut camera = Camera::new(&hub, false);
    let readers = watch(&camera, 100);
    let stuck: Vec<_> = (0..100)
        .map(|_| {
            let peer = Peer::default();
            let prepared = camera
                .publisher
                .stream()
                .prepare(ReaderOptions::new("stuck"));
            let handle = prepared.start(peer.sink());
            (peer, handle)
        })
        .collect();
    film(&mut camera, 60).await;
    let home = stuck[0].1.info().shard;
    assert!(stuck.iter().all(|(_, handle)| handle.info().shard == home));
    let moved = |(_, handle): &&(Peer, ReaderHandle)| handle.info().shard != home;
    assert_eq!(readers.iter().filter(moved).count(), 100);
    for (peer, _) in &stuck {
        peer.allow(usize::MAX);
    }
    settle().await;
    for (peer, handle) in readers.iter().chain(&stuck) {
        exact(&video(&frames(&peer.take())), 60);
        let info = handle.info();
        assert_eq!((info.skips_lag, info.skips_overrun), (0, 0));
    }
}

/// With few readers nobody moves, however long it takes.
#[tokio::test]
async fn few_readers_stay_at_home() {
    let hub = busy();
    let mut camera = Camera::new(&hub, false);
    let readers = watch(&camera, 64);
    film(&mut camera, 100).await;
    let home = readers[0].1.info().shard;
    assert!(
        readers
            .iter()
            .all(|(_, handle)| handle.info().shard == home)
    );
}
