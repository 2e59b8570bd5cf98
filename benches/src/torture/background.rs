use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::handshake::{self, Target};
use crate::synthetic::{self, FRAME_RATE, FrameMaker};

/// The good publisher beside all this.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<bool>,
}

impl Background {
    /// Publishes at this path until it is finished.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn start(addr: SocketAddr, path: &str) -> Result<Self, Box<dyn Error>> {
        let target = Target::Path {
            addr,
            path: path.to_owned(),
        };
        let mut tcp = handshake::publish(&target, 0)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::spawn(move || {
            let mut maker = FrameMaker::new(200_000, 7);
            let mut frame = Vec::new();
            while !flag.load(Ordering::Relaxed) {
                maker.next_frame(synthetic::wall_ns(), &mut frame);
                if tcp.write_all(&frame).is_err() {
                    return false;
                }
                thread::sleep(Duration::from_secs(1) / FRAME_RATE);
            }
            true
        });
        Ok(Self { stop, thread })
    }

    /// Whether it could publish to the end.
    pub fn finish(self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(false)
    }
}
