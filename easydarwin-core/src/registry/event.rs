use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;

use super::UnixMillis;

/// What an event is about, in dotted words: `device.online`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventKind(Cow<'static, str>);

impl EventKind {
    /// A device is there that was not.
    pub const DEVICE_ONLINE: Self = Self(Cow::Borrowed("device.online"));
    /// A device is there no longer.
    pub const DEVICE_OFFLINE: Self = Self(Cow::Borrowed("device.offline"));
    /// A device became known.
    pub const DEVICE_ADDED: Self = Self(Cow::Borrowed("device.added"));
    /// What people set of a device is different.
    pub const DEVICE_CHANGED: Self = Self(Cow::Borrowed("device.changed"));
    /// A device is known no longer.
    pub const DEVICE_REMOVED: Self = Self(Cow::Borrowed("device.removed"));
    /// A device tells of something in its vendor's words.
    pub const DEVICE_EVENT: Self = Self(Cow::Borrowed("device.event"));
    /// A device is better or worse than before.
    pub const DEVICE_HEALTH: Self = Self(Cow::Borrowed("device.health"));
    /// Somebody rebooted or configured a device, or tried to.
    pub const DEVICE_COMMANDED: Self = Self(Cow::Borrowed("device.commanded"));
    /// A stream can be played.
    pub const STREAM_STARTED: Self = Self(Cow::Borrowed("stream.started"));
    /// A stream is over.
    pub const STREAM_ENDED: Self = Self(Cow::Borrowed("stream.ended"));
    /// A stream was wanted and did not come.
    pub const STREAM_FAILED: Self = Self(Cow::Borrowed("stream.failed"));
    /// A media node is there.
    pub const NODE_JOINED: Self = Self(Cow::Borrowed("node.joined"));
    /// A media node is there no longer.
    pub const NODE_LEFT: Self = Self(Cow::Borrowed("node.left"));
    /// The CMS was started; `unclean`: the run before did not end on purpose.
    pub const CMS_STARTED: Self = Self(Cow::Borrowed("cms.started"));
    /// The CMS is ending on purpose.
    pub const CMS_STOPPED: Self = Self(Cow::Borrowed("cms.stopped"));
    /// So many events were lost, because they came faster than they could be written.
    pub const EVENT_DROPPED: Self = Self(Cow::Borrowed("event.dropped"));
    /// A receiver of events takes none.
    pub const WEBHOOK_FAILING: Self = Self(Cow::Borrowed("webhook.failing"));

    /// Longest kind, in bytes.
    const MAX_LEN: usize = 64;

    /// Reads a kind: small letters, digits, `_` and `-`, with dots between the words.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        };
        (text.len() <= Self::MAX_LEN && text.split('.').all(word))
            .then(|| Self(Cow::Owned(text.to_owned())))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub kind: EventKind,
    /// To which device.
    pub serial: Option<Arc<str>>,
    /// On which of its channels.
    pub channel: Option<u32>,
    /// At which media node.
    pub node: Option<Arc<str>>,
    /// Why, in words for people; empty if there is nothing to say.
    pub cause: Cow<'static, str>,
    /// What else is known, an object; `Null` if nothing is.
    pub data: Value,
}

impl Event {
    /// Something without a subject.
    pub fn new(kind: EventKind, at: UnixMillis) -> Self {
        Self {
            at,
            kind,
            serial: None,
            channel: None,
            node: None,
            cause: Cow::Borrowed(""),
            data: Value::Null,
        }
    }

    /// It happened to this device.
    #[must_use]
    pub fn device(mut self, serial: impl Into<Arc<str>>) -> Self {
        self.serial = Some(serial.into());
        self
    }

    /// It happened on this channel.
    #[must_use]
    pub fn channel(mut self, channel: u32) -> Self {
        self.channel = Some(channel);
        self
    }

    /// It happened at this node.
    #[must_use]
    pub fn node(mut self, node: impl Into<Arc<str>>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// This is why.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.cause = cause.into();
        self
    }

    /// This is known besides.
    #[must_use]
    pub fn with(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

/// A place in an event log: behind one event and before the next. An event's own cursor is the
/// place behind it, and its id.
///
/// Whoever reads a log takes it as opaque text. It names the log, so that a cursor of another
/// one, or of one that was lost, is not taken for a place in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventCursor {
    log: u32,
    sequence: u64,
}

impl EventCursor {
    /// For implementors of [`EventLog`]. `log`: drawn at random when the log was made.
    /// `sequence`: grows with every event, 0 is before the first.
    pub fn new(log: u32, sequence: u64) -> Self {
        Self { log, sequence }
    }

    /// Which log.
    pub fn log(self) -> u32 {
        self.log
    }

    /// Number of the event that it is behind.
    pub fn sequence(self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.log, self.sequence)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is no cursor of an event log")]
pub struct EventCursorError;

impl FromStr for EventCursor {
    type Err = EventCursorError;

