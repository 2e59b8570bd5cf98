//! Viewers that start sources and wait for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;

use super::pulls::{Pulls, Source};
use super::{FailureKind, LinkState, SourceInfo};
use crate::registry::{Principal, StreamPath};
use crate::server::{DemandError, OnDemand};

/// A viewer is not kept waiting for a try that is further away.
const PATIENCE_MS: u64 = 1_500;

/// What those who wait for a source look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    state: Option<LinkState>,
    reason: Option<FailureKind>,
    next_attempt_ms: Option<u64>,
    error: Option<String>,
}

/// A viewer that waits; counted until dropped.
struct Waiting(Arc<Source>);

impl Waiting {
    fn new(source: Arc<Source>) -> Self {
        source.demands.fetch_add(1, Ordering::AcqRel);
        source.wake.notify_one();
        Self(source)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.demands.fetch_sub(1, Ordering::AcqRel);
        self.0.wake.notify_one();
    }
}

#[async_trait]
impl OnDemand for Pulls {
    async fn demand(&self, path: &StreamPath, viewer: &Principal) -> Result<(), DemandError> {
        let Ok(source) = self.source(path) else {
            return match self.otherwise() {
                Some(otherwise) => otherwise.demand(path, viewer).await,
                None => Err(DemandError::NotFound),
            };
        };
        let mut status = source.status.subscribe();
        // What it says was before this viewer came.
        let info = source.engine.lock().info(Instant::now());
        let _waiting = Waiting::new(Arc::clone(&source));
        if let Some(error) = Status::from(&info).hopeless() {
            return Err(error);
        }
        loop {
            if status.changed().await.is_err() {
                return Err(DemandError::NotFound);
            }
            let now = status.borrow_and_update().clone();
            if let Some(error) = now.hopeless() {
                return Err(error);
            }
        }
    }

    fn may_bring(&self, path: &StreamPath) -> bool {
        let otherwise = self.otherwise();
        self.has(path) || otherwise.is_some_and(|otherwise| otherwise.may_bring(path))
    }
}

impl From<&SourceInfo> for Status {
    fn from(info: &SourceInfo) -> Self {
        Self {
            state: Some(info.state),
            reason: info.reason,
            next_attempt_ms: info.next_attempt_ms,
            error: info.counters.last_error.clone(),
        }
    }
}

impl Status {
    /// Why a viewer need not wait any longer.
    fn hopeless(&self) -> Option<DemandError> {
        let reason = self
            .reason
            .filter(|_| self.state == Some(LinkState::Waiting))?;
        let soon = self.next_attempt_ms.is_some_and(|wait| wait <= PATIENCE_MS);
        if reason == FailureKind::NotFound {
            return Some(DemandError::NotFound);
        }
        let error = self.error.clone().unwrap_or_default();
        (!soon || reason.is_denied()).then(|| DemandError::Failed(format!("source: {error}")))
    }
}
