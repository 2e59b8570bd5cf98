use std::time::Duration;

use super::RetryConfig;
use crate::rtsp::{Limits, RedirectPolicy};

/// Times and limits of all sources of a server. `Default` suits cameras on a LAN or the Internet.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PullConfig {
    /// For a TCP connection, name resolution included. Default 5 s.
    pub connect_timeout: Duration,
    /// For the answer to one request. Default 10 s.
    pub request_timeout: Duration,
    /// How long after PLAY the first media may take before the next transport is tried.
    /// Default 5 s: less than the ten that a viewer who asked for the stream is kept waiting.
    pub first_media: Duration,
    /// No media for so long: the connection is dead, whatever TCP says. Default 10 s.
    pub silence: Duration,
    /// How long the answer to TEARDOWN is waited for. Default 1 s.
    pub goodbye: Duration,
    /// A connection that closes so soon after a keep-alive was closed because of it: the next
    /// kind of keep-alive is used from then on. Default 3 s.
    pub keep_alive_grace: Duration,
    /// Waits after failures. Default 1 s, doubling to 30 s.
    pub backoff: RetryConfig,
    /// Waits after a refused login. Default 60 s, doubling to 15 min: cameras lock out the
    /// address of those who try often, for all users at that address.
    pub denied: RetryConfig,
    /// Media for so long makes the failures before forgotten. Default 10 s.
    pub stable_after: Duration,
    /// How long a source on demand goes on without viewers. Default 10 s.
    pub idle_grace: Duration,
    /// How long viewers wait for a source that was lost. Default 15 s; then their sessions end.
    pub offline_grace: Duration,
    /// Longest wait for a session to expire that the source will not let go. Default 65 s.
    pub stale_patience: Duration,
    /// Which redirections are followed.
    pub redirects: RedirectPolicy,
    /// Whom `rtsps://` believes. Default: the public authorities.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::TlsTrust>,
    /// Most sources. Default 10 000.
    pub sources: usize,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Limits for what sources send.
    pub limits: Limits,
    /// Sources whose descriptions would have to be repaired are not taken, and those whose media
    /// would are ended. Default no.
    pub strict: bool,
}

impl Default for PullConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            first_media: Duration::from_secs(5),
            silence: Duration::from_secs(10),
            goodbye: Duration::from_secs(1),
            keep_alive_grace: Duration::from_secs(3),
            backoff: RetryConfig {
                first: Duration::from_secs(1),
                cap: Duration::from_secs(30),
            },
            denied: RetryConfig {
                first: Duration::from_secs(60),
                cap: Duration::from_secs(900),
            },
            stable_after: Duration::from_secs(10),
            idle_grace: Duration::from_secs(10),
            offline_grace: Duration::from_secs(15),
            stale_patience: Duration::from_secs(65),
            redirects: RedirectPolicy::default(),
            #[cfg(feature = "tls")]
            tls: None,
            sources: 10_000,
            user_agent: concat!("EasyDarwin/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: Limits::default(),
            strict: false,
        }
    }
}
