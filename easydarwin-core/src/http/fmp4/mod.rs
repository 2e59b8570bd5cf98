//! Fragmented MP4 (CMAF) from access units: pure, no socket, no clock.
//!
//! [`Muxer`] turns a stream's access units into init segments and samples with decode times;
//! [`boxes`] writes them. HLS, WebSocket and progressive output differ only in how many samples
//! they put into a fragment.

pub(crate) mod boxes;
mod format;
mod lane;
mod muxer;
mod poster;
mod sample;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use format::Format;
pub(crate) use muxer::{Init, Muxed, MuxedSample, Muxer};
pub(crate) use poster::poster;
pub(crate) use sample::Sample;
