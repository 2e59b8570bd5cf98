use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{ControlError, ReaderEnd, ReaderInfo, Sink, UdpTarget};

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the last key frame: a picture at once, up to a picture group behind.
    #[default]
    Key,
    /// At the next key frame: no delay, no picture until then.
    Live,
}

/// A track and the interleaved channels under which a reader wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackChannels {
    /// Index into [`Stream::description`](super::Stream::description).
    pub track: usize,
    /// Channel for RTP; canonical is `2 * track`.
    pub rtp: u8,
    /// Channel for RTCP; canonical is `2 * track + 1`.
    pub rtcp: u8,
}

/// What a reader wants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// The tracks; `None`: all, on their canonical channels (the fast path).
    pub tracks: Option<Vec<TrackChannels>>,
    /// Where it starts.
    pub start: Start,
    /// `None`: [`RelayConfig::max_lag`](super::RelayConfig::max_lag).
    pub max_lag: Option<Duration>,
    /// `None`: [`RelayConfig::stall_timeout`](super::RelayConfig::stall_timeout).
    pub stall_timeout: Option<Duration>,
    /// When skipping pictures, send the audio between all the same.
    pub keep_audio: bool,
    /// Counts as a viewer.
    pub viewer: bool,
    /// Peer or purpose, for logs and the API.
    pub label: Arc<str>,
}

impl ReaderOptions {
    /// All tracks from the last key frame, counted as a viewer.
    pub fn new(label: impl Into<Arc<str>>) -> Self {
        Self {
            tracks: None,
            start: Start::Key,
            max_lag: None,
            stall_timeout: None,
            keep_audio: false,
            viewer: true,
            label: label.into(),
        }
    }
}

/// First values of a track for the `RTP-Info` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpInfo {
    /// Index of the track.
    pub track: usize,
    /// Sequence number of the first packet; `None`: not known yet, leave it out.
    pub seq: Option<u16>,
    /// RTP time of the first packet; `None`: not known yet, leave it out.
    pub rtptime: Option<u32>,
}

/// A reader whose start is fixed but to which nothing is written yet: make it before the PLAY
/// response, start it after the response is flushed.
#[derive(Debug)]
pub struct PreparedReader {}

impl PreparedReader {
    /// For the `RTP-Info` header, in the order of the tracks asked for.
    pub fn rtp_info(&self) -> Vec<RtpInfo> {
        todo!()
    }

    /// Starts writing interleaved frames: one sender report per track, then units.
    pub fn start(self, sink: impl Sink) -> ReaderHandle {
        todo!()
    }

    /// Starts sending datagrams.
    pub fn start_udp(self, target: UdpTarget) -> ReaderHandle {
        todo!()
    }
}

/// What [`ReaderHandle::stop`] gives back.
#[derive(Debug)]
pub struct StoppedReader {
    /// The sink, when it still works (never for UDP).
    pub sink: Option<Box<dyn Sink>>,
    /// Write this first: the rest of a half sent packet and answers that waited.
    pub pending: Bytes,
}

/// A running reader. Dropping it stops the reader.
#[derive(Debug)]
pub struct ReaderHandle {}

impl ReaderHandle {
    /// Sends bytes (an RTSP answer) at the next packet boundary, before further units.
    ///
    /// # Errors
    /// [`ControlError`] when too much waits or the reader has ended.
    pub fn control(&self, bytes: Bytes) -> Result<(), ControlError> {
        todo!()
    }

    /// Takes writing back (PAUSE, TEARDOWN). The stream's position is lost.
    pub async fn stop(self) -> StoppedReader {
        todo!()
    }

    /// Resolves when the reader has ended by itself.
    pub fn ended(&self) -> impl Future<Output = ReaderEnd> + Send + 'static {
        async { todo!() }
    }

    /// When the kernel last took bytes; over UDP, when the peer's last RTCP came.
    pub fn last_life(&self) -> std::time::Instant {
        todo!()
    }

    /// Counters.
    pub fn info(&self) -> ReaderInfo {
        todo!()
    }
}
