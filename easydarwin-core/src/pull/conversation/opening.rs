use std::time::Instant;

use crate::pull::PullTransport;
use crate::rtsp::{ClientUrl, KeepAlive, Login};

/// A session that was not seen to end.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::pull) struct StaleSession {
    pub(in crate::pull) id: String,
    pub(in crate::pull) url: String,
    pub(in crate::pull) expires: Instant,
    /// The server is of a kind that keeps sessions, and refuses or disturbs others meanwhile.
    pub(in crate::pull) clings: bool,
}

impl std::fmt::Debug for StaleSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaleSession")
            .field("expires", &self.expires)
            .field("clings", &self.clings)
            .finish_non_exhaustive()
    }
}

/// What a conversation begins with.
pub(in crate::pull) struct Opening<'a> {
    pub(in crate::pull) url: &'a ClientUrl,
    pub(in crate::pull) login: Login,
    pub(in crate::pull) transport: PullTransport,
    /// The password may go unencrypted.
    pub(in crate::pull) plain_basic: bool,
    pub(in crate::pull) keep_alive: KeepAlive,
    /// To be ended first.
    pub(in crate::pull) stale: Option<StaleSession>,
    pub(in crate::pull) random: u64,
}
