//! Between rows and values.

use easydarwin_core::protocol::login::Verifier;
use easydarwin_core::registry::{
    Credential, Device, DeviceChannel, DeviceSaid, GroupPath, Secret, UnixMillis,
};
use rusqlite::types::Type;
use rusqlite::{Row, ToSql};
use serde::{Deserialize, Serialize};

/// Columns of a device in the order in which [`device`] reads them.
pub(super) const DEVICE: &str = "serial, label, tags, group_path, enabled, created, name, tag, \
     app_type, terminal_type, channels, last_seen, last_cause";

#[derive(Serialize, Deserialize)]
struct Channel {
    #[serde(rename = "n")]
    channel: u32,
    name: String,
    online: bool,
}

pub(super) fn size(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// SQLite's integers have a sign. Times end in the year 292 million.
pub(super) fn to_sql(time: UnixMillis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

pub(super) fn time(value: i64) -> UnixMillis {
    UnixMillis(u64::try_from(value).unwrap_or(0))
}

fn broken(
    column: usize,
    kind: Type,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, error.into())
}

fn from_json<T: for<'a> Deserialize<'a>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| broken(column, Type::Text, error))
}

pub(super) fn group(row: &Row<'_>, column: usize) -> rusqlite::Result<GroupPath> {
    let text: String = row.get(column)?;
    GroupPath::parse(&text).map_err(|error| broken(column, Type::Text, error))
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UnixMillis>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(time))
}

pub(super) fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let mut device = Device::new(row.get::<_, String>(0)?, time(row.get(5)?));
    device.label = row.get(1)?;
    device.tags = from_json(row, 2)?;
    device.group = group(row, 3)?;
    device.enabled = row.get(4)?;
    let channels: Vec<Channel> = from_json(row, 10)?;
    device.said = DeviceSaid {
        name: row.get(6)?,
        tag: row.get(7)?,
        app_type: row.get(8)?,
        terminal_type: row.get(9)?,
        channels: channels
            .into_iter()
            .map(|c| DeviceChannel {
                channel: c.channel,
                name: c.name,
                online: c.online,
            })
            .collect(),
    };
    device.last_seen = optional_time(row, 11)?;
    device.last_cause = row.get(12)?;
    Ok(device)
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and lists of them always have a form in JSON.
    serde_json::to_string(value).unwrap_or_default()
}

/// The columns of a device under their names, for an upsert.
pub(super) fn columns(device: &Device) -> Vec<(&'static str, Box<dyn ToSql>)> {
    let said = &device.said;
    let channels: Vec<Channel> = said
        .channels
        .iter()
        .map(|c| Channel {
            channel: c.channel,
            name: c.name.clone(),
            online: c.online,
        })
        .collect();
    let mut search = [&device.serial, &device.label, &said.name, &said.tag]
        .map(String::as_str)
        .join("\n");
    for tag in &device.tags {
        search.push('\n');
        search.push_str(tag);
    }
    vec![
        ("serial", Box::new(device.serial.clone())),
        ("label", Box::new(device.label.clone())),
        ("tags", Box::new(json(&device.tags))),
        ("group_path", Box::new(device.group.to_string())),
        ("enabled", Box::new(device.enabled)),
        ("created", Box::new(to_sql(device.created))),
        ("name", Box::new(said.name.clone())),
        ("tag", Box::new(said.tag.clone())),
        ("app_type", Box::new(said.app_type.clone())),
        ("terminal_type", Box::new(said.terminal_type.clone())),
        ("channels", Box::new(json(&channels))),
        ("name_key", Box::new(device.name().to_lowercase())),
        ("search", Box::new(search.to_lowercase())),
    ]
}

/// Kind and bytes of a secret.
pub(super) fn secret_to_sql(secret: &Secret) -> Option<(&'static str, Vec<u8>)> {
    match secret {
        Secret::Key(verifier) => {
            let both = [verifier.stored_key, verifier.server_key].concat();
            Some(("key", both))
        }
        Secret::Token(digest) => Some(("token", digest.to_vec())),
        Secret::Cert(name) => Some(("cert", name.clone().into_bytes())),
        _ => None,
    }
}

/// `id, kind, secret, created, last_used, revoked`.
pub(super) fn credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    let kind: String = row.get(1)?;
    let bytes: Vec<u8> = row.get(2)?;
    let secret = secret(&kind, &bytes)
        .ok_or_else(|| broken(2, Type::Blob, format!("no secret of the kind {kind}")))?;
    let mut credential = Credential::new(row.get::<_, String>(0)?, secret, time(row.get(3)?));
    credential.last_used = optional_time(row, 4)?;
    credential.revoked = optional_time(row, 5)?;
    Ok(credential)
}

fn secret(kind: &str, bytes: &[u8]) -> Option<Secret> {
    match kind {
        "key" => {
            let (stored, server) = bytes.split_at_checked(32)?;
            Some(Secret::Key(Verifier {
                stored_key: stored.try_into().ok()?,
                server_key: server.try_into().ok()?,
            }))
        }
        "token" => Some(Secret::Token(bytes.try_into().ok()?)),
        "cert" => Some(Secret::Cert(String::from_utf8(bytes.to_vec()).ok()?)),
        _ => None,
    }
}
