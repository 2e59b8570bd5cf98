use std::ffi::c_char;

use crate::abi::EDC_ABI_VERSION;
use crate::failure;

/// The EDC_ABI_VERSION that the library was built with.
#[unsafe(no_mangle)]
pub extern "C" fn edc_abi_version() -> u32 {
    EDC_ABI_VERSION
}

/// What a code means, in English; never NULL, good for ever.
#[unsafe(no_mangle)]
pub extern "C" fn edc_strerror(code: i32) -> *const c_char {
    failure::describe(code).as_ptr()
}

/// Details of the last failure on this thread; never NULL, empty when there was none. Good until the
/// next failure on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn edc_last_error() -> *const c_char {
    failure::last()
}
