//! What the relay holds in the worst case, counted by the allocator: streams x cap + readers x a
//! constant, whoever stalls. One test function: other threads would count in.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    reason = "a test may stop at the first surprise; options are set as an embedder sets them"
)]

use std::alloc::System;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use easydarwin_core::media::{H264Params, SessionDescription, Track};
use easydarwin_core::registry::{Principal, StreamPath};
use easydarwin_core::relay::{
    Hub, Publisher, ReaderHandle, ReaderOptions, RelayConfig, Sink, Stream,
};
use futures::future::BoxFuture;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a stream may hold beside its cap: chunks on their way out, the unit being made, its own
/// structs and counters.
const STREAM_CONSTANT: usize = 1 << 20;
/// What a reader may hold, stalled or not: its structs and counters, the rest of one packet, its
/// wait for the socket, its places in the lists.
const READER_CONSTANT: usize = 4 * 1024;
/// What one stream that was published, but never sent anything, may hold.
const IDLE_STREAM: usize = 8 * 1024;
/// Once everything is warm: allocations per unit, however many readers there are.
const ALLOCATIONS_PER_UNIT: usize = 8;

const READERS: usize = 1000;
const CAP: usize = 4 << 20;

#[derive(Debug, Default)]
struct Peer {
    stalled: AtomicBool,
    bytes: AtomicU64,
}

/// A peer that takes all, or some bytes (so that a packet is cut) and then nothing.
#[derive(Debug)]
struct FakeSink {
    peer: Arc<Peer>,
    common: Arc<AtomicU64>,
    cut: bool,
}

