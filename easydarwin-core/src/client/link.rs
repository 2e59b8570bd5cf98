//! A bare connection for those who drive a session themselves.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::time::timeout;

use super::connection::connect;
use super::wire::Wire;
use super::{ClientError, ClientOptions};
use crate::rtsp::ClientUrl;

/// What carries the bytes of one connection: TCP, TLS or a tunnel, as URL and options say.
#[derive(Debug)]
pub(crate) struct Link {
    wire: Wire,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// What came behind the answer that opened a tunnel.
    pub(crate) early: BytesMut,
}

impl Link {
    /// Connects; `options` gives the time for it.
    pub(crate) async fn dial(
        url: &ClientUrl,
        options: &ClientOptions,
    ) -> Result<Self, ClientError> {
        let host = format!("{}:{}", url.host(), url.port());
        let after = options.connect_timeout;
        let mut early = BytesMut::new();
        let connecting = connect(url, &host, options, &mut early);
        let (wire, peer, local) = match timeout(after, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(ClientError::ConnectTimeout { host, after }),
        };
        Ok(Self {
            wire,
            peer,
            local,
            early,
        })
    }

    /// Whether nobody on the way can read along.
    pub(crate) fn is_secure(&self) -> bool {
        self.wire.is_secure()
    }

    /// Appends what there is; `None`: nothing now, 0: the peer closed.
    pub(crate) fn try_read(&self, input: &mut BytesMut) -> io::Result<Option<usize>> {
        self.wire.try_read(input)
    }

    /// Writes what is taken at once; `None`: nothing.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self.wire.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    /// Sends on what was taken, as far as that is possible at once.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.wire.flush().map(|_| ())
    }

    /// Ready when there is something to read, or room to write if `writes` or something is left.
    pub(crate) fn poll_ready(&self, writes: bool, cx: &mut Context<'_>) -> Poll<()> {
        let writes = writes || self.wire.has_left();
        let read = self.wire.poll_read_ready(cx).is_ready();
        let write = writes && self.wire.poll_write_ready(cx).is_ready();
        if read || write {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
