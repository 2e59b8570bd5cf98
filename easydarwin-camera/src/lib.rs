//! The camera's side of EasyDarwin: a device that registers at the CMS, waits, and pushes RTSP to
//! a media server when it is asked to.
//!
//! Layers, each usable without the ones above:
//!
//! - [`frames`]: where an encoder's thread puts its frames: a queue that never makes it wait, drops
//!   in whole tails of picture groups when the uplink is too slow, and counts what it drops.
//! - [`source`]: frames that are asked for instead. [`MediaSource`](source::MediaSource) is the
//!   trait; with the feature `sources` there are a test picture, files and other RTSP cameras.
//! - [`feedback`]: what the encoder is told: the bitrate that the uplink carries, main or sub stream,
//!   key frames.
//! - [`control`]: the conversation with the CMS as a state machine without sockets and clocks:
//!   bytes, commands and time in, bytes and events out.
//! - [`push`]: one channel's media to a media server, in the same manner.
//! - [`engine`]: both as one camera without sockets and clocks, for a program with a loop of its own.
//! - [`Camera`]: all of it in one future for tokio: connects, logs in, pushes, comes back after faults.
//!
//! ```no_run
//! # #[cfg(feature = "sources")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use easydarwin_camera::{Camera, source::PatternSource};
//!
//! let camera = Camera::builder()
//!     .serial("001001000099")
//!     .key("the key that the CMS gave for this serial")
//!     .cms("127.0.0.1:10000")
//!     .source(PatternSource::new("001001000099"))
//!     .build()?;
//! camera.run(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
//! # Ok(()) }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod control;
pub mod engine;
pub mod feedback;
pub mod frames;
pub mod push;
#[cfg(unix)]
pub mod socket;
pub mod source;

mod backoff;
mod camera;
mod civil;
mod url;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use source::fuzz_file;

pub use camera::{
    BuildError, Camera, CameraBuilder, CameraCommand, CameraEvent, CameraHandle, SnapshotVerdict,
};
pub use push::PushTransport;

/// How the camera names itself to CMS and media servers.
const USER_AGENT: &str = concat!("EasyDarwinCamera/", env!("CARGO_PKG_VERSION"));
