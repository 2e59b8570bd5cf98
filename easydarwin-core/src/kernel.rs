//! What the kernel knows of a connection and no library asks it for safely: the send queue, and
//! what TCP measures. Asked for when somebody wants to know, never on the way of a packet.
//!
//! Other systems than Linux have other ways, or none: there is no answer then.

use std::time::Duration;

/// What the kernel holds of what was written to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendQueue {
    /// Bytes that the peer has not acknowledged, whether sent or not.
    pub unacknowledged: u64,
    /// Those of them that were not sent yet; `None` if the socket cannot tell.
    pub unsent: Option<u64>,
}

/// What TCP measures of a connection (`struct tcp_info`, linux/tcp.h); kernels have grown it,
/// what an old one lacks is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Round trip time, smoothed.
    pub rtt: Duration,
    /// Segments that were sent and are not acknowledged.
    pub unacked_segments: u32,
    /// Those of them that have arrived all the same: behind a gap, that is, where one was lost.
    pub sacked_segments: u32,
    /// Largest segment in bytes.
    pub segment_size: u32,
    /// Bytes that were acknowledged since the connection began, those of its beginning and end (one each)
    /// included (Linux 4.1).
    pub acked: Option<u64>,
    /// Bytes that were written and not sent (Linux 4.6).
    pub unsent: Option<u64>,
    /// Bytes a second that reach the peer, as measured last (Linux 4.9).
    pub delivery_rate: Option<u64>,
}

impl TcpInfo {
    /// Reads what the kernel wrote, as far as it wrote.
    #[cfg(any(target_os = "linux", test))]
    fn parse(bytes: &[u8]) -> Option<Self> {
        let u32_at = |at| {
            let field = bytes.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_ne_bytes(*field))
        };
        let u64_at = |at| {
            let field = bytes.get(at..)?.first_chunk::<8>()?;
            Some(u64::from_ne_bytes(*field))
        };
        Some(Self {
            segment_size: u32_at(16)?,
            unacked_segments: u32_at(24)?,
            sacked_segments: u32_at(28)?,
            rtt: Duration::from_micros(u32_at(68)?.into()),
            acked: u64_at(120),
            unsent: u32_at(144).map(u64::from),
            delivery_rate: u64_at(160),
        })
    }
}

#[cfg(target_os = "linux")]
pub use linux::{send_queue, tcp_info};

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsFd, AsRawFd};

    use super::{SendQueue, TcpInfo};

    /// Asks for the send queue of a socket; `None` where the kernel does not tell.
    pub fn send_queue(socket: &impl AsFd) -> Option<SendQueue> {
        let socket = socket.as_fd();
        let ask = |request: libc::Ioctl| {
            let mut bytes: libc::c_int = 0;
            // SAFETY: both requests write one int to the address given and nothing else (tcp(7),
            // linux/sockios.h); `bytes` outlives the call. The descriptor is open: it is borrowed.
            #[allow(
                unsafe_code,
                reason = "rustix, nix and socket2 do not wrap these requests"
            )]
            let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
            (result == 0).then(|| u64::try_from(bytes).ok()).flatten()
        };
        Some(SendQueue {
            // SIOCOUTQ has the number of TIOCOUTQ.
            unacknowledged: ask(libc::TIOCOUTQ)?,
            unsent: ask(SIOCOUTQNSD),
        })
    }

    /// As linux/sockios.h has it on all architectures; libc has it in a type that is not
    /// everywhere the one that its `ioctl` takes.
    const SIOCOUTQNSD: libc::Ioctl = 0x894B;

    /// Asks what TCP measures; `None` for other sockets.
    pub fn tcp_info(socket: &impl AsFd) -> Option<TcpInfo> {
        // libc's structure ends where old kernels' did; this one is read by offset.
        let mut bytes = [0_u8; 256];
        let mut length = libc::socklen_t::try_from(bytes.len()).ok()?;
        // SAFETY: the kernel writes at most `length` bytes to `bytes` and their number to
        // `length` (getsockopt(2)); both outlive the call. The descriptor is open: it is borrowed.
        #[allow(unsafe_code, reason = "rustix, nix and socket2 do not wrap TCP_INFO")]
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                bytes.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let written = bytes.get(..usize::try_from(length).ok()?)?;
        (result == 0).then(|| TcpInfo::parse(written)).flatten()
    }
}

