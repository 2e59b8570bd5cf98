//! From older schemas to ours, one step after the other, each in one transaction.

use easydarwin_core::registry::StoreError;
use rusqlite::{Connection, TransactionBehavior};

use super::failed;

/// The steps; the number of the last one is our schema.
const STEPS: [&str; 2] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
];

/// Says that a file is ours, in the field that SQLite has for it.
const APPLICATION_ID: u32 = 0x4544_434d;

pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Our schema.
pub(super) fn newest() -> u32 {
    u32::try_from(STEPS.len()).unwrap_or(u32::MAX)
}

/// Brings a store up to date. Two processes that do it at once do it once.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrate_to(connection, newest())
}

pub(super) fn migrate_to(connection: &mut Connection, target: u32) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found = version(&transaction).map_err(failed)?;
    if found > newest() {
        return Err(StoreError::Newer {
            found,
            known: newest(),
        });
    }
    let application: u32 = transaction
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(StoreError::Backend(
            "the file is a database of another program".into(),
        ));
    }
    let steps = (1..).zip(STEPS);
    for (number, step) in steps.filter(|(n, _)| *n > found && *n <= target) {
        transaction.execute_batch(step).map_err(failed)?;
        transaction
            .pragma_update(None, "user_version", number)
            .map_err(failed)?;
        if found > 0 {
            tracing::info!(
                from = number - 1,
                to = number,
                "the store got a newer schema"
            );
        }
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}
