//! Rights that are taken back: remembered here, and made known to every node.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::protocol::node::{Revocation, Revoke, Revoked};
use easydarwin_core::registry::UnixMillis;

use super::link::{NodeError, NodeLink};
use crate::state::State;

/// Revocations are kept at least for so long, also if no token lives so long: a node that comes
/// back after this while still learns which of its sessions have no right any more.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How far clocks may differ when tokens are checked.
const LEEWAY: Duration = Duration::from_secs(60);
/// Revocations in one message: it has to fit what may wait for a slow connection.
const CHUNK: usize = 100;
/// Tries at a node that does not answer. Its connection dies earlier if it is the network.
const TRIES: u32 = 5;

/// Takes back what was given until now: tokens are refused, sessions end, a device's connection
/// is closed. Call it when the store no longer lets them in, so that nobody gets in again.
pub(crate) fn revoke(state: &Arc<State>, whose: impl IntoIterator<Item = Revoked>) {
    let now = state.now();
    let revocations: Vec<_> = whose
        .into_iter()
        .map(|what| revocation(state, what, now))
        .collect();
    if revocations.is_empty() {
        return;
    }
    // First remembered, then told: a node that joins meanwhile gets the list.
    let list = state.verifier.revocations();
    list.revoke(revocations.iter().cloned(), now);
    for revocation in &revocations {
        tracing::info!(what = ?revocation.what, "rights are taken back");
        if let Revoked::Device(serial) = &revocation.what
            && let Some(session) = state.sessions.get(serial)
        {
            session.link.close();
        }
    }
    for node in state.nodes.all() {
        tell(state, node, &revocations);
    }
}

/// Remembers what was taken back at these moments, before this CMS was started: nodes that join
/// are told.
pub(crate) fn remember(state: &State, whose: impl IntoIterator<Item = (Revoked, UnixMillis)>) {
    let now = state.now();
    let revocations = whose
        .into_iter()
        .filter(|(_, at)| now.since(*at) < kept(state))
        .map(|(what, at)| revocation(state, what, at));
    state.verifier.revocations().revoke(revocations, now);
}

fn kept(state: &State) -> Duration {
    KEPT.max(state.config.long_token_ttl.saturating_add(LEEWAY))
}

fn revocation(state: &State, what: Revoked, at: UnixMillis) -> Revocation {
    // Tokens count whole seconds: those of this second are meant, too.
    let not_before = at.seconds().saturating_add(1);
    Revocation::new(what, not_before, at.plus(kept(state)).0)
}

/// Tells a node that has just joined what it may have missed.
pub(super) fn catch_up(state: &Arc<State>, node: Arc<NodeLink>) {
    let list = state.verifier.revocations().list(state.now());
    tell(state, node, &list);
}

fn tell(state: &Arc<State>, node: Arc<NodeLink>, revocations: &[Revocation]) {
    let floor = state.verifier.revocations().floor();
    let messages: Vec<_> = revocations
        .chunks(CHUNK)
        .map(|some| Revoke::new(some.to_vec(), floor))
        .collect();
    if messages.is_empty() {
        return;
    }
    let wait = state.config.node_ack;
    state.spawn(async move {
        for message in messages {
            if let Err(error) = tell_one(&node, &message, wait).await {
                tracing::error!(node = %node.id, error, "a media node was not told which rights were taken back");
                return;
            }
        }
    });
}

async fn tell_one(node: &NodeLink, message: &Revoke, wait: Duration) -> Result<(), &'static str> {
    for _ in 0..TRIES {
        match node.ask(wait, |cseq| message.to_envelope(cseq)).await {
            Ok(error) if error.is_success() => return Ok(()),
            Ok(ErrorNum::BAD_REQUEST) => return Err("it does not understand it"),
            // It gets the list when it joins again.
            Err(NodeError::Gone) => return Ok(()),
            Err(NodeError::Busy) => tokio::time::sleep(wait).await,
            Ok(_) | Err(NodeError::Silent) => {}
        }
    }
    Err("it does not answer")
}
