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

/// What was seen of a connection and of this process.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Bytes, and since when so many had been sent at least once.
    sent: Vec<(Duration, u64)>,
    /// How long the threads together had waited for a processor until then.
    waited: Vec<(Duration, Duration)>,
}

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
        // Between the two that it is asked more may have been acknowledged, or written.
        let unsent = queue.unsent.expect("Linux tells");
        let under_way = queue.unacknowledged.saturating_sub(unsent);
        let now = start.elapsed();
        wire.note(now, acked.expect("Linux 4.1") + under_way);
        wire.waited.push((now, waited()));
    }
    wire
}

/// How long the threads of this process have been ready to run and did not (proc(5), schedstat).
fn waited() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of_task = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let nanos = tasks.filter_map(|task| of_task(task.ok()?)).sum();
    Duration::from_nanos(nanos)
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
        if self.sent.last().is_none_or(|(_, before)| *before < sent) {
            self.sent.push((at, sent));
        }
    }

    /// How long in this time other programs had the processors that threads of this one waited for.
    pub(crate) fn starved(&self, from: Duration, to: Duration) -> Duration {
        let until = |at| {
            let seen = self.waited.partition_point(|(seen, _)| *seen <= at);
            self.waited[..seen]
                .last()
                .map_or(Duration::ZERO, |(_, waited)| *waited)
        };
        until(to + 2 * LOOK).saturating_sub(until(from))
    }

    /// When the media up to this byte had left, of so much in all. Reports and the farewell, which are
    /// not media, count as if they had come first.
    pub(crate) fn left(&self, end: u64, total: u64) -> Duration {
        let sent = self.sent.last().expect("a connection").1;
        let end = end + (sent - total);
        self.sent.iter().find(|(_, sent)| *sent >= end).unwrap().0
    }
}
