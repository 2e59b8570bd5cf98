//! What handing a frame over costs an encoder's thread, for each size of frame: time of the processor and of
//! the clock, with the uplink running and with it dead. The media server is this process, too, on
//! threads of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Parser;
use easydarwin_camera::frames::{DropCause, Frame, FrameSender, QueueConfig, queue};
use easydarwin_camera::{Camera, CameraEvent};
use easydarwin_core::media::{H264Params, Track};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::server::MediaServer;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// What handing a frame over costs an encoder's thread.
#[derive(Debug, Parser)]
struct Arguments {
    /// Frames measured for each size.
    #[arg(long, default_value_t = 20_000)]
    frames: usize,
    /// Time between two frames in microseconds.
    #[arg(long, default_value_t = 1000)]
    interval_us: u64,
    /// Sizes of the frames in bytes.
    #[arg(long, value_delimiter = ',', default_value = "1024,16384,65536")]
    sizes: Vec<usize>,
    /// Threads that do nothing but compute, beside it.
    #[arg(long, default_value_t = 0)]
    load: usize,
    /// Writes the figures to this file, as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
}

/// Microseconds of one percentile each.
#[derive(Debug, Serialize)]
struct Times {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

#[derive(Debug, Serialize)]
struct Line {
    uplink: &'static str,
    bytes: usize,
    cpu: Times,
    wall: Times,
    queued: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    for _ in 0..arguments.load {
        std::thread::spawn(|| {
            let mut number = 0_u64;
            loop {
                number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(7));
            }
        });
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let server = runtime.block_on(
        MediaServer::builder()
            .rtsp("127.0.0.1:0".parse::<SocketAddr>()?)
            .authorizer(AllowAll)
            .build(),
    )?;
    let address = server.rtsp_addr();
    runtime.spawn(server.run(std::future::pending()));
    let mut lines = Vec::new();
    println!("reading the clocks is in it: {:.2} us", clock_cost());
    println!("uplink   bytes  cpu us p50   p99 p99.9   wall us p50   p99 p99.9  queued");
    for &bytes in &arguments.sizes {
        lines.push(live(&arguments, bytes, address)?);
        lines.push(dead(&arguments, bytes)?);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&lines)?)?;
    }
    Ok(())
}

/// With a camera that sends what is pushed.
fn live(
    arguments: &Arguments,
    bytes: usize,
    address: SocketAddr,
) -> Result<Line, Box<dyn std::error::Error>> {
    let (mut senders, feed) = queue(tracks(), &config())?;
    let mut sender = senders.pop().ok_or("a stream")?;
    let (events, mut happened) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel::<()>();
    let camera = Camera::builder()
        .serial("bench")
        .frames(1, feed)
        .push_to(format!("rtsp://{address}/bench/{bytes}"))
        .events(events)
        .build()?;
    let thread = std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(camera.run(async { stopped.await.unwrap_or(()) }));
        Ok(())
    });
    while !matches!(
        happened.blocking_recv(),
        Some(CameraEvent::PushStarted { .. })
    ) {}
    let line = measure(arguments, "live", bytes, &mut sender, true);
    drop(stop);
    thread.join().map_err(|_| "the camera panicked")??;
    Ok(line)
}

/// With nobody who takes the frames out: the ring is full.
fn dead(arguments: &Arguments, bytes: usize) -> Result<Line, Box<dyn std::error::Error>> {
    let mut config = config();
    // With a pre-roll frames are taken, though nobody sends them.
    config.pre_roll = Duration::from_secs(3600);
    let (mut senders, _feed) = queue(tracks(), &config)?;
    let mut sender = senders.pop().ok_or("a stream")?;
    let frame = vec![1; bytes];
    while sender.counts().dropped_by(DropCause::QueueFull) == 0 {
        push(&mut sender, &frame, true);
    }
    Ok(measure(arguments, "dead", bytes, &mut sender, false))
}

fn measure(
    arguments: &Arguments,
    uplink: &'static str,
    bytes: usize,
    sender: &mut FrameSender,
    paced: bool,
) -> Line {
    let before = sender.counts().dropped();
    let frame = vec![1; bytes];
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for number in 0..arguments.frames {
        let (began, cpu_began) = (Instant::now(), cpu_time());
        push(sender, &frame, number % 50 == 0);
        cpu.push(cpu_time().saturating_sub(cpu_began));
        wall.push(began.elapsed());
        if paced {
            std::thread::sleep(Duration::from_micros(arguments.interval_us));
        }
    }
    let dropped = sender.counts().dropped() - before;
    let line = Line {
        uplink,
        bytes,
        cpu: times(cpu),
        wall: times(wall),
        queued: u64::try_from(arguments.frames).unwrap_or(u64::MAX) - dropped,
    };
    println!(
        "{:6} {:7}      {:6.2} {:6.2} {:6.2}        {:6.2} {:6.2} {:6.2} {:7}",
        line.uplink,
        line.bytes,
        line.cpu.p50_us,
        line.cpu.p99_us,
        line.cpu.p999_us,
        line.wall.p50_us,
        line.wall.p99_us,
        line.wall.p999_us,
        line.queued,
    );
    line
}

fn push(sender: &mut FrameSender, bytes: &[u8], key: bool) {
    let start = [0, 0, 1, if key { 0x65 } else { 0x41 }];
    sender.push(&Frame {
        parts: &[&start, bytes],
        pts_us: 0,
        key,
    });
}

fn tracks() -> Vec<Track> {
    let parameters = H264Params {
        sps: Some(vec![0x67, 0x42, 0, 0x1f, 0xe9].into()),
        pps: vec![vec![0x68, 0xce, 0x3c, 0x80].into()],
    };
    vec![Track::h264(96, parameters)]
}

fn config() -> QueueConfig {
    let mut config = QueueConfig::default();
    config.video_bytes = 4 << 20;
    config
}

/// Time of the processor that this thread has had.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// What reading the clocks alone costs, in microseconds.
fn clock_cost() -> f64 {
    let costs = (0..10_000).map(|_| {
        let began = cpu_time();
        cpu_time().saturating_sub(began)
    });
    times(costs.collect()).p50_us
}

fn times(mut samples: Vec<Duration>) -> Times {
    samples.sort_unstable();
    let at = |per_mille: usize| {
        let index = (samples.len() * per_mille / 1000).min(samples.len().saturating_sub(1));
        samples
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Times {
        p50_us: at(500),
        p99_us: at(990),
        p999_us: at(999),
    }
}
