//! What happened, for whoever wants to know.
//!
//! [`Events::emit`] never waits: it puts an event into a bounded queue. One task writes the
//! queue into the [log](EventLog), many at a time, and wakes the readers. A reader is a cursor on
//! the log: there is no queue per reader, and a slow one holds up nobody. An event that was
//! emitted may be lost when the process is killed within the next 50 ms; the next start says so
//! (`cms.started`, `unclean`).

mod json;
mod streams;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use easydarwin_core::registry::{
    Event, EventCursor, EventFilter, EventKind, EventLog, EventLogError, EventPage, UnixMillis,
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

pub(crate) use json::as_json;
pub(crate) use streams::ToldStreams;
pub(crate) use writer::Writer;

/// Events that may wait to be written. When it is full, further ones are counted and lost; one
/// `event.dropped` tells how many.
const QUEUE: usize = 65_536;

/// The way into the log, and out of it.
pub(crate) struct Events {
    log: Arc<dyn EventLog>,
    queue: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
    written: watch::Receiver<u64>,
}

impl Events {
    /// The writer has to be [run](Writer::run).
    pub(crate) fn new(log: Arc<dyn EventLog>) -> (Self, Writer) {
        Self::with_queue(log, QUEUE)
    }

    fn with_queue(log: Arc<dyn EventLog>, length: usize) -> (Self, Writer) {
        let (queue, waiting) = mpsc::channel(length);
        let (tell, written) = watch::channel(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(log.clone(), waiting, dropped.clone(), tell);
        let events = Self {
            log,
            queue,
            dropped,
            written,
        };
        (events, writer)
    }

    /// Something happened. Never waits.
    pub(crate) fn emit(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// A reader that begins behind `after`.
    pub(crate) fn reader(&self, after: EventCursor, filter: EventFilter) -> Reader {
        Reader {
            log: self.log.clone(),
            written: self.written.clone(),
            after,
            filter,
        }
    }

    /// Says that the CMS was started, and whether the run before ended on purpose.
    pub(crate) async fn started(&self, now: UnixMillis) -> Result<(), EventLogError> {
        let kinds = [EventKind::CMS_STARTED, EventKind::CMS_STOPPED];
        let unclean = match self.log.last(&kinds).await? {
            Some(last) => last.event.kind == EventKind::CMS_STARTED,
            // It ran so long that its start is no longer in the log.
            None => self.log.bounds().await?.rows > 0,
        };
        if unclean {
            tracing::warn!("the run before did not end on purpose; its last events may be missing");
        }
        self.emit(Event::new(EventKind::CMS_STARTED, now).with(json!({
            "unclean": unclean,
            "version": env!("CARGO_PKG_VERSION"),
        })));
        Ok(())
    }

    /// Says that the CMS ends on purpose: the last event of a run.
    pub(crate) fn stopped(&self, now: UnixMillis) {
        self.emit(Event::new(EventKind::CMS_STOPPED, now));
    }
}

/// A place in the log that moves on.
pub(crate) struct Reader {
    log: Arc<dyn EventLog>,
    written: watch::Receiver<u64>,
    after: EventCursor,
    filter: EventFilter,
}

impl Reader {
    /// Where it is.
    pub(crate) fn after(&self) -> EventCursor {
        self.after
    }

    /// Goes on from somewhere else.
    pub(crate) fn seek(&mut self, after: EventCursor) {
        self.after = after;
    }

    /// Waits until there is something, and takes at most `limit` of it. The reader has then
    /// moved on. Safe to be dropped in the middle.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<EventPage, EventLogError> {
        loop {
            // Marked before reading: what is written meanwhile wakes the wait below.
            self.written.borrow_and_update();
            let page = self.log.read(self.after, &self.filter, limit).await?;
            self.after = page.next;
            if !page.events.is_empty() {
                return Ok(page);
            }
            if !page.more && self.written.changed().await.is_err() {
                // The writer has ended, and with it everything that could still come.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
