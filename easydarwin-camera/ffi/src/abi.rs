//! What C sees: structs, constants, codes.
//!
//! Structs that cross the border begin with their size and grow only at the end; numbers are never
//! given another meaning. Only `int32_t`, `uint32_t`, `int64_t`, `uint64_t` and pointers.

use std::ffi::{c_char, c_void};

/// Version of this interface. It is also the number in the shared library's name, and grows
/// when a program that was built before would no longer run.
pub const EDC_ABI_VERSION: u32 = 1;

/// It worked.
pub const EDC_OK: i32 = 0;
/// An argument is NULL, out of range or no UTF-8.
pub const EDC_ERR_INVALID: i32 = -1;
/// No such camera or stream; it may have been destroyed.
pub const EDC_ERR_HANDLE: i32 = -2;
/// Not enough memory.
pub const EDC_ERR_NOMEM: i32 = -3;
/// Another thread is in the same call: one thread at a time pushes into a stream or takes events.
pub const EDC_ERR_BUSY: i32 = -4;
/// From inside a callback this would wait for itself.
pub const EDC_ERR_DEADLOCK: i32 = -5;
/// The process is a child of the one that started the camera.
pub const EDC_ERR_FORKED: i32 = -6;
/// A fault inside the library was caught; edc_last_error() tells where.
pub const EDC_ERR_PANIC: i32 = -7;
/// Nothing happened in the time given.
pub const EDC_ERR_TIMEOUT: i32 = -8;
/// The camera is being destroyed.
pub const EDC_ERR_CLOSED: i32 = -9;
/// This build, codec or mode has no such thing.
pub const EDC_ERR_UNSUPPORTED: i32 = -10;
/// Something that a camera needs was not set; edc_last_error() names it.
pub const EDC_ERR_CONFIG: i32 = -11;
/// All EDC_MAX_CAMERAS cameras are in use.
pub const EDC_ERR_FULL: i32 = -12;
/// The system refused something; edc_last_error() tells what.
pub const EDC_ERR_SYSTEM: i32 = -13;
/// No command of this number waits for an answer; it may have come too late.
pub const EDC_ERR_NO_COMMAND: i32 = -14;
/// Too much of this waits already; try again later.
pub const EDC_ERR_AGAIN: i32 = -15;

/// Cameras in one process.
pub const EDC_MAX_CAMERAS: u32 = 64;
/// Elementary streams (video and audio counted apart) of one camera.
pub const EDC_MAX_STREAMS: u32 = 8;
/// Pieces of one frame.
pub const EDC_MAX_PARTS: u32 = 64;
/// Bytes of a snapshot.
pub const EDC_MAX_SNAPSHOT: u32 = 1_000_000;

/// H.264; frames are NAL units with start codes (Annex B), all of one picture.
pub const EDC_CODEC_H264: i32 = 1;
/// H.265; frames as with H.264.
pub const EDC_CODEC_H265: i32 = 2;
/// JPEG pictures, baseline, at most 2040 pixels a side.
pub const EDC_CODEC_MJPEG: i32 = 3;
/// AAC-LC; one frame, with or without ADTS header.
pub const EDC_CODEC_AAC: i32 = 16;
/// G.711 A-law, 8 kHz.
pub const EDC_CODEC_G711A: i32 = 17;
/// G.711 µ-law, 8 kHz.
pub const EDC_CODEC_G711U: i32 = 18;
/// G.726, 8 kHz; 32 kbit/s in the order of RFC 3551 unless set otherwise.
pub const EDC_CODEC_G726: i32 = 19;
/// Opus; one packet.
pub const EDC_CODEC_OPUS: i32 = 20;

/// The first sample in the least significant bits (RFC 3551).
pub const EDC_G726_RFC3551: i32 = 0;
/// The first sample in the most significant bits (ITU-T I.366.2).
pub const EDC_G726_AAL2: i32 = 1;

/// Media inside the RTSP connection: passes every firewall.
pub const EDC_TRANSPORT_TCP: i32 = 0;
/// Media over UDP; over TCP where the media server refuses it.
pub const EDC_TRANSPORT_UDP: i32 = 1;

