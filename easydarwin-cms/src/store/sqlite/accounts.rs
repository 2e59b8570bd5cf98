//! People, keys, groups, policy, audit.

use async_trait::async_trait;
use easydarwin_core::registry::{
    Account, AccountChange, AccountStore, ApiKey, AuditEntry, Author, GroupPath, Rights, RoleGrant,
    StoreError,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::devices::{add_group, note};
use super::{SqliteStore, failed, rows};

/// Whose a grant is.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Account,
    Key,
}

impl Holder {
    fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Key => "key",
        }
    }
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn change_accounts(
        &self,
        changes: Vec<AccountChange>,
        by: &Author,
    ) -> Result<(), StoreError> {
        let by = by.clone();
        self.writer
            .write(move |connection| {
                let change = |change| apply(connection, change, &by);
                changes.into_iter().try_for_each(change)
            })
            .await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.readers.read(accounts).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.readers.read(keys).await
    }

    async fn groups(&self) -> Result<Vec<GroupPath>, StoreError> {
        self.readers
            .read(|connection| {
                let mut found = connection.prepare("SELECT path FROM groups ORDER BY path")?;
                found.query_map([], |row| rows::group(row, 0))?.collect()
            })
            .await
    }

    async fn policy(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.readers
            .read(|connection| {
                let mut found =
                    connection.prepare("SELECT name, value FROM policy ORDER BY name")?;
                let pairs = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                pairs.collect()
            })
            .await
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers
            .read(move |connection| {
                let mut found = connection.prepare_cached(
                    "SELECT id, at, author, origin, action, subject, detail FROM audit \
                     WHERE id > ?1 ORDER BY id LIMIT ?2",
                )?;
                let entries = found.query_map([after, limit], |row| {
                    let author = Author::new(row.get::<_, String>(2)?, rows::time(row.get(1)?))
                        .from_address(row.get::<_, String>(3)?);
                    Ok(AuditEntry::new(
                        u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                        author,
                        row.get::<_, String>(4)?,
                        row.get::<_, String>(5)?,
                        row.get::<_, String>(6)?,
                    ))
                })?;
                entries.collect()
            })
            .await
    }

    async fn audit_end(&self) -> Result<u64, StoreError> {
        let end = |connection: &Connection| {
            connection
                .prepare_cached("SELECT coalesce(max(id), 0) FROM audit")?
                .query_row([], |row| row.get::<_, i64>(0))
        };
        Ok(u64::try_from(self.readers.read(end).await?).unwrap_or(0))
    }
}

fn accounts(connection: &Connection) -> rusqlite::Result<Vec<Account>> {
    let mut found = connection
        .prepare("SELECT name, password, enabled, created FROM accounts ORDER BY name")?;
    let all = found.query_map([], |row| {
        let name: String = row.get(0)?;
        let rights = rights(connection, Holder::Account, &name)?;
        let mut account = Account::new(name, rights, rows::time(row.get(3)?));
        account.password = row.get(1)?;
        account.enabled = row.get(2)?;
        Ok(account)
    })?;
    all.collect()
}

fn keys(connection: &Connection) -> rusqlite::Result<Vec<ApiKey>> {
    let mut found = connection.prepare(
        "SELECT id, name, digest, owner, created, expires, revoked FROM api_keys ORDER BY id",
    )?;
    let all = found.query_map([], |row| {
        let id: String = row.get(0)?;
        let rights = rights(connection, Holder::Key, &id)?;
        let mut key = ApiKey::new(id, row.get(2)?, rights, rows::time(row.get(4)?));
        key.name = row.get(1)?;
        key.owner = row.get(3)?;
        key.expires = rows::optional_time(row, 5)?;
        key.revoked = rows::optional_time(row, 6)?;
        Ok(key)
    })?;
    all.collect()
}

fn rights(connection: &Connection, kind: Holder, holder: &str) -> rusqlite::Result<Rights> {
    let mut found = connection.prepare_cached(
        "SELECT role, group_path FROM grants \
         WHERE holder_kind = ?1 AND holder = ?2 ORDER BY position",
    )?;
    let grants = found.query_map([kind.as_str(), holder], |row| {
        let role: String = row.get(0)?;
        let role = role.parse().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
        })?;
        let group = rows::group(row, 1)?;
        Ok(RoleGrant { role, group })
    })?;
    Ok(Rights::new(grants.collect::<Result<_, _>>()?))
}

fn put_rights(
    connection: &Connection,
    kind: Holder,
    holder: &str,
    rights: &Rights,
) -> rusqlite::Result<()> {
    remove_rights(connection, kind, holder)?;
    let mut insert = connection.prepare_cached("INSERT INTO grants VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (position, grant) in (0_i64..).zip(rights.grants()) {
        add_group(connection, &grant.group)?;
        insert.execute(params![
            kind.as_str(),
            holder,
            position,
            grant.role.as_str(),
            grant.group.as_str()
        ])?;
    }
    Ok(())
}

fn remove_rights(connection: &Connection, kind: Holder, holder: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM grants WHERE holder_kind = ?1 AND holder = ?2")?
        .execute([kind.as_str(), holder])?;
    Ok(())
}

