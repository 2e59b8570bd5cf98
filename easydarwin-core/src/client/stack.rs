//! TLS that the embedder brings: a library that it has already, keys in a secure element.
//!
//! Connecting stays ours: names, time limits, the options of the socket and what the kernel tells of it are
//! the same with any TLS, and every TLS library works on a connected socket that does not block. It
//! moves the bytes by itself, so that they are copied no more often than it needs.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::stack_stream::StackStream;
use crate::wire::Channel;

/// Makes TLS sessions of clients.
pub trait TlsStack: fmt::Debug + Send + Sync {
    /// A session on a connected socket that does not block; nothing is sent yet. The session has to
    /// check that the certificate of the peer is believed and names `host`, a name or an IP address.
    ///
    /// # Errors
    /// Why there can be none; the text reaches log and events.
    fn open(&self, socket: &Arc<TcpStream>, host: &str) -> io::Result<Box<dyn TlsSession>>;
}

/// A TLS session on a socket. No call waits. When it is dropped it may say goodbye; the socket is
/// closed by its owner.
pub trait TlsSession: fmt::Debug + Send {
    /// Goes on with the handshake; done when the peer has shown who it is.
    ///
    /// # Errors
    /// [`TlsPause`]: it is not over yet, or failed.
    fn handshake(&mut self) -> Result<(), TlsPause>;

    /// Reads what was decrypted; 0: the peer has ended the stream, with or without a goodbye.
    ///
    /// # Errors
    /// [`TlsPause`]: there is nothing now, or it failed.
    fn read(&mut self, room: &mut [u8]) -> Result<usize, TlsPause>;

    /// Takes some of `bytes`, at most 16 KiB of which are given. After a pause it is called with the
    /// same bytes at the same place, as many libraries want it.
    ///
    /// # Errors
    /// [`TlsPause`]: nothing was taken, or it failed.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, TlsPause>;
}

/// Why a call of a [`TlsSession`] did not do its work.
#[derive(Debug)]
pub enum TlsPause {
    /// The socket had nothing to read: again when it has.
    WantRead,
    /// The socket took no more: again when it does.
    WantWrite,
    /// The session is over.
    Failed(io::Error),
}

/// A [`TlsStack`] for [`ClientOptions`](super::ClientOptions); cheap to clone.
#[derive(Clone)]
pub struct ForeignTls(Arc<dyn Begin>);

impl ForeignTls {
    /// Uses this stack for all connections that need TLS.
    pub fn new(stack: impl TlsStack + 'static) -> Self {
        Self(Arc::new(Stack(Box::new(stack))))
    }

    pub(super) fn begin(&self, socket: TcpStream, host: &str) -> Beginning {
        self.0.begin(Arc::new(socket), host)
    }
}

impl fmt::Debug for ForeignTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

type Beginning = Pin<Box<dyn Future<Output = io::Result<Channel>> + Send>>;

/// What makes a channel. A trait, so that the linker leaves all that belongs to a session out of
/// programs that never make a [`ForeignTls`].
trait Begin: fmt::Debug + Send + Sync {
    fn begin(&self, socket: Arc<TcpStream>, host: &str) -> Beginning;
}

#[derive(Debug)]
struct Stack(Box<dyn TlsStack>);

impl Begin for Stack {
    fn begin(&self, socket: Arc<TcpStream>, host: &str) -> Beginning {
        let opened = self.0.open(&socket, host);
        Box::pin(async move {
            let stream = StackStream::new(socket, opened?);
            stream.handshake().await?;
            Ok(Channel::Stack(Arc::new(stream)))
        })
    }
}
