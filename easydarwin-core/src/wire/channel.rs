use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

#[cfg(feature = "tls")]
use crate::tls::TlsStream;

/// A byte stream in both directions whose reads and writes never wait: a TCP connection, with or
/// without TLS.
#[derive(Debug, Clone)]
pub(crate) enum Channel {
    Tcp(Arc<TcpStream>),
    #[cfg(feature = "tls")]
    Tls(Arc<TlsStream>),
    /// The TLS of a client's embedder.
    Stack(Arc<dyn Stream>),
}

/// A channel that is not made here; its functions do what those of [`Channel`] do.
pub(crate) trait Stream: fmt::Debug + Send + Sync {
    fn socket(&self) -> &TcpStream;
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    fn flush(&self) -> io::Result<bool>;
    fn has_left(&self) -> bool;
    fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>>;
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Channel {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.socket(),
            Self::Stack(stream) => stream.socket(),
        }
    }

    /// Writes what can be taken now.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(socket), [one]) => socket.try_write(one),
            (Self::Tcp(socket), many) => socket.try_write_vectored(many),
            #[cfg(feature = "tls")]
            (Self::Tls(tls), many) => tls.try_write(many),
            (Self::Stack(stream), many) => stream.try_write(many),
        }
    }

    /// Sends what was taken but is not with the socket yet. Returns whether nothing is left.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) => Ok(true),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
            Self::Stack(stream) => stream.flush(),
        }
    }

    /// Whether something was taken that is not with the socket yet.
    pub(crate) fn has_left(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.has_left(),
            Self::Stack(stream) => stream.has_left(),
        }
    }

    /// Reads what there is; `None`: nothing now, 0: the peer closed. `room` must hold more than
    /// 17 KiB, a record of TLS.
    pub(crate) fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Tcp(socket) => match socket.try_read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                result => result.map(Some),
            },
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.try_read(room),
            Self::Stack(stream) => stream.try_read(room),
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Stack(stream) => stream.poll_read_ready(cx),
            channel => channel.socket().poll_read_ready(cx),
        }
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Stack(stream) => stream.poll_write_ready(cx),
            channel => channel.socket().poll_write_ready(cx),
        }
    }
}

#[cfg(any(feature = "server", feature = "tunnel"))]
impl Channel {
    /// Until a read may bring something; sends what is left over meanwhile.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.readable().await,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.readable().await,
            Self::Stack(stream) => {
                let left = !stream.flush()?;
                std::future::poll_fn(|cx| {
                    let ready = stream.poll_read_ready(cx);
                    let write = left && stream.poll_write_ready(cx).is_ready();
                    if write { Poll::Ready(Ok(())) } else { ready }
                })
                .await
            }
        }
    }

    /// Until a write may be taken.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Stack(stream) => std::future::poll_fn(|cx| stream.poll_write_ready(cx)).await,
            channel => channel.socket().writable().await,
        }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(&[IoSlice::new(bytes)]) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        while !self.flush()? {
            self.writable().await?;
        }
        Ok(())
    }
}

impl Channel {
    /// Whether it is TLS.
    pub(crate) fn is_secure(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }
}

#[cfg(feature = "server")]
impl Channel {
    /// Says that nothing more will be written.
    pub(crate) async fn close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => {
                socket2::SockRef::from(&**socket).shutdown(std::net::Shutdown::Write)
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.close().await,
            // It ends with its session.
            Self::Stack(stream) => stream.flush().map(|_| ()),
        }
    }
}
