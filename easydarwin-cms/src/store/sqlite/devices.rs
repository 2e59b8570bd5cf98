//! Devices and their credentials.

use async_trait::async_trait;
use easydarwin_core::registry::{
    Author, Changed, Credential, Device, DeviceChange, DeviceQuery, DeviceStore, GroupPath, Page,
    Seen, StoreError, UnixMillis, Used,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::credentials::{put_credential, revoke};
use super::list::list;
use super::{SqliteStore, failed, rows};

#[async_trait]
impl DeviceStore for SqliteStore {
    async fn begin_epoch(&self) -> Result<u32, StoreError> {
        // Never below the clock's seconds: a restored backup does not know of later starts.
        let floor = u32::try_from(UnixMillis::system().seconds()).unwrap_or(0);
        self.writer
            .write(move |connection| {
                let last: Option<u32> = connection
                    .query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| {
                        row.get::<_, String>(0)
                    })
                    .optional()
                    .map_err(failed)?
                    .and_then(|text| text.parse().ok());
                let next = last.map_or(floor, |last| last.saturating_add(1).max(floor));
                connection
                    .execute(
                        "INSERT INTO meta VALUES ('epoch', ?1) \
                         ON CONFLICT DO UPDATE SET value = excluded.value",
                        [next.to_string()],
                    )
                    .map_err(failed)?;
                Ok(next)
            })
            .await
    }

    async fn change(
        &self,
        changes: Vec<DeviceChange>,
        by: &Author,
    ) -> Result<Vec<Changed>, StoreError> {
        let (by, limit) = (by.clone(), self.limit);
        self.writer
            .write(move |connection| {
                let change = |change| apply(connection, change, limit, &by);
                changes.into_iter().map(change).collect()
            })
            .await
    }

    async fn get(&self, serial: &str) -> Result<Option<Device>, StoreError> {
        let serial = serial.to_owned();
        self.readers
            .read(move |connection| find(connection, &serial))
            .await
    }

    async fn list(&self, query: &DeviceQuery) -> Result<Page<Device>, StoreError> {
        let after = query.after()?;
        let query = query.clone();
        self.readers
            .read(move |connection| list(connection, &query, after))
            .await
    }

    async fn count(&self) -> Result<usize, StoreError> {
        let count = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM devices", [], |row| row.get(0))
        };
        Ok(rows::size(self.readers.read(count).await?))
    }

    async fn credentials(&self, serial: &str) -> Result<Vec<Credential>, StoreError> {
        let serial = serial.to_owned();
        self.readers
            .read(move |connection| {
                let mut found = connection.prepare_cached(
                    "SELECT id, kind, secret, created, last_used, revoked \
                     FROM credentials WHERE serial = ?1",
                )?;
                found.query_map([serial], rows::credential)?.collect()
            })
            .await
    }

    async fn seen(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        self.writer
            .write(move |connection| {
                let mut update = connection
                    .prepare_cached(
                        "UPDATE devices SET last_seen = ?2, last_cause = ?3 WHERE serial = ?1",
                    )
                    .map_err(failed)?;
                for seen in seen {
                    update
                        .execute(params![seen.serial, rows::to_sql(seen.at), seen.cause])
                        .map_err(failed)?;
                }
                Ok(())
            })
            .await
    }

    async fn used(&self, used: Vec<Used>) -> Result<(), StoreError> {
        self.writer
            .write(move |connection| {
                let mut update = connection
                    .prepare_cached(
                        "UPDATE credentials SET last_used = ?3 WHERE serial = ?1 AND id = ?2",
                    )
                    .map_err(failed)?;
                for used in used {
                    update
                        .execute(params![used.serial, used.id, rows::to_sql(used.at)])
                        .map_err(failed)?;
                }
                Ok(())
            })
            .await
    }
}

