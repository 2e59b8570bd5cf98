//! What a session knows of its server, and what it can be told about it beforehand.

use std::time::{Duration, Instant};

use super::ClientSession;
use crate::rtsp::{KeepAlive, Repairs};

impl ClientSession {
    /// Begins with another way of keeping the session alive than GET_PARAMETER: the one that this
    /// server was found to understand.
    pub fn set_keep_alive(&mut self, keep_alive: KeepAlive) {
        self.keep_alive = keep_alive;
    }

    /// How the session is kept alive now; a refusal moves it one rung down.
    pub fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// Since when a keep-alive waits for its answer.
    pub fn unanswered_keep_alive(&self) -> Option<Instant> {
        self.keep_alive_sent
    }

    /// The session's id, once SETUP (or an eager server's earlier answer) brought one.
    pub fn session_id(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// How long the server keeps a session of which it hears nothing.
    pub fn session_timeout(&self) -> Duration {
        self.timeout
    }

    /// The URL of PLAY, RECORD, keep-alives and TEARDOWN.
    pub fn aggregate_url(&self) -> &str {
        &self.aggregate
    }

    /// Uses another URL for PLAY, RECORD, keep-alives and TEARDOWN: some servers know only one
    /// form of it.
    pub fn set_aggregate_url(&mut self, url: String) {
        self.aggregate = url;
    }

    /// The URL of the stream as connected to.
    pub fn request_url(&self) -> &str {
        &self.url
    }

    /// What relative controls belong to.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// What the server's answers needed to be understood.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// The `Server` header of the last answer that had one.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }
}