    fn from_str(text: &str) -> Result<Self, EventCursorError> {
        let (log, sequence) = text.split_once('-').ok_or(EventCursorError)?;
        let hex = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        if log.len() != 8 || !hex(log, 8) || !hex(sequence, 16) {
            return Err(EventCursorError);
        }
        Ok(Self {
            log: u32::from_str_radix(log, 16).map_err(|_| EventCursorError)?,
            sequence: u64::from_str_radix(sequence, 16).map_err(|_| EventCursorError)?,
        })
    }
}

/// An event with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// Its id, and the place behind it.
    pub id: EventCursor,
    /// It.
    pub event: Event,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventFilter {
    /// Any of these kinds; one that ends with a dot stands for all that begin so (`device.`).
    /// Empty: all.
    pub kinds: Vec<String>,
    /// Of this device.
    pub serial: Option<String>,
}

impl EventFilter {
    /// All events.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether an event of this kind and device is among them.
    pub fn matches(&self, kind: &str, serial: Option<&str>) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix('.') {
            Some(_) => kind.starts_with(wanted.as_str()),
            None => kind == wanted,
        };
        (self.kinds.is_empty() || self.kinds.iter().any(fits))
            && (self.serial.is_none() || self.serial.as_deref() == serial)
    }
}

/// A part of a log.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events, in order.
    pub events: Vec<LoggedEvent>,
    /// Where to go on. It may be behind events that the filter left out.
    pub next: EventCursor,
    /// Whether there are events behind `next` already.
    pub more: bool,
}

/// How much of a log is kept. Whatever is reached first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Older events go.
    pub age: Duration,
    /// Most events.
    pub rows: u64,
    /// Most bytes, as the log counts them.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 24 * 3600),
            rows: 1_000_000,
            bytes: 512 * 1024 * 1024,
        }
    }
}

/// What a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventBounds {
    /// Behind it is the oldest event that is still there.
    pub oldest: EventCursor,
    /// The newest event.
    pub newest: EventCursor,
    /// How many events there are.
    pub rows: u64,
    /// How many bytes they take, as the log counts them.
    pub bytes: u64,
}

/// Why a log did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// Some events behind this cursor are no longer there, or the log never had it.
    #[error("the events behind this cursor are gone; what is left begins behind {oldest}")]
    Gone {
        /// Where to go on with what is left.
        oldest: EventCursor,
    },
    /// The backend failed.
    #[error("the event log failed: {0}")]
    Backend(String),
}

/// Everything that happened, in one order, as far back as the [`Retention`] reaches.
///
/// A reader keeps a cursor, the log keeps nothing of its readers.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Writes events down, in this order, all or none; the cursor of the last. Events beyond
    /// the bounds in number and bytes go, the newest one always stays.
    async fn append(&self, events: Vec<Event>) -> Result<EventCursor, EventLogError>;

    /// At most `limit` events behind `after` that pass the filter. An implementation may look
    /// at a part of the log only, so a page may be empty although there is more.
    ///
    /// # Errors
    /// [`EventLogError::Gone`]: an event behind `after` has been removed, or `after` is not
    /// of this log.
    async fn read(
        &self,
        after: EventCursor,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventPage, EventLogError>;

    /// The newest event of one of these kinds.
    async fn last(&self, kinds: &[EventKind]) -> Result<Option<LoggedEvent>, EventLogError>;

    /// What there is.
    async fn bounds(&self) -> Result<EventBounds, EventLogError>;

    /// Removes what is too old, but not the newest event; how many that were.
    async fn trim(&self, now: UnixMillis) -> Result<u64, EventLogError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_are_dotted_words() {
        for good in ["device.online", "a", "access.login_failed", "a.b-c.d2"] {
            assert_eq!(EventKind::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", ".", "a.", ".a", "a..b", "A.b", "a b", "a\nb", &long] {
            assert_eq!(EventKind::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_filter_knows_kinds_families_and_devices() {
        let filter = |kinds: &[&str], serial: Option<&str>| EventFilter {
            kinds: kinds.iter().map(|k| (*k).to_owned()).collect(),
            serial: serial.map(str::to_owned),
        };
        assert!(filter(&[], None).matches("node.left", None));
        assert!(filter(&["device."], None).matches("device.online", Some("a")));
        assert!(!filter(&["device"], None).matches("device.online", Some("a")));
        assert!(!filter(&["device.on"], None).matches("device.online", None));
        assert!(filter(&["x", "device.online"], None).matches("device.online", None));
        assert!(filter(&[], Some("a")).matches("device.online", Some("a")));
        assert!(!filter(&[], Some("a")).matches("node.left", None));
    }

    proptest! {
        #[test]
        fn cursors_come_back_from_their_text(log: u32, sequence: u64) {
            let cursor = EventCursor::new(log, sequence);
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<EventCursor>();
            let _ = EventKind::parse(&text);
        }
    }
}
