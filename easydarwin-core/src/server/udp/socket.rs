use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Room for one datagram, or for several that the kernel has joined (UDP GRO).
const ROOM: usize = 64 * 1024;
/// System calls for one socket in one wake-up, so that one busy publisher starves nobody: about
/// 64 datagrams, more if the kernel joins some.
const MAX_CALLS: usize = if BATCH_SIZE < 32 { 64 / BATCH_SIZE } else { 2 };

thread_local! {
    /// Shared by all sockets of a thread, so that a publisher that rests holds nothing. Pages
    /// that no datagram reached take no memory.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH_SIZE * ROOM]);
}

/// A socket that receives media, many datagrams with one system call.
#[derive(Debug)]
pub(crate) struct MediaSocket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl MediaSocket {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new(UdpSockRef::from(&socket))?,
            socket: UdpSocket::from_std(socket)?,
        })
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Ready when there may be something to receive.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_recv_ready(cx).map(|_| ())
    }

    /// Hands on the datagrams that are there, within a bound; what is left keeps the socket ready.
    pub(super) fn receive(&self, mut take: impl FnMut(SocketAddr, &[u8])) {
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..MAX_CALLS {
                let mut metas = [RecvMeta::default(); BATCH_SIZE];
                let (count, result) = self.receive_batch(buffer, &mut metas);
                for (meta, room) in metas.iter().zip(buffer.chunks_exact(ROOM)).take(count) {
                    let joined = room.get(..meta.len).unwrap_or_default();
                    for datagram in joined.chunks(meta.stride.max(1)) {
                        take(meta.addr, datagram);
                    }
                }
                match result {
                    Ok(()) => {}
                    // ICMP's answer to a receiver report that nobody wanted.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(_) => return,
                }
            }
        });
    }

    /// One system call. A batch that is not full has emptied the socket, so the readiness is
    /// cleared at once: the runtime would find that out by one more call at each wake-up.
    fn receive_batch(
        &self,
        buffer: &mut [u8],
        metas: &mut [RecvMeta; BATCH_SIZE],
    ) -> (usize, io::Result<()>) {
        let mut count = 0;
        let mut rooms = buffer.chunks_exact_mut(ROOM);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let result = self.socket.try_io(Interest::READABLE, || {
            let socket = UdpSockRef::from(&self.socket);
            count = self.state.recv(socket, &mut slices, metas)?;
            if count < BATCH_SIZE {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        (count, result)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// More datagrams than one call takes, some of a size so that the kernel may join them.
    #[tokio::test]
    async fn all_datagrams_come_in_order_whatever_their_size() {
        let receiver = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        socket2::SockRef::from(&receiver)
            .set_recv_buffer_size(4 << 20)
            .unwrap();
        let to = receiver.local_addr().unwrap();
        let receiver = MediaSocket::new(receiver).unwrap();
        let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let sizes: Vec<usize> = (0..100)
            .map(|n: usize| match n % 5 {
                0 => 60_000 - n,
                1 => 1,
                _ => 1400,
            })
            .collect();
        let mut got = Vec::new();
        for (number, size) in (0_u8..).zip(&sizes) {
            sender.send_to(&vec![number; *size], to).unwrap();
            if number % 50 == 49 {
                let all = usize::from(number) + 1;
                while got.len() < all {
                    std::future::poll_fn(|cx| receiver.poll_ready(cx)).await;
                    receiver.receive(|from, datagram| {
                        assert_eq!(from, sender.local_addr().unwrap());
                        assert!(datagram.iter().all(|byte| *byte == datagram[0]));
                        got.push((datagram[0], datagram.len()));
                    });
                }
            }
        }
        let sent: Vec<_> = (0_u8..).zip(sizes).collect();
        assert_eq!(got, sent);
    }
}
