//! What carries a connection: TCP, or TLS on it. Reads and writes never wait.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read as _};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

#[cfg(feature = "tls")]
use easydarwin_core::tls::TlsStream;

/// Bytes read at once.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    static SCRATCH_BUF: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// A socket, with or without TLS.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    /// Apart: a session is many times what a plain connection needs.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl Transport {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.socket(),
        }
    }

    /// The socket, if nothing lies between it and its user.
    pub(crate) fn plain(&mut self) -> Option<&mut TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            #[cfg(feature = "tls")]
            Self::Tls(_) => None,
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }

    /// Reads what there is into the thread's buffer, and shows it: `None`: nothing now, empty: the
    /// peer has ended.
    pub(crate) fn read<T>(&self, take: impl FnOnce(io::Result<Option<&[u8]>>) -> T) -> T {
        SCRATCH_BUF.with_borrow_mut(|scratch| {
            let read = match self {
                Self::Tcp(socket) => read(socket, scratch),
                #[cfg(feature = "tls")]
                Self::Tls(tls) => tls.try_read(scratch),
            };
            take(read.map(|len| len.map(|len| scratch.get(..len).unwrap_or_default())))
        })
    }

    /// Writes what can be taken now; 0: nothing can.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.try_write(&[io::IoSlice::new(bytes)]),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// Sends what was taken and is not with the socket yet. Returns whether nothing is left.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) => Ok(true),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Whether something was taken that is not with the socket yet.
    pub(crate) fn has_left(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.has_left(),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn goodbye(&self) {
        #[cfg(feature = "tls")]
        if let Self::Tls(tls) = self {
            tls.goodbye();
        }
    }
}

/// Reads what there is; `None`: nothing.
///
/// A read that leaves room has emptied the socket (epoll(7), question 9), so the readiness is cleared
/// at once: the runtime would find that out by one more system call at each message.
fn read(socket: &TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
    let mut read = None;
    let result = socket.try_io(Interest::READABLE, || {
        let count = (&*SockRef::from(socket)).read(room)?;
        read = Some(count);
        if count > 0 && count < room.len() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    match result {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(read),
    }
}
