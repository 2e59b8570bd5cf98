//! From settings to a running CMS.

use std::fs::{File, TryLockError};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use easydarwin_core::registry::{Account, AccountStore as _, GroupPath, Role};
use easydarwin_core::tls::TlsConfig;
use tracing_subscriber::EnvFilter;

use super::devices_file::{self, Entry};
use super::{Settings, secrets};
use crate::{Cms, CmsConfig, CmsError, FirstRun, SqliteStore};

/// The store's file in the data directory.
pub(super) const DATABASE: &str = "cms.db";

/// The file in the data directory that a running CMS holds.
const LOCK: &str = "lock";

/// Takes the data directory; until the file is dropped no other CMS does.
pub(super) fn lock(data: &Path) -> Result<File, CmsError> {
    let path = data.join(LOCK);
    let failed = |source| CmsError::File {
        path: path.display().to_string(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CmsError::Config(format!(
            "a CMS runs on the data directory {}: stop it first",
            data.display()
        ))),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Looks at the settings as a start would, and says what is wrong with them.
pub(super) fn check_config(config: Option<&Path>, flags: Settings) -> Result<(), CmsError> {
    let settings = merged(config, flags)?;
    let filter = settings.log.as_deref().unwrap_or("info");
    EnvFilter::try_new(filter)
        .map_err(|e| CmsError::Config(format!("the log filter is wrong: {e}")))?;
    let config = settings.to_config();
    crate::builder::check(&config)?;
    tls_of(&settings)?;
    if let Some(path) = &settings.devices {
        devices_file::read(path)?;
    }
    let mut shortages = Vec::new();
    #[cfg(unix)]
    shortages.extend(
        super::limits::check(&config)
            .map_err(|e| CmsError::Config(format!("the limit of open files: {e}")))?
            .iter()
            .map(ToString::to_string),
    );
    if settings.data.is_none() {
        shortages.push("no data directory (--data): everything is forgotten at the end".into());
    }
    let out = &mut io::stdout();
    let mut say = |line: &str| {
        writeln!(out, "{line}")
            .map_err(|e| CmsError::Config(format!("stdout cannot be written: {e}")))
    };
    for shortage in &shortages {
        say(&format!("note: {shortage}"))?;
    }
    say("the settings are good")
}

fn merged(config: Option<&Path>, flags: Settings) -> Result<Settings, CmsError> {
    Ok(match config {
        Some(path) => flags.over(read_file(path)?),
        None => flags,
    })
}

pub(super) fn run(config: Option<&Path>, flags: Settings) -> Result<(), CmsError> {
    let settings = merged(config, flags)?;
    log_to_stderr(settings.log.as_deref().unwrap_or("info"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(settings.workers))
        .enable_all()
        .build()
        .map_err(|e| CmsError::Config(format!("the runtime cannot be started: {e}")))?;
    runtime.block_on(serve(settings))
}

/// A worker that finds something to do wakes another one, in case there is more: with a message now
/// and then, as ten thousand idle devices make them, that is a switch of threads for nothing each
/// time.
fn workers(wanted: Option<usize>) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or_else(|| processors() / 2).max(1)
}

fn read_file(path: &Path) -> Result<Settings, CmsError> {
    let text = std::fs::read_to_string(path).map_err(|source| CmsError::File {
        path: path.display().to_string(),
        source,
    })?;
    toml::from_str(&text).map_err(|e| CmsError::Config(format!("{}: {e}", path.display())))
}

fn log_to_stderr(filter: &str) -> Result<(), CmsError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| CmsError::Config(format!("the log filter is wrong: {e}")))?;
    // An error means that there is a subscriber already: the embedder's, which wins.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
    Ok(())
}

