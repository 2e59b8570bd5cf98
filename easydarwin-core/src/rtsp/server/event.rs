use bytes::Bytes;
use thiserror::Error;

use crate::rtsp::{
    Credentials, ParseError, Repair, RequestUri, Status, TransportAnswer, TransportOffer,
};

/// Names a request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub(super) u64);

/// What the bytes handed to [`ServerConnection::next`](crate::rtsp::ServerConnection::next) began with.
#[derive(Debug, PartialEq)]
pub enum Step<'a> {
    /// Nothing complete: read more and call again with all bytes that were not consumed. Also
    /// returned while a request waits for its answer and nothing else can be done.
    NeedMore,
    /// An interleaved packet of a track that was set up.
    Interleaved {
        /// Bytes to drop from the buffer (header and packet).
        consumed: usize,
        /// Channel on which it came.
        channel: u8,
        /// Index of the track in the stream's description.
        track: usize,
        /// RTCP rather than RTP.
        rtcp: bool,
        /// The packet, borrowed from the caller's buffer.
        data: &'a [u8],
    },
    /// Dealt with inside; there may be output.
    Handled {
        /// Bytes to drop from the buffer.
        consumed: usize,
    },
    /// Something for the caller to do; there may be output.
    Event {
        /// Bytes to drop from the buffer.
        consumed: usize,
        /// What.
        event: ServerEvent,
    },
    /// Write what [`ServerConnection::take_output`](crate::rtsp::ServerConnection::take_output) still has, then close the connection.
    Close {
        /// Why.
        reason: CloseReason,
    },
}

/// Whether a session reads or publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionRole {
    /// It plays a stream.
    Play,
    /// It publishes one.
    Record,
}

/// What the caller has to do. Every event with an `id` waits for [`ServerConnection::respond`](crate::rtsp::ServerConnection::respond).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Authorize for playing, find or demand the stream, answer with [`Reply::Describe`].
    Describe {
        /// To answer with.
        id: RequestId,
        /// Names the stream; makes the control URLs of the description.
        uri: RequestUri,
        /// What came with the request.
        credentials: Credentials,
    },
    /// Authorize for publishing, check the description, answer with [`Reply::Announce`].
    Announce {
        /// To answer with.
        id: RequestId,
        /// Names the stream.
        uri: RequestUri,
        /// What came with the request.
        credentials: Credentials,
        /// The description as it came.
        sdp: Bytes,
    },
    /// Choose one of the offered transports, answer with [`Reply::Setup`].
    Setup(SetupRequest),
    /// Fix the reader's start, answer with [`Reply::Play`], start sending once that is written.
    Play {
        /// To answer with.
        id: RequestId,
        /// What was asked for; its query may differ from that of DESCRIBE.
        uri: RequestUri,
        /// The `Range` header as it came.
        range: Option<String>,
    },
    /// Begin to take media, answer with [`Reply::Ok`].
    Record {
        /// To answer with.
        id: RequestId,
    },
    /// Stop sending (or taking) media, answer with [`Reply::Ok`].
    Pause {
        /// To answer with.
        id: RequestId,
    },
    /// The session is over: release everything. The answer is in the output already; a further
    /// session may follow on this connection.
    Teardown,
}

/// A SETUP request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SetupRequest {
    /// To answer with.
    pub id: RequestId,
    /// The session reads or publishes.
    pub role: SessionRole,
    /// The request's URI. When `authorized`, the stream is the one of DESCRIBE or ANNOUNCE,
    /// whatever stands here.
    pub uri: RequestUri,
    /// A request before this one was answered with success for this stream on this connection; if
    /// not, the caller authorizes now (a player that sends no DESCRIBE).
    pub authorized: bool,
    /// What came with the request.
    pub credentials: Credentials,
    /// Index of the track. `None`: the URI names the stream and the number of its tracks is not
    /// known here; the caller takes the only track, or answers 459.
    pub track: Option<usize>,
    /// Usable transports in the client's order; never empty.
    pub offers: Vec<TransportOffer>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// 200 with nothing of its own: PAUSE, RECORD.
    Ok,
    /// DESCRIBE succeeded. The connection is now bound to this stream.
    Describe {
        /// The description, with [`RequestUri::track_control`] as control attributes.
        sdp: Bytes,
        /// Number of its tracks.
        tracks: usize,
    },
    /// ANNOUNCE succeeded. The connection is now bound to this stream.
    Announce {
        /// The control attribute of each track, as it came in the description.
        controls: Vec<Option<String>>,
    },
    /// SETUP succeeded.
    Setup {
        /// The track that was set up.
        track: usize,
        /// One of the offers, completed.
        transport: TransportAnswer,
        /// The SSRC with which this track will be sent.
        ssrc: Option<u32>,
    },
    /// PLAY succeeded.
    Play {
        /// One entry per track whose first packet is known; may be empty.
        rtp_info: Vec<RtpInfo>,
    },
    /// The stream is elsewhere (302): the answer to DESCRIBE, or to SETUP without it.
    Redirect {
        /// Its URL.
        location: String,
    },
    /// Refused.
    Error {
        /// Status.
        status: Status,
        /// Reason phrase; the usual one when `None`. One line.
        reason: Option<String>,
        /// `WWW-Authenticate` values, for 401.
        challenges: Vec<String>,
    },
}

impl Reply {
    /// Refuses with the usual reason.
    pub fn error(status: Status) -> Self {
        Self::Error {
            status,
            reason: None,
            challenges: Vec::new(),
        }
    }

    /// Refuses with a reason of its own, for example the stage that failed.
    pub fn error_with(status: Status, reason: impl Into<String>) -> Self {
        Self::Error {
            status,
            reason: Some(reason.into()),
            challenges: Vec::new(),
        }
    }

    /// 401 with challenges.
    pub fn unauthorized(challenges: Vec<String>) -> Self {
        Self::Error {
            status: Status::UNAUTHORIZED,
            reason: None,
            challenges,
        }
    }
}

/// Where a track begins (RFC 2326, 12.33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpInfo {
    /// Index of the track.
    pub track: usize,
    /// Sequence number and timestamp of its first packet; without, only the URL is told.
    pub start: Option<(u16, u32)>,
}

/// Why a connection has to be closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// No complete request came in time.
    #[error("the connection was silent for too long")]
    Idle,
    /// Neither request nor RTCP nor taken media for the session timeout.
    #[error("the session timed out")]
    SessionTimeout,
    /// The publisher sent no media for the publisher timeout.
    #[error("the publisher sent no media for too long")]
    PublisherSilent,
    /// What the peer sent cannot be read.
    #[error("the peer's bytes cannot be read: {0}")]
    Unreadable(#[from] ParseError),
    /// More requests wait than allowed.
    #[error("too many requests wait for an answer")]
    TooManyWaiting,
    /// What the peer sent could be repaired, but the server is strict.
    #[error("the peer broke the rules: {}", .0.fault())]
    Faulty(Repair),
}
