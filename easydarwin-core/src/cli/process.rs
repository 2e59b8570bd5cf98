use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// Log filter when nothing else is asked for.
pub const DEFAULT_LOG_FILTER: &str = "info";

/// The log filter is not understood.
#[derive(Debug, Error)]
#[error(
    "the log filter `{filter}` is wrong: {reason}; write for example `info` or `info,easydarwin_core::server=debug`"
)]
pub struct LogFilterError {
    filter: String,
    reason: String,
}

/// Sends this process's logs to stderr. For programs only: a library leaves this to whoever
/// embeds it.
///
/// # Errors
/// When the filter cannot be parsed. A second call changes nothing.
pub fn log_to_stderr(filter: &str) -> Result<(), LogFilterError> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| LogFilterError {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })?;
    // An error means that there is a subscriber already: the embedder's, which wins.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    Ok(())
}

/// Resolves when the process is asked to end: SIGINT (Ctrl-C) or SIGTERM. From this call on,
/// not only once it is awaited, the signals no longer end the process at once.
///
/// # Errors
/// When the system refuses to install the handlers.
#[cfg(unix)]
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
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

/// SIGHUP, which from now on no longer ends the process: read again what may have changed.
#[cfg(unix)]
pub(super) fn hangups() -> std::io::Result<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::hangup())
}

/// Resolves when the process is asked to end (Ctrl-C).
///
/// # Errors
/// When the system refuses to install the handler.
#[cfg(windows)]
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