/// From a function of edc_tls: the socket has nothing to read; call again when it has.
pub const EDC_TLS_WANT_READ: i32 = -0x10001;
/// From a function of edc_tls: the socket takes no more; call again when it does.
pub const EDC_TLS_WANT_WRITE: i32 = -0x10002;

/// Decoding can begin at this frame. Need not be set for H.264 and H.265, whose slices tell.
pub const EDC_FRAME_KEY: u32 = 1;

/// The frame waits to be sent.
pub const EDC_QUEUED: i32 = 1;
/// Dropped: nobody wants this stream now.
pub const EDC_DROPPED_NOT_WANTED: i32 = 2;
/// Dropped: wanted, but the media server is not reached yet, or no longer.
pub const EDC_DROPPED_NOT_CONNECTED: i32 = 4;
/// Dropped: the queue is full; the uplink is too slow.
pub const EDC_DROPPED_QUEUE: i32 = 8;
/// Dropped: what it needs was dropped before, so it waits for a key frame.
pub const EDC_DROPPED_WAITS: i32 = 16;
/// Dropped: empty, or larger than half of the queue.
pub const EDC_DROPPED_SIZE: i32 = 32;
/// Dropped: the camera starts anew after a fault, or ends.
pub const EDC_DROPPED_CLOSED: i32 = 64;
/// Dropped: the other one of main and sub stream is sent.
pub const EDC_DROPPED_NOT_SELECTED: i32 = 128;
/// Beside a drop: everything up to the next key frame will be dropped; ask the encoder for one.
pub const EDC_WAIT_KEY: i32 = 256;

/// The CMS took the registration; `text` is its address.
pub const EDC_EVENT_REGISTERED: i32 = 1;
/// No connection to the CMS; it is tried again. `text` says why.
pub const EDC_EVENT_DISCONNECTED: i32 = 2;
/// The stream of `channel` is wanted; `text` is the URL, without token and password.
pub const EDC_EVENT_PUSH_REQUESTED: i32 = 3;
/// Media of `channel` flows.
pub const EDC_EVENT_PUSH_STARTED: i32 = 4;
/// The push of `channel` was cut or refused; `text` says why. It is tried again while wanted.
pub const EDC_EVENT_PUSH_FAILED: i32 = 5;
/// The stream of `channel` is no longer wanted.
pub const EDC_EVENT_PUSH_STOPPED: i32 = 6;
/// The CMS took a snapshot of `channel`.
pub const EDC_EVENT_SNAPSHOT_SENT: i32 = 7;
/// The CMS `detail` refused this camera, `text` says how: key or serial have to be corrected. It is
/// tried again after `value` ms.
pub const EDC_EVENT_LOGIN_REFUSED: i32 = 8;
/// Command: move, zoom, focus. `text` is STOP, UP, DOWN, LEFT, RIGHT, ZOOMIN..., `detail`
/// CONTINUOUS or SINGLE, `argument` the speed.
pub const EDC_EVENT_PTZ: i32 = 32;
/// Command: `text` is GOTO, SET or REMOVE, `argument` the preset's number.
pub const EDC_EVENT_PRESET: i32 = 33;
/// Command: somebody wants to talk; `detail` is G711A, G711U or G726 (16 kbit/s), 8000 samples a second. Answered
/// with 200, EDC_EVENT_SPEECH follows.
pub const EDC_EVENT_TALKBACK: i32 = 34;
/// Speech to be played now, in `data`: it comes in pace, 20 ms at a time. Without data it is missing: play
/// silence. `value` is its place in what is said, in ms.
pub const EDC_EVENT_SPEECH: i32 = 35;
/// Nobody talks on `channel` any more.
pub const EDC_EVENT_TALKBACK_ENDED: i32 = 36;
/// Command: start anew, a moment after the answer.
pub const EDC_EVENT_REBOOT: i32 = 37;
/// Command: set these values, all of them or none; `text` has a line `name=value` for each.
pub const EDC_EVENT_CONFIG: i32 = 38;
/// The CMS wants a picture of `channel`: edc_send_snapshot(). After each registration, then every 3 minutes, and when
/// somebody asks; only with EDC_COMMAND_SNAPSHOT. Several wishes are one.
pub const EDC_EVENT_SNAPSHOT: i32 = 39;
/// Set the encoder of `channel` to `value` bits per second. Only the newest wish is kept.
pub const EDC_EVENT_BITRATE: i32 = 64;
/// Make a key frame on `stream`: a push begins, or a picture was dropped. Several wishes are one.
pub const EDC_EVENT_KEYFRAME: i32 = 65;
/// Send the main stream of `channel` (`value` 0), or the sub stream (1). Only the newest wish is kept.
pub const EDC_EVENT_SELECT: i32 = 66;
/// A fault in the network's thread was caught; `text` tells where. The camera starts anew
/// after `value` ms, its handles stay good.
pub const EDC_EVENT_FAULT: i32 = 96;

