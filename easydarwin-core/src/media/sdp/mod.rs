//! Session descriptions (RFC 8866) as cameras write them and as players want them.
//!
//! Faults are repaired: [`parse`] says nothing about it, [`parse_repaired`] tells what was done,
//! [`parse_strict`] refuses them.

mod formats;
mod parse;
mod repair;
mod write;

use thiserror::Error;

use super::Repair;

#[cfg(feature = "server")]
pub(crate) use parse::read;
pub use parse::{parse, parse_repaired, parse_strict};
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
    /// It could be repaired, but [`parse_strict`] does not.
    #[error("session description, line {line}: {}", repair.fault())]
    Faulty {
        /// What would have to be done.
        repair: Repair,
        /// Where, counted from 1; for what a media section lacks, its `m=` line.
        line: usize,
    },
}

#[cfg(test)]
mod tests;
