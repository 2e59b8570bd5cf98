use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::UnixMillis;

/// Whether a device is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PresenceState {
    /// Its control connection holds the lease.
    Online,
    /// The control connection is gone, its media still flows.
    MediaOnly,
    /// The connection ended a moment ago; it may be back at once.
    Grace,
    /// Not there.
    Offline,
    /// The CMS was started a moment ago; whoever was there has time to come back.
    Unknown,
}

impl PresenceState {
    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::MediaOnly => "media-only",
            Self::Grace => "grace",
            Self::Offline => "offline",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a device's state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It registered.
    Registered,
    /// It registered on another connection while the old one still held the lease.
    TakenOver,
    /// Its connection was closed by it or by the network.
    ConnectionClosed,
    /// Nothing was heard for the lease's time.
    Silent,
    /// It did not come back in time.
    GraceEnded,
    /// Its media began to flow.
    MediaStarted,
    /// Its media ended.
    MediaStopped,
    /// The CMS was started.
    CmsStarted,
    /// The CMS closed the connection.
    Closed,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Cause {
    const ALL: [Self; 9] = [
        Self::Registered,
        Self::TakenOver,
        Self::ConnectionClosed,
        Self::Silent,
        Self::GraceEnded,
        Self::MediaStarted,
        Self::MediaStopped,
        Self::CmsStarted,
        Self::Closed,
    ];

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }

    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::TakenOver => "registered again on another connection",
            Self::ConnectionClosed => "connection closed",
            Self::Silent => "nothing heard in time",
            Self::GraceEnded => "did not come back",
            Self::MediaStarted => "media started",
            Self::MediaStopped => "media stopped",
            Self::CmsStarted => "CMS started",
            Self::Closed => "closed by the CMS",
        }
    }
}

/// The right to speak for a device, held by one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The device.
    pub serial: Arc<str>,
    /// Grows with every lease of any device, over restarts too; a higher one supersedes.
    pub generation: u64,
}

impl Lease {
    /// For implementors of [`Presence`].
    pub fn new(serial: Arc<str>, generation: u64) -> Self {
        Self { serial, generation }
    }
}

/// A new lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// The lease.
    pub lease: Lease,
    /// Generation of the lease that it ended, if somebody held one. That connection is to be
    /// closed.
    pub superseded: Option<u64>,
    /// What it did to the device's state.
    pub transition: Transition,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The device.
    pub serial: Arc<str>,
    /// Before.
    pub from: PresenceState,
    /// After.
    pub to: PresenceState,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: UnixMillis,
    /// Generation of the lease that it is about, 0 if none.
    pub generation: u64,
}

impl Transition {
    /// Whether people want to hear of it: only entering and leaving `Offline` counts. A
    /// restart of the CMS or a short break of the network makes no news.
    pub fn is_event(&self) -> bool {
        self.from != self.to
            && (self.to == PresenceState::Offline || self.from == PresenceState::Offline)
    }
}

/// What is known of a device from before the CMS was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastKnown {
    /// It was there, or nobody knows: it has time to come back before it is missed.
    There {
        /// When it was last there, as far as that was written down.
        at: Option<UnixMillis>,
    },
    /// It was gone already: that is no news.
    Gone {
        /// When it was last there.
        at: UnixMillis,
        /// Why it left.
        cause: Cause,
    },
    /// It never was there.
    Never,
}

impl LastKnown {
    /// From what a store keeps of a device: when it was last there, and the
    /// [cause](PresenceEntry::seen) of its state then.
    pub fn from_stored(last_seen: Option<UnixMillis>, cause: &str) -> Self {
        let Some(at) = last_seen else {
            return Self::Never;
        };
        match Cause::parse(cause) {
            Some(cause @ (Cause::Silent | Cause::GraceEnded)) => Self::Gone { at, cause },
            _ => Self::There { at: Some(at) },
        }
    }
}

/// What is known of a device's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceEntry {
    /// The device.
    pub serial: Arc<str>,
    /// Now.
    pub state: PresenceState,
    /// Since when.
    pub since: UnixMillis,
    /// When it was last heard, if it ever was.
    pub last_seen: Option<UnixMillis>,
    /// Generation of the lease, of the last one when it has none.
    pub generation: u64,
    /// The last transitions, oldest first: why it is on or offline.
    pub history: Vec<Transition>,
}

