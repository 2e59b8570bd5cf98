//! The thread that belongs to a camera: a runtime of its own, the camera, and what happens when
//! something in it goes wrong that should not.

mod build;
mod log;
mod tell;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::build::Built;
use crate::abi::*;
use crate::callback::{Callback, EventFunction};
use crate::event::Event;
use crate::failure;
use crate::guard::{self, Caught};
use crate::instance::Instance;

/// Waited after a first fault; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Waited at the end for a name that is being looked up; it may take a minute.
const NAMES: Duration = Duration::from_millis(250);

/// Runs the camera until it is destroyed. A panic ends here: it is told, and after a while
/// everything is built anew behind the same handles.
pub(crate) fn run(instance: &Arc<Instance>, first: Built) {
    guard::own_thread();
    log::with(instance.settings.on_log, || {
        let mut next = Some(first);
        while !instance.is_closing() {
            let served = guard::catch(|| match next.take() {
                Some(built) => serve(instance, built),
                None => match Built::new(instance) {
                    Ok(built) => serve(instance, built),
                    Err(failure) => Err(failure.text.into_owned()),
                },
            });
            match served {
                Ok(Ok(())) => {}
                Ok(Err(text)) => fault(instance, &text),
                Err(Caught) => fault(instance, &failure::last_text()),
            }
        }
    });
}

/// Runs the camera until it is destroyed.
fn serve(instance: &Arc<Instance>, built: Built) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // For the names of hosts; with the mask of signals of this thread.
        .max_blocking_threads(1)
        .thread_stack_size(instance.settings.thread.stack)
        .thread_name("edc-names")
        .build()
        .map_err(|error| format!("runtime: {error}"))?;
    runtime.block_on(tell::run(instance, built));
    runtime.shutdown_timeout(NAMES);
    Ok(())
}

/// Tells of a fault and waits before the next try.
fn fault(instance: &Instance, text: &str) {
    let faults = instance.count_fault();
    let wait = FIRST_WAIT
        .saturating_mul(1 << (faults - 1).min(6))
        .min(LONGEST_WAIT);
    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    tracing::error!(text, millis, "fault caught, starting anew");
    instance
        .events
        .push(Event::new(EDC_EVENT_FAULT).text(text).value(millis));
    let began = Instant::now();
    while !instance.is_closing() {
        let left = wait.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// Hands events to the vendor's function until the camera is destroyed.
pub(crate) fn call_back(instance: &Arc<Instance>, callback: Callback<EventFunction>) {
    guard::own_thread();
    let handle = instance.place.handle();
    while !instance.is_closing() {
        let called = guard::catch(|| {
            instance.next_event(None, |event| {
                callback.call(handle, event);
                Ok(())
            })
        });
        if let Ok(Err(failure)) = called
            && failure.code != EDC_ERR_CLOSED
        {
            // The system refused to wait; without a pause this would be a busy loop.
            thread::park_timeout(FIRST_WAIT);
        }
    }
}
