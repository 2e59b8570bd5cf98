//! What a stream costs once it runs, counted over processes of this program: no allocation on either
//! thread, and at most one system call a frame on the encoder's. Also runs as the media server
//! and as the camera that are counted.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::alloc::System;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use easydarwin_camera::frames::{DropCause, Frame, FrameSender, QueueConfig, queue};
use easydarwin_camera::{Camera, CameraEvent, PushTransport};
use easydarwin_core::media::{G711Law, H264Params, Track};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::server::MediaServer;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Pictures before it is counted: every buffer has its size by then.
const WARM_UP: usize = 150;
const COUNTED: usize = 500;
/// Faster than a camera, to be done soon.
const INTERVAL: Duration = Duration::from_millis(4);
const GROUP: usize = 25;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => serve(),
        Some("film") => film(&arguments[2], &arguments[3], &arguments[4], &arguments[5]),
        _ => {
            // What `cargo test` was asked for; `--list` and names of other tests are not for us.
            if arguments.iter().any(|argument| argument == "--list") {
                println!("steady: test");
                return;
            }
            check();
        }
    }
}

fn check() {
    let (server, address) = Process::spawn(&["serve"]);
    for transport in ["tcp", "udp"] {
        // Over UDP there is no uplink that could be seen to be dead.
        let uplinks: &[&str] = if transport == "tcp" {
            &["live", "dead"]
        } else {
            &["live"]
        };
        for uplink in uplinks {
            let line = Process::run(&["film", &address, transport, uplink, &server.pid()]);
            println!("{transport} {uplink}: {line}");
            assert_eq!(line, "allocations 0", "{transport}, {uplink}");
        }
        let calls = system_calls(&address, transport, &server.pid());
        println!("{transport}: system calls of the encoder's thread: {calls:?}");
        let frames = 2 * COUNTED;
        let total: usize = calls.iter().map(|(_, count)| count).sum();
        assert!(total <= frames, "{total} calls for {frames} frames");
        // A stream's packets are sent by another thread, so only the wake-up may be here.
        let wakes = calls
            .iter()
            .all(|(name, _)| matches!(name.as_str(), "write" | "sendto"));
        assert!(wakes, "{calls:?}");
    }
    drop(server);
    println!("test steady ... ok");
}

