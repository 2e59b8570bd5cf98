use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::{
    PullTransport, SourceMemory, SourceMode, SourcePassword, SourceSpec, SourceStore, SourceUrl,
    StoreError, StoredSource,
};
use crate::forward::{ForwardMode, ForwardSpec};
use crate::registry::StreamPath;

/// Keeps sources and forwards in a JSON file, which is replaced as a whole and readable by its
/// owner alone: it holds passwords.
#[derive(Debug)]
pub struct SourceFile {
    file: Arc<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sources: BTreeMap<StreamPath, StoredSource>,
    forwards: BTreeMap<(StreamPath, String), ForwardSpec>,
}

/// The file.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Text {
    sources: Vec<SourceText>,
    forwards: Vec<ForwardText>,
}

/// A source as it stands there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SourceText {
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    plain_basic: bool,
    #[serde(default)]
    learned: SourceMemory,
}

/// A forward as it stands there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ForwardText {
    path: StreamPath,
    url: String,
    #[serde(default)]
    mode: ForwardMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    plain_basic: bool,
}

impl SourceFile {
    /// The file need not exist yet; its folder must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            file: Arc::new(File {
                path: path.into(),
                kept: Mutex::default(),
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
    fn read(&self) -> Result<(), StoreError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed("read", error)),
        };
        let kept = Kept::parse(&text).map_err(|source| StoreError::Format {
            path: self.path.clone(),
            source,
        })?;
        *self.kept.lock() = kept;
        Ok(())
    }

    /// Applies a change and writes the file. The lock is held meanwhile: of two changes the later
    /// one must be the one that stays.
    fn change(&self, change: impl FnOnce(&mut Kept)) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        change(&mut kept);
        let text = serde_json::to_string_pretty(&kept.text())
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

impl Kept {
    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let text: Text = serde_json::from_str(text)?;
        let mut kept = Self::default();
        for source in text.sources {
            let source = source.source()?;
            kept.sources.insert(source.spec.path.clone(), source);
        }
        for forward in text.forwards {
            let forward = forward.forward()?;
            kept.forwards.insert(key(&forward), forward);
        }
        Ok(kept)
    }

    fn text(&self) -> Text {
        Text {
            sources: self.sources.values().map(SourceText::of).collect(),
            forwards: self.forwards.values().map(ForwardText::of).collect(),
        }
    }
}

fn key(forward: &ForwardSpec) -> (StreamPath, String) {
    (forward.path.clone(), forward.url.to_string())
}

fn url(text: &str) -> Result<SourceUrl, serde_json::Error> {
    text.parse().map_err(serde_json::Error::custom)
}

impl SourceText {
    fn of(source: &StoredSource) -> Self {
        let spec = &source.spec;
        Self {
            path: spec.path.clone(),
            url: spec.url.expose().to_owned(),
            mode: spec.mode,
            transports: spec.transports.clone(),
            user: spec.user.clone(),
            password: spec.password.as_ref().map(|p| p.expose().to_owned()),
            plain_basic: spec.plain_basic,
            learned: source.memory,
        }
    }

    fn source(self) -> Result<StoredSource, serde_json::Error> {
        let mut spec = SourceSpec::new(self.path, url(&self.url)?);
        spec.mode = self.mode;
        spec.transports = self.transports;
        spec.user = self.user;
        spec.password = self.password.map(SourcePassword::new);
        spec.plain_basic = self.plain_basic;
        Ok(StoredSource {
            spec,
            memory: self.learned,
        })
    }
}

impl ForwardText {
    fn of(spec: &ForwardSpec) -> Self {
        Self {
            path: spec.path.clone(),
            url: spec.url.expose().to_owned(),
            mode: spec.mode,
            user: spec.user.clone(),
            password: spec.password.as_ref().map(|p| p.expose().to_owned()),
            plain_basic: spec.plain_basic,
        }
    }

    fn forward(self) -> Result<ForwardSpec, serde_json::Error> {
        let mut spec = ForwardSpec::new(self.path, url(&self.url)?);
        spec.mode = self.mode;
        spec.user = self.user;
        spec.password = self.password.map(SourcePassword::new);
        spec.plain_basic = self.plain_basic;
        Ok(spec)
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
            file.read()?;
            Ok(file.kept.lock().sources.values().cloned().collect())
        })
        .await
    }

    async fn put(&self, source: StoredSource) -> Result<(), StoreError> {
        self.away(|file| {
            file.change(|kept| {
                kept.sources.insert(source.spec.path.clone(), source);
            })
        })
        .await
    }

    async fn remove(&self, path: &StreamPath) -> Result<(), StoreError> {
        let path = path.clone();
        self.away(move |file| {
            file.change(|kept| {
                kept.sources.remove(&path);
            })
        })
        .await
    }

    async fn load_forwards(&self) -> Result<Vec<ForwardSpec>, StoreError> {
        self.away(|file| {
            file.read()?;
            Ok(file.kept.lock().forwards.values().cloned().collect())
        })
        .await
    }

    async fn put_forward(&self, forward: ForwardSpec) -> Result<(), StoreError> {
        self.away(|file| {
            file.change(|kept| {
                kept.forwards.insert(key(&forward), forward);
            })
        })
        .await
    }

    async fn remove_forward(&self, forward: &ForwardSpec) -> Result<(), StoreError> {
        let key = key(forward);
        self.away(move |file| {
            file.change(|kept| {
                kept.forwards.remove(&key);
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
        spec.plain_basic = true;
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
        let forward = ForwardSpec::new(source().spec.path, "rtsp://u:hush@o/b".parse().unwrap());
        again.put_forward(forward.clone()).await.unwrap();
        let third = SourceFile::new(&path);
        assert_eq!(
            third.load_forwards().await.unwrap(),
            std::slice::from_ref(&forward)
        );
        assert_eq!(third.load().await.unwrap(), [source()]);
        again.remove_forward(&forward).await.unwrap();
        assert!(third.load_forwards().await.unwrap().is_empty());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        again.remove(&source().spec.path).await.unwrap();
        assert!(SourceFile::new(&path).load().await.unwrap().is_empty());
        std::fs::write(
            &path,
            r#"{"sources":[{"path":"a/1","url":"http://u:hush@x"}]}"#,
        )
        .unwrap();
        let error = SourceFile::new(&path).load().await.unwrap_err().to_string();
        assert!(
            error.contains("sources.json") && !error.contains("hush"),
            "{error}"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
