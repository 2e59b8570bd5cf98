//! The program `easydarwin-cms`: a thin shell around the library.

mod devices_file;
#[cfg(unix)]
mod limits;
mod manage;
mod run;
mod secrets;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use easydarwin_core::protocol::login::key_text;
use easydarwin_core::registry::random_bytes;

pub use settings::{DeviceSecret, LegacyText, PolicyText, Settings};

/// Device access and management: cameras register here, clients ask here for devices and
/// streams, media nodes join here
#[derive(Debug, Parser)]
#[command(
    name = "easydarwin-cms",
    version,
    args_conflicts_with_subcommands = true,
    after_long_help = EXAMPLES
)]
struct Cli {
    /// TOML file with the same settings; keys are the flags' long names
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CMS_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a new key for a camera or for media nodes (256 random bits)
    NewKey,
    /// Look at settings without starting anything
    #[command(subcommand)]
    Config(Config),
    #[command(flatten)]
    Manage(manage::Command),
}

#[derive(Debug, Subcommand)]
enum Config {
    /// Say what is wrong with the settings, or that nothing is
    Check {
        /// TOML file with settings
        #[arg(long, value_name = "FILE", env = "EASYDARWIN_CMS_CONFIG")]
        config: Option<PathBuf>,

        #[command(flatten)]
        settings: Box<Settings>,
    },
}

const EXAMPLES: &str = "\
Examples:
  One camera of ours, a media node, old clients on this machine:
    KEY=$(easydarwin-cms new-key)
    easydarwin-cms --data ./cms --device 001001000099=$KEY --legacy-clients 127.0.0.0/8
    easydarwin --cms 127.0.0.1:10000 --join-key-file ./cms/join-key
    easydarwin-camera --cms 127.0.0.1:10000 --serial 001001000099 --secret $KEY --source pattern
    curl 'http://127.0.0.1:10000/api/v1/getdevicelist'

  More devices and people, while it runs:
    export EASYDARWIN_CMS_DATA=./cms
    easydarwin-cms device add 001001000100 --group north/gate
    easydarwin-cms device import cameras.csv --new-keys keys.csv
    easydarwin-cms user add anna --role viewer:north
    easydarwin-cms key add script --role operator --days 90

  Old cameras, each with its token; clients bring the key:
    easydarwin-cms --data ./cms --device-token 001001000098=123456
    curl -H \"Authorization: Bearer $(cat ./cms/api-key)\" http://127.0.0.1:10000/api/v1/getdevicelist

Settings come from flags, then from EASYDARWIN_CMS_* variables, then from the file of --config.
Devices, people and secrets are kept in the --data directory, readable by its owner only; without
--data they are new at each start.
One line on stdout says when the CMS is ready; logs go to stderr.
SIGINT and SIGTERM end it.";

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::NewKey) => new_key(),
        Some(Command::Config(Config::Check { config, settings })) => {
            run::check_config(config.as_deref(), *settings)
        }
        Some(Command::Manage(command)) => manage::run(command),
        None => run::run(cli.config.as_deref(), cli.settings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("easydarwin-cms: {error}");
            ExitCode::FAILURE
        }
    }
}

fn new_key() -> Result<(), crate::CmsError> {
    println!("{}", key_text(random_bytes()?));
    Ok(())
}
