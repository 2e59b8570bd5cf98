use std::time::Duration;

use crate::abi::*;
use crate::failure::Failure;
use crate::table::Place;
use crate::{guard, raw, system};

/// A descriptor for poll() or epoll: readable while events wait, and when the camera is destroyed, which
/// closes it. Only to be polled.
#[unsafe(no_mangle)]
pub extern "C" fn edc_event_fd(camera: edc_camera) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        Ok(Place::from_handle(camera)?.find()?.events.descriptor())
    })
}

/// Takes the next event, waiting for it up to `timeout_ms` (0: not at all, negative: for ever). EDC_ERR_TIMEOUT
/// when there is none, EDC_ERR_UNSUPPORTED when a callback takes them. What the event points to is
/// good until the next call. One thread at a time (EDC_ERR_BUSY).
///
/// # Safety
/// `event` points to an edc_event of the size it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_next_event(
    camera: edc_camera,
    timeout_ms: i32,
    event: *mut edc_event,
) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        let instance = Place::from_handle(camera)?.find()?;
        if instance.settings.on_event.is_some() {
            return Err(Failure::unsupported("the callback takes the events"));
        }
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        instance.next_event(timeout, |next| {
            // SAFETY: by this function's contract.
            unsafe { raw::write(event, next) }
        })?;
        Ok(EDC_OK)
    })
}

/// Answers a command: `code` is 200 when it was done, or a code like HTTP's: 501 for what the camera does not
/// have, 701 for a failed device. Commands without an answer are answered with 408 after 10 s.
#[unsafe(no_mangle)]
pub extern "C" fn edc_reply(camera: edc_camera, command: u64, code: i32) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        let code = u16::try_from(code)
            .ok()
            .filter(|code| (200..1000).contains(code))
            .ok_or_else(|| Failure::invalid("an answer's code is 200 to 999"))?;
        Place::from_handle(camera)?.find()?.reply(command, code)?;
        Ok(EDC_OK)
    })
}