fn apply(connection: &Connection, change: AccountChange, by: &Author) -> Result<(), StoreError> {
    match change {
        AccountChange::PutAccount(account) => put_account(connection, &account, by).map_err(failed),
        AccountChange::RemoveAccount(name) => {
            let found = keys_of(connection, &name).map_err(failed)?;
            for key in found {
                remove_rights(connection, Holder::Key, &key).map_err(failed)?;
            }
            remove_rights(connection, Holder::Account, &name).map_err(failed)?;
            let sql = "DELETE FROM accounts WHERE name = ?1";
            if connection.execute(sql, [&name]).map_err(failed)? == 0 {
                return Err(StoreError::NotFound(name));
            }
            note(connection, by, "account.remove", &name, "").map_err(failed)
        }
        AccountChange::PutKey(key) => put_key(connection, &key, by).map_err(failed),
        AccountChange::RevokeKey { id, at } => {
            let sql = "UPDATE api_keys SET revoked = coalesce(revoked, ?2) WHERE id = ?1";
            let revoked = connection.execute(sql, params![id, rows::to_sql(at)]);
            if revoked.map_err(failed)? == 0 {
                return Err(StoreError::NotFound(id));
            }
            note(connection, by, "key.revoke", &id, "").map_err(failed)
        }
        AccountChange::AddGroup(group) => {
            add_group(connection, &group).map_err(failed)?;
            note(connection, by, "group.add", group.as_str(), "").map_err(failed)
        }
        AccountChange::MoveGroup { from, to } => move_group(connection, &from, &to, by),
        AccountChange::RemoveGroup(group) => remove_group(connection, &group, by),
        AccountChange::SetPolicy { name, value } => {
            connection
                .execute(
                    "INSERT INTO policy VALUES (?1, ?2) \
                     ON CONFLICT DO UPDATE SET value = excluded.value",
                    [&name, &value],
                )
                .map_err(failed)?;
            note(connection, by, "policy.set", &name, &value).map_err(failed)
        }
        _ => Err(StoreError::Backend("this change is not known".into())),
    }
}

fn put_account(connection: &Connection, account: &Account, by: &Author) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO accounts (name, password, enabled, created) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET password = excluded.password, enabled = excluded.enabled",
        params![
            account.name,
            account.password,
            account.enabled,
            rows::to_sql(account.created)
        ],
    )?;
    put_rights(connection, Holder::Account, &account.name, &account.rights)?;
    let detail = account.rights.described(account.enabled);
    note(connection, by, "account.put", &account.name, &detail)
}

fn put_key(connection: &Connection, key: &ApiKey, by: &Author) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO api_keys (id, name, digest, owner, created, expires, revoked) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, digest = excluded.digest, \
         owner = excluded.owner, expires = excluded.expires, revoked = excluded.revoked",
        params![
            key.id,
            key.name,
            key.digest,
            key.owner,
            rows::to_sql(key.created),
            key.expires.map(rows::to_sql),
            key.revoked.map(rows::to_sql)
        ],
    )?;
    put_rights(connection, Holder::Key, &key.id, &key.rights)?;
    let detail = key.rights.described(key.revoked.is_none());
    note(connection, by, "key.put", &key.id, &detail)
}

fn keys_of(connection: &Connection, owner: &str) -> rusqlite::Result<Vec<String>> {
    let mut found = connection.prepare("SELECT id FROM api_keys WHERE owner = ?1")?;
    found.query_map([owner], |row| row.get(0))?.collect()
}

fn exists(connection: &Connection, group: &GroupPath) -> rusqlite::Result<bool> {
    let found: Option<i64> = connection
        .query_row(
            "SELECT 1 FROM groups WHERE path = ?1",
            [group.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    Ok(found.is_some())
}

/// Whatever has a group's path in it.
const WITH_GROUPS: [(&str, &str); 3] = [
    ("groups", "path"),
    ("devices", "group_path"),
    ("grants", "group_path"),
];

/// The paths in a column that are `group` or below it.
fn inside(
    connection: &Connection,
    (table, column): (&str, &str),
    group: &GroupPath,
) -> rusqlite::Result<Vec<GroupPath>> {
    let sql = format!(
        "SELECT DISTINCT {column} FROM {table} \
         WHERE {column} = ?1 OR ({column} > ?1 || '/' AND {column} < ?1 || '0')"
    );
    let mut found = connection.prepare(&sql)?;
    found
        .query_map([group.as_str()], |row| rows::group(row, 0))?
        .collect()
}

fn move_group(
    connection: &Connection,
    from: &GroupPath,
    to: &GroupPath,
    by: &Author,
) -> Result<(), StoreError> {
    if from.is_root() || !exists(connection, from).map_err(failed)? {
        return Err(StoreError::NotFound(from.to_string()));
    }
    if from.holds(to) || exists(connection, to).map_err(failed)? {
        return Err(StoreError::InUse(format!(
            "{from} cannot become {to}: that lies in it, or exists"
        )));
    }
    for place in WITH_GROUPS {
        let (table, column) = place;
        let sql = format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1");
        for old in inside(connection, place, from).map_err(failed)? {
            let new = old.moved(from, to)?;
            connection
                .execute(&sql, [old.as_str(), new.as_str()])
                .map_err(failed)?;
        }
    }
    add_group(connection, to).map_err(failed)?;
    note(connection, by, "group.move", from.as_str(), to.as_str()).map_err(failed)
}

fn remove_group(connection: &Connection, group: &GroupPath, by: &Author) -> Result<(), StoreError> {
    if !exists(connection, group).map_err(failed)? {
        return Err(StoreError::NotFound(group.to_string()));
    }
    let mut used = false;
    for place in WITH_GROUPS {
        let found = inside(connection, place, group).map_err(failed)?;
        // The group itself stands in its own table.
        used |= found.iter().any(|g| place.0 != "groups" || g != group);
    }
    if used {
        return Err(StoreError::InUse(format!(
            "the group {group} still holds groups, devices or rights; move them first"
        )));
    }
    connection
        .execute("DELETE FROM groups WHERE path = ?1", [group.as_str()])
        .map_err(failed)?;
    note(connection, by, "group.remove", group.as_str(), "").map_err(failed)
}
