//! The sender's socket: how much the kernel may hoard of what is written, how long a dead peer is
//! waited for, and what the kernel tells of the way.
//!
//! Left alone, a kernel takes up to 4 MiB before it says 'later': eight seconds at 4 Mbit/s, in
//! which nobody sees that the uplink has become slow. Every option is tried, for the kernels of
//! devices begin with 3.10, and what is not there has a substitute or is done without.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use easydarwin_core::kernel::{send_queue, tcp_info};
use socket2::SockRef;

use crate::feedback::Uplink;

/// Least room for what is not sent yet, in bytes: less costs wake-ups.
const LEAST_ROOM: u64 = 8 * 1024;
/// Room for so many milliseconds of the bitrate: what was taken for a link that then shrinks to
/// an eighth leaves in half a second.
const ROOM_MS: u64 = 64;
/// As many times as much for a buffer that also holds what is under way.
const WAY: u32 = 4;
/// A dead peer is given up after so long without acknowledgement.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// A socket whose kernel queue is kept short.
#[derive(Debug)]
pub struct UplinkSocket {
    bound: Bound,
    user_timeout: bool,
    room: u32,
}

/// By what the kernel's queue is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// `TCP_NOTSENT_LOWAT` (Linux 3.12): what is not sent yet.
    Unsent,
    /// `SO_SNDBUF`: what is not acknowledged, the bound on the rate of long ways included.
    SendBuffer,
    /// Nothing: the kernel refused both.
    None,
}

/// What the kernel tells of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketState {
    /// Bytes that were written and are not sent.
    pub unsent: usize,
    /// Bytes that were sent and have not arrived, as far as the peer tells; those not sent too,
    /// where the kernel does not tell them apart.
    pub in_flight: usize,
    /// Round trip time, smoothed; TCP only.
    pub rtt: Option<Duration>,
    /// Bytes a second that reach the peer as the kernel measures it (Linux 4.9).
    pub delivery_rate: Option<u64>,
}

impl UplinkSocket {
    /// Sets what this kernel can be asked for; nothing of it is needed to go on.
    pub fn prepare(socket: &impl AsFd, bitrate: u32) -> Self {
        let mut prepared = Self {
            bound: Bound::Unsent,
            user_timeout: set_user_timeout(socket),
            room: 0,
        };
        prepared.set_bitrate(socket, bitrate);
        prepared
    }

    /// Follows what the uplink carries, in bits a second; no system call unless the room changes by an
    /// eighth.
    pub fn set_bitrate(&mut self, socket: &impl AsFd, bitrate: u32) {
        let room = room_for(bitrate);
        if room.abs_diff(self.room) <= self.room / 8 {
            return;
        }
        self.room = room;
        if self.bound == Bound::Unsent && !set_unsent_bound(socket, room) {
            self.bound = Bound::SendBuffer;
        }
        if self.bound == Bound::SendBuffer && !set_send_buffer(socket, room) {
            self.bound = Bound::None;
        }
    }

    /// Writes the end of an access unit: what is written next will wait until there is room for it
    /// (`MSG_EOR`, Linux 4.7). Without that mark the kernel fills up its last segment first, to 64 KiB, however
    /// little room is left.
    ///
    /// # Errors
    /// What the system said; [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn write_unit(&self, socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
        /// As linux/socket.h has them on all architectures; without the second a peer that has gone ends the
        /// process.
        const MSG_EOR: i32 = 0x80;
        const MSG_NOSIGNAL: i32 = 0x4000;
        SockRef::from(socket).send_with_flags(bytes, MSG_EOR | MSG_NOSIGNAL)
    }

    /// By what the kernel's queue is bounded.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Whether the kernel gives a dead peer up by itself, after 10 s.
    pub fn has_user_timeout(&self) -> bool {
        self.user_timeout
    }

    /// The bound in bytes.
    pub fn room(&self) -> u32 {
        self.room
    }
}

/// Room for what is not sent yet, in bytes, on an uplink of so many bits a second.
pub(crate) fn room_for(bitrate: u32) -> u32 {
    let room = (u64::from(bitrate) * ROOM_MS / 8000).max(LEAST_ROOM);
    u32::try_from(room).unwrap_or(u32::MAX)
}