async fn serve(settings: Settings) -> Result<(), CmsError> {
    let secrets = secrets::load(&settings)?;
    if settings.data.is_none() && settings.api_key_file.is_none() {
        if io::stderr().is_terminal() {
            // Not through the log, which may be kept for ever.
            eprintln!("API key of this run: {}", secrets.api_key);
        } else {
            tracing::warn!("the API key is new at each start and shown nowhere; give --data DIR");
        }
    }
    let config = settings.to_config();
    look_at_limits(&config)?;
    let mut builder = Cms::builder(config).secrets(secrets);
    let mut held = None;
    if let Some(data) = &settings.data {
        held = Some(lock(data)?);
        let store = Arc::new(SqliteStore::open(&data.join(DATABASE))?);
        let first = first_run(data, &store).await?;
        builder = builder
            .store(store.clone())
            .event_log(store.clone())
            .webhook_store(store)
            .first_run(first);
    }
    if let Some(tls) = tls_of(&settings)? {
        reload_at_hangup(tls.clone());
        builder = builder.tls(tls);
    }
    let cms = builder.build().await?;
    for device in settings.device.iter().flatten() {
        cms.handle()
            .provision_key(&device.serial, &device.secret)
            .await?;
    }
    for device in settings.device_token.iter().flatten() {
        cms.handle()
            .provision_token(&device.serial, &device.secret)
            .await?;
    }
    if let Some(path) = &settings.devices {
        for entry in devices_file::read(path)? {
            match entry {
                Entry::Key { serial, key } => cms.handle().provision_key(&serial, &key).await?,
                Entry::Token { serial, token } => {
                    cms.handle().provision_token(&serial, &token).await?;
                }
            }
        }
    }
    let shutdown = shutdown_signal()
        .map_err(|e| CmsError::Config(format!("signals cannot be caught: {e}")))?;
    let address = cms.local_addr();
    writeln!(
        io::stdout(),
        "easydarwin-cms ready: cms={address} page=http://{address}/"
    )
    .map_err(|e| CmsError::Config(format!("stdout cannot be written: {e}")))?;
    let done = cms.run(shutdown).await;
    drop(held);
    done
}

/// While there is no administrator, a secret waits for one.
async fn first_run(data: &Path, store: &SqliteStore) -> Result<FirstRun, CmsError> {
    let first = FirstRun::of(data);
    let is_admin = |account: &Account| {
        let role = account.rights.role_in(&GroupPath::root());
        account.enabled && account.password.is_some() && role == Some(Role::Admin)
    };
    if store.accounts().await?.iter().any(is_admin) || first.is_waiting() {
        return Ok(first);
    }
    let secret = first.make()?;
    if io::stderr().is_terminal() {
        // Not through the log, which may be kept for ever.
        eprintln!("First-run secret, for 24 hours: {secret}");
    }
    tracing::info!(path = %first.path().display(), "there is no administrator yet; the secret that makes one is in this file");
    Ok(first)
}

fn tls_of(settings: &Settings) -> Result<Option<TlsConfig>, CmsError> {
    let config = |error: String| CmsError::Config(error);
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(key)) => TlsConfig::from_pem_files(certificate, key)
            .map(Some)
            .map_err(|error| config(error.to_string())),
        (None, None) => Ok(None),
        _ => Err(config("--tls-cert and --tls-key go together".to_owned())),
    }
}

/// Reads the certificate anew at each SIGHUP.
#[cfg(unix)]
fn reload_at_hangup(tls: TlsConfig) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP will not reload the certificate");
            return;
        }
    };
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let tls = tls.clone();
            // Reading files may block.
            let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
            match reloaded {
                Ok(Ok(())) => tracing::info!("TLS certificate read anew"),
                Ok(Err(error)) => tracing::error!(%error, "TLS certificate stays as it was"),
                // The runtime ends.
                Err(_) => return,
            }
        }
    });
}

/// Here there is no such signal; changed files are noticed all the same.
#[cfg(not(unix))]
fn reload_at_hangup(_: TlsConfig) {}

/// Takes what the system allows, and says what is short of what is wanted.
#[cfg(unix)]
fn look_at_limits(config: &CmsConfig) -> Result<(), CmsError> {
    use super::limits;
    let failed = |error| CmsError::Config(format!("the limit of open files: {error}"));
    limits::raise_open_files().map_err(failed)?;
    for shortage in limits::check(config).map_err(failed)? {
        tracing::warn!("{shortage}");
    }
    Ok(())
}

/// Here the system has no such limits.
#[cfg(not(unix))]
fn look_at_limits(_: &CmsConfig) -> Result<(), CmsError> {
    Ok(())
}

/// Resolves when the process is asked to end. From this call on the signals no longer end it
/// at once.
#[cfg(unix)]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves when the process is asked to end (Ctrl-C).
#[cfg(windows)]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
