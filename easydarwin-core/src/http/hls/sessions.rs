use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::registry::{Credentials, Permit};
use crate::relay::Viewer;

/// Most sessions of one stream.
const MAX_SESSIONS: usize = 10_000;

/// Who watches: HLS has no connection, so a session is one address with one set of credentials
/// and one player. Kept as a digest: what clients send may be long, and secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey([u8; 32]);

impl SessionKey {
    pub(crate) fn new(address: IpAddr, credentials: &Credentials, agent: Option<&str>) -> Self {
        let mut digest = Sha256::new();
        for part in [
            Some(address.to_string().as_str()),
            credentials.token(),
            credentials.authorization.as_deref(),
            agent,
        ] {
            // The length in front keeps the parts apart.
            let part = part.unwrap_or_default();
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// The sessions of one stream. A session that was let in stays so while it keeps asking, however
/// short its token lived, until its right is taken back.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    seen: HashMap<SessionKey, Session>,
}

#[derive(Debug)]
struct Session {
    last: Instant,
    permit: Permit,
    /// Held for its count.
    _viewer: Viewer,
}

impl Sessions {
    /// Marks a session as alive; false when there is no such session, or no longer.
    pub(super) fn touch(&mut self, key: &SessionKey, now: Instant) -> bool {
        match self.seen.get_mut(key) {
            Some(session) if session.permit.is_revoked() => false,
            Some(session) => {
                session.last = now;
                true
            }
            None => false,
        }
    }

    /// Adds a session; false when there are too many.
    pub(super) fn add(
        &mut self,
        key: SessionKey,
        permit: Permit,
        viewer: Viewer,
        now: Instant,
    ) -> bool {
        if self.seen.len() >= MAX_SESSIONS {
            return false;
        }
        let session = Session {
            last: now,
            permit,
            _viewer: viewer,
        };
        self.seen.insert(key, session);
        true
    }

    /// Forgets the sessions that were silent for `patience`, and those without right.
    pub(super) fn expire(&mut self, patience: Duration, now: Instant) {
        self.seen.retain(|_, session| {
            let silent = now.saturating_duration_since(session.last);
            silent < patience && !session.permit.is_revoked()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}
