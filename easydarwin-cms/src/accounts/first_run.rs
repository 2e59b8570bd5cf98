//! The secret with which the first person sets a password: there is no default one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use easydarwin_core::protocol::login::{key_text, secrets_equal};
use easydarwin_core::registry::random_bytes;

use crate::error::CmsError;

/// Its file in the data directory.
const FILE: &str = "first-run-admin";

/// How long it opens anything.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// A secret in a file that only the owner of the data directory can read. It opens one thing,
/// setting the password of an administrator, for a day, and goes with its use.
#[derive(Debug, Clone)]
pub struct FirstRun {
    path: PathBuf,
}

impl FirstRun {
    /// The secret of this data directory, if there is one.
    pub fn of(data: &Path) -> Self {
        Self {
            path: data.join(FILE),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a new one; the old one is worth nothing any more.
    ///
    /// # Errors
    /// [`CmsError::File`], [`CmsError::Key`].
    pub fn make(&self) -> Result<String, CmsError> {
        let secret = key_text(random_bytes()?);
        let write = || -> io::Result<()> {
            if let Err(error) = fs::remove_file(&self.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&self.path)?;
            writeln!(file, "{secret}")?;
            file.sync_all()
        };
        write().map_err(|source| CmsError::File {
            path: self.path.display().to_string(),
            source,
        })?;
        Ok(secret)
    }

    fn valid(&self) -> Option<String> {
        let made = fs::metadata(&self.path).ok()?.modified().ok()?;
        // A clock that was set back makes it look younger than nothing: that is no reason to
        // refuse it.
        let age = SystemTime::now().duration_since(made).unwrap_or_default();
        let text = fs::read_to_string(&self.path).ok()?;
        let secret = text.trim();
        (age < LIFE && !secret.is_empty()).then(|| secret.to_owned())
    }

    /// Whether there is one that still opens something.
    pub fn is_waiting(&self) -> bool {
        self.valid().is_some()
    }

    pub(crate) fn opens(&self, secret: &str) -> bool {
        self.valid()
            .is_some_and(|valid| secrets_equal(valid.as_bytes(), secret.as_bytes()))
    }

    /// It was used.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::error!(path = %self.path.display(), %error, "the first-run secret could not be removed; remove it by hand");
        }
    }
}