/// System calls between the marks, by name, without the pauses of the clock.
fn system_calls(address: &str, transport: &str, server: &str) -> Vec<(String, usize)> {
    let directory = std::env::temp_dir().join(format!("steady-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let trace = directory.join(transport);
    let myself = std::env::current_exe().unwrap();
    let status = Command::new("strace")
        .args(["-ff", "-o"])
        .arg(&trace)
        .arg(myself)
        .args(["film", address, transport, "live", server])
        .stdout(Stdio::null())
        .status()
        .expect("strace; scripts/peers installs it");
    assert!(status.success());
    let mut counts = std::collections::BTreeMap::new();
    let mut marks = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        // Of the thread that marks, nothing else calls this.
        if text.matches("getppid()").count() != 2 {
            continue;
        }
        for line in text.lines() {
            let name = line.split('(').next().unwrap_or_default();
            match name {
                "getppid" => marks += 1,
                "clock_nanosleep" => {}
                _ if marks == 1 => *counts.entry(name.to_owned()).or_default() += 1,
                _ => {}
            }
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(marks, 2);
    counts.into_iter().collect()
}

struct Process(Child);

impl Process {
    /// Starts this program; it and the line that it says first.
    fn spawn(arguments: &[&str]) -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        (Self(child), line.trim().to_owned())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn run(arguments: &[&str]) -> String {
        let (mut process, line) = Self::spawn(arguments);
        assert!(process.0.wait().unwrap().success());
        line
    }
}

fn signal(which: &str, process: &str) {
    let status = Command::new("kill")
        .args([which, process])
        .status()
        .unwrap();
    assert!(status.success());
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real media server; ends when nobody holds its input any more.
fn serve() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = MediaServer::builder()
            .rtsp("127.0.0.1:0".parse::<SocketAddr>().unwrap())
            .authorizer(AllowAll)
            .build()
            .await
            .unwrap();
        println!("{}", server.rtsp_addr());
        std::io::stdout().flush().unwrap();
        server.run(std::future::pending()).await.unwrap();
    });
}

/// An encoder's thread, this one, and the camera's: says how often they allocated.
fn film(address: &str, transport: &str, uplink: &str, server: &str) {
    let parameters = H264Params {
        sps: Some(vec![0x67, 0x42, 0, 0x1f, 0xe9].into()),
        pps: vec![vec![0x68, 0xce, 0x3c, 0x80].into()],
    };
    let tracks = vec![Track::h264(96, parameters), Track::g711(G711Law::A)];
    // A tracer makes everything slow; that is not what is asked here.
    let mut patient = QueueConfig::default();
    patient.max_latency = Duration::from_secs(20);
    let (mut senders, feed) = queue(tracks, &patient).unwrap();
    let (events, mut happened) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel::<()>();
    let camera = Camera::builder()
        .serial("steady")
        .frames(1, feed)
        .push_to(format!(
            "rtsp://{address}/steady/{transport}-{}",
            std::process::id()
        ))
        .transport(if transport == "udp" {
            PushTransport::Udp
        } else {
            PushTransport::Tcp
        })
        .events(events)
        .build()
        .unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(camera.run(async { stopped.await.unwrap_or(()) }));
    });
    let mut picture = vec![0x41; 16_000];
    let mut number = 0;
    loop {
        pair(&mut senders, &mut picture, &mut number, true);
        let started = std::iter::from_fn(|| happened.try_recv().ok())
            .any(|event| matches!(event, CameraEvent::PushStarted { .. }));
        if started {
            break;
        }
        assert!(number < 5000, "the push does not begin");
    }
    for _ in 0..WARM_UP {
        pair(&mut senders, &mut picture, &mut number, true);
    }
    if uplink == "dead" {
        // A peer that is there and reads nothing: sockets and ring fill up, then frames are dropped.
        signal("-STOP", server);
        while senders[0].counts().dropped_by(DropCause::QueueFull) == 0 {
            pair(&mut senders, &mut picture, &mut number, false);
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..COUNTED {
            pair(&mut senders, &mut picture, &mut number, false);
        }
        let allocations = region.change().allocations;
        signal("-CONT", server);
        println!("allocations {allocations}");
        drop(stop);
        thread.join().unwrap();
        return;
    }
    let sent = senders[0].counts().sent;
    mark();
    let region = Region::new(ALLOCATOR);
    for _ in 0..COUNTED {
        pair(&mut senders, &mut picture, &mut number, true);
    }
    let allocations = region.change().allocations;
    mark();
    // What was counted was a stream that runs; on a busy machine not every picture is in time.
    let counts = senders[0].counts();
    let expected = u64::try_from(COUNTED / 2).unwrap();
    assert!(counts.sent - sent >= expected, "{counts:?}");
    println!("allocations {allocations}");
    drop(stop);
    thread.join().unwrap();
}

/// A picture and a piece of sound, and the time that they take.
fn pair(senders: &mut [FrameSender], picture: &mut [u8], number: &mut usize, live: bool) {
    let key = number.is_multiple_of(GROUP);
    let start: [u8; 4] = [0, 0, 0, 1];
    picture[0] = if key { 0x65 } else { 0x41 };
    let pts_us = i64::try_from(*number).unwrap() * 40_000;
    *number += 1;
    let len = if key {
        picture.len()
    } else {
        picture.len() / 5
    };
    let frame = Frame {
        parts: &[&start, &picture[..len]],
        pts_us,
        key,
    };
    senders[0].push(&frame);
    senders[1].push(&Frame {
        parts: &[&picture[..160]],
        pts_us,
        key: true,
    });
    if live {
        std::thread::sleep(INTERVAL);
    }
}

/// A system call that nothing else makes, for whoever reads the trace.
fn mark() {
    let _ = std::os::unix::process::parent_id();
}
