//! What carries the client's RTSP: a channel, or the two of a tunnel.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::net::TcpStream;

#[cfg(feature = "tunnel")]
use super::tunnel::Tunnel;
use super::{ClientError, ClientOptions};
use crate::rtsp::ClientUrl;
use crate::wire::Channel;

/// Taken from the socket at once; with TLS more than a record has to fit.
const READ: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum Wire {
    Direct(Channel),
    #[cfg(feature = "tunnel")]
    Tunnel(Box<Tunnel>),
}

impl Wire {
    /// The channel that RTSP is read from.
    fn reading(&self) -> &Channel {
        match self {
            Self::Direct(channel) => channel,
            #[cfg(feature = "tunnel")]
            Self::Tunnel(tunnel) => tunnel.reading(),
        }
    }

    fn writing(&self) -> &Channel {
        match self {
            Self::Direct(channel) => channel,
            #[cfg(feature = "tunnel")]
            Self::Tunnel(tunnel) => tunnel.writing(),
        }
    }

    /// Whether what is said cannot be overheard.
    #[cfg(feature = "server")]
    pub(super) fn channel(&self) -> Option<Channel> {
        match self {
            // A writer of its own would not be woken by what the session waits for.
            Self::Direct(Channel::Stack(_)) => None,
            Self::Direct(channel) => Some(channel.clone()),
            #[cfg(feature = "tunnel")]
            Self::Tunnel(_) => None,
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.writing().is_secure()
    }

    /// Appends what there is; `None`: nothing now, 0: the server closed.
    pub(super) fn try_read(&self, input: &mut BytesMut) -> io::Result<Option<usize>> {
        input.reserve(READ);
        match self.reading() {
            Channel::Tcp(socket) => match socket.try_read_buf(input) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                result => result.map(Some),
            },
            channel => {
                let held = input.len();
                input.resize(held.saturating_add(READ), 0);
                let read = channel.try_read(input.get_mut(held..).unwrap_or_default());
                let count = read.as_ref().ok().copied().flatten().unwrap_or(0);
                input.truncate(held.saturating_add(count));
                read
            }
        }
    }

    /// Reads what there is; `None`: nothing now, 0: the server closed.
    pub(super) fn read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        self.reading().try_read(room)
    }

    /// The socket that is written to.
    #[cfg(unix)]
    pub(super) fn socket(&self) -> &TcpStream {
        self.writing().socket()
    }

    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Direct(channel) => channel.try_write(&[IoSlice::new(bytes)]),
            #[cfg(feature = "tunnel")]
            Self::Tunnel(tunnel) => tunnel.try_write(bytes),
        }
    }

    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Self::Direct(Channel::Tcp(_)))
    }

    /// Sends what was taken but is not with the socket yet. Returns whether nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Direct(channel) => channel.flush(),
            #[cfg(feature = "tunnel")]
            Self::Tunnel(tunnel) => tunnel.flush(),
        }
    }

    /// Whether something was taken that is not with the socket yet.
    pub(super) fn has_left(&self) -> bool {
        match self {
            Self::Direct(channel) => channel.has_left(),
            #[cfg(feature = "tunnel")]
            Self::Tunnel(tunnel) => tunnel.has_left(),
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reading().poll_read_ready(cx)
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing().poll_write_ready(cx)
    }
}

/// A channel to the server: TLS as the URL says.
pub(super) async fn secure(
    socket: TcpStream,
    url: &ClientUrl,
    options: &ClientOptions,
) -> Result<Channel, ClientError> {
    if !url.is_secure() {
        return Ok(Channel::Tcp(Arc::new(socket)));
    }
    let failed = |source| ClientError::Tls {
        host: url.host().to_owned(),
        source,
    };
    if let Some(stack) = &options.tls_stack {
        return stack.begin(socket, url.host()).await.map_err(failed);
    }
    #[cfg(not(feature = "tls"))]
    {
        drop(socket);
        Err(ClientError::NoTls)
    }
    #[cfg(feature = "tls")]
    {
        use crate::tls::{TlsStream, TlsTrust};
        let name = rustls::pki_types::ServerName::try_from(url.host().to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let trust = match &options.tls {
            Some(trust) => trust.clone(),
            None => TlsTrust::public().map_err(|error| failed(io::Error::other(error)))?,
        };
        let trust = trust.rustls(options.tls_clock);
        let trust = trust.ok_or_else(|| ClientError::ClockUnset {
            host: url.host().to_owned(),
        })?;
        let session = rustls::ClientConnection::new(trust, name)
            .map_err(|error| failed(io::Error::other(error)))?;
        let stream = TlsStream::new(socket, session.into(), Arc::default());
        stream.handshake(&[]).await.map_err(failed)?;
        Ok(Channel::Tls(Arc::new(stream)))
    }
}
