//! Functions of the vendor, called on threads of the SDK.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};

use crate::abi::{edc_camera, edc_event};

pub(crate) type EventFunction = unsafe extern "C" fn(*mut c_void, edc_camera, *const edc_event);
pub(crate) type LogFunction = unsafe extern "C" fn(*mut c_void, i32, *const c_char);

/// A function and the vendor's pointer, which is handed back as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callback<F> {
    function: F,
    user: *mut c_void,
}

// SAFETY: the pointer is never followed here, and the header says that callbacks run on other
// threads, so what is behind it is made for that.
unsafe impl<F: Send> Send for Callback<F> {}
// SAFETY: as above.
unsafe impl<F: Sync> Sync for Callback<F> {}

impl<F> Callback<F> {
    /// The header says what `function` must keep to: it neither unwinds nor jumps.
    pub(crate) fn new(function: F, user: *mut c_void) -> Self {
        Self { function, user }
    }
}

impl Callback<EventFunction> {
    pub(crate) fn call(&self, camera: edc_camera, event: &edc_event) {
        // SAFETY: the vendor gave this function for this signature; `event` and what it points to are
        // good until it returns.
        unsafe { (self.function)(self.user, camera, event) }
    }
}

impl Callback<LogFunction> {
    pub(crate) fn call(&self, level: i32, text: &CStr) {
        // SAFETY: the vendor gave this function for this signature; the text is good until it returns.
        unsafe { (self.function)(self.user, level, text.as_ptr()) }
    }
}
