//! What presence tells: events of devices that come and go, and when each was last there.

use std::collections::BTreeSet;
use std::sync::Arc;

use easydarwin_core::registry::{
    Event, EventKind, LastKnown, Lease, PresenceEntry, PresenceState, Seen, Transition,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::error::CmsError;
use crate::state::State;

/// Devices looked at or written down at once.
const BATCH: usize = 1000;

/// Devices whose coming or going is still to be written down.
#[derive(Debug, Default)]
pub(crate) struct SeenDevices(Mutex<BTreeSet<Arc<str>>>);

/// Devices that were known before the start: those that may have been there have time to come
/// back before they are missed, the others are no news.
pub(crate) async fn expect_known(state: &State) -> Result<(), CmsError> {
    let mut query = easydarwin_core::registry::DeviceQuery::default();
    loop {
        let page = state.devices.list(&query).await?;
        for device in page.items {
            let known = LastKnown::from_stored(device.last_seen, &device.last_cause);
            let expected = state.presence.expect(&device.serial, known, state.now());
            expected.await?;
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// A device's state has changed. Tells of it if it is news.
pub(crate) async fn changed(state: &State, transition: &Transition) {
    if !transition.is_event() {
        return;
    }
    let serial = &transition.serial;
    let (kind, why) = if transition.to == PresenceState::Offline {
        let entry = state.presence.entry(serial).await.ok().flatten();
        let why = entry.map_or_else(|| transition.cause.to_string(), |e| e.explain());
        (EventKind::DEVICE_OFFLINE, why)
    } else {
        (EventKind::DEVICE_ONLINE, transition.cause.to_string())
    };
    tracing::info!(
        serial = &**serial,
        state = transition.to.as_str(),
        why,
        "device's state changed"
    );
    state.seen.0.lock().insert(serial.clone());
    state.events.emit(
        Event::new(kind, transition.at)
            .device(serial.clone())
            .because(why)
            .with(json!({
                "state": transition.to.as_str(),
                "code": transition.cause.as_str(),
            })),
    );
}

/// The holder of a lease was heard; `false` if it holds it no longer.
pub(crate) async fn heard(state: &State, lease: &Lease) -> bool {
    match state.presence.renew(lease, state.now()).await {
        Ok(None) => true,
        Ok(Some(transition)) => {
            changed(state, &transition).await;
            true
        }
        Err(_) => false,
    }
}

/// Writes down who came and went since the last call.
pub(crate) async fn write_changed(state: &State) {
    loop {
        let serials: Vec<Arc<str>> = {
            let mut waiting = state.seen.0.lock();
            let some: Vec<_> = waiting.iter().take(BATCH).cloned().collect();
            for serial in &some {
                waiting.remove(serial);
            }
            some
        };
        if serials.is_empty() {
            return;
        }
        let mut seen = Vec::with_capacity(serials.len());
        for serial in &serials {
            let entry = state.presence.entry(serial).await.ok().flatten();
            seen.extend(entry.as_ref().and_then(as_seen));
        }
        if let Err(error) = state.devices.seen(seen).await {
            tracing::error!(%error, "when devices were last there could not be written down");
            // Again with the next call.
            state.seen.0.lock().extend(serials);
            return;
        }
    }
}

/// Writes down when those who are there were last heard.
pub(crate) async fn write_present(state: &State) {
    let states = [
        PresenceState::Online,
        PresenceState::MediaOnly,
        PresenceState::Grace,
    ];
    let mut after: Option<Arc<str>> = None;
    loop {
        let page = state.presence.list(&states, after.as_deref(), BATCH).await;
        let page = match page {
            Ok(page) if !page.is_empty() => page,
            Ok(_) => return,
            Err(error) => {
                tracing::error!(%error, "who is there could not be asked");
                return;
            }
        };
        after = page.last().map(|entry| entry.serial.clone());
        let seen = page.iter().filter_map(as_seen).collect();
        if let Err(error) = state.devices.seen(seen).await {
            tracing::error!(%error, "when devices were last there could not be written down");
            return;
        }
    }
}

fn as_seen(entry: &PresenceEntry) -> Option<Seen> {
    let (at, cause) = entry.seen()?;
    Some(Seen {
        serial: entry.serial.to_string(),
        at,
        cause: cause.to_string(),
    })
}

/// Why a device is as it is, for people.
pub(crate) fn explained(entry: &PresenceEntry) -> Value {
    let history: Vec<Value> = entry
        .history
        .iter()
        .map(|t| {
            json!({
                "at": t.at.0,
                "from": t.from.as_str(),
                "to": t.to.as_str(),
                "cause": t.cause.as_str(),
            })
        })
        .collect();
    json!({
        "serial": &*entry.serial,
        "state": entry.state.as_str(),
        "since": entry.since.0,
        "lastSeen": entry.last_seen.map(|at| at.0),
        "why": entry.explain(),
        "history": history,
    })
}
