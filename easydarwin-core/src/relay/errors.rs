use serde::Serialize;
use thiserror::Error;

/// Why a stream was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Somebody else publishes this path and may not be replaced now (RTSP 406).
    #[error(
        "the path has a publisher that may not be replaced: {0}; stop it first or use another path"
    )]
    Busy(&'static str),
    /// The right to publish was given before the current publisher's (RTSP 403).
    #[error("the right to publish is of generation {offered}, generation {current} is live")]
    Stale {
        /// What came.
        offered: u64,
        /// What is live.
        current: u64,
    },
    /// The description has no track (RTSP 400).
    #[error("the description has no track; at least one m= line is needed")]
    NoTracks,
    /// More tracks than [`RelayConfig::tracks`](super::RelayConfig::tracks) (RTSP 406).
    #[error("the description has {0} tracks, more than this server carries")]
    TooManyTracks(usize),
    /// A track whose clock rate is zero (RTSP 400).
    #[error("track {0} has no clock rate; give it an a=rtpmap line")]
    NoClockRate(usize),
    /// More streams than [`RelayConfig::streams`](super::RelayConfig::streams) (RTSP 453).
    #[error("this server carries its greatest number of streams")]
    TooManyStreams,
}

/// Why a stream was not closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// There is no such stream.
    #[error("there is no such stream")]
    NotFound,
    /// A newer publisher is live.
    #[error("the live publisher is of generation {0}")]
    Superseded(u64),
    /// It was to be closed only if nobody views it.
    #[error("the stream has {0} viewers")]
    InUse(usize),
}

/// Why control bytes were not taken for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// More than 64 KiB of answers wait; the reader is being ended.
    #[error("more than 64 KiB of answers wait for a peer that does not read; it is disconnected")]
    Overflow,
    /// The reader has ended.
    #[error("the reader has ended")]
    Ended,
}

/// Why a stream (or its publisher) ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// The publisher said goodbye or its connection closed.
    #[error("the publisher left")]
    PublisherLeft,
    /// Nothing came from the publisher for too long.
    #[error("the publisher was silent too long")]
    Silent,
    /// Another publisher took the path over.
    #[error("another publisher took over")]
    TakenOver,
    /// Another publisher took the path over with other tracks.
    #[error("another publisher took over with other tracks")]
    TracksChanged,
    /// [`Hub::close`](super::Hub::close) was called.
    #[error("closed by the server")]
    Closed,
    /// The hub shuts down.
    #[error("the server shuts down")]
    Shutdown,
    /// What the publisher sent needs repair, and it was to be taken strictly.
    #[error("what the publisher sent breaks the rules")]
    Faulty,
}

/// Why a reader ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReaderEnd {
    /// The stream ended; all that the reader had to get was written.
    #[error("the stream ended: {0}")]
    Stream(EndReason),
    /// The peer took nothing for [`stall_timeout`](super::ReaderOptions::stall_timeout).
    #[error("the peer took nothing for {0} s")]
    Stalled(u64),
    /// Writing failed.
    #[error("writing to the peer failed: {0}")]
    Io(std::io::ErrorKind),
    /// Too many answers waited ([`ControlError::Overflow`]).
    #[error("too many answers waited for the peer")]
    ControlOverflow,
    /// [`ReaderHandle::stop`](super::ReaderHandle::stop) was called or the handle was dropped.
    #[error("stopped")]
    Stopped,
}

impl ReaderEnd {
    /// One word for the API and logs.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Stalled(_) => "stalled",
            Self::Io(_) => "io",
            Self::ControlOverflow => "control_overflow",
            Self::Stopped => "stopped",
        }
    }
}
