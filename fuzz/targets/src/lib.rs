//! What the fuzzer runs, and the tests replay over the corpora: one function per target, any
//! bytes in. A target fails by panicking, be it in the code under test or by an assertion here.
//!
//! The programs around them are in `fuzz/fuzz_targets`, the inputs in `fuzz/corpus`.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod camera;
mod input;
mod media;
mod messages;
mod rtp;
mod rtsp;
mod session;
mod wire;

pub use camera::camera;
pub use media::{camera_files, parameter_sets, sdp};
pub use messages::{access, protocol};
pub use rtp::{depacketize, packetize, rtp};
pub use rtsp::{rtsp_client, rtsp_parser, rtsp_values};
pub use session::rtsp_server;
pub use wire::wire;

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// All targets by the names of their programs and corpora.
pub const TARGETS: [Target; 14] = [
    ("access", access),
    ("camera", camera),
    ("camera_files", camera_files),
    ("depacketize", depacketize),
    ("packetize", packetize),
    ("parameter_sets", parameter_sets),
    ("protocol", protocol),
    ("rtp", rtp),
    ("rtsp_client", rtsp_client),
    ("rtsp_parser", rtsp_parser),
    ("rtsp_server", rtsp_server),
    ("rtsp_values", rtsp_values),
    ("sdp", sdp),
    ("wire", wire),
];

/// Counts what is allocated, so that targets can hold the code to its limits. Only one target may
/// run at a time.
#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Memory taken since it was made.
struct Meter(Region<'static, System>);

impl Meter {
    fn new() -> Self {
        Self(Region::new(HEAP))
    }

    /// Bytes that are held now and were not then.
    fn held(&self) -> usize {
        let change = self.0.change();
        change
            .bytes_allocated
            .saturating_sub(change.bytes_deallocated)
    }
}
