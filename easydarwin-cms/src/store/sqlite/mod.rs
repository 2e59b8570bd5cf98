//! The store on SQLite.

mod accounts;
mod backup;
mod credentials;
mod devices;
mod events;
mod list;
mod migrate;
mod pool;
mod rows;
#[cfg(test)]
mod tests;
mod webhooks;

use std::path::{Path, PathBuf};

use easydarwin_core::registry::{Retention, StoreError};
use rusqlite::Connection;

use pool::{Readers, Writer};

/// Devices, people, keys, groups and the audit in one file of SQLite.
///
/// May be opened by several processes at once: the command line changes what a running CMS
/// serves, and the CMS notices by the audit.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    limit: usize,
    /// Name of the event log.
    log: u32,
    retention: Retention,
}

/// What [`SqliteStore::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCheck {
    /// Version of the schema.
    pub schema: u32,
    /// What is wrong; empty when the store is whole.
    pub faults: Vec<String>,
    /// Devices in it.
    pub devices: usize,
    /// People in it.
    pub accounts: usize,
}

impl SqliteStore {
    /// Most devices by default.
    pub const DEFAULT_LIMIT: usize = 200_000;

    /// Opens a file, makes it when it does not exist, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a newer version wrote it, [`StoreError::Backend`] when it
    /// cannot be opened or is no database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path)?;
        let mut connection = connect(path)?;
        migrate::migrate(&mut connection)?;
        let log = events::log_id(&connection)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Writer::start(connection)?,
            readers: Readers::new(path),
            limit: Self::DEFAULT_LIMIT,
            log,
            retention: Retention::default(),
        })
    }

    /// At most this many devices.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// How much of the event log is kept.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks through the whole file.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when it cannot even be read.
    pub async fn check(&self) -> Result<StoreCheck, StoreError> {
        self.readers
            .read(|connection| {
                let mut check = connection.prepare("PRAGMA integrity_check")?;
                let lines = check.query_map([], |row| row.get::<_, String>(0))?;
                let mut faults: Vec<String> = lines.collect::<Result<_, _>>()?;
                faults.retain(|line| line != "ok");
                let mut keys = connection.prepare("PRAGMA foreign_key_check")?;
                let broken = keys.query_map([], |row| row.get::<_, String>(0))?;
                for table in broken {
                    faults.push(format!("a row of {} names something unknown", table?));
                }
                let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
                Ok(StoreCheck {
                    schema: migrate::version(connection)?,
                    faults,
                    devices: rows::size(count("SELECT count(*) FROM devices")?),
                    accounts: rows::size(count("SELECT count(*) FROM accounts")?),
                })
            })
            .await
    }
}

/// Opens a connection with the settings that all have.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What was answered survives a power cut.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        // In KiB, for each connection; the system keeps the file in memory anyway.
        connection.pragma_update(None, "cache_size", -512)?;
        Ok(connection)
    };
    open().map_err(|error| StoreError::Backend(format!("{}: {error}", path.display())))
}

/// Readable by the owner only, from the first moment.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path);
    opened
        .map(|_| ())
        .map_err(|error| StoreError::Backend(format!("{}: {error}", path.display())))
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Backend(error.to_string())
}
