//! Webhooks: the event log, brought to those who cannot come for it.
//!
//! A webhook is a durable cursor on the [log](easydarwin_core::registry::EventLog), no queue: its
//! task reads a batch, sends it, and moves the cursor when the receiver has taken it. So events
//! come in order and at least once, one batch at a time, and whoever is slow or gone holds up
//! nobody: the log keeps what he lacks, as long as it keeps anything.
//!
//! A receiver that fails is tried again, later and later. One that refuses a batch (4xx, or a
//! redirection, which is not followed) for an hour does not get it: the batch goes to the dead
//! letters, the cursor moves on, and `webhook.failing` says so.

mod deliver;
mod send;
mod sign;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

use easydarwin_core::registry::{StoreError, UnixMillis};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub(crate) use send::check_url;
pub(crate) use sign::new_secret;
#[cfg(feature = "sqlite")]
pub(crate) use store::MAX_DEAD_LETTERS;
#[cfg(all(test, feature = "sqlite"))]
pub(crate) use store::conformance;
pub use store::{DeadLetter, MemoryWebhooks, Webhook, WebhookStore};

use crate::state::State;

/// Most webhooks: each may hold one thread of the blocking pool while it sends.
pub(crate) const MAX_WEBHOOKS: usize = 64;

/// How a webhook fares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fare {
    /// When something was last taken.
    pub(crate) delivered: Option<UnixMillis>,
    /// Since when nothing is taken.
    pub(crate) failing: Option<UnixMillis>,
    /// What the last try failed at.
    pub(crate) error: String,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    fare: Arc<Mutex<Fare>>,
}

/// The webhooks and their tasks.
pub(crate) struct Webhooks {
    store: Arc<dyn WebhookStore>,
    running: Mutex<HashMap<String, Running>>,
}

impl Webhooks {
    pub(crate) fn new(store: Arc<dyn WebhookStore>) -> Self {
        Self {
            store,
            running: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &dyn WebhookStore {
        &*self.store
    }

    pub(crate) fn fare(&self, id: &str) -> Fare {
        let running = self.running.lock();
        running
            .get(id)
            .map(|r| r.fare.lock().clone())
            .unwrap_or_default()
    }

    /// Ends a webhook's task; what is being sent may still arrive.
    pub(crate) fn stop(&self, id: &str) {
        if let Some(running) = self.running.lock().remove(id) {
            running.stop.cancel();
        }
    }
}

/// Starts the tasks of all webhooks that are kept.
pub(crate) async fn start_all(state: &Arc<State>) -> Result<(), StoreError> {
    for webhook in state.webhooks.store().webhooks().await? {
        start(state, webhook);
    }
    Ok(())
}

/// Starts a webhook's task.
pub(crate) fn start(state: &Arc<State>, webhook: Webhook) {
    let running = Running {
        stop: state.shutdown.child_token(),
        fare: Arc::default(),
    };
    let (stop, fare) = (running.stop.clone(), running.fare.clone());
    state
        .webhooks
        .running
        .lock()
        .insert(webhook.id.clone(), running);
    let state_ = state.clone();
    state.spawn(async move {
        let delivery = deliver::Delivery::new(&state_, webhook, fare);
        delivery.run(&stop).await;
    });
}
