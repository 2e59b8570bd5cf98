use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConnection};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;

use super::pem::{read, read_certificates};
use super::{TlsError, TlsStream, provider};

/// What a server shows its clients; cheap to clone, clones share the certificate.
#[derive(Clone)]
pub struct TlsConfig {
    pub(crate) rustls: Arc<ServerConfig>,
    files: Option<Arc<Files>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) handshakes: usize,
    pub(crate) watch: Option<Duration>,
    /// Ciphertext that waits for its sockets, of the sessions that were begun here.
    held: Arc<AtomicUsize>,
}

/// A certificate and its key in PEM files, and what was read from them last.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    shown: Mutex<Arc<CertifiedKey>>,
    /// When the files were changed that were looked at last, usable or not.
    seen: Mutex<Stamps>,
}

type Stamps = [Option<SystemTime>; 2];

impl TlsConfig {
    /// A certificate chain and its private key in PEM files. TLS 1.2 and 1.3; no client
    /// certificates.
    ///
    /// While a server runs, it looks every [`watch`](Self::watch) whether the files have changed.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn from_pem_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let seen = stamps(&certificate, &key);
        let shown = read_pair(&certificate, &key)?;
        let files = Arc::new(Files {
            certificate,
            key,
            shown: Mutex::new(Arc::new(shown)),
            seen: Mutex::new(seen),
        });
        let mut rustls = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(files.clone());
        // Sessions are resumed by what the client kept: a table of ours would have to hold one for
        // each of all devices that come back at once.
        rustls.ticketer = Ticketer::new()?;
        Ok(Self {
            files: Some(files),
            ..Self::from_rustls(Arc::new(rustls))
        })
    }

    /// The embedder's own settings: client certificates, another resolver, another provider.
    /// [`reload`](Self::reload) has nothing to do then.
    pub fn from_rustls(config: Arc<ServerConfig>) -> Self {
        Self {
            rustls: config,
            files: None,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 512,
            watch: Some(Duration::from_secs(10)),
            held: Arc::default(),
        }
    }

    /// Begins a session with a client on this socket; its [`handshake`](TlsStream::handshake) is to
    /// be run next. For servers of the embedder's own: how many and how long is theirs to decide.
    ///
    /// # Errors
    /// [`TlsError`] when the library refuses the settings.
    pub fn accept(&self, socket: TcpStream) -> Result<TlsStream, TlsError> {
        let session = ServerConnection::new(self.rustls.clone())?;
        Ok(TlsStream::new(socket, session.into(), self.held.clone()))
    }

    /// How long a handshake may take. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Handshakes at the same time; further ones wait, within their time. Default 512.
    #[must_use]
    pub fn handshakes(mut self, limit: usize) -> Self {
        self.handshakes = limit.max(1);
        self
    }

    /// How often a running server looks whether the files have changed; `None` or zero: never. Default
    /// every 10 s.
    #[must_use]
    pub fn watch(mut self, every: Option<Duration>) -> Self {
        self.watch = every.filter(|every| !every.is_zero());
        self
    }

    /// Reads the files again; new connections see what is in them. Sessions go on as they are.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used; the certificate stays what it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        *files.seen.lock() = stamps(&files.certificate, &files.key);
        let pair = read_pair(&files.certificate, &files.key)?;
        *files.shown.lock() = Arc::new(pair);
        Ok(())
    }

    /// [`reload`](Self::reload) if a file has changed since it was looked at last. Returns whether
    /// there is a new certificate.
    ///
    /// # Errors
    /// As [`reload`](Self::reload); once for every change.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let Some(files) = &self.files else {
            return Ok(false);
        };
        if *files.seen.lock() == stamps(&files.certificate, &files.key) {
            return Ok(false);
        }
        self.reload()?;
        Ok(true)
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("certificate", &self.files.as_ref().map(|f| &f.certificate))
            .field("handshake_timeout", &self.handshake_timeout)
            .field("handshakes", &self.handshakes)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.lock().clone())
    }
}

fn stamps(certificate: &Path, key: &Path) -> Stamps {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    [changed(certificate), changed(key)]
}

fn read_pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| TlsError::Pem {
        path: key.to_owned(),
        what: "private key",
        reason: error.to_string(),
    })?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(certificate: &Path, key: &Path) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(certificate, pair.cert.pem()).unwrap();
        std::fs::write(key, pair.signing_key.serialize_pem()).unwrap();
    }

    fn shown(config: &TlsConfig) -> Arc<CertifiedKey> {
        config.files.as_ref().unwrap().shown.lock().clone()
    }

    #[test]
    fn what_cannot_be_used_is_named_and_changes_nothing() {
        let dir = std::env::temp_dir().join(format!("easydarwin-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        let missing = TlsConfig::from_pem_files(&certificate, &key).unwrap_err();
        assert!(missing.to_string().contains("cert.pem"), "{missing}");
        write_pair(&certificate, &key);
        let config = TlsConfig::from_pem_files(&certificate, &key).unwrap();
        let first = shown(&config);
        assert!(!config.reload_if_changed().unwrap());

        std::fs::write(&key, "no key").unwrap();
        let broken = config.reload().unwrap_err();
        assert!(broken.to_string().contains("key.pem"), "{broken}");
        std::fs::write(&certificate, "").unwrap();
        let empty = config.reload().unwrap_err();
        assert!(empty.to_string().contains("cert.pem"), "{empty}");
        assert!(Arc::ptr_eq(&first, &shown(&config)));

        // A certificate whose key is still the old one.
        let other = dir.join("other.pem");
        write_pair(&certificate, &other);
        write_pair(&other, &key);
        let unequal = config.reload().unwrap_err();
        assert!(matches!(unequal, TlsError::Pair { .. }), "{unequal}");
        assert!(Arc::ptr_eq(&first, &shown(&config)));

        write_pair(&certificate, &key);
        config.reload().unwrap();
        assert!(!Arc::ptr_eq(&first, &shown(&config)));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
