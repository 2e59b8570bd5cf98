//! Who may come, how often, and how fast: addresses with too many unknown connections, wrong
//! secrets, herds. Everything here counts strangers and failures; whoever has proven a secret is
//! never slowed by who has not.

mod addresses;
mod attempts;
mod source;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use addresses::Visit;
use addresses::{Addresses, Crowd};
pub(crate) use attempts::Attempts;
use source::Source;

use crate::config::CmsConfig;

/// What stands at the door.
#[derive(Debug)]
pub(crate) struct Guard {
    addresses: Arc<Addresses>,
    pub(crate) attempts: Attempts,
    swept: Mutex<Instant>,
}

/// How often is looked for what may be forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwelcome {
    #[error("too many wrong secrets came from this address")]
    Blocked,
    #[error("too many connections of this address have not proven who they are")]
    Crowded,
}

impl Guard {
    pub(crate) fn new(config: &CmsConfig) -> Self {
        let addresses = Arc::new(Addresses::new(config.max_strangers));
        Self {
            attempts: Attempts::new(config.refusal_delay, addresses.clone()),
            addresses,
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Counts a new connection, or says why it is not taken.
    pub(crate) fn enter(&self, peer: IpAddr) -> Result<Visit, Unwelcome> {
        if self.attempts.blocked(peer).is_some() {
            return Err(Unwelcome::Blocked);
        }
        match self.addresses.enter(Source::of(peer)) {
            Ok(visit) => Ok(visit),
            Err(Crowd) => Err(Unwelcome::Crowded),
        }
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut swept = self.swept.lock();
        if now.saturating_duration_since(*swept) >= SWEEP {
            *swept = now;
            self.addresses.sweep(now);
        }
    }
}
