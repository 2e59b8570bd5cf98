//! What handing a frame over costs an encoder's thread, for each size of frame: time of the processor and of
//! the clock, with the uplink running and with it dead; and beside it what the machine takes for less: waking
//! a thread, copying. The media server is this process, too, on
//! threads of its own, and says how long frames were on their way to it.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use easydarwin_camera::frames::{DropCause, Frame, FrameSender, QueueConfig, queue};
use easydarwin_camera::{Camera, CameraEvent};
use easydarwin_core::media::{AccessUnit, H264Params, Track};
use easydarwin_core::registry::{AllowAll, StreamPath};
use easydarwin_core::relay::{Hub, TapEvent, TapOptions};
use easydarwin_core::server::MediaServer;
use nix::sys::eventfd::EventFd;
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::runtime::Runtime;
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
    /// From the push to a reader in the server.
    way: Option<Times>,
    /// Times that the camera's thread slept, warming up included.
    wakes: i64,
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
    let hub = server.hub().clone();
    runtime.spawn(server.run(std::future::pending()));
    let mut lines = Vec::new();
    println!("reading the clocks is in it: {:.2} us", clock_cost());
    println!(
        "uplink   bytes  cpu us p50   p99 p99.9   wall us p50   p99 p99.9   way us p50    p99  p99.9  queued  wakes"
    );
    lines.push(floor(&arguments, "pipe", 8, &mut waking_pipe()?));
    lines.push(floor(&arguments, "event", 8, &mut waking_event()?));
    for &bytes in &arguments.sizes {
        let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
        lines.push(floor(&arguments, "copy", bytes, &mut || {
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(&mut to);
        }));
        lines.push(live(&arguments, bytes, address, &hub, &runtime)?);
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
    hub: &Hub,
    runtime: &Runtime,
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
    let thread = std::thread::spawn(move || -> std::io::Result<i64> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(camera.run(async { stopped.await.unwrap_or(()) }));
        let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
        Ok(usage.voluntary_context_switches())
    });
    while !matches!(
        happened.blocking_recv(),
        Some(CameraEvent::PushStarted { .. })
    ) {}
    let path = StreamPath::parse(&format!("bench/{bytes}"))?;
    let stream = runtime
        .block_on(hub.wait(&path, false, Duration::from_secs(10)))
        .ok_or("the camera's stream")?;
    let mut tap = stream.tap(TapOptions::new("bench"));
    let reader = runtime.spawn(async move {
        let mut arrived = Vec::new();
        while let Some(event) = tap.recv().await {
            if let TapEvent::Unit(unit) = event {
                arrived.push((number_of(&unit), Instant::now()));
            }
        }
        arrived
    });
    // What the uplink carries is known after a second.
    let warm_up = arguments.frames.min(1500);
    measure(arguments, 0..warm_up, "live", bytes, &mut sender, true);
    let numbers = warm_up..warm_up + arguments.frames;
    let (mut line, pushed) = measure(arguments, numbers, "live", bytes, &mut sender, true);
    drop(stop);
    line.wakes = thread.join().map_err(|_| "the camera panicked")??;
    let arrived = runtime.block_on(reader)?;
    let ways = arrived.iter().filter_map(|(number, at)| {
        Some(at.saturating_duration_since(*pushed.get((*number)?.checked_sub(warm_up)?)?))
    });
    line.way = Some(times(ways.collect()));
    line.print();
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
        push(&mut sender, &frame, 0);
    }
    let (line, _) = measure(
        arguments,
        0..arguments.frames,
        "dead",
        bytes,
        &mut sender,
        false,
    );
    line.print();
    Ok(line)
}

/// A line, and when the frames were pushed.
fn measure(
    arguments: &Arguments,
    numbers: std::ops::Range<usize>,
    uplink: &'static str,
    bytes: usize,
    sender: &mut FrameSender,
    paced: bool,
) -> (Line, Vec<Instant>) {
    let before = sender.counts().dropped();
    let frame = vec![1; bytes];
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    let mut pushed = Vec::new();
    let frames = u64::try_from(numbers.len()).unwrap_or(u64::MAX);
    for number in numbers {
        let (began, cpu_began) = (Instant::now(), cpu_time());
        push(sender, &frame, number);
        cpu.push(cpu_time().saturating_sub(cpu_began));
        wall.push(began.elapsed());
        pushed.push(began);
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
        way: None,
        wakes: 0,
        queued: frames - dropped,
    };
    (line, pushed)
}

/// What the machine takes for something less.
fn floor(arguments: &Arguments, what: &'static str, bytes: usize, act: &mut dyn FnMut()) -> Line {
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..arguments.frames {
        let (began, cpu_began) = (Instant::now(), cpu_time());
        act();
        cpu.push(cpu_time().saturating_sub(cpu_began));
        wall.push(began.elapsed());
        std::thread::sleep(Duration::from_micros(arguments.interval_us));
    }
    let line = Line {
        uplink: what,
        bytes,
        cpu: times(cpu),
        wall: times(wall),
        way: None,
        wakes: 0,
        queued: 0,
    };
    line.print();
    line
}

/// Wakes a thread that reads a pipe.
fn waking_pipe() -> std::io::Result<impl FnMut()> {
    let (mut far, mut near) = std::io::pipe()?;
    std::thread::spawn(move || while far.read(&mut [0; 8]).is_ok_and(|count| count > 0) {});
    Ok(move || {
        let _ = near.write(&[1; 8]);
    })
}

/// Wakes a thread that reads an eventfd.
fn waking_event() -> nix::Result<impl FnMut()> {
    let near = Arc::new(EventFd::new()?);
    let far = Arc::clone(&near);
    std::thread::spawn(move || while far.read().is_ok() {});
    Ok(move || {
        let _ = near.write(1);
    })
}

impl Line {
    fn print(&self) {
        let none = Times {
            p50_us: 0.0,
            p99_us: 0.0,
            p999_us: 0.0,
        };
        let way = self.way.as_ref().unwrap_or(&none);
        println!(
            "{:6} {:7}      {:6.2} {:6.2} {:6.2}        {:6.2} {:6.2} {:6.2}       {:6.0} {:6.0} {:6.0} {:7} {:6}",
            self.uplink,
            self.bytes,
            self.cpu.p50_us,
            self.cpu.p99_us,
            self.cpu.p999_us,
            self.wall.p50_us,
            self.wall.p99_us,
            self.wall.p999_us,
            way.p50_us,
            way.p99_us,
            way.p999_us,
            self.queued,
            self.wakes,
        );
    }
}

fn push(sender: &mut FrameSender, bytes: &[u8], number: usize) {
    let key = number.is_multiple_of(50);
    let start = [0, 0, 1, if key { 0x65 } else { 0x41 }];
    // Seven bits in each byte, of which none is zero.
    let digit = |at: usize| u8::try_from(number >> (7 * at) & 0x7f).unwrap_or(0) | 0x80;
    let digits = [digit(0), digit(1), digit(2)];
    let rest = bytes.get(digits.len()..).unwrap_or_default();
    sender.push(&Frame {
        parts: &[&start, &digits, rest],
        pts_us: i64::try_from(number).unwrap_or(0) * 1000,
        key,
    });
}

/// Which frame it was.
fn number_of(unit: &AccessUnit) -> Option<usize> {
    let slice = unit
        .data
        .iter()
        .find(|nal| matches!(nal.first(), Some(0x65 | 0x41)))?;
    let digits = slice.get(1..4)?.iter().rev();
    Some(digits.fold(0, |number, digit| number << 7 | usize::from(digit & 0x7f)))
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
