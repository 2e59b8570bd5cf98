//! Publishes the streams of devices that were asked for them, paced, from one thread.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use easydarwin_benches::synthetic::{self, FRAME_RATE, FrameMaker};

/// How long nobody has anything to send before it is looked again.
const IDLE: Duration = Duration::from_millis(2);

/// The streams that are published, by number of the device.
#[derive(Debug, Default)]
pub struct Pacer {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<usize, Source>,
    paused: bool,
    failed: u64,
}

#[derive(Debug)]
struct Source {
    tcp: TcpStream,
    maker: FrameMaker,
    due: Instant,
}

impl Pacer {
    /// Publishes what this device was asked for, instead of what it published before.
    pub fn add(&self, device: usize, tcp: TcpStream, bitrate: u64) {
        let source = Source {
            tcp,
            maker: FrameMaker::new(bitrate, 0x1000 + device as u32),
            due: Instant::now(),
        };
        self.lock().sources.insert(device, source);
    }

    /// Ends a device's stream.
    pub fn remove(&self, device: usize) {
        self.lock().sources.remove(&device);
    }

    /// Sends nothing more; connections stay. Packets sent by each device.
    pub fn pause(&self) -> HashMap<usize, u64> {
        let mut table = self.lock();
        table.paused = true;
        let packets = |(device, source): (&usize, &Source)| (*device, source.maker.packets());
        table.sources.iter().map(packets).collect()
    }

    /// Streams that are published now, and those that a server ended.
    pub fn counts(&self) -> (usize, u64) {
        let table = self.lock();
        (table.sources.len(), table.failed)
    }

    /// Sends for ever.
    pub fn run(&self) {
        let interval = Duration::from_secs(1) / FRAME_RATE;
        let mut frame = Vec::new();
        loop {
            let mut table = self.lock();
            let now = Instant::now();
            let mut next = now + IDLE;
            if !table.paused {
                let mut ended = Vec::new();
                for (device, source) in &mut table.sources {
                    if source.due <= now {
                        source.maker.next_frame(synthetic::wall_ns(), &mut frame);
                        if source.tcp.write_all(&frame).is_err() {
                            ended.push(*device);
                        }
                        source.due += interval;
                    }
                    next = next.min(source.due);
                }
                for device in ended {
                    table.sources.remove(&device);
                    table.failed += 1;
                }
            }
            drop(table);
            thread::sleep(next.saturating_duration_since(Instant::now()).max(IDLE / 4));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }
}
