use std::ffi::{c_char, c_void};

use easydarwin_core::client::ForeignTls;

use crate::abi::*;
use crate::callback::{Callback, TlsFunctions};
use crate::config::Settings;
use crate::failure::Failure;
use crate::tls::VendorTls;
use crate::{guard, raw};

/// A configuration with the defaults; NULL without memory. Free it with edc_config_free().
#[unsafe(no_mangle)]
pub extern "C" fn edc_config_new() -> *mut edc_config {
    guard::catch(|| {
        Box::into_raw(Box::new(edc_config {
            settings: Settings::new(),
        }))
    })
    .unwrap_or(std::ptr::null_mut())
}

/// Frees a configuration; cameras that were started with it go on. NULL is let pass.
///
/// # Safety
/// `config` is NULL, or came from edc_config_new() and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_free(config: *mut edc_config) {
    let _ = guard::catch(|| {
        if !config.is_null() {
            // SAFETY: it was made by `Box::into_raw` in `edc_config_new`, by this function's contract.
            drop(unsafe { Box::from_raw(config) });
        }
    });
}

/// Changes a configuration.
///
/// # Safety
/// `config` is NULL, or came from edc_config_new(), was not freed, and is not in use elsewhere.
unsafe fn change(
    config: *mut edc_config,
    work: impl FnOnce(&mut Settings) -> Result<(), Failure>,
) -> i32 {
    guard::entry(|| {
        // SAFETY: NULL or a configuration that nobody else uses, by this function's contract.
        let config = unsafe { config.as_mut() };
        let config = config.ok_or_else(|| Failure::invalid("the configuration is NULL"))?;
        work(&mut config.settings)?;
        Ok(EDC_OK)
    })
}

/// Keeps a text in a configuration.
///
/// # Safety
/// As with `change`; `text` is NULL or ends with a 0.
unsafe fn keep(
    config: *mut edc_config,
    text: *const c_char,
    name: &str,
    work: impl FnOnce(&mut Settings, String),
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            work(settings, raw::text(text, name)?.to_owned());
            Ok(())
        })
    }
}

/// The device's serial: 1 to 64 of A-Z a-z 0-9 _ -. Needed.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_serial(
    config: *mut edc_config,
    serial: *const c_char,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        keep(config, serial, "serial", |settings, text| {
            settings.serial = text
        })
    }
}

/// The name in device lists; the serial by default.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_name(config: *mut edc_config, name: *const c_char) -> i32 {
    // SAFETY: by this function's contract.
    unsafe { keep(config, name, "name", |settings, text| settings.name = text) }
}

/// The tag in device lists; none by default.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_tag(config: *mut edc_config, tag: *const c_char) -> i32 {
    // SAFETY: by this function's contract.
    unsafe { keep(config, tag, "tag", |settings, text| settings.tag = text) }
}

/// The key that the CMS made for this serial: proven, never sent. This or a token is needed with a CMS.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_key(config: *mut edc_config, key: *const c_char) -> i32 {
    // SAFETY: by this function's contract.
    unsafe { keep(config, key, "key", |settings, text| settings.key = text) }
}

/// A token in the old manner, sent in plain. Not used beside a key.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_token(
    config: *mut edc_config,
    token: *const c_char,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        keep(config, token, "token", |settings, text| {
            settings.token = text
        })
    }
}

/// A CMS as host:port, or tls://host:port with a TLS library (edc_config_set_tls()); several are tried in turn.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_add_cms(
    config: *mut edc_config,
    address: *const c_char,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        keep(config, address, "address", |settings, text| {
            settings.cms.push(text)
        })
    }
}

/// Not 0: also a CMS without TLS that does not prove that it knows the key is taken, as those of old. Without this call a
/// camera with a key refuses it (EDC_EVENT_LOGIN_REFUSED): anybody who takes the CMS's place could let it in.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_unproven_cms(config: *mut edc_config, taken: i32) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.unproven_cms = taken != 0;
            Ok(())
        })
    }
}

/// Pushes the first channel to this rtsp:// (or, with a TLS library, rtsps://) URL all the time, also without a CMS.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_push_to(
    config: *mut edc_config,
    url: *const c_char,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe { keep(config, url, "url", |settings, text| settings.push_to = text) }
}

/// Adds an elementary stream to a channel (from 1): EDC_CODEC_... Returns its number, from 0. All streams of a
/// channel are pushed together.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_add_stream(
    config: *mut edc_config,
    channel: u32,
    codec: i32,
) -> i32 {
    let mut number = 0;
    // SAFETY: by this function's contract.
    let code = unsafe {
        change(config, |settings| {
            number = settings.add_stream(channel, codec)?;
            Ok(())
        })
    };
    if code == EDC_OK { number } else { code }
}

/// Adds the sub stream of a channel: the small pictures of its first video stream, in the same codec, which are sent
/// instead when EDC_EVENT_SELECT says so. Push both, always. Returns its number.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_add_sub_stream(config: *mut edc_config, channel: u32) -> i32 {
    let mut number = 0;
    // SAFETY: by this function's contract.
    let code = unsafe {
        change(config, |settings| {
            number = settings.add_sub_stream(channel)?;
            Ok(())
        })
    };
    if code == EDC_OK { number } else { code }
}

/// Parameters of a stream that are known before its first frame. H.264 and H.265: the parameter sets with start
/// codes. AAC: the AudioSpecificConfig. Optional: parameter sets are taken from key frames, too.
///
/// # Safety
/// `config` came from edc_config_new(); `data` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_stream_extra(
    config: *mut edc_config,
    stream: i32,
    data: *const u8,
    length: u32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.set_extra(stream, raw::bytes(data, length)?)
        })
    }
}

