//! One measurement: publishers, readers, a window, figures.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use easydarwin_benches::handshake::{self, Joined, Target};
use easydarwin_benches::load::procfs;
use easydarwin_benches::load::reader::Readers;
use easydarwin_benches::load::stats::Histogram;
use easydarwin_benches::synthetic::probe;

use super::publisher::Publishers;

/// What is put on the server.
#[derive(Debug, Clone)]
pub struct Load {
    /// Streams that are published.
    pub streams: usize,
    /// Readers of each stream.
    pub readers: usize,
    /// Bits a second of each stream.
    pub bitrate: u64,
    /// Readers play over UDP.
    pub udp: bool,
    /// Length of the measuring window.
    pub seconds: u64,
    /// Readers, beside the others, that stop reading once they play.
    pub stalled: usize,
    /// Short-lived readers a second that only wait for the first picture, after the window and
    /// for as long, while the load goes on.
    pub joins_per_second: u32,
    /// Threads that read.
    pub reader_threads: usize,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Packets that readers received within the window.
    pub delivered: u64,
    /// Packets missing at readers, those after the last one received included.
    pub lost: u64,
    /// Readers whose connection ended before the end.
    pub ended: usize,
    /// Gaps of more than a second at a reader.
    pub stalls: u64,
    /// Server CPU time per delivered packet in microseconds.
    pub cpu_us_per_packet: f64,
    /// Server CPU seconds per delivered gigabyte.
    pub cpu_s_per_gb: f64,
    /// Server CPU in percent of one core.
    pub cpu_percent: f64,
    /// Relay delay: publisher's send to reader's kernel.
    pub delay_p50_ms: f64,
    /// 99th percentile of the same.
    pub delay_p99_ms: f64,
    /// 99.9th percentile of the same.
    pub delay_p999_ms: f64,
    /// Connect to last packet of the first key frame, of the short-lived readers.
    pub first_picture_p50_ms: f64,
    /// 99th percentile of the same.
    pub first_picture_p99_ms: f64,
    /// How many of them there were.
    pub first_pictures: u64,
    /// Resident memory of the server at the end of the window.
    pub rss_bytes: u64,
    /// Kernel memory of all TCP sockets at the end of the window, less that before the load.
    pub tcp_kernel_bytes: u64,
    /// CPU time of others in percent of the machine: above 20 the round says little.
    pub foreign_percent: f64,
}

impl Figures {
    /// Why this says nothing about the server, if so.
    pub fn failure(&self) -> Option<String> {
        if self.delivered == 0 {
            Some("nothing was delivered".to_owned())
        } else if self.cpu_us_per_packet == 0.0 {
            Some("the server's process used no CPU: is it the right one?".to_owned())
        } else if self.ended > 0 {
            Some(format!("{} readers ended too early", self.ended))
        } else {
            None
        }
    }
}

/// Puts `load` on `target`, whose process is `pid`.
pub fn run(target: &Target, pid: u32, load: &Load) -> io::Result<Figures> {
    let kernel_before = procfs::tcp_memory();
    let publishers = Publishers::start(target, load.streams, load.bitrate)?;
    let mut readers = Readers::start(load.reader_threads)?;
    for index in 0..load.streams * load.readers {
        let stream = index % load.streams;
        readers.add(stream, handshake::play(target, stream, load.udp)?)?;
    }
    let mut stalled = Vec::new();
    for index in 0..load.stalled {
        stalled.push(handshake::play(target, index % load.streams, false)?);
    }
    // Two groups of pictures: the start bursts are over, buffers and clocks have settled.
    thread::sleep(Duration::from_secs(3));

    readers.measure(true);
    let (start, before, own_before, busy_before) = (
        Instant::now(),
        procfs::usage(pid),
        procfs::usage(std::process::id()),
        procfs::machine_busy(),
    );
    thread::sleep(Duration::from_secs(load.seconds));
    readers.measure(false);
    let elapsed = start.elapsed();
    let (after, own_after, busy_after) = (
        procfs::usage(pid),
        procfs::usage(std::process::id()),
        procfs::machine_busy(),
    );
    let kernel_after = procfs::tcp_memory();
    // Not within the window: a handshake and a whole group of pictures for each would be charged
    // to the packets of the others, and the null relay has neither.
    let first_picture = first_pictures(target, load)?;

    let sent = publishers.finish()?;
    // What is on its way still counts: wait for it, then look at the tails.
    thread::sleep(Duration::from_secs(1));
    let counts = readers.finish()?;
    let packets = sent.packets.clone();
    drop((sent, stalled));

    let tails: u64 = counts
        .readers
        .iter()
        .map(|&(stream, next, _)| packets[stream].saturating_sub(next))
        .sum();
    let cpu = after.cpu.saturating_sub(before.cpu);
    let busy = busy_after.saturating_sub(busy_before);
    let known = cpu + own_after.cpu.saturating_sub(own_before.cpu);
    let cores = thread::available_parallelism()?.get() as f64;
    Ok(Figures {
        delivered: counts.packets,
        lost: counts.lost + tails,
        ended: counts
            .readers
            .iter()
            .filter(|&&(_, _, ended)| ended)
            .count(),
        stalls: counts.stalls,
        cpu_us_per_packet: cpu.as_secs_f64() * 1e6 / counts.packets as f64,
        cpu_s_per_gb: cpu.as_secs_f64() * 1e9 / counts.bytes as f64,
        cpu_percent: cpu.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        delay_p50_ms: counts.delay.quantile_ms(0.5),
        delay_p99_ms: counts.delay.quantile_ms(0.99),
        delay_p999_ms: counts.delay.quantile_ms(0.999),
        first_picture_p50_ms: first_picture.quantile_ms(0.5),
        first_picture_p99_ms: first_picture.quantile_ms(0.99),
        first_pictures: first_picture.count(),
        rss_bytes: after.rss,
        tcp_kernel_bytes: kernel_after.saturating_sub(kernel_before),
        foreign_percent: busy.saturating_sub(known).as_secs_f64() / elapsed.as_secs_f64() / cores
            * 100.0,
    })
}

/// Short-lived readers, one after the other, at a steady pace, for as long as the window was.
fn first_pictures(target: &Target, load: &Load) -> io::Result<Histogram> {
    let mut times = Histogram::default();
    if load.joins_per_second == 0 || matches!(target, Target::Null { .. }) {
        return Ok(times);
    }
    let pause = Duration::from_secs(1) / load.joins_per_second;
    let count = load.seconds.saturating_mul(load.joins_per_second.into());
    for stream in (0..load.streams)
        .cycle()
        .zip(0..count)
        .map(|(stream, _)| stream)
    {
        thread::sleep(pause);
        let start = Instant::now();
        let joined = handshake::play(target, stream, false)?;
        wait_for_key_frame(joined)?;
        times.add(start.elapsed());
    }
    Ok(times)
}

fn wait_for_key_frame(joined: Joined) -> io::Result<()> {
    let Joined {
        mut tcp,
        early: mut data,
        ..
    } = joined;
    let mut chunk = [0; 64 * 1024];
    let mut whole = false;
    let mut at = 0;
    loop {
        while let Some(head) = data.get(at..at + 4) {
            if head[0] != b'$' {
                at += 1;
                continue;
            }
            let end = at + 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
            let Some(packet) = data.get(at + 4..end) else {
                break;
            };
            if let Some(probe) = probe(packet)
                && head[1] == 0
                && probe.key
            {
                whole |= probe.first;
                if whole && probe.last {
                    return Ok(());
                }
            }
            at = end;
        }
        match tcp.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => data.extend_from_slice(&chunk[..n]),
        }
    }
}
