//! Rights as RTSP asks for them: requests become questions to the authorizer, refusals become
//! statuses and challenges.

#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::registry::{Accepts, AccessRequest, Authorizer, Denied, Permit, Principal, StreamPath};
use crate::rtsp::auth::{Realm, Via};
use crate::rtsp::{Method, Reply, RequestUri, Status};

/// One question about rights, with what its refusal has to know.
pub(super) struct Question {
    request: AccessRequest,
    via: Via,
}

/// What is answered to those who get nothing.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reply: Reply,
    /// Whether the connection ends with it.
    pub(super) close: bool,
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            close: false,
        }
    }
}

impl Question {
    /// The question that a request asks.
    pub(super) fn new(
        request: AccessRequest,
        target: (&Method, &RequestUri),
        via: Via,
        realm: &Realm,
        now: Instant,
    ) -> Self {
        let authorization = request.credentials.authorization.as_deref();
        let proof = authorization.and_then(|value| {
            realm
                .read(value, target, via, now)
                .inspect_err(|error| {
                    tracing::debug!(path = %request.path, peer = %request.peer, %error, "no proof");
                })
                .ok()
        });
        Self {
            request: request.over(via.secure).with_proof(proof),
            via,
        }
    }

    /// Asks it. The right comes with what says when it ends.
    pub(super) async fn ask(
        &self,
        authorizer: &impl Authorizer,
        realm: &Realm,
    ) -> Result<(Principal, Permit), Refusal> {
        let result = authorizer.authorize(&self.request).await;
        let now = Instant::now();
        let result = result.map(|principal| {
            let permit = authorizer.permit(&self.request, &principal);
            (principal, permit)
        });
        result.map_err(|denied| refusal(denied, authorizer.accepts(), self.via, realm, now))
    }

    pub(super) fn into_path(self) -> StreamPath {
        self.request.path
    }
}

fn refusal(denied: Denied, accepts: Accepts, via: Via, realm: &Realm, now: Instant) -> Refusal {
    match denied {
        Denied::Unauthorized | Denied::Stale | Denied::Throttled => {}
        Denied::Forbidden => return Reply::error(Status::FORBIDDEN).into(),
        Denied::Unavailable => return Reply::error(Status::UNAVAILABLE).into(),
    }
    let mut challenges = Vec::new();
    if accepts.passwords {
        let stale = denied == Denied::Stale;
        challenges = realm.challenges(via, stale, now);
    }
    if accepts.tokens {
        challenges.push(realm.token_challenge());
    }
    Refusal {
        reply: Reply::unauthorized(challenges),
        close: denied == Denied::Throttled,
    }
}
