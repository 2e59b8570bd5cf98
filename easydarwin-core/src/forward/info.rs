use std::collections::BTreeMap;

use serde::Serialize;

use super::ForwardMode;
use crate::pull::{FailureKind, LinkState};
use crate::relay::ReaderInfo;

/// State and counters of a forward. Holds no secrets.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ForwardInfo {
    /// The stream here.
    pub path: String,
    /// Where it goes, without user, password and tokens.
    pub url: String,
    /// While it exists, or always.
    pub mode: ForwardMode,
    /// What it does now.
    pub state: LinkState,
    /// While waiting: for what.
    pub reason: Option<FailureKind>,
    /// While waiting: milliseconds until the next try.
    pub next_attempt_ms: Option<u64>,
    /// The relay's counters of what is pushed now: bytes, lateness, skips.
    pub reader: Option<ReaderInfo>,
    /// The counters.
    #[serde(flatten)]
    pub counters: ForwardCounters,
}

/// Counters of a forward, since it was added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForwardCounters {
    /// Connections tried.
    pub attempts: u64,
    /// Connections that took media.
    pub connects: u64,
    /// Those of them that followed a loss, not the end of the stream.
    pub reconnects: u64,
    /// How connections ended that were not ended by us.
    pub failures: BTreeMap<FailureKind, u64>,
    /// The last failure in words.
    pub last_error: Option<String>,
}
