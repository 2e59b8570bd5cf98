use std::cell::RefCell;
use std::io::{self, IoSlice, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustls::Connection;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Most ciphertext that waits in a session for its socket.
pub(crate) const MAX_HELD: usize = 64 * 1024;
/// What the library may hold so that the records' own bytes fit [`MAX_HELD`], too.
const MAX_PLAIN_HELD: usize = MAX_HELD - 1024;
/// Ciphertext read at once.
const READ: usize = 64 * 1024;
/// The same during the handshake.
const HANDSHAKE_READ: usize = 4 * 1024;
/// The most plaintext that a record which was begun may add to what is read (RFC 8446, 5.1).
const RECORD: usize = 17 * 1024;
/// Slices of one write that are gone on with when the first ones were taken.
const MAX_SLICES: usize = 512;

thread_local! {
    static CIPHERTEXT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A TLS session on a socket. Reads and writes never wait and may come from different tasks: both
/// sides of a session share its state, behind a short lock.
///
/// What could not be handed to the socket, at most 64 KiB of ciphertext, is sent before anything
/// else by whatever is called next; [`flush`](Self::flush) does nothing but that.
#[derive(Debug)]
pub struct TlsStream {
    socket: TcpStream,
    session: Mutex<Session>,
    /// Told when ciphertext is left over, so that the reading side sends it.
    left: Notify,
    /// The ciphertext of all sessions of a server.
    total_held: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Session {
    tls: Connection,
    held: usize,
}

impl TlsStream {
    pub(crate) fn new(
        socket: TcpStream,
        mut tls: Connection,
        total_held: Arc<AtomicUsize>,
    ) -> Self {
        tls.set_buffer_limit(Some(MAX_PLAIN_HELD));
        Self {
            socket,
            session: Mutex::new(Session { tls, held: 0 }),
            left: Notify::new(),
            total_held,
        }
    }

    /// The socket, for its addresses and its readiness.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Runs the handshake to its end. `first`: what was read from the socket already.
    ///
    /// # Errors
    /// The socket's, and what is wrong with the peer's handshake.
    pub async fn handshake(&self, first: &[u8]) -> io::Result<()> {
        self.take_handshake(first)?;
        loop {
            let (wants_write, handshaking) = {
                let mut session = self.session.lock();
                let sent = self.send(&mut session)?;
                (!sent, session.tls.is_handshaking())
            };
            if wants_write {
                self.socket.writable().await?;
                continue;
            }
            if !handshaking {
                return Ok(());
            }
            self.socket.readable().await?;
            let mut buffer = [0; HANDSHAKE_READ];
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.take_handshake(buffer.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take_handshake(&self, mut ciphertext: &[u8]) -> io::Result<()> {
        let mut session = self.session.lock();
        while !ciphertext.is_empty() {
            if session.tls.read_tls(&mut ciphertext)? == 0 {
                break;
            }
            self.process(&mut session)?;
        }
        Ok(())
    }

    /// Reads what there is; `None`: nothing now, 0: the peer closed.
    ///
    /// `room` must hold more than a record (17 KiB), so that all that is read from the socket finds
    /// its place.
    ///
    /// # Errors
    /// The socket's, and what is wrong with the peer's records.
    pub fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let mut session = self.session.lock();
        if let Some(count) = read_plaintext(&mut session, room)? {
            return Ok(Some(count));
        }
        CIPHERTEXT.with_borrow_mut(|buffer| {
            let most = room.len().saturating_sub(RECORD).min(buffer.len());
            let Some(buffer) = buffer.get_mut(..most).filter(|b| !b.is_empty()) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let count = match self.socket.try_read(buffer) {
                // RTSP tells itself where it ends: a peer without goodbye loses nothing.
                Ok(0) => return Ok(Some(0)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut ciphertext = buffer.get(..count).unwrap_or_default();
            let mut filled: usize = 0;
            let mut closed = false;
            while !ciphertext.is_empty() && !closed {
                if session.tls.read_tls(&mut ciphertext)? == 0 {
                    break;
                }
                self.process(&mut session)?;
                while let Some(left) = room.get_mut(filled..)
                    && let Some(count) = read_plaintext(&mut session, left)?
                {
                    filled = filled.saturating_add(count);
                    if count == 0 {
                        closed = true;
                        break;
                    }
                }
            }
            // What the session answers by itself: new keys, tickets.
            if !self.send(&mut session)? {
                self.left.notify_one();
            }
            Ok((filled > 0 || closed).then_some(filled))
        })
    }

    /// Encrypts and sends as much as the socket and the session (64 KiB) take.
    ///
    /// # Errors
    /// The socket's; [`io::ErrorKind::WouldBlock`] when nothing was taken.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.lock();
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut taken: usize = 0;
        let mut copy;
        let mut rest = slices;
        let sent = loop {
            if !self.send(&mut session)? {
                break false;
            }
            if taken >= total {
                break true;
            }
            let count = session.tls.writer().write_vectored(rest)?;
            if count == 0 {
                break true;
            }
            taken = taken.saturating_add(count);
            if taken < total {
                copy = [IoSlice::new(&[]); MAX_SLICES];
                rest = behind(slices, taken, &mut copy);
            }
        };
        drop(session);
        if !sent {
            self.left.notify_one();
        }
        if taken == 0 && total > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Sends what is left over. Returns whether nothing is left.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&self) -> io::Result<bool> {
        self.send(&mut self.session.lock())
    }

    /// Whether ciphertext waits for the socket.
    pub fn has_left(&self) -> bool {
        self.session.lock().held > 0
    }

    /// Until a read may bring something; sends what is left over meanwhile.
    #[cfg(any(feature = "server", feature = "tunnel"))]
    pub(crate) async fn readable(&self) -> io::Result<()> {
        tokio::select! {
            result = self.socket.readable() => result,
            error = self.send_left() => Err(error),
        }
    }

    /// Ends only with an error.
    #[cfg(any(feature = "server", feature = "tunnel"))]
    async fn send_left(&self) -> io::Error {
        loop {
            let told = self.left.notified();
            match self.flush() {
                Ok(true) => told.await,
                Ok(false) => {
                    if let Err(error) = self.socket.writable().await {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    /// Says that nothing more will be written; [`flush`](Self::flush) sends it.
    pub fn goodbye(&self) {
        self.session.lock().tls.send_close_notify();
    }

    /// Says goodbye and closes the writing side, once all is sent.
    #[cfg(feature = "server")]
    pub(crate) async fn close(&self) -> io::Result<()> {
        self.goodbye();
        while !self.flush()? {
            self.socket.writable().await?;
        }
        socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Write)
    }

    fn process(&self, session: &mut Session) -> io::Result<()> {
        match session.tls.process_new_packets() {
            Ok(state) => {
                self.count(session, state.tls_bytes_to_write());
                Ok(())
            }
            Err(error) => {
                // The alert that says why; when it does not fit the socket, it is lost.
                let _ = session.tls.write_tls(&mut Socket(&self.socket));
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// Hands ciphertext to the socket. Returns whether all is handed over.
    fn send(&self, session: &mut Session) -> io::Result<bool> {
        let mut result = Ok(true);
        while session.tls.wants_write() {
            match session.tls.write_tls(&mut Socket(&self.socket)) {
                Ok(0) => {
                    result = Err(io::ErrorKind::WriteZero.into());
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    result = Ok(false);
                    break;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.process(session)?;
        result
    }

    fn count(&self, session: &mut Session, held: usize) {
        self.total_held.fetch_add(held, Ordering::Relaxed);
        self.total_held.fetch_sub(session.held, Ordering::Relaxed);
        session.held = held;
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        let held = self.session.get_mut().held;
        self.total_held.fetch_sub(held, Ordering::Relaxed);
    }
}

/// The socket as the library writes to it.
struct Socket<'a>(&'a TcpStream);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypted bytes; `None`: none, 0: the peer said goodbye.
fn read_plaintext(session: &mut Session, room: &mut [u8]) -> io::Result<Option<usize>> {
    use io::Read as _;
    if room.is_empty() {
        return Ok(None);
    }
    match session.tls.reader().read(room) {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// The slices without their first `taken` bytes, at most [`MAX_SLICES`] of them.
fn behind<'a, 'b>(
    slices: &[IoSlice<'a>],
    mut taken: usize,
    copy: &'b mut [IoSlice<'a>; MAX_SLICES],
) -> &'b [IoSlice<'a>] {
    let mut filled: usize = 0;
    for slice in slices {
        if taken >= slice.len() {
            taken -= slice.len();
            continue;
        }
        let Some(slot) = copy.get_mut(filled) else {
            break;
        };
        *slot = *slice;
        slot.advance(std::mem::take(&mut taken));
        filled = filled.saturating_add(1);
    }
    copy.get(..filled).unwrap_or_default()
}