impl Sink for FakeSink {
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.peer.stalled.load(Ordering::Relaxed) {
            if std::mem::replace(&mut self.cut, true) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            bytes = bytes.min(100);
        }
        let written = u64::try_from(bytes).unwrap();
        self.peer.bytes.fetch_add(written, Ordering::Relaxed);
        self.common.fetch_add(written, Ordering::Relaxed);
        Ok(bytes)
    }

    fn park(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A camera that pushes the same packet again and again, without memory of its own.
struct Camera {
    publisher: Publisher,
    stream: Stream,
    packet: Vec<u8>,
    seq: u16,
    picture: u32,
    /// Packets of a picture: key, other.
    packets: (u32, u32),
}

impl Camera {
    fn new(hub: &Hub, name: &str, packets: (u32, u32)) -> Self {
        let path = StreamPath::parse(name).unwrap();
        let description = SessionDescription {
            name: String::new(),
            control: None,
            tracks: vec![Track::h264(96, H264Params::default())],
        };
        let publisher = hub
            .publish(&path, description, Principal::Anonymous)
            .unwrap();
        let mut packet = vec![0x5a; 1200];
        packet[0] = 0x80;
        Self {
            publisher,
            stream: hub.get(&path).unwrap(),
            packet,
            seq: 0,
            picture: 0,
            packets,
        }
    }

    /// The next picture; every 25th is a key frame. One slice per packet.
    fn film(&mut self) {
        let at = now();
        let key = self.picture.is_multiple_of(25);
        let count = if key { self.packets.0 } else { self.packets.1 };
        for index in 0..count {
            let last = index + 1 == count;
            self.packet[1] = if last { 0xe0 } else { 96 };
            self.packet[2..4].copy_from_slice(&self.seq.to_be_bytes());
            self.packet[4..8].copy_from_slice(&self.picture.wrapping_mul(3600).to_be_bytes());
            self.packet[8..12].copy_from_slice(&7_u32.to_be_bytes());
            self.packet[12] = if key { 0x65 } else { 0x41 };
            self.packet[13] = if index == 0 { 0x88 } else { 0x48 };
            self.publisher.push_rtp(0, &self.packet, at);
            self.seq = self.seq.wrapping_add(1);
        }
        self.publisher.flush(at);
        self.picture += 1;
    }

    fn read(&self, peer: &Arc<Peer>, common: &Arc<AtomicU64>) -> ReaderHandle {
        let sink = FakeSink {
            peer: Arc::clone(peer),
            common: Arc::clone(common),
            cut: false,
        };
        self.stream.prepare(ReaderOptions::new("test")).start(sink)
    }
}

fn config() -> RelayConfig {
    let mut config = RelayConfig::default();
    config.shards = 1;
    config.stream_bytes = CAP;
    // Whoever stalls stays: nobody's memory is freed by being ended.
    config.stall_timeout = Duration::from_secs(3600);
    config
}

async fn frame_time() {
    tokio::time::advance(Duration::from_millis(40)).await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_comes_back() {
    one_stalled_then_all().await;
    many_streams().await;
    full_streams_share_the_cap().await;
}

/// 1 000 readers of one stream of 8 Mbit/s: one stalls, then all do, then they leave.
async fn one_stalled_then_all() {
    let nothing = held();
    let hub = Hub::new(config());
    let mut camera = Camera::new(&hub, "cam/1", (250, 35));
    for _ in 0..50 {
        frame_time().await;
        camera.film();
    }
    let alone = held() - nothing;
    assert!(alone <= CAP + STREAM_CONSTANT, "{alone}");

    let common = Arc::new(AtomicU64::new(0));
    let peers: Vec<Arc<Peer>> = (0..READERS).map(|_| Arc::default()).collect();
    let before = held();
    let readers: Vec<_> = peers
        .iter()
        .map(|peer| camera.read(peer, &common))
        .collect();
    settle().await;
    let each = (held() - before) / READERS;
    println!("a stream alone holds {alone} bytes, each reader {each} more");

    let limit = nothing + CAP + STREAM_CONSTANT + READERS * READER_CONSTANT;
    let mut most = 0;
    peers[0].stalled.store(true, Ordering::Relaxed);
    for _ in 0..150 {
        frame_time().await;
        camera.film();
        settle().await;
        most = most.max(held());
    }
    println!("one stalled: at most {} bytes", most - nothing);
    assert!(most <= limit, "one stalled: {}", most - nothing);
    let taken = peers[1].bytes.load(Ordering::Relaxed);
    assert!(peers[0].bytes.load(Ordering::Relaxed) < taken / 2);

    // Steady state: what one unit costs with 999 readers that take it.
    let units = camera.stream.info().units;
    let start = allocations();
    for _ in 0..25 {
        frame_time().await;
        camera.film();
        settle().await;
    }
    // Before `info` is asked, which allocates for each reader.
    let spent = allocations() - start;
    let made = usize::try_from(camera.stream.info().units - units).unwrap();
    let per_unit = spent / made;
    println!("steady state: {per_unit} allocations a unit for {READERS} readers, {made} units");
    assert!(per_unit <= ALLOCATIONS_PER_UNIT, "{per_unit}");

    most = 0;
    for peer in &peers {
        peer.stalled.store(true, Ordering::Relaxed);
    }
    for _ in 0..150 {
        frame_time().await;
        camera.film();
        settle().await;
        most = most.max(held());
    }
    println!("all stalled: at most {} bytes", most - nothing);
    assert!(most <= limit, "all stalled: {}", most - nothing);

    drop(readers);
    settle().await;
    for _ in 0..75 {
        frame_time().await;
        camera.film();
    }
    settle().await;
    drop(peers);
    let after = held() - nothing;
    println!("after they left: {after} bytes");
    // The lists of the shard keep their length, not what was in it.
    assert!(
        after <= alone + READERS * READER_CONSTANT / 4 + STREAM_CONSTANT / 4,
        "{after}"
    );
    drop(camera);
    drop(hub);
}

/// 1 000 publishers: idle, then with a GOP each and one reader each.
async fn many_streams() {
    const STREAMS: usize = 1000;
    let hub = Hub::new(config());
    let nothing = held();
    let mut cameras: Vec<_> = (0..STREAMS)
        .map(|index| Camera::new(&hub, &format!("cam{index}/1"), (8, 1)))
        .collect();
    let idle = (held() - nothing) / STREAMS;
    println!("a stream that sent nothing holds {idle} bytes");
    assert!(idle <= IDLE_STREAM, "{idle}");

    let common = Arc::new(AtomicU64::new(0));
    let peer = Arc::new(Peer::default());
    let readers: Vec<_> = cameras
        .iter()
        .map(|camera| camera.read(&peer, &common))
        .collect();
    let mut pushed = 0;
    for round in 0..100 {
        frame_time().await;
        let before = allocations();
        for camera in &mut cameras {
            camera.film();
        }
        settle().await;
        if round >= 50 {
            pushed += allocations() - before;
        }
    }
    let kept = hub.info().kept_bytes;
    let each = (held() - nothing) / STREAMS;
    println!(
        "with a reader and 4 s of small pictures: {each} bytes each ({kept} counted in all), \
         {:.2} allocations a picture",
        pushed as f64 / (50 * STREAMS) as f64
    );
    let counted = usize::try_from(kept).unwrap() / STREAMS;
    assert!(
        each <= counted + IDLE_STREAM + READER_CONSTANT + 128 * 1024,
        "{each}, counted {counted}"
    );
    drop(readers);
    drop(cameras);
    settle().await;
    let left = held().saturating_sub(nothing);
    println!("after all of them ended: {left} bytes");
    assert!(left <= STREAMS * 1024, "{left}");
}

/// All streams want their whole cap; together they may not have it.
async fn full_streams_share_the_cap() {
    const STREAMS: usize = 100;
    const TOTAL: usize = 64 << 20;
    let mut config = config();
    config.total_bytes = TOTAL;
    config.keep = Duration::from_secs(3600);
    let hub = Hub::new(config);
    let nothing = held();
    let mut cameras: Vec<_> = (0..STREAMS)
        .map(|index| Camera::new(&hub, &format!("full{index}/1"), (60, 60)))
        .collect();
    let mut most = 0;
    // 4 MB each, 400 MB in all.
    for _ in 0..60 {
        frame_time().await;
        for camera in &mut cameras {
            camera.film();
        }
        most = most.max(held() - nothing);
    }
    let kept = usize::try_from(hub.info().kept_bytes).unwrap();
    println!("400 MB into a hub of 64 MiB: at most {most} bytes, {kept} counted at the end");
    // One chunk and one picture a stream may be on their way.
    assert!(kept <= TOTAL + STREAMS * 256 * 1024, "{kept}");
    assert!(most <= TOTAL + STREAMS * STREAM_CONSTANT / 2, "{most}");
}
