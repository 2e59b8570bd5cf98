//! Wakes the network's thread from an encoder's thread with one system call and no lock.

use std::io;
use std::task::{Context, Poll};

#[cfg(not(unix))]
pub(super) use other::Waker;
#[cfg(unix)]
pub(super) use unix::Waker;

/// What the feed sleeps on.
#[derive(Debug)]
pub(super) struct Alarm(Option<Inner>);

#[cfg(unix)]
type Inner = unix::Alarm;
#[cfg(not(unix))]
type Inner = other::Alarm;

impl Alarm {
    /// Not listening yet: that needs a runtime.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Ready once the waker was called since the last time.
    pub(super) fn poll(&mut self, waker: &Waker, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = match &mut self.0 {
            Some(inner) => inner,
            empty => empty.insert(Inner::new(waker)?),
        };
        inner.poll(cx)
    }
}

#[cfg(unix)]
mod unix {
    use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
    use std::os::fd::{AsFd as _, BorrowedFd};
    use std::task::{Context, Poll};

    use tokio::net::unix::pipe::Receiver;

    /// A pipe, and its other end until somebody listens. It never fills up: nobody writes before
    /// the listener has woken from the write before and sleeps again.
    #[derive(Debug)]
    pub(crate) struct Waker {
        near: PipeWriter,
        far: PipeReader,
    }

    impl Waker {
        pub(crate) fn new() -> io::Result<Self> {
            let (far, near) = io::pipe()?;
            // Whoever listens may have been woken by something else.
            socket2::SockRef::from(&far).set_nonblocking(true)?;
            Ok(Self { near, far })
        }

        pub(crate) fn wake(&self) {
            // The other end is held by `self`, so that nothing can be wrong with it.
            let _ = (&self.near).write(&[1]);
        }

        pub(crate) fn bell(&self) -> BorrowedFd<'_> {
            self.far.as_fd()
        }

        pub(crate) fn hush(&self) {
            let _ = (&self.far).read(&mut [0; 16]);
        }
    }

    /// The runtime's registration of the far end.
    #[derive(Debug)]
    pub(super) struct Alarm(Receiver);

    impl Alarm {
        pub(super) fn new(waker: &Waker) -> io::Result<Self> {
            let far = waker.far.try_clone()?;
            Ok(Self(Receiver::from_owned_fd(far.into())?))
        }

        pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut rung = [0; 16];
            loop {
                if self.0.poll_read_ready(cx)?.is_pending() {
                    return Poll::Pending;
                }
                match self.0.try_read(&mut rung) {
                    Ok(_) => return Poll::Ready(Ok(())),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::task::{Context, Poll};

    #[derive(Debug, Default)]
    struct State {
        rung: bool,
        waker: Option<std::task::Waker>,
    }

    /// Elsewhere: the runtime's own way, which takes a lock.
    #[derive(Debug, Default)]
    pub(crate) struct Waker(Arc<Mutex<State>>);

    impl Waker {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self::default())
        }

        pub(crate) fn wake(&self) {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.rung = true;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    #[derive(Debug)]
    pub(super) struct Alarm(Arc<Mutex<State>>);

    impl Alarm {
        pub(super) fn new(waker: &Waker) -> io::Result<Self> {
            Ok(Self(Arc::clone(&waker.0)))
        }

        pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut state.rung) {
                return Poll::Ready(Ok(()));
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        }
    }
}
