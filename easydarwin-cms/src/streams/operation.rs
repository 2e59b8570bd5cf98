//! One stream that is being brought, for all who asked for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::StreamRef;
use easydarwin_core::registry::{Event, EventKind, UnixMillis, random_bytes};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::progress::{Progress, Ready, Stage, StartError};
use super::{release, start};
use crate::state::State;

/// An operation. It goes on while somebody is interested in it.
#[derive(Debug)]
pub(crate) struct Operation {
    /// 32 hex digits that nobody guesses.
    pub(crate) id: String,
    pub(crate) stream: StreamRef,
    pub(super) progress: watch::Sender<Progress>,
    /// Something has changed at a node.
    pub(super) changed: Notify,
    /// The last publisher of the stream that ended: its generation, and why.
    pub(super) ended: Mutex<Option<(u64, String)>>,
    /// Who wants the stream. Changed under the table's lock only.
    pub(super) interests: Mutex<HashSet<String>>,
    /// Idempotency keys under which it was asked for, with who asked.
    pub(super) keys: Mutex<Vec<(String, String)>>,
    pub(super) cancel: CancellationToken,
}

impl Operation {
    pub(super) fn new(stream: StreamRef, now: UnixMillis) -> Result<Self, StartError> {
        let id: [u8; 16] = random_bytes().map_err(|e| StartError::Internal(e.to_string()))?;
        Ok(Self {
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            stream,
            progress: watch::Sender::new(Progress::new(now)),
            changed: Notify::new(),
            ended: Mutex::default(),
            interests: Mutex::default(),
            keys: Mutex::default(),
            cancel: CancellationToken::new(),
        })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The outcome, when there is one.
    pub(crate) async fn outcome(&self) -> Result<Ready, StartError> {
        let mut progress = self.watch();
        let ended = progress.wait_for(|p| p.outcome.is_some()).await;
        match ended.map(|p| p.outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            // The task always says something; the sender lives as long as this.
            _ => Err(StartError::Internal("the operation was lost".into())),
        }
    }

    /// A stage was reached; the next one has so long.
    pub(super) fn reached(&self, state: &State, stage: Stage, next_within: Option<Duration>) {
        let now = state.now();
        self.progress.send_modify(|progress| {
            progress.reach(stage, now);
            progress.deadline = next_within.map(|within| now.plus(within));
        });
    }
}

/// Tells that a stream which somebody wanted did not come.
fn failed(state: &State, stream: &StreamRef, error: &StartError) {
    let event = Event::new(EventKind::STREAM_FAILED, state.now())
        .device(stream.serial.as_str())
        .channel(stream.channel)
        .because(error.to_string())
        .with(json!({ "stage": error.stage() }));
    state.events.emit(event);
}

/// Carries an operation out. `after`: one for the same stream that is being cancelled.
pub(super) async fn carry_out(
    state: Arc<State>,
    operation: Arc<Operation>,
    node: Option<String>,
    after: Option<Arc<Operation>>,
) {
    let work = async {
        if let Some(other) = after {
            // How it ended does not matter, only that it did.
            let _ = other.outcome().await;
        }
        match start::already_live(&state, &operation.stream).await? {
            Some(ready) => Ok(ready),
            None => start::run(&state, &operation, node.as_deref()).await,
        }
    };
    let result = tokio::select! {
        biased;
        () = operation.cancel.cancelled() => Err(StartError::Cancelled),
        () = state.shutdown.cancelled() => {
            Err(StartError::Internal("the CMS is being shut down".into()))
        }
        result = work => result,
    };
    let stream = &operation.stream;
    match &result {
        Ok(ready) => tracing::info!(%stream, node = %ready.node, "stream is live"),
        Err(StartError::Cancelled) => tracing::info!(%stream, "nobody wants the stream any more"),
        Err(error) => {
            tracing::warn!(%stream, stage = error.stage(), %error, "stream did not come");
            failed(&state, stream, error);
        }
    }
    if let Err(
        StartError::NotPublished
        | StartError::NoKeyFrame
        | StartError::Ended(_)
        | StartError::Cancelled,
    ) = &result
    {
        // It agreed to push: nobody wants that any more, and the next try begins clean.
        release::release_now(&state, stream, None).await;
    }
    // First out of the table: who comes now begins anew or finds it live.
    let now = state.now();
    state.operations.finished(&operation, now);
    operation.progress.send_modify(|progress| {
        let stage = if result.is_ok() {
            Stage::Ready
        } else {
            Stage::Failed
        };
        progress.reach(stage, now);
        progress.deadline = None;
        progress.outcome = Some(result);
    });
    state.metrics.operation(&operation.progress.borrow());
}
