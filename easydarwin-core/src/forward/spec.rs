use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pull::{RetryConfig, SourcePassword, SourceUrl};
use crate::registry::StreamPath;
use crate::rtsp::{Login, RedirectPolicy};

/// A stream of this server that is pushed on to another one (ANNOUNCE and RECORD, over TCP).
///
/// `Debug` shows no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ForwardSpec {
    /// The stream here.
    pub path: StreamPath,
    /// Where it goes.
    pub url: SourceUrl,
    /// While it exists, or always.
    #[serde(default)]
    pub mode: ForwardMode,
    /// User name, when it does not stand in the URL.
    #[serde(default)]
    pub user: Option<String>,
    /// Password of `user`.
    #[serde(default)]
    pub password: Option<SourcePassword>,
    /// Whether the password may go unencrypted over the network when nothing better than Basic is
    /// offered, as some old cameras do.
    #[serde(default)]
    pub plain_basic: bool,
}

/// When a stream is pushed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardMode {
    /// While somebody publishes it here; a forward is no viewer.
    #[default]
    Live,
    /// Always: a stream that nobody publishes is asked for like a viewer would, and held.
    Permanent,
}

impl ForwardSpec {
    /// Pushed on while it is live, with the login of the URL.
    pub fn new(path: StreamPath, url: SourceUrl) -> Self {
        Self {
            path,
            url,
            mode: ForwardMode::Live,
            user: None,
            password: None,
            plain_basic: false,
        }
    }

    pub(super) fn login(&self) -> Login {
        match &self.user {
            None => Login::FromUrl,
            Some(user) => Login::Password {
                user: user.clone(),
                password: self
                    .password
                    .clone()
                    .unwrap_or_default()
                    .expose()
                    .to_owned(),
            },
        }
    }
}

impl FromStr for ForwardSpec {
    type Err = String;

    /// `PATH=URL`
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, url) = crate::pull::path_and_url(text)?;
        Ok(Self::new(path, url))
    }
}

/// Times and limits of all forwards of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ForwardConfig {
    /// For a TCP connection, name resolution included. Default 5 s.
    pub connect_timeout: Duration,
    /// For the answer to one request. Default 10 s.
    pub request_timeout: Duration,
    /// How long the other server may take no data. Default 10 s.
    pub stall_timeout: Duration,
    /// Waits after failures. Default 1 s, doubling to 30 s.
    pub backoff: RetryConfig,
    /// Waits after a refused login. Default 60 s, doubling to 15 min.
    pub denied: RetryConfig,
    /// Media for so long makes the failures before forgotten. Default 10 s.
    pub stable_after: Duration,
    /// Which redirections are followed.
    pub redirects: RedirectPolicy,
    /// Whom `rtsps://` believes. Default: the public authorities.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::TlsTrust>,
    /// Most forwards. Default 10 000.
    pub forwards: usize,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            backoff: RetryConfig {
                first: Duration::from_secs(1),
                cap: Duration::from_secs(30),
            },
            denied: RetryConfig {
                first: Duration::from_secs(60),
                cap: Duration::from_secs(900),
            },
            stable_after: Duration::from_secs(10),
            redirects: RedirectPolicy::default(),
            #[cfg(feature = "tls")]
            tls: None,
            forwards: 10_000,
        }
    }
}
