//! A connection as hyper reads and writes it; its first bytes have been read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conn::Transport;

/// Gives back what was read, then goes on with the connection.
#[derive(Debug)]
pub(super) struct Rewind {
    /// Read, and not given yet: the first bytes, and later what came in one read and was more
    /// than was asked for.
    ahead: Vec<u8>,
    given: usize,
    transport: Transport,
}

impl Rewind {
    pub(super) fn new(first: Vec<u8>, transport: Transport) -> Self {
        Self {
            ahead: first,
            given: 0,
            transport,
        }
    }

    /// Gives of what was read ahead; whether there was any.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.ahead.get(self.given..).unwrap_or_default();
        if rest.is_empty() {
            self.ahead = Vec::new();
            self.given = 0;
            return false;
        }
        let piece = rest.get(..buf.remaining()).unwrap_or(rest);
        buf.put_slice(piece);
        self.given += piece.len();
        true
    }

    /// Ready when nothing is left that was taken and not sent.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.transport.flush()? {
            ready!(self.transport.socket().poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.give(buf) {
            return Poll::Ready(Ok(()));
        }
        if let Some(socket) = this.transport.plain() {
            return Pin::new(socket).poll_read(cx, buf);
        }
        loop {
            // A session answers by itself at times; whoever only reads sends that.
            if this.transport.has_left()
                && let Poll::Ready(Err(error)) = this.poll_sent(cx)
            {
                return Poll::Ready(Err(error));
            }
            let ahead = &mut this.ahead;
            let came = this.transport.read(|read| {
                Ok::<_, io::Error>(read?.map(|bytes| {
                    let (now, later) = bytes.split_at(bytes.len().min(buf.remaining()));
                    buf.put_slice(now);
                    ahead.extend_from_slice(later);
                }))
            })?;
            if came.is_some() {
                return Poll::Ready(Ok(()));
            }
            ready!(this.transport.socket().poll_read_ready(cx))?;
        }
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(socket) = self.transport.plain() {
            return Pin::new(socket).poll_write(cx, buf);
        }
        loop {
            let taken = self.transport.write(buf)?;
            if taken > 0 || buf.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            ready!(self.transport.socket().poll_write_ready(cx))?;
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(socket) = self.transport.plain() {
            return Pin::new(socket).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| buf))
    }

    fn is_write_vectored(&self) -> bool {
        !self.transport.is_secure()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.goodbye();
        ready!(self.poll_sent(cx))?;
        match &mut self.transport {
            Transport::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Transport::Tls(tls) => Poll::Ready(
                socket2::SockRef::from(tls.socket()).shutdown(std::net::Shutdown::Write),
            ),
        }
    }
}
