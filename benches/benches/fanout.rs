//! What the relay costs per picture: taking it in, and handing it to readers that only count
//! (our own share of the work), and to real TCP connections (the kernel's share with it).
//!
//! A picture is 8 packets of 1 000 bytes, as of a 2 Mbit/s stream at 30 pictures a second.

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use easydarwin_core::media::{H264Params, SessionDescription, Track};
use easydarwin_core::registry::{Principal, StreamPath};
use easydarwin_core::relay::{
    Hub, Publisher, ReaderHandle, ReaderOptions, RelayConfig, Sink, TcpSink,
};
use futures::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const PACKETS: u32 = 8;
const PACKET_LEN: usize = 1000;
/// Each packet with its four bytes of interleaving.
const PICTURE_BYTES: u64 = 8 * 1004;
const GROUP: u32 = 30;

/// Makes pictures and pushes them.
struct Camera {
    publisher: Publisher,
    packet: Vec<u8>,
    seq: u16,
    picture: u32,
}

impl Camera {
    fn new(hub: &Hub) -> Self {
        let description = SessionDescription {
            tracks: vec![Track::h264(96, H264Params::default())],
            ..SessionDescription::default()
        };
        let path = StreamPath::parse("bench/1").expect("a path");
        let publisher = hub
            .publish(&path, description, Principal::Anonymous)
            .expect("a free path");
        let mut packet = vec![0x5a; PACKET_LEN];
        packet[..12].copy_from_slice(&[0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        Self {
            publisher,
            packet,
            seq: 0,
            picture: 0,
        }
    }

    fn film(&mut self, now: Instant) {
        let key = self.picture.is_multiple_of(GROUP);
        let time = self.picture.wrapping_mul(3000).to_be_bytes();
        self.packet[4..8].copy_from_slice(&time);
        self.packet[12] = if key { 0x65 } else { 0x41 };
        for index in 0..PACKETS {
            let last = index + 1 == PACKETS;
            self.packet[1] = 96 | if last { 0x80 } else { 0 };
            self.packet[2..4].copy_from_slice(&self.seq.to_be_bytes());
            // `first_mb_in_slice`: zero in the first slice only.
            self.packet[13] = if index == 0 { 0x88 } else { 0x48 };
            self.publisher.push_rtp(0, &self.packet, now);
            self.seq = self.seq.wrapping_add(1);
        }
        self.picture = self.picture.wrapping_add(1);
        self.publisher.flush(now);
    }
}

/// Takes everything and counts it.
#[derive(Debug)]
struct Counting(Arc<AtomicU64>);

impl Sink for Counting {
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>();
        self.0.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn park(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn one_shard() -> Hub {
    let mut config = RelayConfig::default();
    config.shards = 1;
    Hub::new(config)
}

fn push(criterion: &mut Criterion) {
    let hub = one_shard();
    let mut camera = Camera::new(&hub);
    let mut group = criterion.benchmark_group("push");
    group.throughput(Throughput::Elements(PACKETS.into()));
    let mut now = Instant::now();
    group.bench_function("picture", |bench| {
        bench.iter(|| {
            now += Duration::from_millis(33);
            camera.film(black_box(now));
        });
    });
    group.finish();
}

fn counting_readers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let mut group = criterion.benchmark_group("counting");
    for readers in [1_u64, 100, 1000] {
        let hub = one_shard();
        let mut camera = Camera::new(&hub);
        let total = Arc::new(AtomicU64::new(0));
        camera.film(Instant::now());
        let stream = camera.publisher.stream().clone();
        let handles: Vec<ReaderHandle> = runtime.block_on(async {
            let start = |_| {
                stream
                    .prepare(ReaderOptions::new("count"))
                    .start(Counting(Arc::clone(&total)))
            };
            (0..readers).map(start).collect()
        });
        let mut film = |runtime: &Runtime| {
            runtime.block_on(async {
                camera.film(Instant::now());
                let due = u64::from(camera.picture) * PICTURE_BYTES * readers;
                while total.load(Ordering::Relaxed) < due {
                    tokio::task::yield_now().await;
                }
            });
        };
        film(&runtime);
        group.throughput(Throughput::Elements(readers * u64::from(PACKETS)));
        group.bench_function(BenchmarkId::from_parameter(readers), |bench| {
            bench.iter(|| film(&runtime));
        });
        drop(handles);
    }
    group.finish();
}

fn tcp_readers(criterion: &mut Criterion) {
    const READERS: u64 = 100;
    let runtime = Runtime::new().expect("runtime");
    let hub = one_shard();
    let mut camera = Camera::new(&hub);
    let total = Arc::new(AtomicU64::new(0));
    let stream = camera.publisher.stream().clone();
    let handles: Vec<ReaderHandle> = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut handles = Vec::new();
        for _ in 0..READERS {
            let peer = TcpStream::connect(address).await.expect("a connection");
            let (server, _) = listener.accept().await.expect("a connection");
            tokio::spawn(drain(peer, Arc::clone(&total)));
            let sink = TcpSink::new(Arc::new(server));
            handles.push(stream.prepare(ReaderOptions::new("tcp")).start(sink));
        }
        handles
    });
    let mut film = || {
        runtime.block_on(async {
            camera.film(Instant::now());
            let due = u64::from(camera.picture) * PICTURE_BYTES * READERS;
            while total.load(Ordering::Relaxed) < due {
                tokio::task::yield_now().await;
            }
        });
    };
    film();
    let mut group = criterion.benchmark_group("tcp");
    group.throughput(Throughput::Elements(READERS * u64::from(PACKETS)));
    group.sample_size(20);
    group.bench_function(BenchmarkId::from_parameter(READERS), |bench| {
        bench.iter(&mut film)
    });
    group.finish();
    drop(handles);
}

async fn drain(mut peer: TcpStream, total: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len) = peer.read(&mut buffer).await {
        if len == 0 {
            return;
        }
        total.fetch_add(len as u64, Ordering::Relaxed);
    }
}

criterion_group!(benches, push, counting_readers, tcp_readers);
criterion_main!(benches);
