//! What was changed takes effect.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::registry::{AuditEntry, StoreError};

use crate::devices::Session;
use crate::state::State;
use crate::streams::close_streams;

/// How often the audit is looked at for what another process has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Entries read at once.
const BATCH: usize = 1000;

/// Follows the audit from `after` on until the shutdown.
pub(crate) async fn follow(state: Arc<State>, mut after: u64) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = state.changed.notified() => {}
            () = state.shutdown.cancelled() => return,
        }
        match catch_up(&state, after).await {
            Ok(last) => after = last,
            Err(error) => tracing::error!(%error, "the audit could not be read"),
        }
    }
}

/// Reads what is new; the id of the last entry that took effect.
async fn catch_up(state: &Arc<State>, mut after: u64) -> Result<u64, StoreError> {
    if state.accounts.audit_end().await? <= after {
        return Ok(after);
    }
    loop {
        let entries = state.accounts.audit(after, BATCH).await?;
        let Some(last) = entries.last().map(|entry| entry.id) else {
            return Ok(after);
        };
        take_effect(state, &entries).await?;
        after = last;
    }
}

async fn take_effect(state: &Arc<State>, entries: &[AuditEntry]) -> Result<(), StoreError> {
    let is = |entry: &AuditEntry, kinds: &[&str]| {
        let kind = entry.action.split('.').next().unwrap_or_default();
        kinds.contains(&kind)
    };
    if entries
        .iter()
        .any(|e| is(e, &["account", "key", "policy", "group"]))
    {
        people_changed(state, None).await?;
    }
    if entries.iter().any(|e| e.action == "group.move") {
        for session in state.sessions.all() {
            device(state, &session.serial).await?;
        }
    }
    let mut serials: Vec<&str> = entries
        .iter()
        .filter(|e| is(e, &["device", "credential"]))
        .map(|e| e.subject.as_str())
        .collect();
    serials.sort_unstable();
    serials.dedup();
    for serial in serials {
        device(state, serial).await?;
    }
    Ok(())
}

/// Reads people and keys anew. Who has other rights now begins anew with them, who has another
/// password logs in again, all but the login with the token `keep`.
pub(crate) async fn people_changed(
    state: &Arc<State>,
    keep: Option<&str>,
) -> Result<(), StoreError> {
    let different = state.people.reload(&*state.accounts, state.now()).await?;
    for who in different.rights {
        tracing::info!(who, "somebody's rights were changed");
    }
    for name in different.logins {
        state.logins.end(&name, keep);
    }
    Ok(())
}

/// A connected device that was removed or disabled, or whose credential was withdrawn, goes; one
/// that was moved is seen by others.
async fn device(state: &Arc<State>, serial: &str) -> Result<(), StoreError> {
    let known = state.devices.get(serial).await?;
    let reason = match &known {
        None => Some("it was removed"),
        Some(device) if !device.enabled => Some("it was disabled"),
        Some(_) => None,
    };
    let Some(session) = state.sessions.get(serial) else {
        if reason.is_some() {
            // Its media may flow on without it.
            end_streams(state, serial);
        }
        return Ok(());
    };
    if let Some(reason) = reason {
        end(state, &session, reason);
        return Ok(());
    }
    if let Some(device) = known {
        session.set_group(device.group);
    }
    let Some(proved) = &session.credential else {
        return Ok(());
    };
    if !proved.is_among(&state.devices.credentials(serial).await?) {
        end(state, &session, "its credential was withdrawn");
    }
    Ok(())
}

fn end(state: &Arc<State>, session: &Session, reason: &str) {
    tracing::info!(serial = %session.serial, reason, "device's connection is closed");
    session.link.close();
    end_streams(state, &session.serial);
}

/// Not waited for: nodes have seconds to answer, and many devices may be changed at once.
fn end_streams(state: &Arc<State>, serial: &str) {
    let (state_, serial) = (state.clone(), serial.to_owned());
    state.spawn(async move { close_streams(&state_, &serial).await });
}
