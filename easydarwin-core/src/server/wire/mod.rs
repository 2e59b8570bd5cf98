//! What carries one RTSP connection: TCP, TLS, an HTTP tunnel, a WebSocket.
//!
//! Plain TCP is the common case and stays what it was: one `match`, then the socket. Whatever
//! else there is reads and writes without waiting, too, so that a relay's shard can write to it.

mod open;
#[cfg(feature = "tls")]
mod tls;
mod tunnel;
mod tunnels;
mod websocket;

use std::io::{self, IoSlice, Read as _};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

pub(super) use self::open::{Door, Opened, open};
#[cfg(feature = "tls")]
pub(super) use self::tls::TlsDoor;
#[cfg(feature = "tls")]
pub use self::tls::TlsStats;
use self::tunnel::Tunnel;
pub(super) use self::tunnels::Tunnels;
use self::websocket::WebSocket;
use crate::relay::Sink;
use crate::wire::Channel;

/// Carries one RTSP connection; cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    Plain(Arc<TcpStream>),
    /// A channel that is TLS.
    #[cfg(feature = "tls")]
    Tls(Channel),
    Tunnel(Arc<Tunnel>),
    WebSocket(Arc<WebSocket>),
}

impl Wire {
    /// Whether what is said cannot be overheard: credentials in the clear are acceptable then.
    pub(super) fn is_secure(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(channel) => channel.is_secure(),
            Self::Tunnel(tunnel) => tunnel.is_secure(),
            Self::WebSocket(socket) => socket.channel().is_secure(),
        }
    }

    /// For logs and the list of readers.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Plain(_) => "rtsp",
            #[cfg(feature = "tls")]
            Self::Tls(_) => "rtsps",
            Self::Tunnel(_) => "rtsp-http",
            Self::WebSocket(_) => "rtsp-ws",
        }
    }

    /// Until a read may bring something.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.readable().await,
            #[cfg(feature = "tls")]
            Self::Tls(channel) => channel.readable().await,
            Self::Tunnel(tunnel) => tunnel.readable().await,
            Self::WebSocket(socket) => socket.readable().await,
        }
    }

    /// Reads what there is; `None`: nothing now, 0: the peer closed.
    pub(super) fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(socket) => read_available(socket, room),
            #[cfg(feature = "tls")]
            Self::Tls(channel) => channel.try_read(room),
            Self::Tunnel(tunnel) => tunnel.try_read(room),
            Self::WebSocket(socket) => socket.try_read(room),
        }
    }

    /// Until a write may be taken.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.writing().writable().await
    }

    /// Writes what can be taken now.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            other => other.try_write_slices(&[IoSlice::new(bytes)]),
        }
    }

    /// Closes the writing side, with a goodbye where there is one.
    pub(super) async fn close(&self) -> io::Result<()> {
        match self {
            Self::WebSocket(socket) => socket.close().await,
            other => other.writing().close().await,
        }
    }

    fn try_write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write_vectored(slices),
            #[cfg(feature = "tls")]
            Self::Tls(channel) => channel.try_write(slices),
            Self::Tunnel(tunnel) => tunnel.writing().try_write(slices),
            Self::WebSocket(socket) => socket.try_write(slices),
        }
    }

    /// The channel on which answers and media go out.
    fn writing(&self) -> Channel {
        match self {
            Self::Plain(socket) => Channel::Tcp(socket.clone()),
            #[cfg(feature = "tls")]
            Self::Tls(channel) => channel.clone(),
            Self::Tunnel(tunnel) => tunnel.writing().clone(),
            Self::WebSocket(socket) => socket.channel().clone(),
        }
    }
}

/// Waits until a read may bring something, poll by poll.
#[derive(Default)]
pub(super) struct Readable {
    /// What the wire is waited for with, if it is no plain socket: that one keeps a place for a
    /// waker of its own.
    waiting: Option<BoxFuture<'static, io::Result<()>>>,
}

impl Readable {
    pub(super) fn poll(&mut self, wire: &Wire, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Wire::Plain(socket) = wire {
            return socket.poll_read_ready(cx);
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            let wire = wire.clone();
            Box::pin(async move { wire.readable().await })
        });
        let result = waiting.as_mut().poll(cx);
        if result.is_ready() {
            self.waiting = None;
        }
        result
    }
}

/// Reads what there is; `None`: nothing.
///
/// A read that leaves room has emptied the socket (epoll(7), question 9), so the readiness is
/// cleared at once: the runtime would find that out by one more system call at each wake-up.
fn read_available(socket: &TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
    let mut read = None;
    let result = socket.try_io(Interest::READABLE, || {
        let count = (&*SockRef::from(socket)).read(room)?;
        read = Some(count);
        if count > 0 && count < room.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    match result {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(read),
    }
}

/// The write half of what is no plain TCP connection, for the relay's shard. It holds what the
/// channel holds: nothing over TCP, at most 64 KiB of ciphertext over TLS.
#[derive(Debug)]
pub(super) struct WireSink(pub(super) Wire);

impl Sink for WireSink {
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_slices(slices)
    }

    fn park(&self) -> BoxFuture<'static, ()> {
        let channel = self.0.writing();
        Box::pin(async move {
            // An error shows again at the write that follows, with its kind.
            let _ = channel.writable().await;
        })
    }

    fn limit_unsent(&mut self, bytes: u32) {
        crate::relay::limit_unsent(self.0.writing().socket(), bytes);
    }
}
