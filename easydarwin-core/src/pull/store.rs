use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use thiserror::Error;

use super::{SourceMemory, SourceSpec};
use crate::forward::ForwardSpec;
use crate::registry::StreamPath;

/// Keeps sources and forwards beyond the end of the process. An embedder with a database implements it.
#[async_trait]
pub trait SourceStore: Send + Sync + 'static {
    /// All sources, once at the start.
    ///
    /// # Errors
    /// When they cannot be read; the server then does not start.
    async fn load(&self) -> Result<Vec<StoredSource>, StoreError>;

    /// A source was added or changed, or something was learned about it.
    ///
    /// # Errors
    /// When it could not be kept; whoever changed it is told.
    async fn put(&self, source: StoredSource) -> Result<(), StoreError>;

    /// A source was removed.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    async fn remove(&self, path: &StreamPath) -> Result<(), StoreError>;

    /// All forwards, once at the start. By default there are none, and none are kept.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    async fn load_forwards(&self) -> Result<Vec<ForwardSpec>, StoreError> {
        Ok(Vec::new())
    }

    /// A forward was added or changed; path and URL without secrets name it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    async fn put_forward(&self, forward: ForwardSpec) -> Result<(), StoreError> {
        let _ = forward;
        Ok(())
    }

    /// A forward was removed.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    async fn remove_forward(&self, forward: &ForwardSpec) -> Result<(), StoreError> {
        let _ = forward;
        Ok(())
    }
}

/// A source with what was learned about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// The source.
    pub spec: SourceSpec,
    /// What was learned.
    pub memory: SourceMemory,
}

/// Why sources could not be read or kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} holds no sources: {source}; mend it or move it away", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// An embedder's store failed.
    #[error("the store of sources failed: {0}")]
    Other(String),
}

/// Keeps nothing beyond the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSourceStore;

#[async_trait]
impl SourceStore for NoSourceStore {
    async fn load(&self) -> Result<Vec<StoredSource>, StoreError> {
        Ok(Vec::new())
    }

    async fn put(&self, _source: StoredSource) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove(&self, _path: &StreamPath) -> Result<(), StoreError> {
        Ok(())
    }
}
