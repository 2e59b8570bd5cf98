use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{TlsPause, TlsSession};
use crate::wire::Stream;

/// Most plaintext that a session is offered at once: a record (RFC 8446, 5.1).
const PIECE: usize = 16 * 1024;

/// An embedder's TLS session on our socket.
#[derive(Debug)]
pub(super) struct StackStream {
    /// Dropped before the socket, which it uses.
    state: Mutex<State>,
    socket: Arc<TcpStream>,
}

#[derive(Debug)]
struct State {
    session: Box<dyn TlsSession>,
    /// What the last handshake or read waited for.
    reading: Awaited,
    /// What the last write waited for.
    writing: Awaited,
    /// What was taken and is not with the session yet. It stays where it is until the session has
    /// taken all of it.
    held: Vec<u8>,
    /// Of these, how many bytes the session has.
    taken: usize,
}

/// What the socket has to be ready for before a call may get on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Read,
    Write,
}

impl Awaited {
    fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READABLE,
            Self::Write => Interest::WRITABLE,
        }
    }
}

impl StackStream {
    pub(super) fn new(socket: Arc<TcpStream>, session: Box<dyn TlsSession>) -> Self {
        Self {
            state: Mutex::new(State {
                session,
                // A client speaks first.
                reading: Awaited::Write,
                writing: Awaited::Write,
                held: Vec::new(),
                taken: 0,
            }),
            socket,
        }
    }

    /// Runs the handshake to its end.
    pub(super) async fn handshake(&self) -> io::Result<()> {
        loop {
            let awaited = self.state().reading;
            self.socket.ready(awaited.interest()).await?;
            let State {
                session, reading, ..
            } = &mut *self.state();
            if attempt(&self.socket, reading, || session.handshake())?.is_some() {
                *reading = Awaited::Read;
                return Ok(());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the session may have left it broken, but not what is ours.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands what was taken to the session. Returns whether nothing is left.
    fn send(&self, state: &mut State) -> io::Result<bool> {
        loop {
            let rest = state.held.get(state.taken..).unwrap_or_default();
            if rest.is_empty() {
                state.held.clear();
                state.taken = 0;
                return Ok(true);
            }
            let session = &mut state.session;
            match attempt(&self.socket, &mut state.writing, || session.write(rest))? {
                None => return Ok(false),
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(count) => {
                    state.taken = state.taken.saturating_add(count);
                    state.writing = Awaited::Write;
                }
            }
        }
    }
}

/// Makes a call when the socket is ready for what it waits for; `None`: not now. The runtime learns
/// that the socket is not ready any more, as it does when it reads and writes by itself.
fn attempt<T>(
    socket: &TcpStream,
    awaited: &mut Awaited,
    call: impl FnOnce() -> Result<T, TlsPause>,
) -> io::Result<Option<T>> {
    let before = *awaited;
    let attempted = socket.try_io(before.interest(), || {
        *awaited = match call() {
            Ok(value) => return Ok(Some(value)),
            Err(TlsPause::WantRead) => Awaited::Read,
            Err(TlsPause::WantWrite) => Awaited::Write,
            Err(TlsPause::Failed(error)) => return Err(not_a_pause(error)),
        };
        if *awaited == before {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(None)
    });
    match attempted {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result,
    }
}

/// A failure must not be taken for a pause, whatever the session calls it.
fn not_a_pause(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::other(error),
        _ => error,
    }
}

impl Stream for StackStream {
    fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let state = &mut *self.state();
        if !self.send(state)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for slice in slices {
            let room = PIECE.saturating_sub(state.held.len());
            let piece = slice.get(..room).unwrap_or(slice);
            state.held.extend_from_slice(piece);
        }
        let count = state.held.len();
        self.send(state)?;
        Ok(count)
    }

    fn flush(&self) -> io::Result<bool> {
        self.send(&mut self.state())
    }

    fn has_left(&self) -> bool {
        !self.state().held.is_empty()
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let State {
            session, reading, ..
        } = &mut *self.state();
        let read = attempt(&self.socket, reading, || session.read(room))?;
        if read.is_some() {
            *reading = Awaited::Read;
        }
        Ok(read)
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(self.state().reading, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(self.state().writing, cx)
    }
}

impl StackStream {
    fn poll_ready(&self, awaited: Awaited, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match awaited {
            Awaited::Read => self.socket.poll_read_ready(cx),
            Awaited::Write => self.socket.poll_write_ready(cx),
        }
    }
}
