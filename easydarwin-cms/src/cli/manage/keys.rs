//! `key …`.

use std::time::Duration;

use clap::Subcommand;
use easydarwin_core::protocol::login::key_text;
use easydarwin_core::registry::{
    AccountChange, AccountStore as _, ApiKey, Rights, RoleGrant, random_bytes,
};
use sha2::{Digest as _, Sha256};

use super::{Desk, say, users};
use crate::CmsError;
use crate::accounts::check_name;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make a key for a program and print it
    Add {
        /// The key's name, which stands in logs and in the audit
        id: String,
        /// What it may do: viewer, operator or admin, with :GROUP only there; several
        #[arg(long, value_name = "ROLE[:GROUP]", required = true)]
        role: Vec<RoleGrant>,
        /// The person it belongs to: it does no more than this person, and ends with it
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        note: String,
        /// Days for which it counts [default: for ever]
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Show keys, without the keys themselves
    List,
    /// Let a key count no longer
    Revoke {
        /// Its name
        id: String,
    },
}

pub(super) async fn run(desk: &Desk, command: Command) -> Result<(), CmsError> {
    match command {
        Command::Add {
            id,
            role,
            owner,
            note,
            days,
        } => {
            check_name(&id)?;
            if desk.store.keys().await?.iter().any(|key| key.id == id) {
                return Err(CmsError::Config(format!("there is a key {id} already")));
            }
            if let Some(owner) = &owner
                && !desk
                    .store
                    .accounts()
                    .await?
                    .iter()
                    .any(|a| a.name == *owner)
            {
                return Err(CmsError::Config(format!("there is no user {owner:?}")));
            }
            let text = key_text(random_bytes()?);
            let digest = Sha256::digest(text.as_bytes()).into();
            let mut key = ApiKey::new(id, digest, Rights::new(role), desk.author.at);
            key.owner = owner;
            key.name = note;
            let lasts = days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
            key.expires = lasts.map(|lasts| desk.author.at.plus(lasts));
            change(desk, AccountChange::PutKey(key)).await?;
            // It is shown now or never: only its digest is kept.
            say(text)
        }
        Command::List => list(desk).await,
        Command::Revoke { id } => {
            let at = desk.author.at;
            change(desk, AccountChange::RevokeKey { id, at }).await?;
            say("revoked")
        }
    }
}

async fn change(desk: &Desk, change: AccountChange) -> Result<(), CmsError> {
    let changed = desk.store.change_accounts(vec![change], &desk.author);
    Ok(changed.await?)
}

async fn list(desk: &Desk) -> Result<(), CmsError> {
    for key in desk.store.keys().await? {
        let state = match (key.revoked, key.expires) {
            (Some(_), _) => "  (revoked)".to_owned(),
            (None, Some(end)) if end <= desk.author.at => "  (expired)".to_owned(),
            (None, Some(end)) => {
                let days = end.since(desk.author.at).as_secs() / 86_400;
                format!("  ({days} days left)")
            }
            (None, None) => String::new(),
        };
        let owner = key.owner.as_deref().unwrap_or("-");
        let rights = users::rights(&key.rights);
        say(format_args!(
            "{:<24} {owner:<16} {rights}{state}  {}",
            key.id, key.name
        ))?;
    }
    Ok(())
}