/// Samples a second and channels of an audio stream; needed for AAC without AudioSpecificConfig.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_stream_audio(
    config: *mut edc_config,
    stream: i32,
    rate: u32,
    channels: u32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.set_audio(stream, rate, channels)
        })
    }
}

/// Bits a second (16000, 24000, 32000 or 40000) and order of bits (EDC_G726_...) of a G.726 stream.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_stream_g726(
    config: *mut edc_config,
    stream: i32,
    rate: u32,
    packing: i32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe { change(config, |settings| settings.set_g726(stream, rate, packing)) }
}

/// EDC_TRANSPORT_TCP, the default, or EDC_TRANSPORT_UDP.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_transport(config: *mut edc_config, transport: i32) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.udp = match transport {
                EDC_TRANSPORT_TCP => false,
                EDC_TRANSPORT_UDP => true,
                _ => return Err(Failure::invalid("no such transport")),
            };
            Ok(())
        })
    }
}

/// The interface, for example wwan0, that everything of the camera goes through: CMS, media and speech, TCP and UDP,
/// whatever the routes say. Names of hosts are still looked up as the system does it. Kernels before 5.7 want
/// CAP_NET_RAW for this. When it cannot be had, EDC_EVENT_DISCONNECTED and EDC_EVENT_PUSH_FAILED say so, and it is
/// tried again. Empty, the default: as the routes say.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_interface(
    config: *mut edc_config,
    name: *const c_char,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        keep(config, name, "name", |settings, text| {
            settings.interface = text
        })
    }
}

/// Bytes of each video stream's queue (64 KiB and up, 1 MiB by default; a frame may have half of it) and of each
/// audio stream's (4 KiB and up, 64 KiB by default). Taken at edc_start().
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_queue(
    config: *mut edc_config,
    video_bytes: u32,
    audio_bytes: u32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.set_queue(video_bytes, audio_bytes)
        })
    }
}

/// Frames that have waited longer than `max_latency_ms` (1000 by default) are dropped. A push begins with the last
/// `pre_roll_ms` (0 by default), which must fit into the queue.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_latency(
    config: *mut edc_config,
    max_latency_ms: u32,
    pre_roll_ms: u32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.set_latency(max_latency_ms, pre_roll_ms)
        })
    }
}

/// Asks for advice: EDC_EVENT_BITRATE tells what the uplink carries, within `min_bps` and `max_bps`. The encoder is at
/// `start_bps` when it begins.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_bitrate(
    config: *mut edc_config,
    min_bps: u32,
    max_bps: u32,
    start_bps: u32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.set_bitrate(min_bps, max_bps, start_bps)
        })
    }
}

/// The same for the sub stream, which EDC_EVENT_SELECT asks for when the main one does not fit.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_sub_bitrate(
    config: *mut edc_config,
    min_bps: u32,
    max_bps: u32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.set_sub_bitrate(min_bps, max_bps)
        })
    }
}

/// Which commands this camera can do: EDC_COMMAND_... bits. Others are answered with 501 at once, and clients of the CMS
/// are told so. Without this call: PTZ, presets and talkback.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_commands(config: *mut edc_config, commands: i32) -> i32 {
    // SAFETY: by this function's contract.
    unsafe { change(config, |settings| settings.set_commands(commands)) }
}

/// Name (up to 15 bytes), niceness (-20 to 19; other numbers leave it as it is) and stack (128 KiB and up; 0 for
/// the default of 256 KiB) of the SDK's threads.
///
/// # Safety
/// `config` came from edc_config_new(); the text ends with a 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_thread(
    config: *mut edc_config,
    name: *const c_char,
    nice: i32,
    stack_bytes: u32,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            let nice = (-20..=19).contains(&nice).then_some(nice);
            settings.set_thread(raw::text(name, "name")?, nice, stack_bytes)
        })
    }
}

/// Speaks TLS with a library of yours: what `tls` names is called for addresses with tls:// and rtsps://, with `user`. The
/// table is copied; `user` and what it points to must live as long as the camera. NULL for none.
///
/// Whom it believes is up to it: a CMS that it lets through may send the camera to another one.
///
/// # Safety
/// `config` came from edc_config_new(); `tls` is NULL or points to a table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_tls(
    config: *mut edc_config,
    tls: *const edc_tls,
    user: *mut c_void,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.tls = None;
            if !tls.is_null() {
                let functions = TlsFunctions::of(&raw::read(tls)?);
                let functions = functions.ok_or_else(|| {
                    Failure::invalid("open, handshake, read, write and close are needed")
                })?;
                settings.tls = Some(ForeignTls::new(VendorTls(Callback::new(functions, user))));
            }
            Ok(())
        })
    }
}

/// Calls this function with each event, on a thread of its own; edc_next_event() is not used then. NULL for none.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_event_callback(
    config: *mut edc_config,
    callback: edc_event_callback,
    user: *mut c_void,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.on_event = callback.map(|function| Callback::new(function, user));
            Ok(())
        })
    }
}

/// Calls this function with each line of the log. NULL for none.
///
/// # Safety
/// `config` came from edc_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edc_config_set_log_callback(
    config: *mut edc_config,
    callback: edc_log_callback,
    user: *mut c_void,
) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        change(config, |settings| {
            settings.on_log = callback.map(|function| Callback::new(function, user));
            Ok(())
        })
    }
}
