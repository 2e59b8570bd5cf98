//! What the `easydarwin` program is made of; the examples reuse it.

mod args;
mod duration;
mod process;
mod settings;

pub use args::{Cli, Command, TokenAction, TokenArgs};
pub use duration::DurationText;
pub use process::{DEFAULT_LOG_FILTER, LogFilterError, log_to_stderr, shutdown_signal};
pub use settings::{
    CidrText, DEFAULT_HTTP_PORT, DEFAULT_RTSP_PORT, PortRange, Secret, Settings, SettingsError,
};
