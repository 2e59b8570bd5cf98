use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::RwLock;
use serde_json::Value;

use super::{
    Event, EventBounds, EventCursor, EventFilter, EventKind, EventLog, EventLogError, EventPage,
    LoggedEvent, Retention, TokenError, UnixMillis, random_bytes,
};

/// Events looked at for one page, so that a filter which fits nothing holds nobody up.
const MAX_SCAN: usize = 10_000;

/// What an event takes beside its texts: the struct, and half a spare place in the queue.
const OVERHEAD: usize = size_of::<Entry>() * 3 / 2;

/// An [`EventLog`] that forgets everything with the process.
#[derive(Debug)]
pub struct MemoryEventLog {
    id: u32,
    retention: Retention,
    events: RwLock<Events>,
}

#[derive(Debug, Default)]
struct Events {
    queue: VecDeque<Entry>,
    /// Number of the newest event.
    newest: u64,
    bytes: u64,
}

/// An event whose data is kept as text: an object in memory takes most of a kilobyte, and a herd
/// that comes makes an event each.
#[derive(Debug)]
struct Entry {
    event: Event,
    data: Option<Box<str>>,
}

impl Entry {
    fn new(mut event: Event) -> Self {
        let data = match event.data.take() {
            Value::Null => None,
            data => Some(data.to_string().into()),
        };
        Self { event, data }
    }

    fn event(&self) -> Event {
        let mut event = self.event.clone();
        let data = self.data.as_deref().map(serde_json::from_str);
        // The text was made of a value.
        event.data = data.and_then(Result::ok).unwrap_or_default();
        event
    }

    fn bytes(&self) -> u64 {
        let event = &self.event;
        let texts = event.kind.as_str().len()
            + event.serial.as_deref().map_or(0, str::len)
            + event.node.as_deref().map_or(0, str::len)
            + event.cause.len()
            + self.data.as_deref().map_or(0, str::len);
        u64::try_from(OVERHEAD + texts).unwrap_or(u64::MAX)
    }
}

impl MemoryEventLog {
    /// What is kept by default: a day, but never more than this process can spare.
    pub const DEFAULT_RETENTION: Retention = Retention {
        age: std::time::Duration::from_secs(24 * 3600),
        rows: 50_000,
        bytes: 16 * 1024 * 1024,
    };

    /// An empty log.
    ///
    /// # Errors
    /// [`TokenError::Key`] when the system has no random bytes.
    pub fn new(retention: Retention) -> Result<Self, TokenError> {
        Ok(Self {
            id: u32::from_le_bytes(random_bytes()?),
            retention,
            events: RwLock::default(),
        })
    }
}

impl Events {
    /// Number of the event before the oldest.
    fn before_oldest(&self) -> u64 {
        self.newest.saturating_sub(self.rows())
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.queue.len()).unwrap_or(u64::MAX)
    }

    /// Removes events from the oldest on, never the newest.
    fn remove_while(&mut self, too_much: impl Fn(&Self, &Entry) -> bool) -> u64 {
        let mut removed = 0;
        while self.queue.len() > 1
            && self
                .queue
                .front()
                .is_some_and(|oldest| too_much(self, oldest))
        {
            if let Some(entry) = self.queue.pop_front() {
                self.bytes = self.bytes.saturating_sub(entry.bytes());
                removed += 1;
            }
        }
        removed
    }
}

#[async_trait]
impl EventLog for MemoryEventLog {
    async fn append(&self, events: Vec<Event>) -> Result<EventCursor, EventLogError> {
        let mut log = self.events.write();
        for event in events {
            let entry = Entry::new(event);
            log.newest += 1;
            log.bytes += entry.bytes();
            log.queue.push_back(entry);
        }
        let most = self.retention;
        log.remove_while(|log, _| log.rows() > most.rows || log.bytes > most.bytes);
        Ok(EventCursor::new(self.id, log.newest))
    }

    async fn read(
        &self,
        after: EventCursor,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventPage, EventLogError> {
        let log = self.events.read();
        let before_oldest = log.before_oldest();
        if after.log() != self.id || !(before_oldest..=log.newest).contains(&after.sequence()) {
            return Err(EventLogError::Gone {
                oldest: EventCursor::new(self.id, before_oldest),
            });
        }
        let mut events = Vec::new();
        let mut next = after.sequence();
        let skip = usize::try_from(next - before_oldest).unwrap_or(usize::MAX);
        for entry in log.queue.range(skip.min(log.queue.len())..).take(MAX_SCAN) {
            if events.len() >= limit {
                break;
            }
            next += 1;
            let event = &entry.event;
            if filter.matches(event.kind.as_str(), event.serial.as_deref()) {
                let id = EventCursor::new(self.id, next);
                let event = entry.event();
                events.push(LoggedEvent { id, event });
            }
        }
        Ok(EventPage {
            events,
            next: EventCursor::new(self.id, next),
            more: next < log.newest,
        })
    }

    async fn last(&self, kinds: &[EventKind]) -> Result<Option<LoggedEvent>, EventLogError> {
        let log = self.events.read();
        let numbers = (0..=log.newest).rev();
        let mut newest_first = log.queue.iter().rev().zip(numbers);
        let found = newest_first.find(|(entry, _)| kinds.contains(&entry.event.kind));
        Ok(found.map(|(entry, sequence)| LoggedEvent {
            id: EventCursor::new(self.id, sequence),
            event: entry.event(),
        }))
    }

    async fn bounds(&self) -> Result<EventBounds, EventLogError> {
        let log = self.events.read();
        Ok(EventBounds {
            oldest: EventCursor::new(self.id, log.before_oldest()),
            newest: EventCursor::new(self.id, log.newest),
            rows: log.rows(),
            bytes: log.bytes,
        })
    }

    async fn trim(&self, now: UnixMillis) -> Result<u64, EventLogError> {
        let mut log = self.events.write();
        let age = self.retention.age;
        Ok(log.remove_while(|_, oldest| now.since(oldest.event.at) > age))
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_conformance;
    use super::*;

    #[tokio::test]
    async fn the_log_in_memory_does_what_every_log_does() {
        event_conformance::event_log(async |retention| MemoryEventLog::new(retention).unwrap())
            .await;
    }
}