/// Kinds of commands, as bits: EDC_EVENT_PTZ.
pub const EDC_COMMAND_PTZ: i32 = 1;
/// EDC_EVENT_PRESET.
pub const EDC_COMMAND_PRESET: i32 = 2;
/// EDC_EVENT_TALKBACK.
pub const EDC_COMMAND_TALKBACK: i32 = 4;
/// EDC_EVENT_REBOOT.
pub const EDC_COMMAND_REBOOT: i32 = 8;
/// EDC_EVENT_CONFIG.
pub const EDC_COMMAND_CONFIG: i32 = 16;
/// EDC_EVENT_SNAPSHOT.
pub const EDC_COMMAND_SNAPSHOT: i32 = 32;

/// Nobody knows what time it is.
pub const EDC_CLOCK_UNSET: i32 = 0;
/// The time comes from a server's answer; good to half a round trip.
pub const EDC_CLOCK_SERVER: i32 = 1;
/// The time comes from a clock with a battery, which drifts.
pub const EDC_CLOCK_RTC: i32 = 2;
/// The time is kept by NTP or PTP.
pub const EDC_CLOCK_NTP: i32 = 3;

/// Good to know; a health that is as it should be.
pub const EDC_LEVEL_INFO: i32 = 0;
/// Somebody should look.
pub const EDC_LEVEL_WARNING: i32 = 1;
/// Somebody has to act.
pub const EDC_LEVEL_CRITICAL: i32 = 2;

/// A camera; 0 is none.
#[allow(non_camel_case_types)]
pub type edc_camera = u64;
/// An elementary stream of a camera; 0 is none.
#[allow(non_camel_case_types)]
pub type edc_stream = u64;

/// Takes events on a thread of the SDK. `event` and what it points to are good until the call
/// returns. It must not throw or longjmp; it may call everything but edc_destroy().
#[allow(non_camel_case_types)]
pub type edc_event_callback =
    Option<unsafe extern "C" fn(user: *mut c_void, camera: edc_camera, event: *const edc_event)>;

/// Takes lines of the log: `level` is 1 error, 2 warning, 3 info, 4 debug. Called on the threads of
/// the SDK. It must not throw or longjmp, nor block.
#[allow(non_camel_case_types)]
pub type edc_log_callback =
    Option<unsafe extern "C" fn(user: *mut c_void, level: i32, text: *const c_char)>;

/// A piece of a frame.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct edc_part {
    /// Where it begins.
    pub data: *const u8,
    /// Bytes.
    pub length: u32,
}

/// One encoded picture or audio frame, in as many pieces as the encoder gave.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct edc_frame {
    /// sizeof(edc_frame).
    pub size: u32,
    /// EDC_FRAME_... bits.
    pub flags: u32,
    /// When it was captured: microseconds of a monotonic clock, the same for all streams of a channel.
    pub pts_us: i64,
    /// The pieces, in their order.
    pub parts: *const edc_part,
    /// Number of pieces, 1 to EDC_MAX_PARTS.
    pub part_count: u32,
}

/// What happened, or what somebody wants. Pointers are never NULL; unused texts are empty. They are good
/// until the next edc_next_event() of the same camera, or its edc_destroy().
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct edc_event {
    /// sizeof(edc_event).
    pub size: u32,
    /// EDC_EVENT_...
    pub kind: i32,
    /// Channel, from 1; 0 when it concerns none.
    pub channel: u32,
    /// Events that were dropped before this one, because nobody took them.
    pub lost: u32,
    /// Not 0: a command, to be answered with edc_reply() within 10 s.
    pub command: u64,
    /// See the event's kind.
    pub value: i64,
    /// The stream that it concerns; 0 when none.
    pub stream: edc_stream,
    /// See the event's kind.
    pub text: *const c_char,
    /// See the event's kind.
    pub detail: *const c_char,
    /// See the event's kind.
    pub argument: *const c_char,
    /// See the event's kind; NULL when there is none.
    pub data: *const u8,
    /// Bytes of `data`.
    pub data_length: u32,
}

