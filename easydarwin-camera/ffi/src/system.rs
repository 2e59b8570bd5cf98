//! Signals, priorities, processes: what the library asks of the system beside sockets.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::abi::EDC_ERR_FORKED;
use crate::failure::Failure;

/// Process in which the library is used; 0 before it is.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// How a thread of the SDK is made.
#[derive(Debug, Clone)]
pub(crate) struct ThreadSettings {
    pub(crate) name: String,
    /// Niceness; `None` leaves it as it is with the vendor's thread.
    pub(crate) nice: Option<i32>,
    pub(crate) stack: usize,
}

/// Fails in a child of the process that made the first camera: its threads are not here.
pub(crate) fn check_process() -> Result<(), Failure> {
    let now = std::process::id();
    match PROCESS.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(first) if first == now => Ok(()),
        Err(_) => Err(EDC_ERR_FORKED.into()),
    }
}

/// Starts a thread in which all signals are blocked, so that the vendor's handlers never run there and a
/// broken connection's SIGPIPE ends nothing: it stays pending with this thread, which never
/// unblocks it. Handlers of the process are left alone.
pub(crate) fn spawn(
    settings: &ThreadSettings,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let nice = settings.nice;
    // Before the thread begins: it must not run a moment without its mask.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let spawned = thread::Builder::new()
        .name(settings.name.clone())
        .stack_size(settings.stack)
        .spawn(move || {
            if let Some(nice) = nice {
                set_nice(nice);
            }
            work();
        });
    before.thread_set_mask()?;
    spawned
}

/// Sets the niceness of this thread; without the right to do so it stays as it is.
fn set_nice(nice: i32) {
    // SAFETY: takes numbers only. With Linux, 0 is the calling thread, not its process.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(%error, nice, "cannot set the thread's priority");
    }
}
