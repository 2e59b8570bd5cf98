//! The event log.

use async_trait::async_trait;
use easydarwin_core::registry::{
    Event, EventBounds, EventCursor, EventFilter, EventKind, EventLog, EventLogError, EventPage,
    LoggedEvent, Retention, StoreError, UnixMillis, random_bytes,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SqliteStore, failed, rows};

/// Events looked at for one page, so that a filter which fits nothing holds nobody up.
const MAX_SCAN: usize = 10_000;

/// What a row takes besides its texts: its other columns, its place in the table and in the index.
const ROW: i64 = 64;

const COLUMNS: &str = "id, at, kind, serial, data";

/// The bytes of a row, in SQL.
const BYTES: &str = "64 + octet_length(kind) + octet_length(serial) + octet_length(data)";

/// See [`ends`]. Two queries in one: a single one for both ends would look at every row.
pub(super) const ENDS: &str = "SELECT ifnull((SELECT min(id) FROM events), 1) - 1, \
     ifnull((SELECT max(id) FROM events), 0)";

/// What of an event has no column of its own.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Rest {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    cause: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
}

/// The name of this store's log, made when the store was.
pub(super) fn log_id(connection: &Connection) -> Result<u32, StoreError> {
    let random = random_bytes().map_err(|e| StoreError::Backend(e.to_string()))?;
    let made = u32::from_le_bytes(random).to_string();
    connection
        .execute(
            "INSERT OR IGNORE INTO meta VALUES ('event_log', ?1), ('event_bytes', '0')",
            [made],
        )
        .map_err(failed)?;
    let found: String = connection
        .query_row(
            "SELECT value FROM meta WHERE key = 'event_log'",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    found
        .parse()
        .map_err(|_| StoreError::Backend("the event log has no name".into()))
}

/// Numbers of the event before the oldest and of the newest. Events are removed from the oldest
/// on and the newest stays, so there is none missing in between.
fn ends(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    connection
        .prepare_cached(ENDS)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn bytes(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'event_bytes'")?
        .query_row([], |row| row.get(0))
}

fn set_bytes(connection: &Connection, bytes: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE meta SET value = CAST(?1 AS TEXT) WHERE key = 'event_bytes'")?
        .execute([bytes])
        .map(|_| ())
}

/// Removes the oldest up to this one; the bytes that were freed.
fn remove_up_to(connection: &Connection, last: i64) -> rusqlite::Result<i64> {
    let freed = connection
        .prepare_cached(&format!(
            "SELECT ifnull(sum({BYTES}), 0) FROM events WHERE id <= ?1"
        ))?
        .query_row([last], |row| row.get(0))?;
    connection
        .prepare_cached("DELETE FROM events WHERE id <= ?1")?
        .execute([last])?;
    Ok(freed)
}

fn append(
    connection: &Connection,
    events: Vec<Event>,
    retention: Retention,
) -> rusqlite::Result<i64> {
    let mut total = bytes(connection)?;
    {
        let mut insert = connection.prepare_cached(
            "INSERT INTO events (at, kind, serial, data) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for event in events {
            let kind = event.kind.as_str();
            let serial = event.serial.as_deref().unwrap_or_default();
            let rest = Rest {
                channel: event.channel,
                node: event.node.as_deref().map(str::to_owned),
                cause: event.cause.into_owned(),
                data: event.data,
            };
            let rest = serde_json::to_string(&rest)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
            let texts = kind.len() + serial.len() + rest.len();
            total += ROW + i64::try_from(texts).unwrap_or(i64::MAX / 2);
            insert.execute(params![rows::to_sql(event.at), kind, serial, rest])?;
        }
    }
    let (before_oldest, newest) = ends(connection)?;
    let most = i64::try_from(retention.rows.max(1)).unwrap_or(i64::MAX);
    if newest - before_oldest > most {
        total -= remove_up_to(connection, newest - most)?;
    }
    let most = i64::try_from(retention.bytes).unwrap_or(i64::MAX);
    if total > most {
        // Some more than need be, so that not each further event has to remove one.
        let spare = most - most / 64;
        let last = last_beyond(connection, newest, total - spare)?;
        total -= remove_up_to(connection, last)?;
    }
    set_bytes(connection, total)?;
    Ok(newest)
}

/// The last of the oldest events that together have so many bytes; never the newest.
fn last_beyond(connection: &Connection, newest: i64, beyond: i64) -> rusqlite::Result<i64> {
    let mut oldest = connection.prepare_cached(&format!(
        "SELECT id, {BYTES} FROM events WHERE id < ?1 ORDER BY id"
    ))?;
    let mut found = oldest.query([newest])?;
    let (mut last, mut freed) = (0, 0);
    while freed < beyond
        && let Some(row) = found.next()?
    {
        last = row.get(0)?;
        freed += row.get::<_, i64>(1)?;
    }
    Ok(last)
}

fn read(
    connection: &Connection,
    after: i64,
    filter: &EventFilter,
    limit: usize,
) -> rusqlite::Result<Read> {
    // One look at the store, also while somebody writes.
    let transaction = connection.unchecked_transaction()?;
    let (before_oldest, newest) = ends(&transaction)?;
    if !(before_oldest..=newest).contains(&after) {
        return Ok(Read::Gone(before_oldest));
    }
    let scan = i64::try_from(MAX_SCAN).unwrap_or(i64::MAX);
    let of_one = match filter.serial {
        // The index has no events without a device, and has to be told so.
        Some(_) => "AND serial <> '' AND serial = ?3",
        None => "AND ?3 IS NOT NULL",
    };
    let mut statement = transaction.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE id > ?1 {of_one} ORDER BY id LIMIT ?2"
    ))?;
    let serial = filter.serial.as_deref().unwrap_or_default();
    let mut found = statement.query(params![after, scan, serial])?;
    let (mut events, mut next, mut looked_at) = (Vec::new(), after, 0);
    while events.len() < limit {
        let Some(row) = found.next()? else {
            if looked_at < MAX_SCAN {
                next = newest;
            }
            break;
        };
        looked_at += 1;
        next = row.get(0)?;
        let (kind, serial) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?);
        if filter.matches(kind, Some(serial).filter(|s| !s.is_empty())) {
            events.push((next, event(row)?));
        }
    }
    Ok(Read::Page {
        events,
        next,
        newest,
    })
}

