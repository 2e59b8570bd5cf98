//! Which streams were told of: each one starts once and ends once, over restarts of the CMS too.

use std::collections::HashMap;

use easydarwin_core::registry::{
    Event, EventCursor, EventFilter, EventKind, EventLog, EventLogError, StreamLocation,
    StreamPath, UnixMillis,
};
use parking_lot::Mutex;
use serde_json::json;

use super::Events;

/// Events looked through at the start for streams that had not ended.
const LOOK_BACK: u64 = 100_000;

/// Streams whose start was told and whose end was not.
#[derive(Debug, Default)]
pub(crate) struct ToldStreams(Mutex<HashMap<StreamPath, Told>>);

#[derive(Debug)]
struct Told {
    generation: u64,
    node: String,
    /// Whether a node has spoken of it since the CMS was started.
    confirmed: bool,
}

impl ToldStreams {
    /// Reads from the log what had not ended when the CMS did.
    pub(crate) async fn recall(&self, log: &dyn EventLog) -> Result<(), EventLogError> {
        let bounds = log.bounds().await?;
        let begin = bounds.newest.sequence().saturating_sub(LOOK_BACK);
        let mut after = EventCursor::new(bounds.newest.log(), begin.max(bounds.oldest.sequence()));
        let mut filter = EventFilter::all();
        filter.kinds = [EventKind::STREAM_STARTED, EventKind::STREAM_ENDED]
            .map(|kind| kind.as_str().to_owned())
            .into();
        loop {
            let page = log.read(after, &filter, 1000).await?;
            let mut streams = self.0.lock();
            for event in page.events.into_iter().map(|logged| logged.event) {
                let text = |name: &str| event.data.get(name).and_then(|v| v.as_str());
                let Some(path) = text("path").and_then(|path| StreamPath::parse(path).ok()) else {
                    continue;
                };
                if event.kind == EventKind::STREAM_ENDED {
                    streams.remove(&path);
                    continue;
                }
                let generation = text("generation").and_then(|g| g.parse().ok());
                let told = Told {
                    generation: generation.unwrap_or_default(),
                    node: event.node.as_deref().unwrap_or_default().to_owned(),
                    confirmed: false,
                };
                streams.insert(path, told);
            }
            after = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// A node has this stream, ready to be played.
    pub(crate) fn is_there(&self, events: &Events, location: &StreamLocation, now: UnixMillis) {
        let path = &location.path;
        let told = Told {
            generation: location.generation,
            node: location.node.clone(),
            confirmed: true,
        };
        let started = about(EventKind::STREAM_STARTED, path, &told, now);
        let mut streams = self.0.lock();
        if let Some(before) = streams.insert(path.clone(), told) {
            if before.generation == location.generation && before.node == location.node {
                return;
            }
            let ended = about(EventKind::STREAM_ENDED, path, &before, now);
            events.emit(ended.because("replaced by a newer publisher"));
        }
        events.emit(started);
    }

    /// A node has this stream no longer.
    pub(crate) fn is_gone(
        &self,
        events: &Events,
        location: &StreamLocation,
        why: &str,
        now: UnixMillis,
    ) {
        let mut streams = self.0.lock();
        let own = streams.get(&location.path).is_some_and(|told| {
            told.node == location.node && told.generation <= location.generation
        });
        if own && let Some(told) = streams.remove(&location.path) {
            let ended = about(EventKind::STREAM_ENDED, &location.path, &told, now);
            events.emit(ended.because(why.to_owned()));
        }
    }

    /// The nodes had time to come back after the start: what none of them has is over.
    pub(crate) fn settle(&self, events: &Events, now: UnixMillis) {
        for (path, told) in self.0.lock().extract_if(|_, told| !told.confirmed) {
            let ended = about(EventKind::STREAM_ENDED, &path, &told, now);
            events.emit(ended.because("no media node had it after the CMS was started"));
        }
    }
}

fn about(kind: EventKind, path: &StreamPath, told: &Told, now: UnixMillis) -> Event {
    let event = Event::new(kind, now).node(told.node.as_str()).with(json!({
        "path": path.as_str(),
        // As text: not every reader of JSON has 64 bits.
        "generation": told.generation.to_string(),
    }));
    match path.as_device() {
        Some((serial, channel)) => event.device(serial).channel(channel),
        None => event,
    }
}
