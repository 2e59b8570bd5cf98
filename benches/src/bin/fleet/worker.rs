//! The processes that the measurement starts of itself: the fleet, and the viewers. They answer
//! questions that come in lines.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use easydarwin_benches::handshake::{self, Target};
use easydarwin_benches::load::reader::Readers;
use serde::{Deserialize, Serialize};

use super::backoff::Random;
use super::device::{self, Counts, Fleet, Way};
use super::pacer::Pacer;
use super::tls;

/// Bytes of a snapshot.
const PICTURE: usize = 50_000;

/// What a fleet's process is told at its start.
#[derive(Debug, clap::Args)]
pub struct FleetArgs {
    /// Devices
    #[arg(long)]
    devices: usize,
    /// Port of the server
    #[arg(long)]
    port: u16,
    /// Devices that make themselves known each second
    #[arg(long)]
    rate: usize,
    /// Share of devices with keys
    #[arg(long)]
    ed1_share: f64,
    /// Devices that publish full streams
    #[arg(long)]
    streams: usize,
    /// There is no login
    #[arg(long)]
    null: bool,
    /// How snapshots travel
    #[arg(long, value_enum, default_value_t = Way::Message)]
    snapshots: Way,
    /// Speak TLS to a server with this certificate
    #[arg(long)]
    tls_trust: Option<PathBuf>,
}

/// What a fleet answers to `status`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Devices that are registered.
    pub registered: usize,
    /// Registers that were refused.
    pub refused: u64,
    /// Connections that ended or could not be made.
    pub ended: u64,
    /// Keep-alives that were answered.
    pub answers: u64,
    /// Bytes of those answers.
    pub answer_bytes: u64,
    /// Snapshots that were taken.
    pub snapshots: u64,
    /// From keep-alive to answer, 99th percentile.
    pub answer_p99_ms: f64,
    /// Streams that are published.
    pub streams: usize,
    /// Streams that could not be published, or that the server ended.
    pub streams_failed: u64,
}

/// Runs the fleet: `status`, `forget` (what was counted so far), `snapshots`, `pause` (the
/// streams; answers how many packets each device has sent).
pub fn fleet(args: &FleetArgs) -> io::Result<()> {
    let pacer = Arc::new(Pacer::default());
    let paced = pacer.clone();
    std::thread::Builder::new()
        .name("publish".to_owned())
        .spawn(move || paced.run())?;
    let fleet = Arc::new(Fleet {
        port: args.port,
        null: args.null,
        tls: args.tls_trust.as_deref().map(tls::connector).transpose()?,
        ed1_share: args.ed1_share,
        streams: args.streams,
        snapshots: AtomicBool::new(false),
        way: args.snapshots,
        picture: picture(),
        pacer,
        counts: Counts::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (devices, rate) = (args.devices, args.rate.max(1));
    let shared = fleet.clone();
    runtime.spawn(async move {
        // In portions of 10 ms.
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let mut begun = 0;
        let mut allowed = 0.0;
        while begun < devices {
            tick.tick().await;
            allowed += rate as f64 / 100.0;
            while begun < devices && (begun as f64) < allowed {
                tokio::spawn(device::run(shared.clone(), begun));
                begun += 1;
            }
        }
    });
    println!("fleet ready");
    for line in io::stdin().lock().lines() {
        let answer = match line?.as_str() {
            "status" => serde_json::to_string(&status(&fleet))?,
            "forget" => {
                *fleet.counts.delays.lock() = Default::default();
                "{}".to_owned()
            }
            "snapshots" => {
                fleet.snapshots.store(true, Ordering::Relaxed);
                "{}".to_owned()
            }
            "pause" => serde_json::to_string(&fleet.pacer.pause())?,
            other => return Err(io::Error::other(format!("unknown question {other:?}"))),
        };
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}

fn status(fleet: &Fleet) -> Status {
    let counts = &fleet.counts;
    let (streams, failed) = fleet.pacer.counts();
    Status {
        registered: counts.registered.load(Ordering::Relaxed),
        refused: counts.refused.load(Ordering::Relaxed),
        ended: counts.ended.load(Ordering::Relaxed),
        answers: counts.answers.load(Ordering::Relaxed),
        answer_bytes: counts.answer_bytes.load(Ordering::Relaxed),
        snapshots: counts.snapshots.load(Ordering::Relaxed),
        answer_p99_ms: counts.delays.lock().quantile_ms(0.99),
        streams,
        streams_failed: failed + counts.unpublished.load(Ordering::Relaxed),
    }
}

/// A JPEG by its first bytes, of the usual size, and the same in base64.
fn picture() -> (Vec<u8>, String) {
    let mut random = Random(7);
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0];
    bytes.resize_with(PICTURE, || random.draw() as u8);
    let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
    (bytes, text)
}

/// What the viewers answer to `finish`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Viewed {
    /// Packets that came.
    pub packets: u64,
    /// Packets missing between two that came.
    pub lost: u64,
    /// Viewers whose connection ended.
    pub ended: usize,
    /// Gaps of more than a second.
    pub stalls: u64,
    /// From the device's send to the viewer's kernel.
    pub delay_p99_ms: f64,
    /// Last packet of each viewer, counted from 1, by number of the stream.
    pub last: Vec<(usize, u64)>,
}

/// Runs the viewers: `play STREAM ADDRESS PATH`, `finish`.
pub fn viewers() -> io::Result<()> {
    let mut readers = Readers::start(1)?;
    readers.measure(true);
    println!("viewers ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("play"), Some(stream), Some(address), Some(path)) => {
                let stream = stream.parse().map_err(io::Error::other)?;
                let addr: SocketAddr = address.parse().map_err(io::Error::other)?;
                let path = path.to_owned();
                let target = Target::Path { addr, path };
                let joined = handshake::play(&target, stream, false);
                match joined {
                    Ok(joined) => {
                        readers.add(stream, joined)?;
                        println!("ok");
                    }
                    Err(error) => println!("failed: {error}"),
                }
            }
            (Some("finish"), None, ..) => {
                let counts = readers.finish()?;
                let viewed = Viewed {
                    packets: counts.packets,
                    lost: counts.lost,
                    ended: counts.readers.iter().filter(|r| r.2).count(),
                    stalls: counts.stalls,
                    delay_p99_ms: counts.delay.quantile_ms(0.99),
                    last: counts.readers.iter().map(|r| (r.0, r.1)).collect(),
                };
                println!("{}", serde_json::to_string(&viewed)?);
                return Ok(());
            }
            _ => return Err(io::Error::other(format!("unknown question {line:?}"))),
        }
        io::stdout().flush()?;
    }
    Ok(())
}
