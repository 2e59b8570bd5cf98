use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::{DemandError, OnDemand};
use crate::registry::{Principal, StreamPath};
use crate::relay::{Hub, Stream};

/// Finds streams, and has those started that are not there.
///
/// Every door (RTSP, HTTP) asks through it, after the viewer was authorized.
#[derive(Clone)]
pub struct Lookup {
    hub: Hub,
    on_demand: Option<Arc<dyn OnDemand>>,
    deadline: Duration,
}

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nobody publishes it and it could not be started.
    #[error(transparent)]
    Demand(#[from] DemandError),
    /// It was asked for but did not come in time.
    #[error("the stream did not start within {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl Lookup {
    /// Streams of `hub`; those that are missing are asked of `on_demand`, which has `deadline`.
    pub fn new(hub: Hub, on_demand: Option<Arc<dyn OnDemand>>, deadline: Duration) -> Self {
        Self {
            hub,
            on_demand,
            deadline,
        }
    }

    /// The stream, once somebody publishes it. Dropping the future takes the demand back.
    ///
    /// # Errors
    /// [`LookupError`] when it is not there and cannot be brought.
    pub async fn find(&self, path: &StreamPath, viewer: &Principal) -> Result<Stream, LookupError> {
        if let Some(stream) = self.hub.get(path) {
            return Ok(stream);
        }
        let Some(on_demand) = &self.on_demand else {
            return Err(DemandError::NotFound.into());
        };
        let started = async {
            tokio::select! {
                stream = self.published(path) => Ok(stream),
                error = async {
                    match on_demand.demand(path, viewer).await {
                        Ok(()) => std::future::pending().await,
                        Err(error) => error,
                    }
                } => Err(error.into()),
            }
        };
        match tokio::time::timeout(self.deadline, started).await {
            Ok(result) => result,
            Err(_) => Err(LookupError::TimedOut(self.deadline)),
        }
    }

    #[cfg(feature = "http")]
    pub(super) fn on_demand(&self) -> Option<&Arc<dyn OnDemand>> {
        self.on_demand.as_ref()
    }

    async fn published(&self, path: &StreamPath) -> Stream {
        let mut events = self.hub.events();
        loop {
            // Asked after subscribing and after every event, so that none can be missed.
            if let Some(stream) = self.hub.get(path) {
                return stream;
            }
            match events.recv().await {
                Err(tokio::sync::broadcast::error::RecvError::Closed) => {
                    std::future::pending().await
                }
                Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            }
        }
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup")
            .field("on_demand", &self.on_demand.is_some())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
