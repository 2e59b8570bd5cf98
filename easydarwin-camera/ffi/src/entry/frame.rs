use easydarwin_camera::frames::{DropCause, Frame, Verdict};

use crate::abi::*;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::table::StreamPlace;
use crate::{guard, raw, system};

/// Copies a frame into the stream's queue and returns at once what became of it: EDC_QUEUED, or an
/// EDC_DROPPED_... bit, perhaps with EDC_WAIT_KEY; or a negative error. The frame's memory is the caller's
/// again. Takes no lock, allocates nothing, and makes at most one system call, which does not block.
///
/// One thread at a time for each stream (EDC_ERR_BUSY). May run while edc_destroy() does.
///
/// # Safety
/// `frame` points to an edc_frame of the size it says, whose parts point to their bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_push_frame(stream: edc_stream, frame: *const edc_frame) -> i32 {
    guard::entry(|| {
        let place = StreamPlace::from_handle(stream)?;
        // SAFETY: by this function's contract.
        let frame = unsafe { raw::read(frame) }?;
        // SAFETY: by this function's contract.
        let verdict = unsafe {
            raw::with_parts(frame.parts, frame.part_count, |parts| {
                place.push(&Frame {
                    parts,
                    pts_us: frame.pts_us,
                    key: frame.flags & EDC_FRAME_KEY != 0,
                })
            })
        }??;
        Ok(verdict.map_or(EDC_DROPPED_CLOSED, bits))
    })
}

/// Counters of a stream since edc_start().
///
/// # Safety
/// `stats` points to an edc_stats of the size it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_get_stats(stream: edc_stream, stats: *mut edc_stats) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        let stream = StreamPlace::from_handle(stream)?;
        let counted = stream.place.find()?.stats(stream.stream)?;
        // SAFETY: by this function's contract.
        unsafe { raw::write(stats, &counted) }?;
        Ok(EDC_OK)
    })
}

/// The handle of the stream that edc_config_add_stream() numbered so. Good until edc_destroy().
///
/// # Safety
/// `stream` points to an edc_stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_get_stream(
    camera: edc_camera,
    number: i32,
    stream: *mut edc_stream,
) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        let instance = crate::table::Place::from_handle(camera)?.find()?;
        let handle = stream_handle(&instance, number)?;
        // SAFETY: by this function's contract.
        unsafe { raw::put(stream, handle) }?;
        Ok(EDC_OK)
    })
}

fn stream_handle(instance: &Instance, number: i32) -> Result<u64, Failure> {
    u8::try_from(number)
        .ok()
        .filter(|number| usize::from(*number) < instance.settings.streams.len())
        .map(|number| instance.place.stream(number).handle())
        .ok_or_else(|| Failure::invalid("no stream of this number was added"))
}

fn bits(verdict: Verdict) -> i32 {
    let Verdict::Dropped { cause, wait_key } = verdict else {
        return EDC_QUEUED;
    };
    let cause = match cause {
        DropCause::NotWanted => EDC_DROPPED_NOT_WANTED,
        DropCause::NotConnected => EDC_DROPPED_NOT_CONNECTED,
        DropCause::NotSelected => EDC_DROPPED_NOT_SELECTED,
        DropCause::WaitKey => EDC_DROPPED_WAITS,
        DropCause::Size => EDC_DROPPED_SIZE,
        DropCause::Closed => EDC_DROPPED_CLOSED,
        _ => EDC_DROPPED_QUEUE,
    };
    cause | if wait_key { EDC_WAIT_KEY } else { 0 }
}
