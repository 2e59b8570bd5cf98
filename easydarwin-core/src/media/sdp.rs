//! Session descriptions (RFC 8866) as cameras write them and as players want them.

use std::net::{IpAddr, Ipv4Addr};

use thiserror::Error;

use super::SessionDescription;

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

/// Reads a session description leniently: known oddities of cameras are repaired first.
///
/// # Errors
/// When it is too long, has no media section, or cannot be read.
pub fn parse(_text: &[u8]) -> Result<SessionDescription, SdpError> {
    todo!()
}

/// The session-level lines of [`write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Address of the `o=` line, and of the `c=` line (whose meaning is only the IP version: it
    /// is written as the unspecified address).
    pub address: IpAddr,
    /// `sess-id` of the `o=` line.
    pub session_id: u64,
    /// `sess-version` of the `o=` line: grows when the description changes.
    pub session_version: u64,
    /// Session-level `a=control`, if any: `*` or an absolute URL.
    pub session_control: Option<String>,
    /// Write `a=range:npt=now-` (live streams for readers).
    pub live_range: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            session_id: 0,
            session_version: 0,
            session_control: None,
            live_range: true,
        }
    }
}

/// Writes a description with one `a=control` per track, given by `control(index)`.
///
/// Payload types are those of the tracks. `a=fmtp` is built from the parameter sets where they
/// are known, else it is the track's own, verbatim.
pub fn write(
    _description: &SessionDescription,
    _options: &WriteOptions,
    _control: impl Fn(usize) -> String,
) -> String {
    todo!()
}
