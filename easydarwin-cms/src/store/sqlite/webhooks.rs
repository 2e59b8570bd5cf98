//! Webhooks, how far each has come in the event log, and what was given up.

use async_trait::async_trait;
use easydarwin_core::registry::{EventCursor, StoreError};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{SqliteStore, failed, rows};
use crate::webhooks::{DeadLetter, MAX_DEAD_LETTERS, Webhook, WebhookStore};

#[derive(Serialize, Deserialize)]
struct Filter {
    kinds: Vec<String>,
    serial: Option<String>,
}

fn to_sql(cursor: EventCursor) -> i64 {
    i64::try_from(cursor.sequence()).unwrap_or(i64::MAX)
}

fn advance(connection: &Connection, id: &str, cursor: i64) -> Result<bool, StoreError> {
    connection
        .prepare_cached("UPDATE webhooks SET cursor = ?2 WHERE id = ?1")
        .and_then(|mut update| update.execute(params![id, cursor]))
        .map(|changed| changed > 0)
        .map_err(failed)
}

fn bury(connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
    let DeadLetter {
        webhook,
        at,
        reason,
        body,
    } = letter;
    connection
        .prepare_cached(
            "INSERT INTO dead_letters (webhook, at, reason, body) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![webhook, rows::to_sql(*at), reason, body])?;
    let most = i64::try_from(MAX_DEAD_LETTERS).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "DELETE FROM dead_letters WHERE webhook = ?1 AND id <= \
             (SELECT id FROM dead_letters WHERE webhook = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![webhook, most])?;
    Ok(())
}

fn webhook(row: &Row<'_>, log: u32) -> rusqlite::Result<Webhook> {
    let filter: String = row.get(3)?;
    let filter: Filter = serde_json::from_str(&filter).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
    })?;
    let cursor: i64 = row.get(6)?;
    Ok(Webhook {
        id: row.get(0)?,
        url: row.get(1)?,
        secret: row.get(2)?,
        kinds: filter.kinds,
        serial: filter.serial,
        owner: row.get(4)?,
        created: rows::time(row.get(5)?),
        cursor: EventCursor::new(log, u64::try_from(cursor).unwrap_or_default()),
    })
}

#[async_trait]
impl WebhookStore for SqliteStore {
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let log = self.log;
        self.readers
            .read(move |connection| {
                let mut found = connection.prepare(
                    "SELECT id, url, secret, filter, owner, created, cursor FROM webhooks \
                     ORDER BY id",
                )?;
                found.query_map([], |row| webhook(row, log))?.collect()
            })
            .await
    }

    async fn add_webhook(&self, webhook: Webhook) -> Result<(), StoreError> {
        let filter = Filter {
            kinds: webhook.kinds,
            serial: webhook.serial,
        };
        let filter =
            serde_json::to_string(&filter).map_err(|e| StoreError::Backend(e.to_string()))?;
        self.writer
            .write(move |connection| {
                connection
                    .execute(
                        "INSERT INTO webhooks (id, url, secret, filter, owner, created, cursor) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                        params![
                            webhook.id,
                            webhook.url,
                            webhook.secret,
                            filter,
                            webhook.owner,
                            rows::to_sql(webhook.created),
                            to_sql(webhook.cursor),
                        ],
                    )
                    .map(|_| ())
                    .map_err(failed)
            })
            .await
    }

    async fn remove_webhook(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.writer
            .write(move |connection| {
                match connection.execute("DELETE FROM webhooks WHERE id = ?1", [&id]) {
                    Ok(0) => Err(StoreError::NotFound(id)),
                    Ok(_) => Ok(()),
                    Err(error) => Err(failed(error)),
                }
            })
            .await
    }

    async fn advance(&self, id: &str, cursor: EventCursor) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.writer
            .write(move |connection| advance(connection, &id, to_sql(cursor)).map(|_| ()))
            .await
    }

    async fn bury(&self, letter: DeadLetter, cursor: EventCursor) -> Result<(), StoreError> {
        self.writer
            .write(move |connection| {
                if advance(connection, &letter.webhook, to_sql(cursor))? {
                    bury(connection, &letter).map_err(failed)?;
                }
                Ok(())
            })
            .await
    }

    async fn dead_letters(&self, id: &str, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let id = id.to_owned();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers
            .read(move |connection| {
                let mut found = connection.prepare_cached(
                    "SELECT webhook, at, reason, body FROM dead_letters WHERE webhook = ?1 \
                     ORDER BY id DESC LIMIT ?2",
                )?;
                let letters = found.query_map(params![id, limit], |row| {
                    Ok(DeadLetter {
                        webhook: row.get(0)?,
                        at: rows::time(row.get(1)?),
                        reason: row.get(2)?,
                        body: row.get(3)?,
                    })
                })?;
                letters.collect()
            })
            .await
    }
}
