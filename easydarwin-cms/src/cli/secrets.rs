//! Secrets in the data directory, made at the first start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use easydarwin_core::protocol::login::key_text;
use easydarwin_core::registry::random_bytes;

use super::Settings;
use crate::{CmsError, Secrets};

/// Names of the secrets' files in the data directory.
pub(super) const API_KEY: &str = "api-key";
pub(super) const JOIN_KEY: &str = "join-key";
pub(super) const TOKEN_KEY: &str = "token-key";
pub(super) const PEPPER: &str = "pepper";

/// What goes into the digests of old devices' tokens.
pub(super) fn pepper(data: &Path) -> Result<[u8; 32], CmsError> {
    read_or_make_bytes(&data.join(PEPPER))
}

pub(super) fn load(settings: &Settings) -> Result<Secrets, CmsError> {
    let mut secrets = Secrets::generate()?;
    if let Some(data) = settings.data.as_deref() {
        fs::create_dir_all(data).map_err(|source| failed(data, source))?;
        if settings.api_key_file.is_none() {
            secrets.api_key = read_or_make(&data.join(API_KEY))?;
        }
        if settings.join_key.is_none() && settings.join_key_file.is_none() {
            secrets.join_key = read_or_make(&data.join(JOIN_KEY))?;
        }
        secrets.token_seed = read_or_make_bytes(&data.join(TOKEN_KEY))?;
        secrets.pepper = pepper(data)?;
    }
    if let Some(path) = &settings.api_key_file {
        secrets.api_key = read_or_make(path)?;
    }
    if let Some(path) = &settings.join_key_file {
        secrets.join_key = read_or_make(path)?;
    }
    if let Some(key) = &settings.join_key {
        secrets.join_key.clone_from(key);
    }
    Ok(secrets)
}

fn failed(path: &Path, source: io::Error) -> CmsError {
    CmsError::File {
        path: path.display().to_string(),
        source,
    }
}

/// The text in a file; a new key if there is no file.
fn read_or_make(path: &Path) -> Result<String, CmsError> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(CmsError::Config(format!("{} is empty", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = key_text(random_bytes()?);
            write_private(path, &text).map_err(|source| failed(path, source))?;
            tracing::info!(path = %path.display(), "a new secret was made");
            Ok(text)
        }
        Err(source) => Err(failed(path, source)),
    }
}

fn read_or_make_bytes(path: &Path) -> Result<[u8; 32], CmsError> {
    use base64::Engine as _;
    let text = read_or_make(path)?;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(&text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| CmsError::Config(format!("{} holds no key of 256 bits", path.display())))
}

/// Readable by the owner only, from the first moment.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}
