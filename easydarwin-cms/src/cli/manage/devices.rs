//! `device …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use easydarwin_core::protocol::{check_serial, login};
use easydarwin_core::registry::{
    Changed, Credential, Device, DeviceChange, DevicePatch, DeviceQuery, DeviceStore as _,
    GroupPath, Secret, UnixMillis, random_bytes,
};
use serde_json::json;

use super::{Desk, say, table};
use crate::CmsError;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Add a device and print its new key
    Add(Add),
    /// Show devices
    List(List),
    /// Change what people set of a device
    Set {
        /// Its serial
        serial: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Let devices register again
    Enable {
        /// Their serials
        #[arg(required = true)]
        serials: Vec<String>,
    },
    /// Let devices register no longer; what they push ends
    Disable {
        /// Their serials
        #[arg(required = true)]
        serials: Vec<String>,
    },
    /// Remove devices with their secrets
    Remove {
        /// Their serials
        #[arg(required = true)]
        serials: Vec<String>,
    },
    /// Print another key for a device; the old ones count until they are revoked
    Rotate {
        /// Its serial
        serial: String,
        /// Revoke all other secrets of the device at once
        #[arg(long)]
        now: bool,
    },
    /// Show the secrets of a device: their names and ages
    Secrets {
        /// Its serial
        serial: String,
    },
    /// Let a secret of a device count no longer
    Revoke {
        /// The device's serial
        serial: String,
        /// The secret's name
        id: String,
    },
    /// Add and change devices from a file; the same file twice changes nothing the second time
    Import(table::Import),
    /// Write devices, without secrets, into a file
    Export(table::Export),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// Its serial: 1 to 64 letters, digits, `-` or `_`
    serial: String,
    #[command(flatten)]
    fields: Fields,
    /// Instead of a new key: the plain token of an old device, read from this file (`-`: stdin)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Fields {
    /// Name to show instead of its own
    #[arg(long)]
    name: Option<String>,
    /// Group, such as north/gate
    #[arg(long)]
    group: Option<GroupPath>,
    /// Tags; several with commas
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Option<Vec<String>>,
}

