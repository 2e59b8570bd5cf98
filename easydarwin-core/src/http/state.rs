use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::HttpConfig;
use super::error::HttpError;
use super::hls::Hls;
use crate::forward::Forwards;
use crate::pull::Pulls;
use crate::registry::{Authorizer, DenyAll, Principal, StreamPath};
use crate::relay::{Hub, Stream};
use crate::server::{Backoff, OnDemand};

/// What the routes need: which streams there are, who may play them, and the limits.
#[derive(Clone)]
pub struct HttpState {
    hub: Hub,
    authorizer: Arc<dyn Authorizer>,
    backoff: Option<Backoff>,
    on_demand: Option<Arc<dyn OnDemand>>,
    pulls: Option<Pulls>,
    forwards: Option<Forwards>,
    config: HttpConfig,
    cancel: CancellationToken,
}

impl HttpState {
    /// Serves the streams of `hub`; refuses everybody until it gets an [`Authorizer`].
    pub fn new(hub: Hub) -> Self {
        Self {
            hub,
            authorizer: Arc::new(DenyAll),
            backoff: None,
            on_demand: None,
            pulls: None,
            forwards: None,
            config: HttpConfig::default(),
            cancel: CancellationToken::new(),
        }
    }

    /// Who decides about playing.
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = authorizer;
        self
    }

    /// What the API shows about failed logins.
    pub(crate) fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Who brings streams that nobody publishes.
    #[must_use]
    pub fn with_on_demand(mut self, on_demand: Arc<dyn OnDemand>) -> Self {
        self.on_demand = Some(on_demand);
        self
    }

    /// The sources that the API shows and changes. It starts none for viewers:
    /// [`with_on_demand`](Self::with_on_demand) does.
    #[must_use]
    pub fn with_pulls(mut self, pulls: Pulls) -> Self {
        self.pulls = Some(pulls);
        self
    }

    /// The forwards that the API shows and changes.
    #[must_use]
    pub fn with_forwards(mut self, forwards: Forwards) -> Self {
        self.forwards = Some(forwards);
        self
    }

    /// Limits and settings.
    #[must_use]
    pub fn with_config(mut self, config: HttpConfig) -> Self {
        self.config = config;
        self
    }

    /// Cancelled when the routes are no longer served: endless answers end.
    pub(super) fn cancel(&self) -> CancellationToken {
        self.cancel.clone()
    }

    pub(super) fn config(&self) -> &HttpConfig {
        &self.config
    }
}

impl std::fmt::Debug for HttpState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpState")
            .field("config", &self.config)
            .field("on_demand", &self.on_demand.is_some())
            .finish_non_exhaustive()
    }
}

/// What all handlers share.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) backoff: Option<Backoff>,
    on_demand: Option<Arc<dyn OnDemand>>,
    pub(crate) pulls: Option<Pulls>,
    pub(crate) forwards: Option<Forwards>,
    pub(crate) config: HttpConfig,
    pub(crate) hls: Hls,
    pub(crate) started: Instant,
    pub(crate) cancel: CancellationToken,
    viewers: Arc<Semaphore>,
}

impl From<HttpState> for Shared {
    fn from(state: HttpState) -> Self {
        Self {
            hub: state.hub,
            authorizer: state.authorizer,
            backoff: state.backoff,
            on_demand: state.on_demand,
            pulls: state.pulls,
            forwards: state.forwards,
            viewers: Arc::new(Semaphore::new(state.config.max_viewers)),
            cancel: state.cancel,
            config: state.config,
            hls: Hls::default(),
            started: Instant::now(),
        }
    }
}

impl Shared {
    /// A place for one more endless answer, freed when dropped.
    pub(crate) fn viewer_slot(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        let slots = self.viewers.clone();
        slots
            .try_acquire_owned()
            .map_err(|_| HttpError::TooManyViewers)
    }

    /// What to tell a request for a WebSocket that is none.
    pub(crate) fn plain_request(&self, path: &StreamPath) -> HttpError {
        let on_demand = self.on_demand.as_ref();
        if self.hub.get(path).is_some() || on_demand.is_some_and(|other| other.may_bring(path)) {
            HttpError::NoUpgrade
        } else {
            HttpError::NoStream
        }
    }

    /// The stream, started if it must and can be, once it has a key frame.
    pub(crate) async fn stream(
        &self,
        path: &StreamPath,
        viewer: &Principal,
    ) -> Result<Stream, HttpError> {
        if let Some(stream) = self.hub.get(path)
            && stream.is_ready()
        {
            return Ok(stream);
        }
        let appears = self.hub.wait(path, true, self.config.start_timeout);
        tokio::pin!(appears);
        if self.hub.get(path).is_none() {
            let on_demand = self.on_demand.as_ref().ok_or(HttpError::NoStream)?;
            tokio::select! {
                stream = &mut appears => return stream.ok_or(HttpError::NotReady),
                started = on_demand.demand(path, viewer) => started?,
            }
        }
        appears.await.ok_or(HttpError::NotReady)
    }
}
