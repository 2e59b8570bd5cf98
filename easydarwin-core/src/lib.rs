//! Media relay for cameras: RTSP/RTP sessions, ring-buffer fan-out and device-registry traits.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod media;
pub mod rtp;
pub mod rtsp;

pub mod client;
#[cfg(feature = "kernel")]
pub mod kernel;
#[cfg(feature = "tls")]
pub mod tls;
mod wire;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use wire::fuzzing;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "server")]
pub mod forward;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "protocol")]
pub mod protocol;
#[cfg(feature = "server")]
pub mod pull;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(feature = "server")]
pub mod relay;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "sim")]
pub mod sim;