impl PresenceEntry {
    /// What a store keeps of it, to be read by [`LastKnown::from_stored`] after the next start;
    /// `None` if it never was there.
    pub fn seen(&self) -> Option<(UnixMillis, Cause)> {
        let cause = match self.state {
            PresenceState::Offline => self.history.last()?.cause,
            // However it got there: it may be there after the next start.
            PresenceState::Online | PresenceState::MediaOnly | PresenceState::Grace => {
                Cause::Registered
            }
            // What is stored from before still holds.
            PresenceState::Unknown => return None,
        };
        Some((self.last_seen?, cause))
    }

    /// Why it is as it is, in one sentence.
    pub fn explain(&self) -> String {
        let causes = |skip: usize| {
            let before = self.history.iter().rev().nth(skip);
            before.map_or("nothing more is known", |t| t.cause.as_str())
        };
        match self.state {
            PresenceState::Online => match self.history.last().map(|t| t.cause) {
                Some(Cause::TakenOver) => {
                    "It registered again on another connection, which took over from the old one."
                        .into()
                }
                _ => "It registered and keeps alive.".into(),
            },
            PresenceState::MediaOnly => match self.history.last().map(|t| t.cause) {
                Some(Cause::MediaStarted) => {
                    "It has no control connection, but its media flows.".into()
                }
                _ => format!(
                    "It has no control connection ({}), but its media still flows.",
                    causes(0)
                ),
            },
            PresenceState::Grace => format!(
                "It is gone for the moment ({}) and has a little time to come back.",
                causes(0)
            ),
            PresenceState::Unknown => {
                "The CMS was started a moment ago; it still has time to come back.".into()
            }
            PresenceState::Offline => match self.history.last() {
                None => "It has never registered.".into(),
                Some(last) if last.from == PresenceState::Offline => {
                    format!("It was gone before the CMS was started: {}.", last.cause)
                }
                Some(last) if last.from == PresenceState::Unknown => {
                    "It did not come back after the CMS was started.".into()
                }
                Some(last) if last.cause == Cause::GraceEnded => {
                    format!("It left ({}) and did not come back in time.", causes(1))
                }
                Some(last) => format!("It is missed: {}.", last.cause),
            },
        }
    }
}

/// Why a lease did not do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// A newer lease exists: this connection speaks for the device no longer.
    #[error("the lease was superseded by a newer registration; close this connection")]
    Superseded,
    /// A limit is reached.
    #[error("{limit} devices are present, which is the limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The backend failed.
    #[error("the presence store failed: {0}")]
    Backend(String),
}

/// Who is there: leases with generations. Hot, in memory (or later shared between CMS nodes).
///
/// A secret has been checked before [`acquire`](Self::acquire) is called: the rightful newcomer
/// takes over at once.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// A new lease for a device that has proven its right; ends an older one.
    async fn acquire(&self, serial: &str, now: UnixMillis) -> Result<Acquired, PresenceError>;

    /// The holder was heard. What changed, if anything did.
    async fn renew(
        &self,
        lease: &Lease,
        now: UnixMillis,
    ) -> Result<Option<Transition>, PresenceError>;

    /// The holder's connection has ended. Nothing happens if the lease was superseded.
    async fn release(
        &self,
        lease: &Lease,
        cause: Cause,
        now: UnixMillis,
    ) -> Result<(), PresenceError>;

    /// Media of the device flows, or does no longer. Counts as life. What changed, if anything
    /// did.
    async fn media(
        &self,
        serial: &str,
        flows: bool,
        now: UnixMillis,
    ) -> Result<Option<Transition>, PresenceError>;

    /// A device that was known before the CMS was started. One that may have been there is
    /// `Unknown` until it comes, or until a lease's time is over.
    async fn expect(
        &self,
        serial: &str,
        known: LastKnown,
        now: UnixMillis,
    ) -> Result<(), PresenceError>;

    /// One device; `None` if it was never heard of.
    async fn entry(&self, serial: &str) -> Result<Option<PresenceEntry>, PresenceError>;

    /// All devices in one of these states (empty: any), by serial, after `after`, at most
    /// `limit`.
    async fn list(
        &self,
        states: &[PresenceState],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PresenceEntry>, PresenceError>;

    /// Moves on everybody whose time is over; returns what changed. Called about once a second.
    async fn sweep(&self, now: UnixMillis) -> Result<Vec<Transition>, PresenceError>;

    /// A new generation, higher than all before: for a push, which must outrank older ones.
    async fn next_generation(&self) -> Result<u64, PresenceError>;
}
