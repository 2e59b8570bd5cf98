//! HLS (RFC 8216) with fMP4 segments.
//!
//! [`Segmenter`](segmenter::Segmenter) and [`Window`](window::Window) are pure; [`Hls`] runs one
//! of them per stream that somebody watches by HLS, and counts sessions.

mod segmenter;
mod sessions;
mod shell;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use sessions::SessionKey;
pub(crate) use shell::{Hls, HlsError, HlsStream};
