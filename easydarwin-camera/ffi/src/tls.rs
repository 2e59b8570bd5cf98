//! The vendor's TLS library behind the camera's interface for such.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use easydarwin_core::client::{TlsPause, TlsSession, TlsStack};
use tokio::net::TcpStream;

use crate::abi::{EDC_TLS_WANT_READ, EDC_TLS_WANT_WRITE};
use crate::callback::{Callback, TlsFunctions, TlsHandle};

/// The vendor's table.
#[derive(Debug)]
pub(crate) struct VendorTls(pub(crate) Callback<TlsFunctions>);

#[derive(Debug)]
struct Session {
    /// Closed before the socket that it uses.
    handle: TlsHandle,
    _socket: Arc<TcpStream>,
}

impl TlsStack for VendorTls {
    fn open(&self, socket: &Arc<TcpStream>, host: &str) -> io::Result<Box<dyn TlsSession>> {
        let host = CString::new(host)?;
        match self.0.open(socket.as_raw_fd(), &host) {
            Some(handle) => Ok(Box::new(Session {
                handle,
                _socket: socket.clone(),
            })),
            None => {
                let text = self.0.describe(std::ptr::null_mut(), 0);
                Err(io::Error::other(format!(
                    "the TLS library opens no session {text}"
                )))
            }
        }
    }
}

impl TlsSession for Session {
    fn handshake(&mut self) -> Result<(), TlsPause> {
        let code = self.handle.handshake();
        self.count(code, usize::MAX).map(drop)
    }

    fn read(&mut self, room: &mut [u8]) -> Result<usize, TlsPause> {
        let code = self.handle.read(room);
        self.count(code, room.len())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, TlsPause> {
        let code = self.handle.write(bytes);
        self.count(code, bytes.len())
    }
}

impl Session {
    /// What a function returned: a number up to `most`, or a code.
    fn count(&mut self, code: i32, most: usize) -> Result<usize, TlsPause> {
        let text = match (code, usize::try_from(code)) {
            (EDC_TLS_WANT_READ, _) => return Err(TlsPause::WantRead),
            (EDC_TLS_WANT_WRITE, _) => return Err(TlsPause::WantWrite),
            (_, Ok(count)) if count <= most => return Ok(count),
            (_, Ok(_)) => "more bytes than it was given".to_owned(),
            _ => self.handle.describe(code),
        };
        let text = format!("the TLS library returned {code} {text}");
        Err(TlsPause::Failed(io::Error::other(text)))
    }
}
