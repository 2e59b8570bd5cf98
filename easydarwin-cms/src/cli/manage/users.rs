//! `user …`.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use easydarwin_core::registry::{Account, AccountChange, AccountStore as _, Rights, RoleGrant};

use super::{Desk, say, table};
use crate::CmsError;
use crate::accounts::{check_name, hash_password};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Add a person; asks for the password
    Add {
        /// The name to log in with
        name: String,
        /// What the person may do: viewer, operator or admin, with :GROUP only there; several
        #[arg(long, value_name = "ROLE[:GROUP]", required = true)]
        role: Vec<RoleGrant>,
        #[command(flatten)]
        password: Password,
    },
    /// Show people and their rights
    List,
    /// Give a person another password; all logins of this person end
    Password {
        /// The name
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Replace what a person may do
    Rights {
        /// The name
        name: String,
        /// As for `user add`
        #[arg(long, value_name = "ROLE[:GROUP]", required = true)]
        role: Vec<RoleGrant>,
    },
    /// Let a person log in again
    Enable {
        /// The name
        name: String,
    },
    /// Let a person log in no longer; what runs under the name ends
    Disable {
        /// The name
        name: String,
    },
    /// Remove a person and the keys that belong to it
    Remove {
        /// The name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Password {
    /// Read the password from the first line of this file (`-`: stdin) instead of asking
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Password {
    /// The hash of what is read.
    fn hash(&self) -> Result<String, CmsError> {
        let password = match &self.password_file {
            Some(path) => first_line(path)?,
            None if io::stdin().is_terminal() => ask()?,
            None => {
                let reason = "stdin is no terminal: give the password with --password-file";
                return Err(CmsError::Config(reason.into()));
            }
        };
        hash_password(&password).map_err(|e| CmsError::Config(e.to_string()))
    }
}

fn first_line(path: &Path) -> Result<String, CmsError> {
    let text = table::read_text(path)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn ask() -> Result<String, CmsError> {
    let prompt = |text| {
        rpassword::prompt_password(text)
            .map_err(|e| CmsError::Config(format!("the password cannot be read: {e}")))
    };
    let first = prompt("Password: ")?;
    if prompt("Again: ")? != first {
        return Err(CmsError::Config("these are two different passwords".into()));
    }
    Ok(first)
}

pub(super) async fn run(desk: &Desk, command: Command) -> Result<(), CmsError> {
    match command {
        Command::Add {
            name,
            role,
            password,
        } => {
            check_name(&name)?;
            if find(desk, &name).await.is_ok() {
                return Err(CmsError::Config(format!("there is a user {name} already")));
            }
            let mut account = Account::new(name, Rights::new(role), desk.author.at);
            account.password = Some(password.hash()?);
            put(desk, account, "added").await
        }
        Command::List => list(desk).await,
        Command::Password { name, password } => {
            let mut account = find(desk, &name).await?;
            account.password = Some(password.hash()?);
            put(desk, account, "changed").await
        }
        Command::Rights { name, role } => {
            let mut account = find(desk, &name).await?;
            account.rights = Rights::new(role);
            put(desk, account, "changed").await
        }
        Command::Enable { name } => switch(desk, &name, true).await,
        Command::Disable { name } => switch(desk, &name, false).await,
        Command::Remove { name } => {
            let change = vec![AccountChange::RemoveAccount(name)];
            desk.store.change_accounts(change, &desk.author).await?;
            say("removed")
        }
    }
}

async fn find(desk: &Desk, name: &str) -> Result<Account, CmsError> {
    let all = desk.store.accounts().await?;
    let found = all.into_iter().find(|account| account.name == name);
    found.ok_or_else(|| CmsError::Config(format!("there is no user {name:?}")))
}

async fn put(desk: &Desk, account: Account, done: &str) -> Result<(), CmsError> {
    let change = vec![AccountChange::PutAccount(account)];
    desk.store.change_accounts(change, &desk.author).await?;
    say(done)
}

async fn switch(desk: &Desk, name: &str, enabled: bool) -> Result<(), CmsError> {
    let mut account = find(desk, name).await?;
    account.enabled = enabled;
    put(desk, account, if enabled { "enabled" } else { "disabled" }).await
}

async fn list(desk: &Desk) -> Result<(), CmsError> {
    for account in desk.store.accounts().await? {
        let rights = rights(&account.rights);
        let state = if account.enabled { "" } else { "  (disabled)" };
        say(format_args!("{:<24} {rights}{state}", account.name))?;
    }
    Ok(())
}

pub(super) fn rights(rights: &Rights) -> String {
    let grants: Vec<String> = rights.grants().iter().map(ToString::to_string).collect();
    grants.join(" ")
}