impl Fields {
    fn patch(self) -> DevicePatch {
        DevicePatch {
            label: self.name,
            group: self.group,
            tags: self.tags,
            enabled: None,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Text in serial, name or tags
    text: Option<String>,
    /// Only this group and what is below it
    #[arg(long)]
    group: Option<GroupPath>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// A line each
    Text,
    /// A JSON object a line
    Json,
}

fn checked(serial: &str) -> Result<(), CmsError> {
    check_serial(serial)
        .map(|_| ())
        .map_err(|_| CmsError::Serial(serial.to_owned()))
}

/// A key that nobody has seen, and what is kept of it.
pub(super) fn new_key(
    serial: &str,
    id: &str,
    now: UnixMillis,
) -> Result<(String, Credential), CmsError> {
    let key = login::key_text(random_bytes()?);
    let verifier = login::DeviceKey::new(&key, serial).verifier().clone();
    Ok((key, Credential::new(id, Secret::Key(verifier), now)))
}

pub(super) async fn run(desk: &Desk, command: Command) -> Result<(), CmsError> {
    match command {
        Command::Add(args) => add(desk, args).await,
        Command::List(args) => list(desk, args).await,
        Command::Set { serial, fields } => {
            known(desk, &serial).await?;
            let changed = desk.store.patch(&serial, fields.patch(), &desk.author);
            say(match changed.await? {
                Changed::Same => "nothing to change",
                _ => "changed",
            })
        }
        Command::Enable { serials } => switch(desk, serials, true).await,
        Command::Disable { serials } => switch(desk, serials, false).await,
        Command::Remove { serials } => {
            let count = serials.len();
            let changes = serials.into_iter().map(DeviceChange::Remove).collect();
            desk.store.change(changes, &desk.author).await?;
            say(format_args!("{count} removed"))
        }
        Command::Rotate { serial, now } => rotate(desk, &serial, now).await,
        Command::Secrets { serial } => secrets(desk, &serial).await,
        Command::Revoke { serial, id } => {
            let revoked = desk.store.revoke_credential(&serial, &id, &desk.author);
            say(match revoked.await? {
                Changed::Same => "it was revoked already",
                _ => "revoked",
            })
        }
        Command::Import(args) => table::import(desk, &args).await,
        Command::Export(args) => table::export(desk, &args).await,
    }
}

async fn known(desk: &Desk, serial: &str) -> Result<Device, CmsError> {
    let found = desk.store.get(serial).await?;
    found.ok_or_else(|| CmsError::Config(format!("there is no device {serial:?}")))
}

async fn add(desk: &Desk, args: Add) -> Result<(), CmsError> {
    checked(&args.serial)?;
    if desk.store.get(&args.serial).await?.is_some() {
        return Err(CmsError::Config(format!(
            "there is a device {} already: `device set` changes it, `device rotate` gives it \
             another key",
            args.serial
        )));
    }
    let (key, credential) = match &args.token_file {
        None => {
            let (key, credential) = new_key(&args.serial, "key-1", desk.author.at)?;
            (Some(key), credential)
        }
        Some(path) => {
            let token = table::read_text(path)?;
            let digest = login::token_digest(&desk.pepper()?, &args.serial, token.trim());
            let credential = Credential::new("token", Secret::Token(digest), desk.author.at);
            (None, credential)
        }
    };
    let changes = vec![
        DeviceChange::Patch(args.serial.clone(), args.fields.patch()),
        DeviceChange::PutCredential(args.serial, credential),
    ];
    desk.store.change(changes, &desk.author).await?;
    // The key is shown now or never: only what checks it is kept.
    say(key.as_deref().unwrap_or("added"))
}

async fn list(desk: &Desk, args: List) -> Result<(), CmsError> {
    let mut query = DeviceQuery {
        text: args.text,
        tag: args.tag,
        groups: args.group.map(|group| vec![group]),
        ..DeviceQuery::default()
    };
    loop {
        let page = desk.store.list(&query).await?;
        for device in &page.items {
            match args.format {
                Format::Json => say(as_json(device))?,
                Format::Text => say(as_text(device))?,
            }
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(()),
        }
    }
}

fn as_json(device: &Device) -> serde_json::Value {
    json!({
        "serial": device.serial,
        "name": device.name(),
        "group": device.group.as_str(),
        "tags": device.tags,
        "enabled": device.enabled,
        "kind": device.said.app_type,
        "created": device.created.0,
        "lastSeen": device.last_seen.map(|t| t.0),
        "lastCause": device.last_cause,
    })
}

fn as_text(device: &Device) -> String {
    let state = if device.enabled { "" } else { "  (disabled)" };
    let tags = device.tags.join(",");
    format!(
        "{:<24} {:<24} /{:<24} {tags}{state}",
        device.serial,
        device.name(),
        device.group
    )
    .trim_end()
    .to_owned()
}

async fn switch(desk: &Desk, serials: Vec<String>, enabled: bool) -> Result<(), CmsError> {
    for serial in &serials {
        known(desk, serial).await?;
    }
    let patch = DevicePatch {
        enabled: Some(enabled),
        ..DevicePatch::default()
    };
    let changes = serials
        .into_iter()
        .map(|serial| DeviceChange::Patch(serial, patch.clone()))
        .collect();
    let done = desk.store.change(changes, &desk.author).await?;
    let changed = done.iter().filter(|c| **c != Changed::Same).count();
    let word = if enabled { "enabled" } else { "disabled" };
    say(format_args!("{changed} {word}"))
}

async fn rotate(desk: &Desk, serial: &str, now: bool) -> Result<(), CmsError> {
    known(desk, serial).await?;
    let old = desk.store.credentials(serial).await?;
    let number = (1_u32..)
        .find(|n| !old.iter().any(|c| c.id == format!("key-{n}")))
        .unwrap_or(u32::MAX);
    let (key, credential) = new_key(serial, &format!("key-{number}"), desk.author.at)?;
    let mut changes = vec![DeviceChange::PutCredential(serial.to_owned(), credential)];
    if now {
        let counts = old.into_iter().filter(|c| c.revoked.is_none());
        changes.extend(counts.map(|c| DeviceChange::RevokeCredential(serial.to_owned(), c.id)));
    }
    desk.store.change(changes, &desk.author).await?;
    say(key)
}

async fn secrets(desk: &Desk, serial: &str) -> Result<(), CmsError> {
    known(desk, serial).await?;
    for credential in desk.store.credentials(serial).await? {
        let kind = match credential.secret {
            Secret::Key(_) => "key",
            Secret::Token(_) => "token",
            _ => "certificate",
        };
        let days = |time| desk.author.at.since(time).as_secs() / 86_400;
        let age = days(credential.created);
        let used = match credential.last_used {
            Some(time) => format!("used {} days ago", days(time)),
            None => "not used yet".to_owned(),
        };
        let state = if credential.revoked.is_some() {
            "revoked"
        } else {
            "counts"
        };
        let id = &credential.id;
        say(format_args!(
            "{id:<16} {kind:<12} {age:>5} days old  {state:<8} {used}"
        ))?;
    }
    Ok(())
}
