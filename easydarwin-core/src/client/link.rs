use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::time::timeout;

use super::connection::connect;
use super::wire::Wire;
use super::{ClientError, ClientOptions};
use crate::rtsp::ClientUrl;

/// A bare connection for those who drive a session themselves: TCP, TLS or a tunnel, as URL and
/// options say. Reads and writes never wait.
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    /// The server's address.
    pub peer: SocketAddr,
    /// Our own.
    pub local: SocketAddr,
    /// What came behind the answer that opened a tunnel.
    pub early: BytesMut,
}

impl Link {
    /// Connects; `options` gives the time for it.
    ///
    /// # Errors
    /// [`ClientError`] says what failed: the name, the connection, TLS, the tunnel, or the time.
    pub async fn dial(url: &ClientUrl, options: &ClientOptions) -> Result<Self, ClientError> {
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
    pub fn is_secure(&self) -> bool {
        self.wire.is_secure()
    }

    /// Appends what there is; `None`: nothing now, 0: the peer closed.
    ///
    /// # Errors
    /// What the system said.
    pub fn try_read(&self, input: &mut BytesMut) -> io::Result<Option<usize>> {
        self.wire.try_read(input)
    }

    /// Reads what there is into memory of the caller's; `None`: nothing now, 0: the peer closed.
    /// With TLS of ours `room` must hold more than 17 KiB, a record.
    ///
    /// # Errors
    /// What the system said.
    pub fn read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        self.wire.read(room)
    }

    /// Writes what is taken at once; `None`: nothing.
    ///
    /// # Errors
    /// What the system said.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self.wire.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    /// Whether what is written goes into the socket as it is: neither encrypted nor through a tunnel.
    pub fn is_direct(&self) -> bool {
        self.wire.is_direct()
    }

    /// Sends on what was taken, as far as that is possible at once.
    ///
    /// # Errors
    /// What the system said.
    pub fn flush(&mut self) -> io::Result<()> {
        self.wire.flush().map(|_| ())
    }

    /// Ready when there is something to read, or room to write if `writes` or something is left.
    pub fn poll_ready(&self, writes: bool, cx: &mut Context<'_>) -> Poll<()> {
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

#[cfg(unix)]
impl std::os::fd::AsFd for Link {
    /// The socket that is written to.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.wire.socket().as_fd()
    }
}
