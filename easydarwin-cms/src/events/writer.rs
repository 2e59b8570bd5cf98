//! The one task that writes events down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use easydarwin_core::registry::{CmsClock, Event, EventKind, EventLog};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long the first event of a batch waits for others, so that a storm costs few commits. With
/// the commit itself it is on the disk within 50 ms.
const GATHER: Duration = Duration::from_millis(20);

/// Between two tries when the log cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks for events that are too old.
const TRIM: Duration = Duration::from_secs(60);

/// Takes events out of the queue and writes them down, many at a time.
pub(crate) struct Writer {
    log: Arc<dyn EventLog>,
    waiting: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
    written: watch::Sender<u64>,
    clock: CmsClock,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(
        log: Arc<dyn EventLog>,
        waiting: mpsc::Receiver<Event>,
        dropped: Arc<AtomicU64>,
        written: watch::Sender<u64>,
    ) -> Self {
        Self {
            log,
            waiting,
            dropped,
            written,
            clock: CmsClock::new(),
        }
    }

    /// Writes until `closing`, and then what still waits.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut trimmed = Instant::now();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                first = self.waiting.recv() => match first {
                    Some(first) => batch.push(first),
                    None => return,
                },
                () = closing.cancelled() => {}
                () = tokio::time::sleep_until(trimmed + TRIM) => {}
            }
            if !batch.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = closing.cancelled() => {}
                }
            }
            // Asked before taking: what was emitted before the closing is taken.
            let last = closing.is_cancelled();
            while let Ok(next) = self.waiting.try_recv() {
                batch.push(next);
            }
            self.write(batch, &closing).await;
            if last {
                return;
            }
            if trimmed.elapsed() >= TRIM {
                trimmed = Instant::now();
                if let Err(error) = self.log.trim(self.clock.now()).await {
                    tracing::error!(%error, "old events could not be removed");
                }
            }
        }
    }

    async fn write(&self, mut batch: Vec<Event>, closing: &CancellationToken) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "events came faster than they could be written");
            let event = Event::new(EventKind::EVENT_DROPPED, self.clock.now())
                .because("they came faster than they could be written")
                .with(json!({ "n": dropped }));
            batch.push(event);
        }
        if batch.is_empty() {
            return;
        }
        let mut failed = false;
        loop {
            match self.log.append(batch.clone()).await {
                Ok(newest) => {
                    self.written.send_replace(newest.sequence());
                    return;
                }
                Err(error) if closing.is_cancelled() => {
                    tracing::error!(%error, events = batch.len(), "events are lost");
                    return;
                }
                Err(error) => {
                    // Once: it is tried again until it succeeds, while the queue takes what comes.
                    if !std::mem::replace(&mut failed, true) {
                        tracing::error!(%error, "events cannot be written");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = closing.cancelled() => {}
                    }
                }
            }
        }
    }
}
