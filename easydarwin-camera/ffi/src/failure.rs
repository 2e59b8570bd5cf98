//! Why an entry failed: a code for the caller, and a text for people, kept per thread.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{CStr, c_char};

use crate::abi::*;

/// Bytes of the text that are kept, its end included.
const TEXT: usize = 256;

thread_local! {
    // Without destructor and heap: entries run on threads that the vendor made.
    static LAST: Cell<[u8; TEXT]> = const { Cell::new([0; TEXT]) };
}

/// A negative code, and what to tell about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) text: Cow<'static, str>,
}

impl Failure {
    pub(crate) fn new(code: i32, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    pub(crate) fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(EDC_ERR_INVALID, text)
    }

    pub(crate) fn unsupported(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(EDC_ERR_UNSUPPORTED, text)
    }

    pub(crate) fn system(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(EDC_ERR_SYSTEM, format!("{what}: {error}"))
    }

    pub(crate) fn handle() -> Self {
        Self::from(EDC_ERR_HANDLE)
    }
}

impl From<i32> for Failure {
    fn from(code: i32) -> Self {
        Self::new(code, describe(code).to_str().unwrap_or_default())
    }
}

/// Keeps the text for [`last`]; what does not fit is cut off.
pub(crate) fn remember(text: &str) {
    let mut kept = [0; TEXT];
    for (to, from) in kept.iter_mut().take(TEXT - 1).zip(text.bytes()) {
        *to = from;
    }
    // Not while the thread's storage is torn down: then nobody can ask any more.
    let _ = LAST.try_with(|last| last.set(kept));
}

/// The text of this thread's last failure, empty before there was one. Good until the next failure
/// on the same thread.
pub(crate) fn last() -> *const c_char {
    LAST.try_with(|last| last.as_ptr().cast::<c_char>().cast_const())
        .unwrap_or(c"".as_ptr())
}

/// The same for Rust.
pub(crate) fn last_text() -> String {
    let kept = LAST.try_with(Cell::get).unwrap_or([0; TEXT]);
    let text = CStr::from_bytes_until_nul(&kept).unwrap_or_default();
    text.to_string_lossy().into_owned()
}

/// What a code means.
pub(crate) fn describe(code: i32) -> &'static CStr {
    match code {
        EDC_ERR_INVALID => c"an argument is missing or out of range",
        EDC_ERR_HANDLE => c"no such camera or stream",
        EDC_ERR_NOMEM => c"not enough memory",
        EDC_ERR_BUSY => c"another thread is in the same call",
        EDC_ERR_DEADLOCK => c"not from inside a callback",
        EDC_ERR_FORKED => c"the camera belongs to the parent process",
        EDC_ERR_PANIC => c"a fault inside the library was caught",
        EDC_ERR_TIMEOUT => c"nothing happened in time",
        EDC_ERR_CLOSED => c"the camera is being destroyed",
        EDC_ERR_UNSUPPORTED => c"not supported",
        EDC_ERR_CONFIG => c"the configuration is not complete",
        EDC_ERR_FULL => c"too many cameras",
        EDC_ERR_SYSTEM => c"the system refused it",
        EDC_ERR_NO_COMMAND => c"no such command waits for an answer",
        EDC_ERR_AGAIN => c"too much of this waits already",
        code if code >= 0 => c"no error",
        _ => c"unknown error",
    }
}
