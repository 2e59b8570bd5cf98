use crate::abi::*;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::table::Place;
use crate::{guard, raw, system};

/// Starts a camera: takes the memory of its queues and starts its threads. The configuration stays the
/// caller's, and is not needed any more. Call it after daemon() or fork().
///
/// # Safety
/// `config` came from edc_config_new() and was not freed; `camera` points to an edc_camera.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_start(config: *const edc_config, camera: *mut edc_camera) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        if config.is_null() || camera.is_null() {
            return Err(Failure::invalid("config or camera is NULL"));
        }
        // SAFETY: not NULL, so a configuration by this function's contract.
        let settings = unsafe { &(*config).settings };
        let place = Instance::start(settings.clone())?;
        // SAFETY: not NULL, so writable by this function's contract.
        unsafe { raw::put(camera, place.handle()) }?;
        Ok(EDC_OK)
    })
}

/// Ends a camera: waits for edc_push_frame() calls in flight, says goodbye to the media server, and ends its
/// threads; no callback runs any more when it returns. Other threads may be in edc_push_frame()
/// (EDC_ERR_HANDLE from now on) or edc_next_event() (EDC_ERR_CLOSED). Not from a callback:
/// EDC_ERR_DEADLOCK.
#[unsafe(no_mangle)]
pub extern "C" fn edc_destroy(camera: edc_camera) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        if guard::is_own_thread() {
            return Err(EDC_ERR_DEADLOCK.into());
        }
        Instance::destroy(Place::from_handle(camera)?)?;
        Ok(EDC_OK)
    })
}

/// For the library's own tests: the network's thread panics.
#[cfg(feature = "test-panic")]
#[unsafe(no_mangle)]
pub extern "C" fn edc_test_panic(camera: edc_camera) -> i32 {
    guard::entry(|| {
        Place::from_handle(camera)?.find()?.injected.notify_one();
        Ok(EDC_OK)
    })
}

/// For the library's own tests: panics in this entry.
#[cfg(feature = "test-panic")]
#[unsafe(no_mangle)]
#[allow(clippy::panic)]
pub extern "C" fn edc_test_panic_here() -> i32 {
    guard::entry(|| panic!("injected by a test"))
}

/// For the library's own tests: panics where no entry watches, as a program that is written in Rust may, so that
/// the standard library's own printer of panics is called.
#[cfg(feature = "test-panic")]
#[unsafe(no_mangle)]
#[allow(clippy::panic)]
pub extern "C" fn edc_test_panic_outside() -> i32 {
    match std::panic::catch_unwind(|| panic!("injected by a test")) {
        Ok(()) => EDC_OK,
        Err(_) => crate::abi::EDC_ERR_PANIC,
    }
}

/// For the library's own tests: memory has run out. Ends the process with SIGABRT.
#[cfg(feature = "test-panic")]
#[unsafe(no_mangle)]
pub extern "C" fn edc_test_out_of_memory() {
    std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>());
}
