//! Presence and the device store at ten thousand devices: a lease, a keep-alive, a list, and the
//! check of a device's proof.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use easydarwin_core::protocol::login::DeviceKey;
use easydarwin_core::registry::{
    Author, Claims, DevicePatch, DeviceQuery, DeviceSort, DeviceStore, Lease, MemoryPresence,
    MemoryStore, Presence, PresenceTiming, StreamPath, TokenAction, TokenSigner, TokenVerifier,
    UnixMillis,
};

const DEVICES: u64 = 10_000;

fn serial(n: u64) -> String {
    format!("0010010{n:05}")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

async fn full() -> (MemoryPresence, Vec<Lease>) {
    let presence = MemoryPresence::new(1, PresenceTiming::default());
    let mut leases = Vec::new();
    for n in 0..DEVICES {
        let acquired = presence.acquire(&serial(n), UnixMillis(0)).await.unwrap();
        leases.push(acquired.lease);
    }
    (presence, leases)
}

fn presence(c: &mut Criterion) {
    let rt = runtime();
    let mut group = c.benchmark_group("presence");
    group.throughput(Throughput::Elements(DEVICES));
    group.bench_function("acquire 10000", |b| {
        b.iter_batched(
            || MemoryPresence::new(1, PresenceTiming::default()),
            |presence| {
                rt.block_on(async {
                    for n in 0..DEVICES {
                        let acquired = presence.acquire(&serial(n), UnixMillis(0)).await;
                        black_box(acquired.unwrap());
                    }
                });
                presence
            },
            BatchSize::LargeInput,
        );
    });
    let (presence, leases) = rt.block_on(full());
    group.bench_function("renew 10000", |b| {
        b.iter(|| {
            rt.block_on(async {
                for lease in &leases {
                    presence.renew(lease, UnixMillis(1)).await.unwrap();
                }
            });
        });
    });
    group.bench_function("sweep 10000", |b| {
        b.iter(|| rt.block_on(presence.sweep(UnixMillis(2))).unwrap());
    });
    group.bench_function("list 10000", |b| {
        b.iter(|| rt.block_on(presence.list(&[], None, usize::MAX)).unwrap());
    });
    group.finish();
}

fn store(c: &mut Criterion) {
    let rt = runtime();
    let store = Arc::new(MemoryStore::new());
    rt.block_on(async {
        for n in 0..DEVICES {
            let patch = DevicePatch {
                label: Some(format!("Camera {}", n % 97)),
                ..DevicePatch::default()
            };
            let by = Author::system(UnixMillis(n));
            store.patch(&serial(n), patch, &by).await.unwrap();
        }
    });
    let mut group = c.benchmark_group("device store of 10000");
    group.bench_function("get", |b| {
        b.iter(|| rt.block_on(store.get(black_box("001001005000"))).unwrap());
    });
    let page = DeviceQuery {
        text: Some("camera 42".into()),
        sort: DeviceSort::Name,
        limit: 50,
        ..DeviceQuery::default()
    };
    group.bench_function("a page of 50, filtered, by name", |b| {
        b.iter(|| rt.block_on(store.list(black_box(&page))).unwrap());
    });
    group.finish();
}

fn rights(c: &mut Criterion) {
    let mut group = c.benchmark_group("rights");
    let key = DeviceKey::new("a key of 256 bits", "001001000001");
    let proof = key.proof("client", "server");
    group.bench_function("check a device's proof", |b| {
        b.iter(|| {
            key.verifier()
                .check("001001000001", "client", "server", black_box(&proof))
        });
    });
    let signer = TokenSigner::from_seed([1; 32]);
    let verifier = TokenVerifier::new();
    verifier
        .set_keys([signer.public_key().key.as_str()])
        .unwrap();
    let path = StreamPath::parse("001001000001/1").unwrap();
    let claims = Claims::new(path, TokenAction::Play, "client", UnixMillis(0), 60);
    group.bench_function("sign a token", |b| {
        b.iter(|| signer.sign(black_box(&claims)))
    });
    let token = signer.sign(&claims);
    group.bench_function("verify a token", |b| {
        b.iter(|| verifier.verify(black_box(&token), UnixMillis(1)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, presence, store, rights);
criterion_main!(benches);
