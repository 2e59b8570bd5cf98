use thiserror::Error;

use super::PacketRun;
use crate::media::{AccessUnit, Track};

/// Largest RTP payload by default, in bytes: what UDP readers get untouched in a 1500-byte
/// network, tunnels included.
pub const DEFAULT_MAX_PAYLOAD: usize = 1400;

/// Identity and limits of a [`Packetizer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketizerConfig {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number of the first packet.
    pub first_sequence: u16,
    /// Largest payload in bytes; values below 64 are taken as 64.
    pub max_payload: usize,
    /// Interleaved channel.
    pub channel: u8,
}

impl Default for PacketizerConfig {
    fn default() -> Self {
        Self {
            ssrc: 0,
            payload_type: 96,
            first_sequence: 0,
            max_payload: DEFAULT_MAX_PAYLOAD,
            channel: 0,
        }
    }
}

/// Why an access unit cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketizeError {
    /// The size field of the payload format cannot express it.
    #[error("frame of {0} bytes is too large for the payload format")]
    TooLarge(usize),
    /// A NAL unit shorter than its header.
    #[error("NAL unit of {0} bytes has no header")]
    ShortNal(usize),
}

/// Makes RTP packets of access units. Nothing is dropped or put in another order; no allocation
/// once the run has grown to its size.
#[derive(Debug, Clone)]
pub struct Packetizer {
    config: PacketizerConfig,
}

impl Packetizer {
    /// For access units of this track. Codecs that are not understood are sent one packet per element of
    /// [`AccessUnit::data`], which is an RTP payload then.
    pub fn new(_track: &Track, config: PacketizerConfig) -> Self {
        Self { config }
    }

    /// Appends the packets of one access unit to `run`.
    ///
    /// # Errors
    /// When it cannot be expressed in the payload format; nothing is appended then.
    pub fn packetize(
        &mut self,
        _unit: &AccessUnit,
        _rtp_time: u32,
        _run: &mut PacketRun,
    ) -> Result<(), PacketizeError> {
        todo!("{:?}", self.config)
    }

    /// Sequence number of the next packet.
    pub fn next_sequence(&self) -> u16 {
        todo!()
    }

    /// Packets and payload bytes sent so far, as sender reports count them.
    pub fn sent(&self) -> (u32, u32) {
        todo!()
    }
}
