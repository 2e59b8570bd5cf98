//! Secrets of devices: all changes of them go through here.

use easydarwin_core::registry::{Author, Changed, Credential, StoreError};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::devices::note;
use super::{failed, rows};

fn stored(
    connection: &Connection,
    serial: &str,
    id: &str,
) -> Result<Option<Credential>, StoreError> {
    connection
        .prepare_cached(
            "SELECT id, kind, secret, created, last_used, revoked \
             FROM credentials WHERE serial = ?1 AND id = ?2",
        )
        .and_then(|mut found| found.query_row([serial, id], rows::credential).optional())
        .map_err(failed)
}

pub(super) fn put_credential(
    connection: &Connection,
    serial: &str,
    credential: &Credential,
    by: &Author,
) -> Result<Changed, StoreError> {
    let known: bool = connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM devices WHERE serial = ?1)",
            [serial],
            |row| row.get(0),
        )
        .map_err(failed)?;
    if !known {
        return Err(StoreError::NotFound(serial.to_owned()));
    }
    let before = stored(connection, serial, &credential.id)?;
    if before
        .as_ref()
        .is_some_and(|b| b.secret == credential.secret)
    {
        return Ok(Changed::Same);
    }
    let (kind, secret) = rows::secret_to_sql(&credential.secret)
        .ok_or_else(|| StoreError::Backend("this kind of secret cannot be kept".into()))?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO credentials \
             (serial, id, kind, secret, created, last_used, revoked) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                serial,
                credential.id,
                kind,
                secret,
                rows::to_sql(credential.created),
                credential.last_used.map(rows::to_sql),
                credential.revoked.map(rows::to_sql),
            ])
        })
        .map_err(failed)?;
    note(connection, by, "credential.put", serial, &credential.id).map_err(failed)?;
    Ok(match before {
        Some(_) => Changed::Changed,
        None => Changed::Added,
    })
}

pub(super) fn revoke(
    connection: &Connection,
    serial: &str,
    id: &str,
    by: &Author,
) -> Result<Changed, StoreError> {
    let Some(credential) = stored(connection, serial, id)? else {
        return Err(StoreError::NotFound(format!("{serial} {id}")));
    };
    if credential.revoked.is_some() {
        return Ok(Changed::Same);
    }
    connection
        .execute(
            "UPDATE credentials SET revoked = ?3 WHERE serial = ?1 AND id = ?2",
            params![serial, id, rows::to_sql(by.at)],
        )
        .map_err(failed)?;
    note(connection, by, "credential.revoke", serial, id).map_err(failed)?;
    Ok(Changed::Changed)
}
