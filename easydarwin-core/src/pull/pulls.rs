use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::demand::Status;
use super::run::Task;
use super::{
    PullConfig, SourceEngine, SourceInfo, SourceMemory, SourceSpec, SourceStore, StoreError,
    StoredSource,
};
use crate::registry::StreamPath;
use crate::relay::Hub;
use crate::server::OnDemand;

/// The sources of a server: added, changed, listed and removed while it runs. Cheap to clone.
///
/// Beside its methods it is an [`OnDemand`]: viewers start the sources that are on demand.
#[derive(Clone)]
pub struct Pulls {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Hub,
    config: PullConfig,
    store: Arc<dyn SourceStore>,
    /// Whoever writes to the store holds it, so that a source which is removed is not kept again
    /// by somebody who was about to.
    storing: tokio::sync::Mutex<()>,
    sources: RwLock<HashMap<StreamPath, Arc<Source>>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    otherwise: Option<Arc<dyn OnDemand>>,
}

/// Why sources were not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PullError {
    /// The path has a source.
    #[error("{0} has a source already; change or remove it")]
    Exists(StreamPath),
    /// The path has none.
    #[error("{0} has no source")]
    NotFound(StreamPath),
    /// As many as [`PullConfig::sources`].
    #[error("there are {0} sources, more are not allowed")]
    TooMany(usize),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One source, as its task and others share it.
pub(super) struct Source {
    pub(super) path: StreamPath,
    /// Held for moments only.
    pub(super) engine: Mutex<SourceEngine>,
    /// Something changed that the task has to see.
    pub(super) wake: Notify,
    pub(super) stop: CancellationToken,
    pub(super) status: watch::Sender<Status>,
    /// Viewers that wait for it.
    pub(super) demands: AtomicUsize,
    /// Kept by the store, not by the settings.
    stored: bool,
}

impl Pulls {
    /// No sources yet. What `store` holds comes with [`load`](Self::load).
    pub fn new(hub: Hub, config: PullConfig, store: Arc<dyn SourceStore>) -> Self {
        Self::with_otherwise(hub, config, store, None)
    }

