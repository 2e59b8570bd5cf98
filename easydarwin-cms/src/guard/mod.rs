//! Who may come, how often, and how fast: addresses with too many unknown connections, wrong
//! secrets, herds. Everything here counts strangers and failures; whoever has proven a secret is
//! never slowed by who has not.

mod addresses;
mod attempts;
mod pace;
mod source;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use addresses::Visit;
use addresses::{Addresses, Crowd};
pub(crate) use attempts::Attempts;
pub(crate) use pace::Pace;
use source::Source;

use crate::config::CmsConfig;

/// What stands at the door.
#[derive(Debug)]
pub(crate) struct Guard {
    addresses: Arc<Addresses>,
    pub(crate) attempts: Attempts,
    /// When a new connection is read from.
    pub(crate) admission: Pace,
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
            admission: Pace::new(config.admit_per_second, config.admit_wait),
            addresses,
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Whether a new connection may wait for its turn. While it does so, it is not counted: of a
    /// herd behind one address all wait, and each is known soon after its turn.
    pub(crate) fn may_wait(&self, peer: IpAddr) -> Result<(), Unwelcome> {
        if self.attempts.blocked(peer).is_some() {
            return Err(Unwelcome::Blocked);
        }
        match self.addresses.has_room(Source::of(peer)) {
            true => Ok(()),
            false => Err(Unwelcome::Crowded),
        }
    }

    /// Counts a connection whose turn it is, or says why it is not taken.
    pub(crate) fn enter(&self, peer: IpAddr) -> Result<Visit, Unwelcome> {
        self.addresses
            .enter(Source::of(peer))
            .map_err(|Crowd| Unwelcome::Crowded)
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
