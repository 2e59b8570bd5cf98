use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{DurationText, Settings};
use crate::registry::PathPattern;

/// Media server for cameras: takes RTSP streams over TCP and UDP and gives them to RTSP players,
/// to browsers (fMP4 over WebSocket) and to HLS players
#[derive(Debug, Parser)]
#[command(
    name = "easydarwin",
    version,
    args_conflicts_with_subcommands = true,
    after_long_help = EXAMPLES
)]
#[non_exhaustive]
pub struct Cli {
    /// TOML file with the same settings; keys are the flags' long names
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_CONFIG")]
    pub config: Option<PathBuf>,

    /// Settings that win over the file's.
    #[command(flatten)]
    pub settings: Settings,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does beside serving.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Sign a token that lets its bearer play or publish one stream
    Token(TokenArgs),
    /// Print an entry for the users file; the password is read from standard input
    User(UserArgs),
}

/// The user that an entry is made for.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct UserArgs {
    /// User name
    pub name: String,

    /// Streams that the user may play: hall/1, hall/*, ** for all
    #[arg(long, value_name = "STREAMS", value_delimiter = ',')]
    pub play: Vec<PathPattern>,

    /// Streams that the user may publish
    #[arg(long, value_name = "STREAMS", value_delimiter = ',')]
    pub publish: Vec<PathPattern>,

    /// The server's --realm, if it was given one
    #[arg(long, value_name = "NAME", env = "EASYDARWIN_REALM")]
    pub realm: Option<String>,
}

/// The right that a token carries.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct TokenArgs {
    /// What the token allows
    #[arg(value_enum)]
    pub action: TokenAction,

    /// The stream, as in rtsp://host/PATH
    pub path: String,

    /// How long the token opens sessions; those that run are not ended by it
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub ttl: DurationText,

    /// The key file that the server was given with --key
    #[arg(long, value_name = "FILE", env = "EASYDARWIN_KEY")]
    pub key: PathBuf,
}

/// See [`TokenArgs::action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum TokenAction {
    /// Read the stream.
    Play,
    /// Be its publisher.
    Publish,
}

const EXAMPLES: &str = "\
Examples:
  Try it out, everybody may publish and play:
    easydarwin --anonymous
    ffmpeg -re -i film.mp4 -c copy -f rtsp rtsp://127.0.0.1:10554/film/1
    ffplay rtsp://127.0.0.1:10554/film/1

  On its own, with rights:
    easydarwin --key easydarwin.key
    ffplay \"rtsp://127.0.0.1:10554/film/1?token=$(easydarwin token play film/1 --key easydarwin.key)\"

  With users and passwords (over RTSP; HTTP takes tokens only):
    echo PASSWORD | easydarwin user anna --play '**' --publish 'film/*' >> users.toml
    easydarwin --users users.toml
    ffplay rtsp://anna:PASSWORD@127.0.0.1:10554/film/1

  Fetch a camera while somebody views it, and push another on to a second server:
    easydarwin --anonymous --pull-on-demand cam/1=rtsp://user:password@10.0.0.9/live \\
      --pull cam/2=rtsp://10.0.0.10/live --forward cam/2=rtsp://backup.example:10554/cam/2

  As a node of a CMS:
    easydarwin --cms cms.example:10000 --join-key-file join.key --advertise media1.example

Settings come from flags, then from EASYDARWIN_* variables, then from the file of --config.
One line on stdout says when the server is ready; logs go to stderr.
SIGINT and SIGTERM end it: players and publishers are told, listeners are closed.";