    /// `otherwise` is asked for streams that are no source's.
    pub(crate) fn with_otherwise(
        hub: Hub,
        config: PullConfig,
        store: Arc<dyn SourceStore>,
        otherwise: Option<Arc<dyn OnDemand>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                hub,
                config,
                store,
                storing: tokio::sync::Mutex::default(),
                sources: RwLock::default(),
                tasks: TaskTracker::new(),
                cancel: CancellationToken::new(),
                otherwise,
            }),
        }
    }

    /// Starts the sources that the store holds; those whose paths have a source are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(&self) -> Result<(), PullError> {
        for StoredSource { spec, memory } in self.inner.store.load().await? {
            match self.insert(spec, memory, true) {
                Ok(_) => {}
                Err(PullError::Exists(path)) => {
                    tracing::warn!(%path, "a stored source is hidden by one of the settings");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Starts a source and keeps it in the store.
    ///
    /// # Errors
    /// [`PullError`]; the source is not started then.
    pub async fn add(&self, spec: SourceSpec) -> Result<(), PullError> {
        let _storing = self.inner.storing.lock().await;
        if self.inner.sources.read().contains_key(&spec.path) {
            return Err(PullError::Exists(spec.path));
        }
        let memory = SourceMemory::default();
        let stored = StoredSource {
            spec: spec.clone(),
            memory,
        };
        self.inner.store.put(stored).await?;
        self.insert(spec, memory, true).map(|_| ())
    }

    /// Starts a source that the settings name: it is not stored.
    ///
    /// # Errors
    /// [`PullError::Exists`], [`PullError::TooMany`].
    pub fn add_configured(&self, spec: SourceSpec) -> Result<(), PullError> {
        self.insert(spec, SourceMemory::default(), false)
            .map(|_| ())
    }

    /// Changes a source: it is connected to anew at once.
    ///
    /// # Errors
    /// [`PullError::NotFound`], or when it could not be kept.
    pub async fn update(&self, spec: SourceSpec) -> Result<(), PullError> {
        let _storing = self.inner.storing.lock().await;
        let source = self.source(&spec.path)?;
        if source.stored {
            let memory = source.engine.lock().memory();
            let spec = spec.clone();
            self.inner.store.put(StoredSource { spec, memory }).await?;
        }
        source.engine.lock().update(spec, Instant::now());
        source.wake.notify_one();
        Ok(())
    }

    /// Stops a source and forgets it. One of the settings comes back with the next start.
    ///
    /// # Errors
    /// [`PullError::NotFound`], or when the store could not forget it.
    pub async fn remove(&self, path: &StreamPath) -> Result<(), PullError> {
        let _storing = self.inner.storing.lock().await;
        let source = self.source(path)?;
        if source.stored {
            self.inner.store.remove(path).await?;
        }
        self.inner.sources.write().remove(path);
        source.stop.cancel();
        Ok(())
    }

    /// State and counters of all sources, by path.
    pub fn list(&self) -> Vec<SourceInfo> {
        let sources: Vec<_> = self.inner.sources.read().values().cloned().collect();
        let now = Instant::now();
        let mut list: Vec<_> = sources
            .iter()
            .map(|source| source.engine.lock().info(now))
            .collect();
        list.sort_by(|a, b| a.path.cmp(&b.path));
        list
    }

    /// State and counters of one source.
    pub fn get(&self, path: &StreamPath) -> Option<SourceInfo> {
        let source = self.inner.sources.read().get(path).cloned()?;
        let info = source.engine.lock().info(Instant::now());
        Some(info)
    }

    /// Tells sources on demand whether somebody views them, until `cancel`; then takes leave of
    /// all sources.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        use broadcast::error::RecvError;
        let mut events = self.inner.hub.events();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = cancel.cancelled() => break,
            };
            match event {
                Ok(event) => {
                    if let Some(source) = self.inner.sources.read().get(&event.path) {
                        source.wake.notify_one();
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    for source in self.inner.sources.read().values() {
                        source.wake.notify_one();
                    }
                }
                Err(RecvError::Closed) => break,
            }
        }
        self.shutdown().await;
    }

    /// Takes leave of all sources.
    pub async fn shutdown(&self) {
        self.inner.cancel.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(super) fn source(&self, path: &StreamPath) -> Result<Arc<Source>, PullError> {
        let sources = self.inner.sources.read();
        let source = sources.get(path).cloned();
        source.ok_or_else(|| PullError::NotFound(path.clone()))
    }

    fn insert(
        &self,
        spec: SourceSpec,
        memory: SourceMemory,
        stored: bool,
    ) -> Result<Arc<Source>, PullError> {
        let mut sources = self.inner.sources.write();
        if sources.contains_key(&spec.path) {
            return Err(PullError::Exists(spec.path));
        }
        if sources.len() >= self.inner.config.sources {
            return Err(PullError::TooMany(sources.len()));
        }
        let path = spec.path.clone();
        let engine = SourceEngine::new(spec, self.inner.config.clone(), memory, fastrand::u64(..));
        let source = Arc::new(Source {
            path: path.clone(),
            engine: Mutex::new(engine),
            wake: Notify::new(),
            stop: self.inner.cancel.child_token(),
            status: watch::Sender::default(),
            demands: AtomicUsize::new(0),
            stored,
        });
        sources.insert(path, Arc::clone(&source));
        drop(sources);
        let task = Task::new(self.clone(), Arc::clone(&source));
        self.inner.tasks.spawn(task.run());
        Ok(source)
    }

    pub(super) fn otherwise(&self) -> Option<&Arc<dyn OnDemand>> {
        self.inner.otherwise.as_ref()
    }

    /// Whether a path has a source.
    pub(super) fn has(&self, path: &StreamPath) -> bool {
        self.inner.sources.read().contains_key(path)
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    pub(super) fn config(&self) -> &PullConfig {
        &self.inner.config
    }

    /// Keeps what was learned about a source, if it is still there.
    pub(super) fn remember(&self, source: &Arc<Source>) {
        if !source.stored {
            return;
        }
        let (pulls, source) = (self.clone(), Arc::clone(source));
        self.inner.tasks.spawn(async move {
            let _storing = pulls.inner.storing.lock().await;
            let present = pulls.source(&source.path);
            if !present.is_ok_and(|present| Arc::ptr_eq(&present, &source)) {
                return;
            }
            let stored = {
                let engine = source.engine.lock();
                StoredSource {
                    spec: engine.spec().clone(),
                    memory: engine.memory(),
                }
            };
            if let Err(error) = pulls.inner.store.put(stored).await {
                tracing::warn!(path = %source.path, %error, "what was learned about a source is not kept");
            }
        });
    }
}

impl Source {
    /// Whether somebody views the stream or waits for it.
    pub(super) fn is_wanted(&self, hub: &Hub) -> bool {
        self.demands.load(Ordering::Acquire) > 0
            || hub
                .get(&self.path)
                .is_some_and(|stream| stream.viewers() > 0)
    }

    /// Tells those who wait.
    pub(super) fn publish_status(&self, info: &SourceInfo) {
        self.status.send_replace(Status::from(info));
    }
}

impl std::fmt::Debug for Pulls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulls")
            .field("sources", &self.inner.sources.read().len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
