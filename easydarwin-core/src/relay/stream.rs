use std::sync::Arc;
use std::time::Instant;

use super::{EndReason, PreparedReader, ReaderOptions, StreamInfo, Tap, TapOptions};
use crate::media::SessionDescription;
use crate::registry::{Principal, StreamPath};

/// What is the same for all readers of a track, whoever publishes (RFC 3550 names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackIdentity {
    /// Synchronization source of all packets.
    pub ssrc: u32,
    /// Payload type of all packets.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock_rate: u32,
}

/// A live stream. Cheap to clone; does not keep it live.
#[derive(Debug, Clone)]
pub struct Stream {}

impl Stream {
    /// Its path.
    pub fn path(&self) -> &StreamPath {
        todo!()
    }

    /// Generation of the current (or last) publisher.
    pub fn generation(&self) -> u64 {
        todo!()
    }

    /// Who publishes.
    pub fn principal(&self) -> Principal {
        todo!()
    }

    /// The tracks as readers see them: canonical payload types, parameter sets as they are now.
    pub fn description(&self) -> Arc<SessionDescription> {
        todo!()
    }

    /// Identities of the tracks, in order.
    pub fn tracks(&self) -> &[TrackIdentity] {
        todo!()
    }

    /// Whether all H.264/H.265 tracks know their parameter sets (R: DESCRIBE may wait for that).
    pub fn has_parameter_sets(&self) -> bool {
        todo!()
    }

    /// A key frame is there (without video: a unit).
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Resolves when the stream is ready; false when it ended before.
    pub async fn ready(&self) -> bool {
        todo!()
    }

    /// Resolves when all parameter sets are known; false when the stream ended before.
    pub async fn parameter_sets(&self) -> bool {
        todo!()
    }

    /// Resolves when the stream has ended.
    pub async fn ended(&self) -> EndReason {
        todo!()
    }

    /// Greatest RTP packet that the track has sent; beyond 1 472 bytes UDP readers cannot have it.
    pub fn max_packet(&self, track: usize) -> usize {
        todo!()
    }

    /// When the last packet came.
    pub fn last_packet(&self) -> Instant {
        todo!()
    }

    /// Fixes where a new reader starts. Unknown tracks in the options are left out.
    pub fn prepare(&self, options: ReaderOptions) -> PreparedReader {
        todo!()
    }

    /// Reads the stream by access unit.
    pub fn tap(&self, options: TapOptions) -> Tap {
        todo!()
    }

    /// Counts one viewer that has no reader of its own (an HLS session) until dropped.
    pub fn viewer(&self) -> Viewer {
        todo!()
    }

    /// Viewers now.
    pub fn viewers(&self) -> usize {
        todo!()
    }

    /// Counters of the stream and all its readers.
    pub fn info(&self) -> StreamInfo {
        todo!()
    }
}

/// One viewer, counted until dropped; see [`Stream::viewer`].
#[derive(Debug)]
pub struct Viewer {}