enum Read {
    Gone(i64),
    Page {
        events: Vec<(i64, Event)>,
        next: i64,
        newest: i64,
    },
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let broken = |column, error: String| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    };
    let kind: String = row.get(2)?;
    let kind = EventKind::parse(&kind).ok_or_else(|| broken(2, format!("{kind:?} is no kind")))?;
    let rest: String = row.get(4)?;
    let rest: Rest = serde_json::from_str(&rest).map_err(|e| broken(4, e.to_string()))?;
    let serial: String = row.get(3)?;
    let mut event = Event::new(kind, rows::time(row.get(1)?))
        .because(rest.cause)
        .with(rest.data);
    event.serial = (!serial.is_empty()).then(|| serial.into());
    event.channel = rest.channel;
    event.node = rest.node.map(Into::into);
    Ok(event)
}

fn backend(error: StoreError) -> EventLogError {
    EventLogError::Backend(error.to_string())
}

impl SqliteStore {
    fn cursor(&self, sequence: i64) -> EventCursor {
        EventCursor::new(self.log, u64::try_from(sequence).unwrap_or_default())
    }
}

#[async_trait]
impl EventLog for SqliteStore {
    async fn append(&self, events: Vec<Event>) -> Result<EventCursor, EventLogError> {
        let retention = self.retention;
        self.writer
            .write(move |connection| append(connection, events, retention).map_err(failed))
            .await
            .map(|newest| self.cursor(newest))
            .map_err(backend)
    }

    async fn read(
        &self,
        after: EventCursor,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventPage, EventLogError> {
        // What no number of ours can be is behind all of them.
        let sequence = match i64::try_from(after.sequence()) {
            Ok(sequence) if after.log() == self.log => sequence,
            _ => i64::MAX,
        };
        let filter = filter.clone();
        let read = self
            .readers
            .read(move |connection| read(connection, sequence, &filter, limit))
            .await
            .map_err(backend)?;
        match read {
            Read::Gone(before_oldest) => Err(EventLogError::Gone {
                oldest: self.cursor(before_oldest),
            }),
            Read::Page {
                events,
                next,
                newest,
            } => Ok(EventPage {
                events: events
                    .into_iter()
                    .map(|(id, event)| LoggedEvent {
                        id: self.cursor(id),
                        event,
                    })
                    .collect(),
                next: self.cursor(next),
                more: next < newest,
            }),
        }
    }

    async fn last(&self, kinds: &[EventKind]) -> Result<Option<LoggedEvent>, EventLogError> {
        let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
        let marks = vec!["?"; kinds.len()].join(", ");
        let found = self
            .readers
            .read(move |connection| {
                connection
                    .prepare(&format!(
                        "SELECT {COLUMNS} FROM events WHERE kind IN ({marks}) \
                         ORDER BY id DESC LIMIT 1"
                    ))?
                    .query_row(params_from_iter(kinds), |row| {
                        Ok((row.get::<_, i64>(0)?, event(row)?))
                    })
                    .optional()
            })
            .await
            .map_err(backend)?;
        Ok(found.map(|(id, event)| LoggedEvent {
            id: self.cursor(id),
            event,
        }))
    }

    async fn bounds(&self) -> Result<EventBounds, EventLogError> {
        let ((before_oldest, newest), bytes) = self
            .readers
            .read(|connection| {
                let transaction = connection.unchecked_transaction()?;
                Ok((ends(&transaction)?, bytes(&transaction)?))
            })
            .await
            .map_err(backend)?;
        Ok(EventBounds {
            oldest: self.cursor(before_oldest),
            newest: self.cursor(newest),
            rows: u64::try_from(newest - before_oldest).unwrap_or_default(),
            bytes: u64::try_from(bytes).unwrap_or_default(),
        })
    }

    async fn trim(&self, now: UnixMillis) -> Result<u64, EventLogError> {
        let age = u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX);
        let since = rows::to_sql(UnixMillis(now.0.saturating_sub(age)));
        self.writer
            .write(move |connection| trim(connection, since).map_err(failed))
            .await
            .map_err(backend)
    }
}

/// Removes from the oldest on what is older, up to the first that is not.
fn trim(connection: &Connection, since: i64) -> rusqlite::Result<u64> {
    let (before_oldest, newest) = ends(connection)?;
    let first_kept: Option<i64> = connection
        .prepare_cached("SELECT id FROM events WHERE at >= ?1 ORDER BY id LIMIT 1")?
        .query_row([since], |row| row.get(0))
        .optional()?;
    let last = first_kept.unwrap_or(newest).min(newest) - 1;
    if last <= before_oldest {
        return Ok(0);
    }
    let total = bytes(connection)? - remove_up_to(connection, last)?;
    set_bytes(connection, total)?;
    Ok(u64::try_from(last - before_oldest).unwrap_or_default())
}
