//! `backup` and `restore`: the store together with the secrets without which it is worthless.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Desk, file_error, say};
use crate::cli::run::{DATABASE, lock};
use crate::cli::secrets::{API_KEY, JOIN_KEY, PEPPER, TOKEN_KEY};
use crate::{CmsError, SqliteStore};

/// What says that a directory is a whole backup: written last.
const MANIFEST: &str = "backup.json";

/// Secrets that go along, those of them that are there.
const SECRETS: [&str; 4] = [API_KEY, JOIN_KEY, PEPPER, TOKEN_KEY];

/// What is in a backup.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// Milliseconds since 1970.
    made: u64,
    schema: u32,
    /// Name and SHA-256 of each file.
    files: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Backup {
    /// A directory that does not exist yet
    to: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// The directory of a backup
    from: PathBuf,
}

fn digest(path: &Path) -> Result<String, CmsError> {
    let mut file = File::open(path).map_err(file_error(path))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let len = file.read(&mut piece).map_err(file_error(path))?;
        if len == 0 {
            break;
        }
        hash.update(piece.get(..len).unwrap_or_default());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn make_directory(path: &Path) -> Result<(), CmsError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(file_error(path))
}

/// Copies with the same rights: what only its owner could read stays so.
fn copy(from: &Path, to: &Path) -> Result<(), CmsError> {
    fs::copy(from, to).map_err(file_error(from))?;
    let copied = File::open(to).and_then(|file| file.sync_all());
    copied.map_err(file_error(to))
}

pub(in crate::cli) fn backup(desk: &Desk, args: &Backup) -> Result<(), CmsError> {
    let to = &args.to;
    make_directory(to)?;
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {percent} % of the store copied");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let database = to.join(DATABASE);
    desk.store.backup(&database, |left, all| {
        bar.set_length(u64::from(all));
        bar.set_position(u64::from(all.saturating_sub(left)));
    })?;
    bar.finish_and_clear();
    let schema = SqliteStore::check_copy(&database)?;
    let mut files = vec![(DATABASE.to_owned(), digest(&database)?)];
    for name in SECRETS {
        let from = desk.data.join(name);
        if !from.exists() {
            continue;
        }
        let copied = to.join(name);
        copy(&from, &copied)?;
        files.push((name.to_owned(), digest(&copied)?));
    }
    let manifest = Manifest {
        made: desk.author.at.0,
        schema,
        files,
    };
    let path = to.join(MANIFEST);
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|e| CmsError::Config(format!("the backup's list: {e}")))?;
    let write = || -> io::Result<()> {
        let mut file = File::create_new(&path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    write().map_err(file_error(&path))?;
    say(format_args!(
        "{} files in {}; keep it as safe as the CMS itself: the secrets are in it",
        manifest.files.len() + 1,
        to.display()
    ))
}

/// Reads the list and looks whether all is there and as it was.
fn checked(from: &Path) -> Result<Manifest, CmsError> {
    let path = from.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(file_error(&path))?;
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|e| CmsError::Config(format!("{}: {e}", path.display())))?;
    for (name, expected) in &manifest.files {
        if name != DATABASE && !SECRETS.contains(&name.as_str()) {
            return Err(CmsError::Config(format!("{name:?} belongs into no backup")));
        }
        if digest(&from.join(name))? != *expected {
            return Err(CmsError::Config(format!(
                "{} is not as it was when the backup was made",
                from.join(name).display()
            )));
        }
    }
    if !manifest.files.iter().any(|(name, _)| name == DATABASE) {
        return Err(CmsError::Config("the backup holds no store".into()));
    }
    SqliteStore::check_copy(&from.join(DATABASE))?;
    Ok(manifest)
}

pub(in crate::cli) fn restore(data: &Path, args: &Restore) -> Result<(), CmsError> {
    // All is looked at before anything is moved.
    let manifest = checked(&args.from)?;
    let aside = data.with_file_name(format!(
        "{}.before-restore-{}",
        data.file_name().unwrap_or_default().to_string_lossy(),
        easydarwin_core::registry::UnixMillis::system().seconds()
    ));
    let held = if data.exists() {
        let held = lock(data)?;
        fs::rename(data, &aside).map_err(file_error(data))?;
        Some(held)
    } else {
        None
    };
    make_directory(data)?;
    for (name, _) in &manifest.files {
        copy(&args.from.join(name), &data.join(name))?;
    }
    if held.is_some() {
        say(format_args!(
            "what was there before is in {}",
            aside.display()
        ))?;
    }
    say(format_args!("{} files restored", manifest.files.len()))?;
    if io::stderr().is_terminal() {
        eprintln!("devices and people that came after the backup are not in it; start the CMS");
    }
    Ok(())
}
