//! Subcommands that look into the store and change it. They may run beside a CMS on the same
//! data directory, which takes up what they change within a second.

mod backup;
mod devices;
mod keys;
mod more;
mod table;
mod users;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use easydarwin_core::registry::{Author, UnixMillis};

use super::run::DATABASE;
use super::secrets;
use crate::{CmsError, SqliteStore};

/// Where the data is.
#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// Data directory of the CMS
    #[arg(long, value_name = "DIR", env = "EASYDARWIN_CMS_DATA", global = true)]
    data: Option<PathBuf>,
}

/// A subcommand of subcommands, and where it works.
#[derive(Debug, Args)]
pub(super) struct In<T: Subcommand> {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: T,
}

/// A subcommand with arguments, and where it works.
#[derive(Debug, Args)]
pub(super) struct With<T: Args> {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    args: T,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Devices: who may register, under which name, in which group
    Device(In<devices::Command>),
    /// Groups of devices, a tree; rights are given over groups
    Group(In<more::Group>),
    /// People who log in
    User(In<users::Command>),
    /// Keys of programs
    Key(In<keys::Command>),
    /// Settings that are kept in the store
    Policy(In<more::Policy>),
    /// Who changed what
    Audit(With<more::Audit>),
    /// Copy store, pepper and signing keys into a new directory, while the CMS runs
    Backup(With<backup::Backup>),
    /// Put a backup in the place of the data; the CMS must not run
    Restore(With<backup::Restore>),
    /// Help for administrators who are locked out
    Admin(In<more::Admin>),
    /// Look whether the store is whole
    Check(Place),
}

/// The store and who works on it.
struct Desk {
    data: PathBuf,
    store: SqliteStore,
    author: Author,
}

impl Desk {
    fn open(place: &Place) -> Result<Self, CmsError> {
        let data = place.dir()?;
        let file = data.join(DATABASE);
        if !file.exists() {
            return Err(CmsError::Config(format!(
                "there is no store in {}: start easydarwin-cms with --data once, or give the \
                 directory of one that was started",
                data.display()
            )));
        }
        Ok(Self {
            store: SqliteStore::open(&file)?,
            author: author(),
            data,
        })
    }

    /// What goes into the digests of old devices' tokens.
    fn pepper(&self) -> Result<[u8; 32], CmsError> {
        secrets::pepper(&self.data)
    }
}

impl Place {
    fn dir(&self) -> Result<PathBuf, CmsError> {
        self.data.clone().ok_or_else(|| {
            CmsError::Config("give the data directory: --data DIR or EASYDARWIN_CMS_DATA".into())
        })
    }
}

/// Whoever is logged in at this machine.
fn author() -> Author {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "unknown".into());
    Author::new(format!("cli:{name}"), UnixMillis::system())
}

/// Does what a subcommand says.
pub(super) fn run(command: Command) -> Result<(), CmsError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CmsError::Config(format!("the runtime cannot be started: {e}")))?;
    let open = |place: &Place| Desk::open(place);
    runtime.block_on(async {
        match command {
            Command::Device(c) => devices::run(&open(&c.place)?, c.command).await,
            Command::Group(c) => more::group(&open(&c.place)?, c.command).await,
            Command::User(c) => users::run(&open(&c.place)?, c.command).await,
            Command::Key(c) => keys::run(&open(&c.place)?, c.command).await,
            Command::Policy(c) => more::policy(&open(&c.place)?, c.command).await,
            Command::Audit(c) => more::audit(&open(&c.place)?, &c.args).await,
            Command::Backup(c) => backup::backup(&open(&c.place)?, &c.args),
            Command::Restore(c) => backup::restore(&c.place.dir()?, &c.args),
            Command::Admin(c) => more::admin(&c.place.dir()?, &c.command),
            Command::Check(place) => more::check(&open(&place)?).await,
        }
    })
}

/// One line on stdout.
fn say(line: impl std::fmt::Display) -> Result<(), CmsError> {
    writeln!(io::stdout(), "{line}")
        .map_err(|e| CmsError::Config(format!("stdout cannot be written: {e}")))
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> CmsError + '_ {
    |source| CmsError::File {
        path: path.display().to_string(),
        source,
    }
}
