//! Pushes a synthetic stream through the relay to readers whose sinks only count: what is left is
//! our own code. `scripts/instructions` runs it under callgrind.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use easydarwin_benches::synthetic::{self, FrameMaker};
use easydarwin_core::media::sdp;
use easydarwin_core::registry::{Principal, StreamPath};
use easydarwin_core::relay::{Hub, ReaderOptions, RelayConfig, Sink};
use futures::future::BoxFuture;

#[derive(Debug, Parser)]
#[command(about = "Relays a synthetic stream to counting readers, for instruction counts")]
struct Cli {
    /// Frames to push.
    #[arg(long, default_value_t = 1000)]
    frames: u64,
    /// Readers; 0: taking in alone.
    #[arg(long, default_value_t = 100)]
    readers: usize,
    /// Bits a second of the stream at 25 frames a second.
    #[arg(long, default_value_t = 2_000_000)]
    bitrate: u64,
}

/// Takes everything and counts the writes.
#[derive(Debug, Clone)]
struct Counting {
    writes: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Sink for Counting {
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn park(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(relay(&cli))
}

async fn relay(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = RelayConfig::default();
    config.shards = 1;
    let hub = Hub::new(config);
    let path = StreamPath::parse("hot/path")?;
    let description = sdp::parse(synthetic::sdp().as_bytes())?;
    let mut publisher = hub.publish(&path, description, Principal::Anonymous)?;
    let stream = hub.get(&path).ok_or("the stream is not there")?;
    let sink = Counting {
        writes: Arc::default(),
        bytes: Arc::default(),
    };
    let readers: Vec<_> = (0..cli.readers)
        .map(|_| {
            stream
                .prepare(ReaderOptions::new("hot"))
                .start(sink.clone())
        })
        .collect();

    let mut maker = FrameMaker::new(cli.bitrate, 1);
    let mut frame = Vec::new();
    let started = Instant::now();
    for _ in 0..cli.frames {
        maker.next_frame(0, &mut frame);
        let now = Instant::now();
        let mut rest = &frame[..];
        while let Some((head, body)) = rest.split_first_chunk::<4>() {
            let (packet, next) = body.split_at(usize::from(u16::from_be_bytes([head[2], head[3]])));
            publisher.push_rtp(0, packet, now);
            rest = next;
        }
        publisher.flush(now);
        // The shard is a task of this runtime: let it make its pass.
        let wanted = sink.bytes.load(Ordering::Relaxed) + (frame.len() * cli.readers) as u64;
        while sink.bytes.load(Ordering::Relaxed) < wanted {
            tokio::task::yield_now().await;
        }
    }
    let packets = maker.packets() * cli.readers as u64;
    println!(
        "pushed={} writes={} packets={packets} ns={}",
        maker.packets(),
        sink.writes.load(Ordering::Relaxed),
        started.elapsed().as_nanos(),
    );
    drop(readers);
    Ok(())
}
