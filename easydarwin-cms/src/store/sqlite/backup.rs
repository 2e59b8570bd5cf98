//! A copy of the store while it is in use.

use std::path::Path;
use std::time::Duration;

use easydarwin_core::registry::StoreError;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{SqliteStore, connect, failed, make_private, migrate};

/// Pages copied at once; between two steps others may write.
const PAGES: i32 = 256;

impl SqliteStore {
    /// Copies the store, as it is at one moment, into a new file. `progress` is told how many
    /// pages are left and how many there are. Blocks; writers and readers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when there is such a file, [`StoreError::Backend`].
    pub fn backup(&self, to: &Path, mut progress: impl FnMut(u32, u32)) -> Result<(), StoreError> {
        if to.exists() {
            return Err(StoreError::InUse(format!("{} exists", to.display())));
        }
        make_private(to)?;
        let from = connect(&self.path)?;
        let mut copy = Connection::open(to).map_err(failed)?;
        {
            let backup = Backup::new(&from, &mut copy).map_err(failed)?;
            loop {
                let step = backup.step(PAGES).map_err(failed)?;
                let now = backup.progress();
                let pages = |count: i32| u32::try_from(count).unwrap_or(0);
                progress(pages(now.remaining), pages(now.pagecount));
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    // Somebody writes; the copy goes on when he has finished.
                    _ => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
        // From here on this is a log of its own: a cursor that is ahead of it is not to be taken
        // for a place in it later.
        copy.execute("DELETE FROM meta WHERE key = 'event_log'", [])
            .map_err(failed)?;
        // One file, that can be moved about.
        copy.pragma_update(None, "journal_mode", "DELETE")
            .map_err(failed)?;
        copy.close().map_err(|(_, error)| failed(error))
    }

    /// The schema of a copy, after looking whether it is whole and ours.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Backend`] when it is damaged.
    pub fn check_copy(path: &Path) -> Result<u32, StoreError> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let copy = Connection::open_with_flags(path, flags).map_err(failed)?;
        let verdict: String = copy
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(failed)?;
        if verdict != "ok" {
            let path = path.display();
            return Err(StoreError::Backend(format!("{path} is damaged: {verdict}")));
        }
        let found = migrate::version(&copy).map_err(failed)?;
        let known = migrate::newest();
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        Ok(found)
    }
}
