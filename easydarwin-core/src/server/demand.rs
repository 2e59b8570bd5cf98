use async_trait::async_trait;
use thiserror::Error;

use crate::registry::{Principal, StreamPath};
use crate::rtsp::{ClientUrl, ClientUrlError};

/// Brings a stream that somebody asked for and nobody publishes: a camera is told to push, a
/// source is opened.
///
/// Asked after the viewer was authorized, once for each waiting viewer; an implementation that
/// starts something expensive coalesces calls for one path. The returned future is dropped when
/// the viewer goes away or the deadline passes: that is the cancellation.
#[async_trait]
pub trait OnDemand: Send + Sync + 'static {
    /// Resolves when the source was started. The caller then waits until the stream appears in
    /// the hub, within the same deadline; a stream that appears earlier ends the call.
    ///
    /// # Errors
    /// [`DemandError`] when it is certain that the stream will not come.
    async fn demand(&self, path: &StreamPath, viewer: &Principal) -> Result<(), DemandError>;

    /// Whether it is worth asking at all; `false` only when it is certain that
    /// [`demand`](Self::demand) would answer [`DemandError::NotFound`].
    fn may_bring(&self, path: &StreamPath) -> bool {
        let _ = path;
        true
    }
}

/// Where a stream is that is not here. `Debug` and `Display` do not show its tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct RedirectUrl(ClientUrl);

impl RedirectUrl {
    /// The URL as it is sent.
    pub fn expose(&self) -> &str {
        self.0.request()
    }
}

impl std::str::FromStr for RedirectUrl {
    type Err = ClientUrlError;

    fn from_str(text: &str) -> Result<Self, ClientUrlError> {
        ClientUrl::parse(text).map(Self)
    }
}

impl std::fmt::Display for RedirectUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for RedirectUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedirectUrl({self})")
    }
}

/// Why a stream that was asked for does not come.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DemandError {
    /// There is no such stream and nothing that could bring it (404).
    #[error("no such stream, and nothing that could bring it")]
    NotFound,
    /// It is at another server: players are sent there (302). The URL may hold a token for it;
    /// it is written into the answer and nowhere else.
    #[error("the stream is at another server")]
    Redirect(RedirectUrl),
    /// Who decides or starts cannot be reached now (503).
    #[error("the source cannot be asked now: {0}")]
    Unavailable(String),
    /// It was tried; the text names the stage that failed (504).
    #[error("the stream did not start: {0}")]
    Failed(String),
}
