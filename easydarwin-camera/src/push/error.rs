use std::time::Duration;

use easydarwin_core::rtsp::{LoginError, Method, ParseError, RedirectError, Status};

/// Why a push failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The media server could not be reached.
    #[error("{0}")]
    Dial(String),
    /// The URL cannot be used.
    #[error("no usable RTSP URL: {0}; write rtsp://host[:port]/path")]
    Url(#[from] easydarwin_core::rtsp::ClientUrlError),
    /// The media server pointed to where it is not followed.
    #[error("the redirection cannot be followed: {0}")]
    Redirect(#[from] RedirectError),
    /// The source gives no pictures.
    #[error("{0}")]
    Source(String),
    /// The media server refused a request.
    #[error("{method} was refused: {} {reason}", status.code())]
    Refused {
        /// The request.
        method: Method,
        /// The status it was answered with.
        status: Status,
        /// The server's words.
        reason: String,
    },
    /// The media server wants another login, or any.
    #[error("{method} was refused with 401: {error}")]
    Login {
        /// The request.
        method: Method,
        /// What was wrong with ours.
        error: LoginError,
    },
    /// The media server answered in a way that cannot be gone on with.
    #[error("the answer to {method} cannot be used: {what}")]
    BadAnswer {
        /// The request.
        method: Method,
        /// What is wrong with the answer.
        what: &'static str,
    },
    /// Its bytes are not RTSP.
    #[error("the media server does not speak RTSP")]
    Protocol(#[from] ParseError),
    /// It did not answer in time.
    #[error("no answer to {method} within {} s", after.as_secs())]
    NoAnswer {
        /// The request.
        method: Method,
        /// How long was waited.
        after: Duration,
    },
    /// It takes no more data.
    #[error("the media server took no data for {} s", after.as_secs())]
    Stalled {
        /// How long it took none.
        after: Duration,
    },
    /// No receiver report came over UDP: the datagrams do not get through.
    #[error("nothing was heard of the datagrams for {} s; TCP is used from now on", after.as_secs())]
    Unheard {
        /// How long nothing was heard.
        after: Duration,
    },
    /// An ICMP message said so: the way there is open, but nobody takes the datagrams.
    #[error("nobody listens at the media server's UDP ports; TCP is used from now on")]
    PortClosed,
    /// It closed the connection, or ended the session.
    #[error("the media server ended the connection")]
    Closed,
}

impl PushError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Login { .. } => Some(Status::UNAUTHORIZED),
            _ => None,
        }
    }

    /// Whether the media server denies the right to publish.
    pub(crate) fn is_denial(&self) -> bool {
        self.status()
            .is_some_and(|status| matches!(status.code(), 401 | 403))
    }
}
