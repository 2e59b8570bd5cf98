//! What the `easydarwin` program is made of; the examples reuse it.
//!
//! [`Settings`] is what it can be told, by flags, environment and file; [`Node`] is the media
//! server that they describe. Everything that belongs to a process and not to a library is here:
//! arguments, logs, signals.

mod args;
mod duration;
mod key;
mod process;
mod run;
mod settings;
mod size;
mod users;

pub use args::{Cli, Command, TokenAction, TokenArgs, UserArgs};
pub use duration::DurationText;
pub use key::{KeyError, read_key, read_or_make_key, sign_token};
pub use process::{DEFAULT_LOG_FILTER, LogFilterError, log_to_stderr, shutdown_signal};
pub use run::{Node, RunError, main};
pub use settings::{
    CidrText, DEFAULT_HTTP_PORT, DEFAULT_RTSP_PORT, PortRange, Secret, Settings, SettingsError,
};
pub use size::SizeText;
pub use users::{DigestChoice, PatternText, UserEntry, UsersFileError, user_entry};
