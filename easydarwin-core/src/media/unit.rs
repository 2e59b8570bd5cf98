use std::time::{Instant, SystemTime};

use bytes::Bytes;

/// One picture or one audio frame: what taps, muxers and packetizers see.
///
/// Three notions of time meet here: `pts` is the publisher's media clock, `arrival` is when the
/// last byte reached us, `ntp` is the publisher's wall clock if its sender reports told it.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// Index of the track in [`SessionDescription::tracks`](super::SessionDescription::tracks).
    pub track: usize,
    /// Presentation time in ticks of the track's clock, unwrapped; never jumps at 2^32.
    pub pts: i64,
    /// When its last packet arrived (for a source: when it was captured).
    pub arrival: Instant,
    /// The publisher's wall clock for `pts`, once a sender report has told it.
    pub ntp: Option<SystemTime>,
    /// Decoding can start here: H.264 IDR or recovery point with count 0, H.265 IRAP; every
    /// audio frame.
    pub key: bool,
    /// Media time does not continue from the access unit before (swap of publisher, jump of clock).
    pub discontinuity: bool,
    /// Packets before or inside this access unit were lost.
    pub lossy: bool,
    /// NAL units without start codes (video, parameter sets included if they came in band), or
    /// exactly one frame (audio).
    pub data: Vec<Bytes>,
}

impl AccessUnit {
    /// Bytes of payload.
    pub fn len(&self) -> usize {
        self.data.iter().map(Bytes::len).sum()
    }

    /// Whether it holds no payload at all.
    pub fn is_empty(&self) -> bool {
        self.data.iter().all(Bytes::is_empty)
    }
}
