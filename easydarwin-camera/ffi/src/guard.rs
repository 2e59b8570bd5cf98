//! What stands around everything that C calls, and around the threads of the SDK: no panic gets
//! out, and none is printed.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::abi::EDC_ERR_PANIC;
use crate::failure::{self, Failure};

thread_local! {
    static INSIDE: Cell<u32> = const { Cell::new(0) };
    /// This thread was made by the SDK.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Counts how deep a thread is in the library, so that the hook knows whose panic it sees.
struct Inside;

impl Inside {
    fn enter() -> Self {
        INSIDE.set(INSIDE.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get().saturating_sub(1));
    }
}

/// Runs an entry's work. Errors and panics become codes, their texts are kept for `edc_last_error`.
pub(crate) fn entry(work: impl FnOnce() -> Result<i32, Failure>) -> i32 {
    match catch(work) {
        Ok(Ok(value)) => value,
        Ok(Err(failure)) => {
            failure::remember(&failure.text);
            failure.code
        }
        Err(Caught) => EDC_ERR_PANIC,
    }
}

/// A panic was caught; what it said is this thread's last error.
#[derive(Debug)]
pub(crate) struct Caught;

/// Runs `work`; its panic ends here.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    silence();
    let _inside = Inside::enter();
    // What `work` touched is either thrown away by the caller or behind atomics and locks
    // that hold after any step.
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        // Its destructor may panic, too; what that one leaves is lost.
        if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        Caught
    })
}

/// Marks this thread as one of the SDK's.
pub(crate) fn own_thread() {
    OURS.set(true);
}

/// Whether this is a thread of the SDK, so that the caller is inside a callback.
pub(crate) fn is_own_thread() -> bool {
    OURS.get()
}

/// Takes panics inside the library away from standard error. Those of other threads, in a program that is
/// written in Rust itself, go where they went before.
fn silence() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if INSIDE.try_with(Cell::get).unwrap_or(0) == 0 {
                before(info);
                return;
            }
            let text = info.payload_as_str().unwrap_or("panic");
            match info.location() {
                Some(at) => failure::remember(&format!("{}:{}: {text}", at.file(), at.line())),
                None => failure::remember(text),
            }
        }));
    });
}
