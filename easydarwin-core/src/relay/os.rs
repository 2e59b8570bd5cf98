//! The one system call of the relay that no library offers safely: what the kernel holds of a
//! connection. Asked for when somebody wants to know, never on the way of a packet.

use tokio::net::TcpStream;

/// What the kernel holds of what was written to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendQueue {
    /// Bytes that the peer has not acknowledged, whether sent or not.
    pub(super) unacknowledged: u64,
    /// Those of them that were not sent yet.
    pub(super) unsent: u64,
}

/// Asks the kernel; `None` where it does not tell.
#[cfg(target_os = "linux")]
pub(super) fn send_queue(stream: &TcpStream) -> Option<SendQueue> {
    use std::os::fd::AsRawFd;

    let ask = |request: libc::Ioctl| {
        let mut bytes: libc::c_int = 0;
        // SAFETY: both requests write one int to the address given and nothing else (tcp(7),
        // linux/sockios.h); `bytes` outlives the call. The descriptor is open: `stream` owns it.
        #[allow(
            unsafe_code,
            reason = "rustix, nix and socket2 do not wrap these requests"
        )]
        let result = unsafe { libc::ioctl(stream.as_raw_fd(), request, &raw mut bytes) };
        (result == 0).then(|| u64::try_from(bytes).ok()).flatten()
    };
    Some(SendQueue {
        // SIOCOUTQ has the number of TIOCOUTQ.
        unacknowledged: ask(libc::TIOCOUTQ)?,
        unsent: ask(SIOCOUTQNSD)?,
    })
}

/// As linux/sockios.h has it on all architectures; libc has it in a type that is not everywhere
/// the one that its `ioctl` takes.
#[cfg(target_os = "linux")]
const SIOCOUTQNSD: libc::Ioctl = 0x894B;

/// Other systems have other ways, or none.
#[cfg(not(target_os = "linux"))]
pub(super) fn send_queue(_: &TcpStream) -> Option<SendQueue> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io;

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
            unsent: 0,
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
        assert!(queue.unsent > 0, "{queue:?}");
        assert!(queue.unacknowledged >= queue.unsent, "{queue:?}");
        assert!(queue.unacknowledged <= u64::try_from(written).unwrap());

        let mut all = vec![0; written];
        peer.read_exact(&mut all).await.unwrap();
        // What came back is acknowledged, with the answer at the latest.
        peer.try_write(b"!").unwrap();
        ours.readable().await.unwrap();
        assert_eq!(send_queue(&ours), Some(empty));
    }
}
