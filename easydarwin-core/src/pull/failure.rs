use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::rtsp::{LoginError, Method, ParseError, RedirectError, Status};

/// Why a connection to a source (or to where a stream is forwarded) ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// A request was not answered.
    #[error("no answer to {method} within {} s", after.as_secs())]
    NoAnswer {
        /// Which.
        method: Method,
        /// How long was waited.
        after: Duration,
    },
    /// The login is missing or wrong.
    #[error("401: {0}")]
    Login(#[from] LoginError),
    /// The login is right but gives no right.
    #[error("access was refused (403)")]
    Forbidden,
    /// There is no such stream.
    #[error("there is no such stream (404); check the path")]
    NotFound,
    /// Another refusal.
    #[error("{method} was refused: {} {reason}", status.code())]
    Refused {
        /// Which request.
        method: Method,
        /// With what.
        status: Status,
        /// The peer's words.
        reason: String,
    },
    /// The stream is elsewhere.
    #[error("the stream is elsewhere")]
    Redirected,
    /// A redirection that is not followed.
    #[error("the redirection cannot be followed: {0}")]
    Redirect(#[from] RedirectError),
    /// An answer or a description that cannot be gone on with.
    #[error("what it answered cannot be used: {0}")]
    BadAnswer(String),
    /// The bytes are no RTSP.
    #[error("it does not speak RTSP: {0}")]
    Protocol(#[from] ParseError),
    /// PLAY was answered but nothing came.
    #[error("no media came within {} s after PLAY", .0.as_secs())]
    NoMedia(Duration),
    /// Media stopped and nothing said why: a dead connection.
    #[error("no media came for {} s", .0.as_secs())]
    Silent(Duration),
    /// The peer takes no data: a dead connection.
    #[error("it took no data for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The connection was closed.
    #[error("the connection was closed")]
    Closed,
    /// The source ended the stream or no longer knows the session.
    #[error("the stream was ended")]
    Ended,
    /// The path cannot be published here.
    #[error("the path cannot be published here: {0}")]
    PathTaken(String),
    /// A session of ours from before holds the source.
    #[error("an earlier session still holds it")]
    StaleSession,
    /// We were asked to.
    #[error("stopped")]
    Stopped,
}

/// The same in one word, for states and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// No connection, or no answer.
    Unreachable,
    /// 401: tried again slowly.
    Unauthorized,
    /// 403: tried again slowly.
    Forbidden,
    /// 404.
    NotFound,
    /// Another refusal.
    Refused,
    /// A redirection that is not followed.
    Redirect,
    /// Nothing that could be used.
    BadAnswer,
    /// No media although the connection stands: half open, or the source hangs.
    Silent,
    /// The peer closed, or ended the stream.
    Ended,
    /// Somebody else publishes the path here.
    PathTaken,
    /// An earlier session still holds the source.
    StaleSession,
    /// We were asked to.
    Stopped,
}

impl Failure {
    /// What an answer with this status means.
    pub(crate) fn refused(method: Method, status: Status, reason: String) -> Self {
        match status {
            Status::UNAUTHORIZED => Self::Login(LoginError::Password),
            Status::FORBIDDEN => Self::Forbidden,
            Status::NOT_FOUND => Self::NotFound,
            status => Self::Refused {
                method,
                status,
                reason,
            },
        }
    }

    /// In one word.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable(_) | Self::NoAnswer { .. } => FailureKind::Unreachable,
            Self::Login(_) => FailureKind::Unauthorized,
            Self::Forbidden => FailureKind::Forbidden,
            Self::NotFound => FailureKind::NotFound,
            Self::Refused { .. } => FailureKind::Refused,
            Self::Redirected | Self::Redirect(_) => FailureKind::Redirect,
            Self::BadAnswer(_) | Self::Protocol(_) => FailureKind::BadAnswer,
            Self::NoMedia(_) | Self::Silent(_) | Self::Stalled(_) => FailureKind::Silent,
            Self::Closed | Self::Ended => FailureKind::Ended,
            Self::PathTaken(_) => FailureKind::PathTaken,
            Self::StaleSession => FailureKind::StaleSession,
            Self::Stopped => FailureKind::Stopped,
        }
    }
}

impl FailureKind {
    /// Nothing but another login helps, and trying often does harm.
    pub(crate) fn is_denied(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden)
    }
}
