//! A place for a value that one thread at a time uses without ever waiting, and that another may
//! exchange.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Nobody is inside.
const FREE: u32 = 0;
/// A user is.
const USED: u32 = 1;
/// The value is being exchanged.
const EXCHANGED: u32 = 2;

/// How long an exchange sleeps between two looks. Users are inside for some microseconds; sleeping, not
/// yielding, because one of a lower real-time priority would never come out otherwise.
const LOOK_AGAIN: Duration = Duration::from_micros(100);

/// Why one does not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// Another user is inside.
    Used,
    /// The value is being exchanged.
    Exchanged,
}

/// Holds at most one boxed value; empty it is all zeros.
#[derive(Debug)]
pub(crate) struct TryCell<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<Box<T>>>,
}

// SAFETY: `value` is touched only between a successful change of `state` from FREE and the
// change back, so by one thread at a time; the orderings make each see what the one before did.
// The value moves between threads, hence `T: Send`.
unsafe impl<T: Send> Sync for TryCell<T> {}

/// Gives the place free, also when the user panics.
struct Leave<'a>(&'a AtomicU32);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::Release);
    }
}

impl<T> TryCell<T> {
    pub(crate) const fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
            value: UnsafeCell::new(None),
        }
    }

    /// Uses the value, `None` when there is none; never waits.
    pub(crate) fn enter<R>(&self, work: impl FnOnce(Option<&mut T>) -> R) -> Result<R, Occupied> {
        // SeqCst: whoever gets in after an exchange must also see the handle's generation
        // that was stored before it.
        match self
            .state
            .compare_exchange(FREE, USED, Ordering::SeqCst, Ordering::Relaxed)
        {
            Ok(_) => {}
            Err(EXCHANGED) => return Err(Occupied::Exchanged),
            Err(_) => return Err(Occupied::Used),
        }
        let _leave = Leave(&self.state);
        // SAFETY: this thread made the state USED, so no other reference to the value exists until
        // `_leave` is dropped, which is after this one's last use.
        let value = unsafe { &mut *self.value.get() };
        Ok(work(value.as_deref_mut()))
    }

    /// Puts another value in, once the user that is inside has left. Waits for him by looking again:
    /// he is inside for microseconds, and telling us would cost each of his frames a system call.
    pub(crate) fn exchange(&self, new: Option<Box<T>>) -> Option<Box<T>> {
        while self
            .state
            .compare_exchange(FREE, EXCHANGED, Ordering::SeqCst, Ordering::Relaxed)
            .is_err()
        {
            std::thread::sleep(LOOK_AGAIN);
        }
        let _leave = Leave(&self.state);
        // SAFETY: as in `enter`, with the state EXCHANGED.
        std::mem::replace(unsafe { &mut *self.value.get() }, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn one_user_at_a_time_and_never_a_wait() {
        let cell = TryCell::new();
        assert_eq!(
            cell.enter(|value: Option<&mut u32>| value.is_none()),
            Ok(true)
        );
        cell.exchange(Some(Box::new(1)));
        let inside = cell.enter(|value| {
            assert_eq!(value, Some(&mut 1));
            cell.enter(|_| ())
        });
        assert_eq!(inside, Ok(Err(Occupied::Used)));
        assert_eq!(cell.enter(|_| ()), Ok(()));
    }

    #[test]
    fn an_exchange_waits_for_the_user() {
        let cell = TryCell::new();
        cell.exchange(Some(Box::new(1)));
        let left = AtomicBool::new(false);
        let (inside, entered) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let (cell, left) = (&cell, &left);
            scope.spawn(move || {
                cell.enter(|_| {
                    inside.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                    left.store(true, Ordering::SeqCst);
                })
            });
            entered.recv().unwrap();
            assert_eq!(cell.exchange(None), Some(Box::new(1)));
            assert!(left.load(Ordering::SeqCst), "the user was still inside");
        });
    }

    #[test]
    fn a_user_that_panics_leaves() {
        let cell = TryCell::<u32>::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cell.enter(|_| panic!("on purpose"))
        }));
        assert!(result.is_err());
        assert_eq!(cell.enter(|_| ()), Ok(()));
    }
}
