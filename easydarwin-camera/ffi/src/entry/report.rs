use std::ffi::c_char;
use std::time::{Duration, UNIX_EPOCH};

use easydarwin_camera::control::{ClockQuality, DeviceEvent, EventLevel};

use crate::abi::*;
use crate::failure::Failure;
use crate::table::Place;
use crate::{guard, raw, system};

/// It is `utc_us` microseconds since 1970 (UTC) now, known as well as EDC_CLOCK_... says. From now on sender reports,
/// events and snapshots are dated by it, and CMS and media servers are told the quality; the times of frames do not
/// move. The library never asks the system for the time of day: without this call the CMS tells it.
/// After EDC_CLOCK_NTP the CMS sets it no more; EDC_CLOCK_UNSET forgets it, `utc_us` is not looked at then.
#[unsafe(no_mangle)]
pub extern "C" fn edc_set_clock(camera: edc_camera, utc_us: i64, quality: i32) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        let quality = match quality {
            EDC_CLOCK_UNSET => ClockQuality::Unset,
            EDC_CLOCK_SERVER => ClockQuality::Server,
            EDC_CLOCK_RTC => ClockQuality::Rtc,
            EDC_CLOCK_NTP => ClockQuality::Ntp,
            _ => return Err(Failure::invalid("no such quality of a clock")),
        };
        let utc_us = if quality == ClockQuality::Unset {
            0
        } else {
            utc_us
        };
        let wall = u64::try_from(utc_us)
            .ok()
            .and_then(|us| UNIX_EPOCH.checked_add(Duration::from_micros(us)))
            .ok_or_else(|| Failure::invalid("the time is before 1970"))?;
        let instance = Place::from_handle(camera)?.find()?;
        instance.set_clock(wall, quality);
        Ok(EDC_OK)
    })
}

/// Tells the CMS what happened, for its log of events: `name` in your words (1 to 64 of a-z 0-9 . _ -, for example
/// motion.begun), EDC_LEVEL_..., the channel that it is about or 0, and what else is known as a JSON object of at
/// most 2048 bytes, or NULL. Events wait for a CMS that is away, the newest 32 of them; more than one a
/// second, after ten at once, have to wait. EDC_ERR_UNSUPPORTED when there is no CMS or it takes no events, EDC_ERR_AGAIN
/// when too many come at once; both drop the event.
///
/// # Safety
/// The texts end with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_send_event(
    camera: edc_camera,
    name: *const c_char,
    level: i32,
    channel: u32,
    json: *const c_char,
) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        // SAFETY: by this function's contract.
        let name = unsafe { raw::text(name, "name") }?;
        let mut event = DeviceEvent::new(name).level(level_of(level)?);
        event.channel = Some(channel).filter(|channel| *channel != 0);
        // SAFETY: by this function's contract.
        unsafe { tell(camera, event, json) }
    })
}

/// Tells the CMS how the device is: EDC_LEVEL_..., and what is known, as with edc_send_event(). Only the newest one
/// counts; sent at most every 10 s.
///
/// # Safety
/// The text is NULL or ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_send_health(
    camera: edc_camera,
    level: i32,
    json: *const c_char,
) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        let event = DeviceEvent::health(level_of(level)?);
        // SAFETY: by this function's contract.
        unsafe { tell(camera, event, json) }
    })
}

/// Sends the CMS a JPEG of a channel (from 1), at most EDC_MAX_SNAPSHOT bytes, which is copied: after
/// EDC_EVENT_SNAPSHOT, or by yourself. One that still waits is replaced. EDC_EVENT_SNAPSHOT_SENT follows when the CMS
/// has taken it; while the CMS is away it is dropped. EDC_ERR_UNSUPPORTED without a CMS.
///
/// # Safety
/// `jpeg` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_send_snapshot(
    camera: edc_camera,
    channel: u32,
    jpeg: *const u8,
    length: u32,
) -> i32 {
    guard::entry(|| {
        system::check_process()?;
        // SAFETY: by this function's contract.
        let jpeg = unsafe { raw::bytes(jpeg, length) }?;
        let instance = Place::from_handle(camera)?.find()?;
        instance.send_snapshot(channel, jpeg)?;
        Ok(EDC_OK)
    })
}

/// # Safety
/// `json` is NULL or ends with a 0.
unsafe fn tell(
    camera: edc_camera,
    mut event: DeviceEvent,
    json: *const c_char,
) -> Result<i32, Failure> {
    if !json.is_null() {
        // SAFETY: by this function's contract.
        let json = unsafe { raw::text(json, "json") }?;
        event = event
            .with_json(json)
            .map_err(|error| Failure::invalid(error.to_string()))?;
    }
    let instance = Place::from_handle(camera)?.find()?;
    instance.send_event(event)?;
    Ok(EDC_OK)
}

fn level_of(level: i32) -> Result<EventLevel, Failure> {
    match level {
        EDC_LEVEL_INFO => Ok(EventLevel::Info),
        EDC_LEVEL_WARNING => Ok(EventLevel::Warning),
        EDC_LEVEL_CRITICAL => Ok(EventLevel::Critical),
        _ => Err(Failure::invalid("no such level")),
    }
}
