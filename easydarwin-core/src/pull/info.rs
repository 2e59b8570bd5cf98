use std::collections::BTreeMap;

use serde::Serialize;

use super::{FailureKind, PullTransport, Quirk, SourceMode};
use crate::rtsp::KeepAlive;

/// What a source (or a forward) does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkState {
    /// Nothing: nobody views it, or there is nothing to forward.
    Stopped,
    /// On the way to media.
    Connecting,
    /// Media flows.
    Playing,
    /// It failed and will be tried again.
    Waiting,
}

/// State and counters of a source. Holds no secrets.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SourceInfo {
    /// Under which path it is published here.
    pub path: String,
    /// Where it is fetched from, without user, password and tokens.
    pub url: String,
    /// Always, or on demand.
    pub mode: SourceMode,
    /// What it does now.
    pub state: LinkState,
    /// While waiting: for what.
    pub reason: Option<FailureKind>,
    /// While waiting: milliseconds until the next try.
    pub next_attempt_ms: Option<u64>,
    /// The transport in use, or the one that worked last.
    pub transport: Option<PullTransport>,
    /// The kind of keep-alive in use.
    pub keep_alive: KeepAlive,
    /// Milliseconds for which media has been flowing.
    pub playing_ms: Option<u64>,
    /// The counters.
    #[serde(flatten)]
    pub counters: SourceCounters,
}

/// Counters of a source, since it was added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SourceCounters {
    /// Connections tried.
    pub attempts: u64,
    /// Connections that brought media.
    pub connects: u64,
    /// Those of them that followed a loss, not a stop.
    pub reconnects: u64,
    /// Redirections followed.
    pub redirects: u64,
    /// RTP packets received.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How connections ended that were not stopped.
    pub failures: BTreeMap<FailureKind, u64>,
    /// What was put up with, see [`Quirk`].
    pub quirks: BTreeMap<Quirk, u64>,
    /// The last failure in words.
    pub last_error: Option<String>,
}
