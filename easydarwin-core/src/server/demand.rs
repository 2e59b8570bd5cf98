use async_trait::async_trait;
use thiserror::Error;

use crate::registry::{Principal, StreamPath};

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
}

/// Why a stream that was asked for does not come.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DemandError {
    /// There is no such stream and nothing that could bring it (404).
    #[error("no such stream, and nothing that could bring it")]
    NotFound,
    /// Who decides or starts cannot be reached now (503).
    #[error("the source cannot be asked now: {0}")]
    Unavailable(String),
    /// It was tried; the text names the stage that failed (504).
    #[error("the stream did not start: {0}")]
    Failed(String),
}
