//! Operations: one per stream at a time, shared by all who ask.

use std::collections::HashMap;
use std::sync::Arc;

use easydarwin_core::protocol::{ErrorNum, StreamRef};
use easydarwin_core::registry::{Event, EventKind, StreamPath};
use parking_lot::Mutex;
use serde_json::json;
use thiserror::Error;
use tokio::sync::{Notify, watch};

use super::release::release;
use super::start;
use crate::state::State;

/// A stream that can be played now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) node: String,
    /// CSeq of the push request, if one was sent for this.
    pub(crate) cseq: Option<u32>,
}

/// Why a stream did not come, naming the stage.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StartError {
    #[error("no device of this serial is registered")]
    UnknownDevice,
    #[error("the device has no such channel")]
    UnknownChannel,
    #[error("the channel is offline at its recorder")]
    ChannelOffline,
    #[error("no media node has joined that could take the stream")]
    NoNode,
    #[error("the media node did not take the stream: {0}")]
    Node(String),
    #[error("the device did not answer the push request in time")]
    DeviceSilent,
    #[error("the device's connection ended before it answered")]
    DeviceGone,
    #[error("the device refused to push: {0}")]
    DeviceRefused(ErrorNum),
    #[error("the device agreed to push, but did not reach the media node in time")]
    NotPublished,
    #[error("the device pushes, but no key frame came in time")]
    NoKeyFrame,
    #[error("the push ended before its first key frame: {0}")]
    Ended(String),
    #[error("the CMS failed: {0}")]
    Internal(String),
}

impl StartError {
    pub(crate) fn error_num(&self) -> ErrorNum {
        match self {
            Self::UnknownDevice => ErrorNum::DEVICE_NOT_FOUND,
            Self::UnknownChannel | Self::ChannelOffline => ErrorNum::NOT_FOUND,
            Self::NoNode | Self::Node(_) | Self::DeviceGone | Self::Ended(_) => {
                ErrorNum::UNAVAILABLE
            }
            Self::DeviceSilent | Self::NotPublished | Self::NoKeyFrame => ErrorNum::TIMEOUT,
            Self::DeviceRefused(error) => *error,
            Self::Internal(_) => ErrorNum::INTERNAL,
        }
    }

    /// Name of the stage at which it failed.
    pub(crate) fn stage(&self) -> &'static str {
        match self {
            Self::UnknownDevice | Self::UnknownChannel | Self::ChannelOffline => "device",
            Self::NoNode | Self::Node(_) => "node",
            Self::DeviceSilent | Self::DeviceGone | Self::DeviceRefused(_) => "push",
            Self::NotPublished => "publish",
            Self::NoKeyFrame | Self::Ended(_) => "picture",
            Self::Internal(_) => "cms",
        }
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

type Outcome = Option<Result<Ready, StartError>>;

#[derive(Debug)]
struct Operation {
    outcome: watch::Receiver<Outcome>,
    signal: Arc<Signal>,
}

/// What the operation's task is woken by.
#[derive(Debug, Default)]
pub(super) struct Signal {
    pub(super) changed: Notify,
    pub(super) ended: Mutex<Option<(u64, String)>>,
}

/// Operations that run.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    running: Mutex<HashMap<StreamRef, Operation>>,
}

impl Operations {
    /// Makes a stream live, or waits for whoever is at it already. `node`: where it is wanted,
    /// if that matters.
    pub(crate) async fn start(
        &self,
        state: &Arc<State>,
        stream: &StreamRef,
        node: Option<&str>,
    ) -> Result<Ready, StartError> {
        if let Some(ready) = start::already_live(state, stream).await? {
            return Ok(ready);
        }
        let mut outcome = self.join_or_begin(state, stream, node);
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            // The task always says something, unless the CMS is being shut down.
            _ => Err(StartError::Internal("the CMS is being shut down".into())),
        }
    }

    fn join_or_begin(
        &self,
        state: &Arc<State>,
        stream: &StreamRef,
        node: Option<&str>,
    ) -> watch::Receiver<Outcome> {
        let mut running = self.running.lock();
        if let Some(operation) = running.get(stream) {
            return operation.outcome.clone();
        }
        let (tx, rx) = watch::channel(None);
        let signal = Arc::new(Signal::default());
        running.insert(
            stream.clone(),
            Operation {
                outcome: rx.clone(),
                signal: signal.clone(),
            },
        );
        let (state_, stream, node) = (state.clone(), stream.clone(), node.map(str::to_owned));
        state.spawn(async move {
            let work = start::run(&state_, &stream, node.as_deref(), &signal);
            let result = tokio::select! {
                result = work => result,
                () = state_.shutdown.cancelled() => {
                    Err(StartError::Internal("the CMS is being shut down".into()))
                }
            };
            match &result {
                Ok(ready) => tracing::info!(%stream, node = %ready.node, "stream is live"),
                Err(error) => {
                    failed(&state_, &stream, error);
                    tracing::warn!(%stream, stage = error.stage(), %error, "stream did not come");
                }
            }
            if let Err(StartError::NotPublished | StartError::NoKeyFrame | StartError::Ended(_)) =
                &result
            {
                // It agreed to push: nobody wants that any more, and the next try begins clean.
                release(&state_, &stream, None).await;
            }
            // First out of the table: who comes now begins anew or finds it live.
            state_.operations.running.lock().remove(&stream);
            let _ = tx.send(Some(result));
        });
        rx
    }

    /// Something about this stream has changed at a node.
    pub(crate) fn changed(&self, path: &StreamPath) {
        if let Some(signal) = self.signal(path) {
            signal.changed.notify_one();
        }
    }

    /// A publisher of this stream has ended.
    pub(crate) fn ended(&self, path: &StreamPath, generation: u64, reason: &str) {
        if let Some(signal) = self.signal(path) {
            *signal.ended.lock() = Some((generation, reason.to_owned()));
            signal.changed.notify_one();
        }
    }

    fn signal(&self, path: &StreamPath) -> Option<Arc<Signal>> {
        let (serial, channel) = path.as_device()?;
        let running = self.running.lock();
        running
            .get(&StreamRef::new(serial, channel))
            .map(|operation| operation.signal.clone())
    }
}
