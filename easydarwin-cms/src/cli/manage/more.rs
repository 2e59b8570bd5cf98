//! `group …`, `policy …`, `audit`, `admin …`, `check`.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use easydarwin_core::registry::{AccountChange, AccountStore as _, GroupPath};

use super::{Desk, say};
use crate::CmsError;
use crate::accounts::{ADOPT_UNTIL, FirstRun};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Group {
    /// Make a group, and those that hold it
    Add {
        /// Its path, such as north/gate
        path: GroupPath,
    },
    /// Show all groups
    List,
    /// Give a group another path; devices, rights and groups in it go along
    Move {
        /// As it is called
        from: GroupPath,
        /// As it is to be called
        to: GroupPath,
    },
    /// Remove a group that holds nothing
    Remove {
        /// Its path
        path: GroupPath,
    },
}

pub(super) async fn group(desk: &Desk, command: Group) -> Result<(), CmsError> {
    let change = match command {
        Group::Add { path } => AccountChange::AddGroup(path),
        Group::Move { from, to } => AccountChange::MoveGroup { from, to },
        Group::Remove { path } => AccountChange::RemoveGroup(path),
        Group::List => {
            for group in desk.store.groups().await? {
                say(group)?;
            }
            return Ok(());
        }
    };
    desk.store
        .change_accounts(vec![change], &desk.author)
        .await?;
    say("done")
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Policy {
    /// For some hours take unknown old devices with the token that they bring first
    Adopt {
        /// Hours; 0 ends it
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
    /// Show the settings
    List,
}

pub(super) async fn policy(desk: &Desk, command: Policy) -> Result<(), CmsError> {
    match command {
        Policy::Adopt { hours } => {
            let until = desk
                .author
                .at
                .plus(Duration::from_secs(u64::from(hours) * 3600));
            let change = AccountChange::SetPolicy {
                name: ADOPT_UNTIL.into(),
                value: until.0.to_string(),
            };
            desk.store
                .change_accounts(vec![change], &desk.author)
                .await?;
            say(match hours {
                0 => "unknown devices are adopted no longer".to_owned(),
                _ => format!("unknown old devices are adopted for {hours} hours"),
            })
        }
        Policy::List => {
            for (name, value) in desk.store.policy().await? {
                say(format_args!("{name} = {value}"))?;
            }
            Ok(())
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Audit {
    /// Only entries after this one
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// At most so many
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

pub(super) async fn audit(desk: &Desk, args: &Audit) -> Result<(), CmsError> {
    for entry in desk.store.audit(args.after, args.limit).await? {
        let line = serde_json::json!({
            "id": entry.id,
            "at": entry.author.at.0,
            "who": entry.author.name,
            "from": entry.author.origin,
            "action": entry.action,
            "subject": entry.subject,
            "detail": entry.detail,
        });
        say(line)?;
    }
    Ok(())
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Admin {
    /// Make a new first-run secret, with which an administrator sets a password
    Reset,
}

pub(super) fn admin(data: &Path, command: &Admin) -> Result<(), CmsError> {
    let Admin::Reset = command;
    let first = FirstRun::of(data);
    first.make()?;
    say(format_args!(
        "a new secret is in {}; it counts once and for 24 hours:\n\
         curl -H 'Content-Type: application/json' \
         -d '{{\"secret\":\"…\",\"name\":\"…\",\"password\":\"…\"}}' \
         http://CMS:10000/api/v2/first-run",
        first.path().display()
    ))
}

pub(super) async fn check(desk: &Desk) -> Result<(), CmsError> {
    let check = desk.store.check().await?;
    say(format_args!(
        "schema {}, {} devices, {} users",
        check.schema, check.devices, check.accounts
    ))?;
    if check.faults.is_empty() {
        return say("the store is whole");
    }
    for fault in &check.faults {
        say(fault)?;
    }
    Err(CmsError::Config(
        "the store is damaged: restore the last backup".into(),
    ))
}
