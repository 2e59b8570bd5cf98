use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{SourceMemory, SourceMode, SourcePassword, SourceSpec};
use crate::pull::PullTransport;
use crate::registry::StreamPath;

/// Keeps sources beyond the end of the process. An embedder with a database implements it.
#[async_trait]
pub trait SourceStore: Send + Sync + 'static {
    /// All sources, once at the start.
    ///
    /// # Errors
    /// When they cannot be read; the server then does not start.
    async fn load(&self) -> Result<Vec<StoredSource>, StoreError>;

    /// A source was added or changed, or something was learned about it.
    ///
    /// # Errors
    /// When it could not be kept; whoever changed it is told.
    async fn put(&self, source: StoredSource) -> Result<(), StoreError>;

    /// A source was removed.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    async fn remove(&self, path: &StreamPath) -> Result<(), StoreError>;
}

/// A source with what was learned about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// The source.
    pub spec: SourceSpec,
    /// What was learned.
    pub memory: SourceMemory,
}

/// Why sources could not be read or kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} holds no sources: {source}; mend it or move it away", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// An embedder's store failed.
    #[error("the store of sources failed: {0}")]
    Other(String),
}

/// Keeps nothing beyond the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSourceStore;

#[async_trait]
impl SourceStore for NoSourceStore {
    async fn load(&self) -> Result<Vec<StoredSource>, StoreError> {
        Ok(Vec::new())
    }

    async fn put(&self, _source: StoredSource) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove(&self, _path: &StreamPath) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Keeps sources in a JSON file, which is replaced as a whole and readable by its owner alone:
/// it holds passwords.
#[derive(Debug)]
pub struct SourceFile {
    file: Arc<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    entries: Mutex<BTreeMap<String, StoredSource>>,
}

/// A source as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: StreamPath,
    url: String,
    #[serde(default)]
    mode: SourceMode,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    transports: Vec<PullTransport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default)]
    learned: SourceMemory,
}

impl SourceFile {
    /// The file need not exist yet; its folder must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            file: Arc::new(File {
                path: path.into(),
                entries: Mutex::default(),
            }),
        }
    }

    /// Disks may be slow: away from the threads that relay.
    async fn away<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        match tokio::task::spawn_blocking(move || work(&file)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Other(error.to_string())),
        }
    }
}

impl File {
    fn read(&self) -> Result<Vec<StoredSource>, StoreError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("read", error)),
        };
        let format = |source| StoreError::Format {
            path: self.path.clone(),
            source,
        };
        let entries: Vec<Entry> = serde_json::from_str(&text).map_err(format)?;
        entries
            .into_iter()
            .map(|entry| entry.source().map_err(format))
            .collect()
    }

    /// Applies a change and writes the file. The lock is held meanwhile: of two changes the later
    /// one must be the one that stays.
    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, StoredSource>),
    ) -> Result<(), StoreError> {
        let mut entries = self.entries.lock();
        change(&mut entries);
        let list: Vec<Entry> = entries.values().map(Entry::of).collect();
        let text = serde_json::to_string_pretty(&list)
            .map_err(|error| self.failed("write", io::Error::other(error)))?;
        replace(&self.path, text.as_bytes()).map_err(|error| self.failed("write", error))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> StoreError {
        StoreError::File {
            what,
            path: self.path.clone(),
            source,
        }
    }
}

impl Entry {
    fn of(source: &StoredSource) -> Self {
        let spec = &source.spec;
        Self {
            path: spec.path.clone(),
            url: spec.url.expose().to_owned(),
            mode: spec.mode,
            transports: spec.transports.clone(),
            user: spec.user.clone(),
            password: spec.password.as_ref().map(|p| p.expose().to_owned()),
            learned: source.memory,
        }
    }

    fn source(self) -> Result<StoredSource, serde_json::Error> {
        let url = self.url.parse().map_err(serde_json::Error::custom)?;
        Ok(StoredSource {
            spec: SourceSpec {
                path: self.path,
                url,
                mode: self.mode,
                transports: self.transports,
                user: self.user,
                password: self.password.map(SourcePassword::new),
            },
            memory: self.learned,
        })
    }
}

/// Replaces a file so that at any moment either the old or the new content is there.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[async_trait]
impl SourceStore for SourceFile {
    async fn load(&self) -> Result<Vec<StoredSource>, StoreError> {
        self.away(|file| {
            let sources = file.read()?;
            let mut entries = file.entries.lock();
            *entries = sources
                .iter()
                .map(|source| (source.spec.path.as_str().to_owned(), source.clone()))
                .collect();
            Ok(sources)
        })
        .await
    }

    async fn put(&self, source: StoredSource) -> Result<(), StoreError> {
        self.away(|file| {
            file.change(|entries| {
                entries.insert(source.spec.path.as_str().to_owned(), source);
            })
        })
        .await
    }

    async fn remove(&self, path: &StreamPath) -> Result<(), StoreError> {
        let path = path.clone();
        self.away(move |file| {
            file.change(|entries| {
                entries.remove(path.as_str());
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> StoredSource {
        let path = StreamPath::parse("cam/1").unwrap();
        let mut spec = SourceSpec::new(path, "rtsp://u:hush@h/a".parse().unwrap());
        spec.user = Some("v".to_owned());
        spec.password = Some(SourcePassword::new("w"));
        StoredSource {
            spec,
            memory: SourceMemory {
                transport: Some(PullTransport::Udp),
                ..SourceMemory::default()
            },
        }
    }

    #[tokio::test]
    async fn a_file_gives_back_what_was_put() {
        let folder = std::env::temp_dir().join(format!("easydarwin-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("sources.json");
        let file = SourceFile::new(&path);
        assert!(file.load().await.unwrap().is_empty());
        file.put(source()).await.unwrap();
        let again = SourceFile::new(&path);
        assert_eq!(again.load().await.unwrap(), [source()]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        again.remove(&source().spec.path).await.unwrap();
        assert!(SourceFile::new(&path).load().await.unwrap().is_empty());
        std::fs::write(&path, r#"[{"path":"a/1","url":"http://u:hush@x"}]"#).unwrap();
        let error = SourceFile::new(&path).load().await.unwrap_err().to_string();
        assert!(
            error.contains("sources.json") && !error.contains("hush"),
            "{error}"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
