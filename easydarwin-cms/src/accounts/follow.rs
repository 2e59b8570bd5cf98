//! What was changed takes effect.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::node::Revoked;
use easydarwin_core::registry::{AuditEntry, Event, EventKind, StoreError};
use serde_json::json;

use super::directory::who_is;
use crate::nodes::{remember, revoke};
use crate::state::State;

/// How often the audit is looked at for what another process has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Entries read at once.
const BATCH: usize = 1000;

/// How far back in the audit a start looks for what was taken back.
const LOOKED_BACK: u64 = 5000;
const LOOKED_BACK_ENTRIES: usize = 5000;

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

/// What was taken back before this start, or while no CMS ran, as the end of the audit tells it.
/// Nodes may have missed it, and what this process would have remembered went with the last one.
pub(crate) async fn remember_revocations(state: &State, audited: u64) -> Result<(), StoreError> {
    let entries = state
        .accounts
        .audit(audited.saturating_sub(LOOKED_BACK), LOOKED_BACK_ENTRIES)
        .await?;
    let (accounts, keys) = (
        state.accounts.accounts().await?,
        state.accounts.keys().await?,
    );
    let mut revoked = Vec::new();
    for entry in &entries {
        let (at, subject) = (entry.author.at, &entry.subject);
        let mut take_back = |what| revoked.push((what, at));
        match entry.action.as_str() {
            "device.remove" => take_back(Revoked::Device(subject.clone())),
            "device.put" => {
                let known = state.devices.get(subject).await?;
                if known.is_some_and(|device| !device.enabled) {
                    take_back(Revoked::Device(subject.clone()));
                }
            }
            "key.revoke" => take_back(Revoked::Subject(format!("key:{subject}"))),
            // Who was made then had no rights before.
            "key.put" if keys.iter().any(|k| k.id == *subject && k.created == at) => {}
            "key.put" => take_back(Revoked::Subject(format!("key:{subject}"))),
            "account.put"
                if accounts
                    .iter()
                    .any(|a| a.name == *subject && a.created == at) => {}
            "account.put" | "account.remove" => {
                take_back(Revoked::Subject(who_is(subject)));
                for key in keys.iter().filter(|k| k.owner.as_ref() == Some(subject)) {
                    take_back(Revoked::Subject(format!("key:{}", key.id)));
                }
            }
            _ => {}
        }
    }
    remember(state, revoked);
    Ok(())
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
        let all = state.sessions.all();
        let serials: Vec<_> = all.iter().map(|session| &*session.serial).collect();
        devices(state, &serials).await?;
    }
    for entry in entries {
        tell(state, entry).await?;
    }
    let mut serials: Vec<&str> = entries
        .iter()
        .filter(|e| is(e, &["device", "credential"]))
        .map(|e| e.subject.as_str())
        .collect();
    serials.sort_unstable();
    serials.dedup();
    devices(state, &serials).await
}

/// Tells of devices that people added, changed or removed.
async fn tell(state: &State, entry: &AuditEntry) -> Result<(), StoreError> {
    let author = &entry.author;
    let kind = match entry.action.as_str() {
        "device.remove" => EventKind::DEVICE_REMOVED,
        "device.put" => match state.devices.get(&entry.subject).await? {
            Some(device) if device.created == author.at => EventKind::DEVICE_ADDED,
            Some(_) => EventKind::DEVICE_CHANGED,
            // Removed again meanwhile: that is told, too.
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let event = Event::new(kind, author.at)
        .device(entry.subject.as_str())
        .with(json!({ "by": author.name }));
    state.events.emit(event);
    Ok(())
}

/// Reads people and keys anew. Who has other rights now begins anew with them, who has another
/// password logs in again, all but the login with the token `keep`.
pub(crate) async fn people_changed(
    state: &Arc<State>,
    keep: Option<&str>,
) -> Result<(), StoreError> {
    let different = state.people.reload(&*state.accounts, state.now()).await?;
    revoke(state, different.rights.into_iter().map(Revoked::Subject));
    for name in different.logins {
        state.logins.end(&name, keep);
    }
    Ok(())
}

/// Devices that were removed or disabled, or whose credential was withdrawn, go with all that they
/// publish; those that were moved are seen by others.
async fn devices(state: &Arc<State>, serials: &[&str]) -> Result<(), StoreError> {
    let mut out = Vec::new();
    for serial in serials {
        if let Some(reason) = why_out(state, serial).await? {
            tracing::info!(serial, reason, "a device is shut out");
            out.push(Revoked::Device((*serial).to_owned()));
        }
    }
    revoke(state, out);
    Ok(())
}

async fn why_out(state: &State, serial: &str) -> Result<Option<&'static str>, StoreError> {
    let device = match state.devices.get(serial).await? {
        None => return Ok(Some("it was removed")),
        Some(device) if !device.enabled => return Ok(Some("it was disabled")),
        Some(device) => device,
    };
    let Some(session) = state.sessions.get(serial) else {
        return Ok(None);
    };
    session.set_group(device.group);
    let Some(proved) = &session.credential else {
        return Ok(None);
    };
    let withdrawn = !proved.is_among(&state.devices.credentials(serial).await?);
    Ok(withdrawn.then_some("its credential was withdrawn"))
}