impl SocketState {
    /// Asks the kernel: three system calls, none of which waits. Zeros where it does not tell.
    pub fn read(socket: &impl AsFd) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let info = tcp_info(socket);
        let (unacknowledged, unsent) = match (send_queue(socket), info) {
            (Some(queue), info) => {
                let unsent = queue.unsent.or(info.and_then(|info| info.unsent));
                (queue.unacknowledged, unsent.unwrap_or(0))
            }
            // Whole segments are an upper bound.
            (None, Some(info)) => {
                let unsent = info.unsent.unwrap_or(0);
                let flying = u64::from(info.unacked_segments) * u64::from(info.segment_size);
                (flying.saturating_add(unsent), unsent)
            }
            (None, None) => (0, 0),
        };
        // What arrived behind a gap is only kept from being acknowledged. Left in, every lost
        // packet would look like a link that has come to a stop.
        let arrived = info.map_or(0, |info| {
            u64::from(info.sacked_segments) * u64::from(info.segment_size)
        });
        Self {
            unsent: size(unsent),
            in_flight: size(
                unacknowledged
                    .saturating_sub(unsent)
                    .saturating_sub(arrived),
            ),
            rtt: info.map(|info| info.rtt),
            delivery_rate: info.and_then(|info| info.delivery_rate),
        }
    }

    /// Fills in the kernel's part of what the rate controller is shown.
    pub fn fill(&self, uplink: &mut Uplink) {
        uplink.unsent = self.unsent;
        uplink.in_flight = self.in_flight;
        uplink.rtt = self.rtt;
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_unsent_bound(socket: &impl AsFd, bytes: u32) -> bool {
    SockRef::from(socket).set_tcp_notsent_lowat(bytes).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_unsent_bound(_: &impl AsFd, _: u32) -> bool {
    false
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_user_timeout(socket: &impl AsFd) -> bool {
    SockRef::from(socket)
        .set_tcp_user_timeout(Some(USER_TIMEOUT))
        .is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_user_timeout(_: &impl AsFd) -> bool {
    false
}

/// The buffer also holds what is under way, and the kernel's own structures, for which it doubles the
/// value.
fn set_send_buffer(socket: &impl AsFd, room: u32) -> bool {
    let bytes = usize::try_from(room.saturating_mul(WAY)).unwrap_or(usize::MAX);
    SockRef::from(socket).set_send_buffer_size(bytes).is_ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A connection whose peer takes little of what it does not read.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener)
            .set_recv_buffer_size(32 * 1024)
            .unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, peer)
    }

    /// Writes until the kernel takes no more, or this much. Returns what it took.
    fn fill_up(mut socket: impl io::Write, most: usize) -> usize {
        let mut taken = 0;
        while taken < most {
            match socket.write(&[7; 4096]) {
                Ok(bytes) => taken += bytes,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        taken
    }

    #[test]
    fn tcp_has_all_options_and_its_room_follows_the_bitrate() {
        let (ours, _peer) = pair();
        let options = SockRef::from(&ours);
        let mut uplink = UplinkSocket::prepare(&ours, 500_000);
        assert_eq!(
            (uplink.bound(), uplink.has_user_timeout()),
            (Bound::Unsent, true)
        );
        assert_eq!(options.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert_eq!(options.tcp_notsent_lowat().unwrap(), 8 * 1024);
        uplink.set_bitrate(&ours, 8_000_000);
        assert_eq!(options.tcp_notsent_lowat().unwrap(), 64_000);
        // Not worth a call.
        uplink.set_bitrate(&ours, 8_400_000);
        assert_eq!(options.tcp_notsent_lowat().unwrap(), 64_000);
        uplink.set_bitrate(&ours, u32::MAX);
        assert_eq!(uplink.room(), 34_359_738);
    }

    /// What the poller is told of matters: a socket above its low-water mark is not writable.
    #[tokio::test]
    async fn a_peer_that_does_not_read_is_seen_while_the_queue_is_short() {
        let (ours, peer) = pair();
        let uplink = UplinkSocket::prepare(&ours, 1_000_000);
        let ours = tokio::net::TcpStream::from_std(ours).unwrap();
        let frame = [7; 4096];
        // As the sender does: it writes only when the poller says that there is room.
        let stalled = tokio::time::timeout(Duration::from_millis(200), async {
            loop {
                ours.writable().await.unwrap();
                ours.try_io(tokio::io::Interest::WRITABLE, || {
                    uplink.write_unit(&ours, &frame)
                })
                .ok();
            }
        })
        .await;
        assert!(stalled.is_err());
        let state = SocketState::read(&ours);
        let room = usize::try_from(uplink.room()).unwrap();
        assert!(
            state.unsent > 0 && state.unsent <= room + frame.len(),
            "{state:?}"
        );
        assert!(state.rtt.is_some_and(|rtt| rtt < Duration::from_secs(1)));
        let mut shown = Uplink::default();
        state.fill(&mut shown);
        assert_eq!(
            (shown.unsent, shown.in_flight),
            (state.unsent, state.in_flight)
        );
        drop(peer);
    }

    /// A socket that knows no TCP option, as an old kernel's: the same code has to find its way.
    #[test]
    fn a_kernel_without_the_options_gets_a_small_send_buffer() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let unbounded = fill_up(&ours, usize::MAX);
        let mut rest = vec![0; unbounded];
        peer.read_exact(&mut rest).unwrap();

        let uplink = UplinkSocket::prepare(&ours, 500_000);
        assert_eq!(
            (uplink.bound(), uplink.has_user_timeout()),
            (Bound::SendBuffer, false)
        );
        let taken = fill_up(&ours, usize::MAX);
        assert!(
            taken < unbounded && taken <= 4 * 32 * 1024,
            "{taken} of {unbounded}"
        );
        let state = SocketState::read(&ours);
        assert_eq!((state.unsent, state.rtt), (0, None));
        assert!(state.in_flight >= taken, "{state:?}");
    }

    /// The substitute on TCP itself: the queue is bounded, and everything arrives.
    #[test]
    fn the_send_buffer_bounds_tcp_too() {
        let (ours, mut peer) = pair();
        let mut uplink = UplinkSocket {
            bound: Bound::SendBuffer,
            user_timeout: false,
            room: 0,
        };
        uplink.set_bitrate(&ours, 500_000);
        let taken = fill_up(&ours, usize::MAX);
        let state = SocketState::read(&ours);
        assert!(state.unsent + state.in_flight <= 4 * 32 * 1024, "{state:?}");
        (&ours).flush().unwrap();
        drop(ours);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), taken);
    }

    #[test]
    fn a_file_is_no_socket_and_nothing_is_told_of_it() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let uplink = UplinkSocket::prepare(&file, 500_000);
        assert_eq!(uplink.bound(), Bound::None);
        assert_eq!(SocketState::read(&file), SocketState::default());
    }
}