/// Counters of a stream since edc_start().
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct edc_stats {
    /// sizeof(edc_stats).
    pub size: u32,
    /// Times that the network's thread was built anew after a fault.
    pub faults: u32,
    /// Frames given to edc_push_frame(). Each was sent, dropped by one of the causes below, or waits.
    pub pushed: u64,
    /// Frames handed to the network.
    pub sent: u64,
    /// Frames dropped because nobody wanted them.
    pub dropped_not_wanted: u64,
    /// Frames dropped because the media server was not reached.
    pub dropped_not_connected: u64,
    /// Frames dropped because the queue was full.
    pub dropped_queue: u64,
    /// Frames dropped because what they need was dropped.
    pub dropped_waits: u64,
    /// Frames dropped in the queue because they had become older than the longest latency.
    pub dropped_late: u64,
    /// Frames dropped in the queue because the push ended.
    pub dropped_push_ended: u64,
    /// Frames dropped because of their size.
    pub dropped_size: u64,
    /// Frames dropped because they are not what the codec says.
    pub dropped_format: u64,
    /// Frames dropped during a new start or the end.
    pub dropped_closed: u64,
    /// Events dropped because nobody took them.
    pub events_lost: u64,
    /// Frames dropped because the other one of main and sub stream was sent.
    pub dropped_not_selected: u64,
}

/// A TLS library of yours for `tls://` and `rtsps://` addresses: see edc_config_set_tls(). The camera connects the
/// socket and closes it; the functions speak TLS on it. `user` is the pointer that was given with the table, `session`
/// what `open` returned. They run on the camera's network thread, one at a time for each camera, with at least 100 KiB of
/// stack left, and must not wait for the network, throw or longjmp.
///
/// A negative result that is not EDC_TLS_WANT_... ends the connection; the library's own codes (mbedTLS) can be returned as
/// they are.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct edc_tls {
    /// sizeof(edc_tls).
    pub size: u32,
    /// Makes a session on the connected, non-blocking socket `fd` with the server `host` (a name or an IP
    /// address, good until this returns), and sends nothing. NULL when that fails. It must neither close `fd` nor
    /// make it block.
    pub open: Option<
        unsafe extern "C" fn(user: *mut c_void, fd: i32, host: *const c_char) -> *mut c_void,
    >,
    /// Goes on with the handshake. 0: it is done, and the certificate is believed and names the host.
    pub handshake: Option<unsafe extern "C" fn(user: *mut c_void, session: *mut c_void) -> i32>,
    /// Reads up to `length` bytes into `data` and returns how many; 0: the server has ended the stream, with
    /// or without a goodbye. EDC_TLS_WANT_READ only when nothing that was received is left inside.
    pub read: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            session: *mut c_void,
            data: *mut u8,
            length: u32,
        ) -> i32,
    >,
    /// Takes up to `length` bytes (at most 16384) and returns how many. After EDC_TLS_WANT_... it is called with the same
    /// arguments until it returns something else.
    pub write: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            session: *mut c_void,
            data: *const u8,
            length: u32,
        ) -> i32,
    >,
    /// Frees a session; it may say goodbye as far as the socket takes that at once.
    pub close: Option<unsafe extern "C" fn(user: *mut c_void, session: *mut c_void)>,
    /// Writes what `code` means into `text`, which has room for `size` bytes and ends with a 0; it reaches the log and the
    /// events. `session` is NULL and `code` 0 when `open` failed. May be NULL.
    pub describe: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            session: *mut c_void,
            code: i32,
            text: *mut c_char,
            size: u32,
        ),
    >,
}

/// What a camera is to run with; made by edc_config_new().
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct edc_config {
    pub(crate) settings: crate::config::Settings,
}
