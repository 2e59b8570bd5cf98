//! Functions of the vendor, called on threads of the SDK.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use crate::abi::{edc_camera, edc_event, edc_tls};

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

/// A table of the vendor's TLS functions without those that may be absent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TlsFunctions {
    open: unsafe extern "C" fn(*mut c_void, i32, *const c_char) -> *mut c_void,
    handshake: unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32,
    read: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut u8, u32) -> i32,
    write: unsafe extern "C" fn(*mut c_void, *mut c_void, *const u8, u32) -> i32,
    close: unsafe extern "C" fn(*mut c_void, *mut c_void),
    describe: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, i32, *mut c_char, u32)>,
}

impl TlsFunctions {
    /// `None`: one is missing.
    pub(crate) fn of(table: &edc_tls) -> Option<Self> {
        Some(Self {
            open: table.open?,
            handshake: table.handshake?,
            read: table.read?,
            write: table.write?,
            close: table.close?,
            describe: table.describe,
        })
    }
}

/// A session of the vendor's TLS library, closed when it is dropped.
#[derive(Debug)]
pub(crate) struct TlsHandle {
    tls: Callback<TlsFunctions>,
    session: NonNull<c_void>,
}

// SAFETY: used by one thread at a time, for all its functions take `&mut self`; the header says that
// they run on the camera's network thread, which may not be the one that made the configuration.
unsafe impl Send for TlsHandle {}

impl Callback<TlsFunctions> {
    /// Makes a session on a socket, which must stay open as long as the session.
    pub(crate) fn open(&self, fd: i32, host: &CStr) -> Option<TlsHandle> {
        // SAFETY: the vendor gave this function for this signature; the text is good until it returns.
        let session = unsafe { (self.function.open)(self.user, fd, host.as_ptr()) };
        NonNull::new(session).map(|session| TlsHandle {
            tls: *self,
            session,
        })
    }

    /// What the vendor says of a code; empty when nothing.
    pub(crate) fn describe(&self, session: *mut c_void, code: i32) -> String {
        let mut text = [0u8; 256];
        if let Some(describe) = self.function.describe {
            let size = u32::try_from(text.len()).unwrap_or(0);
            // SAFETY: the vendor gave this function for this signature; the text has `size` bytes.
            unsafe { describe(self.user, session, code, text.as_mut_ptr().cast(), size) };
        }
        let end = text.iter().position(|byte| *byte == 0);
        let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

impl TlsHandle {
    pub(crate) fn handshake(&mut self) -> i32 {
        // SAFETY: the vendor gave this function for this signature, and the session is open.
        unsafe { (self.tls.function.handshake)(self.tls.user, self.session.as_ptr()) }
    }

    pub(crate) fn read(&mut self, room: &mut [u8]) -> i32 {
        let length = u32::try_from(room.len()).unwrap_or(u32::MAX);
        // SAFETY: as above; `room` has `length` writable bytes.
        unsafe {
            let (user, session) = (self.tls.user, self.session.as_ptr());
            (self.tls.function.read)(user, session, room.as_mut_ptr(), length)
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> i32 {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // SAFETY: as above; `bytes` has `length` readable bytes.
        unsafe {
            let (user, session) = (self.tls.user, self.session.as_ptr());
            (self.tls.function.write)(user, session, bytes.as_ptr(), length)
        }
    }

    pub(crate) fn describe(&mut self, code: i32) -> String {
        self.tls.describe(self.session.as_ptr(), code)
    }
}

impl Drop for TlsHandle {
    fn drop(&mut self) {
        // SAFETY: as above; nobody uses the session after this.
        unsafe { (self.tls.function.close)(self.tls.user, self.session.as_ptr()) }
    }
}
