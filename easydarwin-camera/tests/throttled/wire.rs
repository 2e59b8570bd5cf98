//! How much of what the camera wrote has left its socket for the device, by time.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use easydarwin_core::kernel::{send_queue, tcp_info};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes of the connection, and since when so many had been sent at least once.
#[derive(Debug, Default)]
pub(crate) struct Wire(Vec<(Duration, u64)>);

/// Looks at this process's connection to `server` from its beginning until `ended`.
pub(crate) fn watch(start: Instant, server: SocketAddr, ended: &AtomicBool) -> Wire {
    let mut wire = Wire::default();
    let mut socket = None;
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        socket = socket.or_else(|| find(server));
        let Some(socket) = &socket else {
            continue;
        };
        // In this order what is acknowledged in between is missing, not counted twice.
        let acked = tcp_info(socket).and_then(|info| info.acked);
        let queue = send_queue(socket).expect("a connection");
        let under_way = queue.unacknowledged - queue.unsent.expect("Linux tells");
        wire.note(start.elapsed(), acked.expect("Linux 4.1") + under_way);
    }
    wire
}

/// The camera's socket, which this process has somewhere.
fn find(server: SocketAddr) -> Option<OwnedFd> {
    let myself = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .find_map(|entry| {
            let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let file = pidfd_getfd(&myself, number, PidfdGetfdFlags::empty()).ok()?;
            let peer = SockRef::from(&file).peer_addr().ok()?;
            (peer.as_socket()? == server).then_some(file)
        })
}

impl Wire {
    fn note(&mut self, at: Duration, sent: u64) {
        if self.0.last().is_none_or(|(_, before)| *before < sent) {
            self.0.push((at, sent));
        }
    }

    /// When the media up to this byte had left, of so much in all. Reports and the farewell, which are
    /// not media, count as if they had come first.
    pub(crate) fn left(&self, end: u64, total: u64) -> Duration {
        let sent = self.0.last().expect("a connection").1;
        let end = end + (sent - total);
        self.0.iter().find(|(_, sent)| *sent >= end).unwrap().0
    }
}
