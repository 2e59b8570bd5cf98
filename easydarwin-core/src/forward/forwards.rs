use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::push::{Seen, reader_info};
use super::run::run;
use super::{ForwardConfig, ForwardEngine, ForwardInfo, ForwardSpec};
use crate::pull::{SourceStore, StoreError};
use crate::registry::StreamPath;
use crate::relay::Hub;
use crate::server::OnDemand;

/// The forwards of a server: added, listed and removed while it runs. Cheap to clone.
#[derive(Clone)]
pub struct Forwards {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Hub,
    config: ForwardConfig,
    store: Arc<dyn SourceStore>,
    /// Whoever changes the store and the list holds it.
    storing: tokio::sync::Mutex<()>,
    /// By path and by the URL without secrets: a stream may go to several servers.
    forwards: RwLock<BTreeMap<(StreamPath, String), Arc<Forward>>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    on_demand: Option<Arc<dyn OnDemand>>,
}

/// Why forwards were not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The stream goes there already.
    #[error("{0} is forwarded there already; remove that first")]
    Exists(StreamPath),
    /// The stream does not go there.
    #[error("{0} is not forwarded there")]
    NotFound(StreamPath),
    /// As many as [`ForwardConfig::forwards`].
    #[error("there are {0} forwards, more are not allowed")]
    TooMany(usize),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One forward, as its task and others share it.
pub(super) struct Forward {
    /// Held for moments only.
    pub(super) engine: Mutex<ForwardEngine>,
    pub(super) wake: Notify,
    pub(super) stop: CancellationToken,
    pub(super) seen: Seen,
    /// Kept by the store, not by the settings.
    stored: bool,
}

impl Forwards {
    /// No forwards yet. What `store` holds comes with [`load`](Self::load). Permanent ones ask
    /// `on_demand` for their streams.
    pub fn new(
        hub: Hub,
        config: ForwardConfig,
        store: Arc<dyn SourceStore>,
        on_demand: Option<Arc<dyn OnDemand>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                hub,
                config,
                store,
                storing: tokio::sync::Mutex::default(),
                forwards: RwLock::default(),
                tasks: TaskTracker::new(),
                cancel: CancellationToken::new(),
                on_demand,
            }),
        }
    }

    /// Starts the forwards that the store holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(&self) -> Result<(), ForwardError> {
        for spec in self.inner.store.load_forwards().await? {
            match self.insert(spec, true) {
                Ok(()) | Err(ForwardError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Starts a forward and keeps it in the store.
    ///
    /// # Errors
    /// [`ForwardError`]; the forward is not started then.
    pub async fn add(&self, spec: ForwardSpec) -> Result<(), ForwardError> {
        let _storing = self.inner.storing.lock().await;
        if self.inner.forwards.read().contains_key(&key(&spec)) {
            return Err(ForwardError::Exists(spec.path));
        }
        self.inner.store.put_forward(spec.clone()).await?;
        self.insert(spec, true)
    }

    /// Starts a forward that the settings name: it is not stored.
    ///
    /// # Errors
    /// [`ForwardError::Exists`], [`ForwardError::TooMany`].
    pub fn add_configured(&self, spec: ForwardSpec) -> Result<(), ForwardError> {
        self.insert(spec, false)
    }

    /// Changes the login or the mode of a forward: it is connected anew.
    ///
    /// # Errors
    /// [`ForwardError::NotFound`], or when it could not be kept.
    pub async fn update(&self, spec: ForwardSpec) -> Result<(), ForwardError> {
        let _storing = self.inner.storing.lock().await;
        let found = self.inner.forwards.read().get(&key(&spec)).cloned();
        let forward = found.ok_or_else(|| ForwardError::NotFound(spec.path.clone()))?;
        if forward.stored {
            self.inner.store.put_forward(spec.clone()).await?;
        }
        forward.engine.lock().update(spec);
        forward.wake.notify_one();
        Ok(())
    }

    /// Stops forwards of this stream and forgets them: the one to `url` (as
    /// [`list`](Self::list) shows it), or all. Returns how many.
    ///
    /// # Errors
    /// [`ForwardError::NotFound`] when there is none, or when the store could not forget.
    pub async fn remove(
        &self,
        path: &StreamPath,
        url: Option<&str>,
    ) -> Result<usize, ForwardError> {
        let _storing = self.inner.storing.lock().await;
        let found: Vec<_> = {
            let forwards = self.inner.forwards.read();
            let of = forwards
                .iter()
                .filter(|((of, to), _)| of == path && url.is_none_or(|url| url == to));
            of.map(|(key, forward)| (key.clone(), Arc::clone(forward)))
                .collect()
        };
        if found.is_empty() {
            return Err(ForwardError::NotFound(path.clone()));
        }
        for (key, forward) in &found {
            if forward.stored {
                let spec = forward.engine.lock().spec().clone();
                self.inner.store.remove_forward(&spec).await?;
            }
            self.inner.forwards.write().remove(key);
            forward.stop.cancel();
        }
        Ok(found.len())
    }

    /// State and counters of all forwards, by path.
    pub fn list(&self) -> Vec<ForwardInfo> {
        let all: Vec<_> = self.inner.forwards.read().values().cloned().collect();
        let now = Instant::now();
        all.iter()
            .map(|forward| {
                let mut info = forward.engine.lock().info(now);
                info.reader = reader_info(&forward.seen);
                info
            })
            .collect()
    }

    /// Tells forwards when their streams come and go, until `cancel`; then ends them all.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        use broadcast::error::RecvError;
        let mut events = self.inner.hub.events();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = cancel.cancelled() => break,
            };
            let path = match &event {
                Ok(event) => Some(&event.path),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => break,
            };
            let forwards = self.inner.forwards.read();
            for ((of, _), forward) in forwards.iter() {
                if path.is_none_or(|path| path == of) {
                    forward.wake.notify_one();
                }
            }
        }
        self.shutdown().await;
    }

    /// Ends all forwards, with TEARDOWN.
    pub async fn shutdown(&self) {
        self.inner.cancel.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn insert(&self, spec: ForwardSpec, stored: bool) -> Result<(), ForwardError> {
        let mut forwards = self.inner.forwards.write();
        let key = key(&spec);
        if forwards.contains_key(&key) {
            return Err(ForwardError::Exists(spec.path));
        }
        if forwards.len() >= self.inner.config.forwards {
            return Err(ForwardError::TooMany(forwards.len()));
        }
        let engine = ForwardEngine::new(spec, self.inner.config.clone(), fastrand::u64(..));
        let forward = Arc::new(Forward {
            engine: Mutex::new(engine),
            wake: Notify::new(),
            stop: self.inner.cancel.child_token(),
            seen: Seen::default(),
            stored,
        });
        forwards.insert(key, Arc::clone(&forward));
        drop(forwards);
        self.inner.tasks.spawn(run(self.clone(), forward));
        Ok(())
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    pub(super) fn config(&self) -> &ForwardConfig {
        &self.inner.config
    }

    pub(super) fn on_demand(&self) -> Option<Arc<dyn OnDemand>> {
        self.inner.on_demand.clone()
    }
}

impl Forward {
    pub(super) fn path(&self) -> StreamPath {
        self.engine.lock().spec().path.clone()
    }
}

fn key(spec: &ForwardSpec) -> (StreamPath, String) {
    (spec.path.clone(), spec.url.to_string())
}

impl std::fmt::Debug for Forwards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwards")
            .field("forwards", &self.inner.forwards.read().len())
            .finish_non_exhaustive()
    }
}