/// Asks for the send queue of a socket; `None` where the kernel does not tell.
#[cfg(not(target_os = "linux"))]
pub fn send_queue<S>(_: &S) -> Option<SendQueue> {
    None
}

/// Asks what TCP measures; `None` for other sockets.
#[cfg(not(target_os = "linux"))]
pub fn tcp_info<S>(_: &S) -> Option<TcpInfo> {
    None
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{self, Write as _};

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Against a peer that does not read, then against one that has read all.
    #[tokio::test]
    async fn what_a_stalled_peer_leaves_in_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (peer, accepted) = tokio::join!(
            TcpStream::connect(listener.local_addr().unwrap()),
            listener.accept()
        );
        let (mut peer, (ours, _)) = (peer.unwrap(), accepted.unwrap());
        let empty = SendQueue {
            unacknowledged: 0,
            unsent: Some(0),
        };
        assert_eq!(send_queue(&ours), Some(empty));
        let mut written = 0;
        loop {
            ours.writable().await.unwrap();
            match ours.try_write(&[7; 64 * 1024]) {
                Ok(bytes) => written += bytes,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let queue = send_queue(&ours).unwrap();
        let unsent = queue.unsent.unwrap();
        assert!(unsent > 0, "{queue:?}");
        assert!(queue.unacknowledged >= unsent, "{queue:?}");
        assert!(queue.unacknowledged <= u64::try_from(written).unwrap());

        let info = tcp_info(&ours).unwrap();
        assert!(info.unsent.is_none_or(|bytes| bytes == unsent), "{info:?}");
        assert!(info.segment_size > 500, "{info:?}");
        // Loopback, and not the nanoseconds that a wrong offset would show.
        assert!(info.rtt > Duration::ZERO && info.rtt < Duration::from_secs(1));

        let mut all = vec![0; written];
        peer.read_exact(&mut all).await.unwrap();
        // What came back is acknowledged, with the answer at the latest.
        peer.try_write(b"!").unwrap();
        ours.readable().await.unwrap();
        assert_eq!(send_queue(&ours), Some(empty));
        // The beginning of a connection counts where it was asked for, not where it was accepted.
        let sent = u64::try_from(written).unwrap();
        let acked = tcp_info(&ours).unwrap().acked;
        assert_eq!(acked.unwrap_or(sent), sent);
        assert!(
            tcp_info(&peer)
                .unwrap()
                .acked
                .is_none_or(|acked| acked == 2)
        );
    }

    #[test]
    fn other_sockets_tell_what_they_can() {
        let (ours, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(tcp_info(&ours), None);
        (&ours).write_all(b"waits").unwrap();
        let queue = send_queue(&ours).unwrap();
        assert!(queue.unacknowledged > 0, "{queue:?}");
        assert_eq!(queue.unsent, None);
        drop(peer);
    }

    /// What kernels of three ages write.
    #[test]
    fn old_kernels_tell_less() {
        let mut bytes = [0_u8; 192];
        for (at, value) in [
            (16, 1448_u32),
            (24, 3),
            (28, 2),
            (68, 20_000),
            (144, 77),
            (160, 500),
        ] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        let read = |length: usize| TcpInfo::parse(&bytes[..length]);
        let linux_3_10 = read(104).unwrap();
        assert_eq!(linux_3_10.rtt, Duration::from_millis(20));
        assert_eq!(
            (linux_3_10.segment_size, linux_3_10.unacked_segments),
            (1448, 3)
        );
        assert_eq!(linux_3_10.sacked_segments, 2);
        assert_eq!((linux_3_10.unsent, linux_3_10.delivery_rate), (None, None));
        assert_eq!(linux_3_10.acked, None);
        let linux_4_6 = read(160).unwrap();
        assert!(linux_4_6.acked.is_some());
        assert_eq!(
            (linux_4_6.unsent, linux_4_6.delivery_rate),
            (Some(77), None)
        );
        assert!(read(192).unwrap().delivery_rate.is_some());
        assert_eq!(read(71), None);
    }
}
