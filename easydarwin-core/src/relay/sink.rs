use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Where a reader's bytes go: a socket, a TLS session, a tunnel. Never waits.
pub trait Sink: fmt::Debug + Send + 'static {
    /// Writes what can be taken now, the slices in order.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be taken; then [`Sink::park`] tells when to try again. Any
    /// other error ends the reader.
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Resolves once a write may succeed again, or fail for good.
    fn park(&self) -> BoxFuture<'static, ()>;

    /// Asks the sink to hold at most about so many bytes that the peer was not yet sent, so that
    /// a slow peer shows. Called once, before the first write.
    fn limit_unsent(&mut self, bytes: u32) {
        let _ = bytes;
    }

    /// The TCP connection under it, of which the kernel is asked what it holds, when somebody
    /// asks for [`ReaderInfo`](super::ReaderInfo). Asked for once, before the first write.
    fn connection(&self) -> Weak<TcpStream> {
        Weak::new()
    }
}

/// The write half of a TCP connection; the owner keeps a clone of the `Arc` to read from.
#[derive(Debug)]
pub struct TcpSink {
    stream: Arc<TcpStream>,
}

impl TcpSink {
    /// Takes over writing: until the reader has ended nobody else may write to `stream`.
    pub fn new(stream: Arc<TcpStream>) -> Self {
        Self { stream }
    }
}

impl Sink for TcpSink {
    /// Past the runtime: what it knows of the socket lies in memory that nothing else touches on
    /// the way of a packet, and matters only once the socket is full.
    #[cfg(target_os = "linux")]
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match send(&self.stream, slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self
                .stream
                .try_io(Interest::WRITABLE, || send(&self.stream, slices)),
            sent => sent,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.stream.try_write(one),
            many => self.stream.try_write_vectored(many),
        }
    }

    fn park(&self) -> BoxFuture<'static, ()> {
        let stream = Arc::clone(&self.stream);
        Box::pin(async move {
            // An error shows again at the write that follows, with its kind.
            let _ = stream.writable().await;
        })
    }

    fn connection(&self) -> Weak<TcpStream> {
        Arc::downgrade(&self.stream)
    }

    fn limit_unsent(&mut self, bytes: u32) {
        limit_unsent(&self.stream, bytes);
    }
}

/// No signal for a peer that is gone: the process may belong to somebody who wants none.
#[cfg(target_os = "linux")]
fn send(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let socket = socket2::SockRef::from(stream);
    match slices {
        [one] => socket.send_with_flags(one, libc::MSG_NOSIGNAL),
        many => socket.send_vectored_with_flags(many, libc::MSG_NOSIGNAL),
    }
}

/// [`Sink::limit_unsent`] for a socket.
pub(crate) fn limit_unsent(socket: &TcpStream, bytes: u32) {
    let socket = socket2::SockRef::from(socket);
    if let Err(error) = socket.set_tcp_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket.set_tcp_notsent_lowat(bytes) {
        tracing::debug!(%error, "TCP_NOTSENT_LOWAT not set");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
}
