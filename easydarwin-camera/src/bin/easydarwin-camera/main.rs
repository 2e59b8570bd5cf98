//! The camera as a program; see `easydarwin-camera --help`.

mod settings;

use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use easydarwin_camera::{Camera, CameraEvent};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use self::settings::{Cli, Settings, SettingsError};

/// Log filter when nothing else is asked for.
const DEFAULT_LOG_FILTER: &str = "info";
/// Events that may wait for this program, which only reads them.
const EVENT_QUEUE: usize = 64;

/// Why the program ended with an error.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the log filter `{filter}` is wrong: {reason}; write for example `info`")]
    Log { filter: String, reason: String },
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to report that stderr is gone.
            let _ = writeln!(io::stderr(), "easydarwin-camera: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), RunError> {
    let settings = match &cli.config {
        Some(file) => cli.settings.or(Settings::read(file)?),
        None => cli.settings,
    };
    log_to_stderr(settings.log.as_deref().unwrap_or(DEFAULT_LOG_FILTER))?;
    let (events, received) = mpsc::channel(EVENT_QUEUE);
    let serial = settings.serial();
    let camera = settings.camera(events)?;
    // One thread is enough for a camera.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(camera, received, serial))
}

async fn serve(
    camera: Camera,
    mut events: mpsc::Receiver<CameraEvent>,
    serial: String,
) -> Result<(), RunError> {
    let signal = shutdown_signal()?;
    tokio::spawn(async move {
        let mut said = false;
        while let Some(event) = events.recv().await {
            let what = match event {
                CameraEvent::Registered { cms } => format!("cms={cms}"),
                CameraEvent::PushStarted { channel } => format!("push={channel}"),
                _ => continue,
            };
            // Exactly one line, for scripts that wait for it.
            if !std::mem::replace(&mut said, true) {
                let mut stdout = io::stdout();
                let _ = writeln!(stdout, "easydarwin-camera ready: serial={serial} {what}");
                let _ = stdout.flush();
            }
        }
    });
    camera.run(signal).await;
    Ok(())
}

fn log_to_stderr(filter: &str) -> Result<(), RunError> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| RunError::Log {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}

/// Resolves at SIGINT (Ctrl-C) or SIGTERM. The handlers are there when this returns.
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

/// Resolves at Ctrl-C.
#[cfg(not(unix))]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler the system ends the program by itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