pub(super) fn find(connection: &Connection, serial: &str) -> rusqlite::Result<Option<Device>> {
    let sql = format!("SELECT {} FROM devices WHERE serial = ?1", rows::DEVICE);
    connection
        .prepare_cached(&sql)?
        .query_row([serial], rows::device)
        .optional()
}

/// Writes a device; what it does not know of is left as it is.
fn put(connection: &Connection, device: &Device) -> rusqlite::Result<()> {
    let columns = rows::columns(device);
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let updates: Vec<String> = names
        .iter()
        .map(|n| format!("{n} = excluded.{n}"))
        .collect();
    let sql = format!(
        "INSERT INTO devices ({}) VALUES ({marks}) ON CONFLICT (serial) DO UPDATE SET {}",
        names.join(", "),
        updates.join(", ")
    );
    let values = rusqlite::params_from_iter(columns.iter().map(|(_, value)| value));
    connection.prepare_cached(&sql)?.execute(values)?;
    Ok(())
}

/// Makes a group and those that hold it.
pub(super) fn add_group(connection: &Connection, group: &GroupPath) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO groups VALUES (?1) ON CONFLICT DO NOTHING")?;
    for group in group.with_parents() {
        insert.execute([group.as_str()])?;
    }
    Ok(())
}

pub(super) fn note(
    connection: &Connection,
    by: &Author,
    action: &str,
    subject: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO audit (at, author, origin, action, subject, detail) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            rows::to_sql(by.at),
            by.name,
            by.origin,
            action,
            subject,
            detail
        ])?;
    Ok(())
}

fn apply(
    connection: &Connection,
    change: DeviceChange,
    limit: usize,
    by: &Author,
) -> Result<Changed, StoreError> {
    match change {
        DeviceChange::Patch(serial, patch) => {
            let change = |device: &mut Device| patch.apply(device);
            let (changed, device) = upsert(connection, &serial, limit, by, change)?;
            if changed != Changed::Same {
                add_group(connection, &device.group).map_err(failed)?;
                let detail = format!("{patch:?}");
                note(connection, by, "device.put", &serial, &detail).map_err(failed)?;
            }
            Ok(changed)
        }
        DeviceChange::Said(serial, said) => {
            let change = |device: &mut Device| {
                let differs = device.said != said;
                device.said = said;
                differs
            };
            upsert(connection, &serial, limit, by, change).map(|(changed, _)| changed)
        }
        DeviceChange::Remove(serial) => {
            let removed = connection
                .execute("DELETE FROM devices WHERE serial = ?1", [&serial])
                .map_err(failed)?;
            if removed == 0 {
                return Err(StoreError::NotFound(serial));
            }
            note(connection, by, "device.remove", &serial, "").map_err(failed)?;
            Ok(Changed::Changed)
        }
        DeviceChange::PutCredential(serial, credential) => {
            put_credential(connection, &serial, &credential, by)
        }
        DeviceChange::RevokeCredential(serial, id) => revoke(connection, &serial, &id, by),
        _ => Err(StoreError::Backend("this change is not known".into())),
    }
}

/// Reads a device, or makes one, changes it and writes it if that changed anything.
fn upsert(
    connection: &Connection,
    serial: &str,
    limit: usize,
    by: &Author,
    change: impl FnOnce(&mut Device) -> bool,
) -> Result<(Changed, Device), StoreError> {
    let found = find(connection, serial).map_err(failed)?;
    let is_new = found.is_none();
    let mut device = found.unwrap_or_else(|| Device::new(serial, by.at));
    let differs = change(&mut device);
    if is_new {
        let count: i64 = connection
            .prepare_cached("SELECT count(*) FROM devices")
            .and_then(|mut count| count.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        if rows::size(count) >= limit {
            return Err(StoreError::Full { limit });
        }
    }
    if is_new || differs {
        put(connection, &device).map_err(failed)?;
    }
    let changed = match (is_new, differs) {
        (true, _) => Changed::Added,
        (false, true) => Changed::Changed,
        (false, false) => Changed::Same,
    };
    Ok((changed, device))
}
