use std::time::{Instant, SystemTime};

use thiserror::Error;

use crate::media::{AccessUnit, Track};

/// Largest access unit that is put together, in bytes; larger ones are cut and marked lossy.
pub const MAX_ACCESS_UNIT: usize = 8 * 1024 * 1024;

/// One RTP packet of a track, in order, with what is known of its time.
#[derive(Debug, Clone, Copy)]
pub struct MediaPacket<'a> {
    /// RTP payload.
    pub payload: &'a [u8],
    /// The marker bit.
    pub marker: bool,
    /// Unwrapped timestamp.
    pub timestamp: i64,
    /// When it arrived.
    pub arrival: Instant,
    /// The publisher's wall clock of the timestamp, if known.
    pub ntp: Option<SystemTime>,
    /// Packets were lost directly before this one.
    pub lost_before: bool,
}

/// Why a payload was dropped. The access unit that it belongs to is marked lossy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DepacketizeError {
    /// A length runs past the end of the payload.
    #[error("{0} ends early")]
    Truncated(&'static str),
    /// A fragment without its first part.
    #[error("fragment without its start")]
    MissingStart,
    /// A payload structure that is reserved or not supported.
    #[error("payload structure {0} is not supported")]
    Unsupported(u8),
    /// More than [`MAX_ACCESS_UNIT`].
    #[error("access unit is larger than {MAX_ACCESS_UNIT} bytes")]
    TooLarge,
}

/// Puts access units together from the packets of one track.
///
/// One copy of the payload, one allocation per access unit; nothing of the packets is kept.
#[derive(Debug)]
pub struct Depacketizer {
    track: usize,
}

impl Depacketizer {
    /// `index` goes into [`AccessUnit::track`].
    pub fn new(index: usize, _track: &Track) -> Self {
        Self { track: index }
    }

    /// Takes a packet; call [`pop`](Self::pop) until it returns `None` afterwards, also after an
    /// error.
    ///
    /// # Errors
    /// When the payload is broken. The depacketizer goes on with the next packet.
    pub fn push(&mut self, _packet: MediaPacket<'_>) -> Result<(), DepacketizeError> {
        todo!("{}", self.track)
    }

    /// The next complete access unit in decoding order.
    pub fn pop(&mut self) -> Option<AccessUnit> {
        todo!()
    }

    /// Completes the open access unit (end of stream, pause).
    pub fn flush(&mut self) {
        todo!()
    }

    /// The next access unit gets the mark [`AccessUnit::discontinuity`]; what is open is dropped.
    pub fn discontinuity(&mut self) {
        todo!()
    }
}
