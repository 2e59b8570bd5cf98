//! Session descriptions (RFC 8866) as cameras write them and as players want them.

mod formats;
mod parse;
mod repair;
mod write;

use thiserror::Error;

pub use parse::parse;
pub use write::{WriteOptions, write};

/// Longest description that is read, in bytes.
pub const MAX_SDP_LEN: usize = 64 * 1024;
/// Most media sections that are read.
pub const MAX_TRACKS: usize = 16;

/// Why a session description was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Longer than [`MAX_SDP_LEN`].
    #[error("session description of {0} bytes is longer than the limit of {MAX_SDP_LEN}")]
    TooLong(usize),
    /// No `m=` line: nothing to carry.
    #[error("session description has no media section (m= line)")]
    NoTracks,
    /// More media sections than [`MAX_TRACKS`].
    #[error("session description has {0} media sections, more than the limit of {MAX_TRACKS}")]
    TooManyTracks(usize),
    /// Not SDP, also after the repair of known oddities.
    #[error("session description cannot be read: {0}")]
    Syntax(String),
}

#[cfg(test)]
mod tests;
