//! Publishes paced streams from one thread.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use easydarwin_benches::handshake::{self, Target};
use easydarwin_benches::synthetic::{self, FRAME_RATE, FrameMaker};

/// What publishers have sent. Their streams end when this is dropped, and with them the readers.
#[derive(Debug)]
pub struct Sent {
    /// Packets by stream.
    pub packets: Vec<u64>,
    _connections: Vec<TcpStream>,
}

/// Running publishers.
#[derive(Debug)]
pub struct Publishers {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Sent>>,
}

impl Publishers {
    /// Connects `streams` publishers of `bitrate` each and starts to send.
    pub fn start(target: &Target, streams: usize, bitrate: u64) -> io::Result<Self> {
        let mut sources = Vec::with_capacity(streams);
        for stream in 0..streams {
            let tcp = handshake::publish(target, stream)?;
            tcp.set_write_timeout(Some(Duration::from_secs(10)))?;
            sources.push((tcp, FrameMaker::new(bitrate, 0x1000 + stream as u32)));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::Builder::new()
            .name("publish".to_owned())
            .spawn(move || pace(sources, &flag))?;
        Ok(Self { stop, thread })
    }

    /// Stops sending and says how much was sent.
    pub fn finish(self) -> io::Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| io::Error::other("the publishing thread failed"))?
    }
}

/// Sends the frames of all streams, spread evenly over the frame interval.
fn pace(mut sources: Vec<(TcpStream, FrameMaker)>, stop: &AtomicBool) -> io::Result<Sent> {
    let interval = Duration::from_secs(1) / FRAME_RATE;
    let step = interval / sources.len() as u32;
    let mut due = Instant::now();
    let mut frame = Vec::new();
    'run: loop {
        for (tcp, maker) in &mut sources {
            if stop.load(Ordering::Relaxed) {
                break 'run;
            }
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                thread::sleep(wait);
            }
            due += step;
            maker.next_frame(synthetic::wall_ns(), &mut frame);
            tcp.write_all(&frame)?;
        }
    }
    Ok(Sent {
        packets: sources.iter().map(|(_, maker)| maker.packets()).collect(),
        _connections: sources.into_iter().map(|(tcp, _)| tcp).collect(),
    })
}
