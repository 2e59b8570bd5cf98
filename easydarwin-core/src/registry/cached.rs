use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::ask_once::{AskOnce, Key, key};
use super::{Accepts, AccessRequest, Action, Authorizer, Decision, Denied, Permit, Principal};
use crate::rtsp::auth::PasswordProof;

#[cfg(test)]
mod tests;

/// Limits of what is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheConfig {
    /// Answers remembered; the one that was not needed for longest is forgotten for a new one.
    /// Default 4096 (about 1 MiB). None with 0.
    pub entries: usize,
    /// Longest time that a yes is remembered, whatever the answer says. Default 5 min.
    pub longest: Duration,
    /// Longest time that a no is. Default 5 s: who was just given a right should not wait for it.
    pub longest_negative: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            entries: 4096,
            longest: Duration::from_secs(300),
            longest_negative: Duration::from_secs(5),
        }
    }
}

impl CacheConfig {
    pub(super) fn positive(&self, valid_for: Duration) -> Duration {
        valid_for.min(self.longest)
    }

    pub(super) fn negative(&self, valid_for: Duration) -> Duration {
        valid_for.min(self.longest_negative)
    }
}

/// Asks another authorizer, and remembers its answers as long as it says that they hold
/// ([`Authorizer::decide`]): a slow backend is asked once for the same credentials, path, action
/// and address, also when many ask at once.
///
/// Digests differ in each request, so what is decided about them is not remembered; for a slow
/// store of users see [`Users::valid_for`](super::Users::valid_for).
#[derive(Debug)]
pub struct CachedAuthorizer<A> {
    inner: A,
    config: CacheConfig,
    answers: AskOnce<Decision>,
}

impl<A: Authorizer> CachedAuthorizer<A> {
    /// Remembers what `inner` says.
    pub fn new(inner: A, config: CacheConfig) -> Self {
        Self {
            inner,
            answers: AskOnce::new(config.entries),
            config,
        }
    }

    /// Forgets everything: rights were withdrawn. Questions that are being asked are not
    /// remembered either; sessions that run go on.
    pub fn flush(&self) {
        self.answers.flush();
    }

    fn holds(&self, decision: &Decision) -> Duration {
        match decision.outcome {
            Ok(_) => self.config.positive(decision.valid_for),
            Err(Denied::Unauthorized | Denied::Forbidden) => {
                self.config.negative(decision.valid_for)
            }
            // Neither is about the rights.
            Err(Denied::Stale | Denied::Throttled | Denied::Unavailable) => Duration::ZERO,
        }
    }
}

#[async_trait]
impl<A: Authorizer> Authorizer for CachedAuthorizer<A> {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        self.decide(request).await.outcome
    }

    async fn decide(&self, request: &AccessRequest) -> Decision {
        let Some(key) = key_of(request) else {
            return self.inner.decide(request).await;
        };
        let ask = || async {
            let decision = self.inner.decide(request).await;
            let holds = self.holds(&decision);
            (decision, holds)
        };
        let (decision, valid_for) = self.answers.get(key, ask).await;
        Decision::lasting(decision.outcome, valid_for)
    }

    fn permit(&self, request: &AccessRequest, principal: &Principal) -> Permit {
        self.inner.permit(request, principal)
    }

    fn accepts(&self) -> Accepts {
        self.inner.accepts()
    }
}

/// `None`: the same question is never asked twice.
fn key_of(request: &AccessRequest) -> Option<Key> {
    let credentials = &request.credentials;
    let reusable = request
        .proof
        .as_ref()
        .is_some_and(PasswordProof::is_reusable);
    if credentials.authorization.is_some() && !reusable {
        return None;
    }
    // What is missing is something else than what is empty.
    let text = |text: &Option<std::sync::Arc<str>>| match text {
        Some(text) => format!("+{text}"),
        None => String::new(),
    };
    let ip = match request.peer.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let action = match request.action {
        Action::Play => 0,
        Action::Publish => 1,
    };
    Some(key([
        text(&credentials.url_token).as_bytes(),
        text(&credentials.bearer).as_bytes(),
        text(&credentials.authorization).as_bytes(),
        request.path.as_str().as_bytes(),
        &ip.octets(),
        &[action, u8::from(request.secure)],
    ]))
}
