//! What devices tell of themselves: into the log of events, and the last health of each.

use std::num::NonZeroUsize;
use std::sync::Arc;

use easydarwin_core::protocol::{
    DeviceEvent, DeviceEventAck, Envelope, ErrorNum, EventLevel, Fields,
};
use easydarwin_core::registry::{Event, EventKind, UnixMillis};
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::session::Session;
use crate::state::State;

/// Events that a device may tell at once.
const BURST: u64 = 30;
/// Time between two of them, on average, in ms: one device alone needs six days to drive
/// everything else out of a log of a million events.
const PACE: u64 = 500;
/// Devices whose health is kept, with at most 2 KiB each; those that told it longest ago go.
const MAX_HEALTHS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// How much a device tells.
#[derive(Debug, Default)]
pub(crate) struct TellPace {
    /// When it may tell as much at once as ever, in ms since 1970.
    rested: u64,
    /// What was dropped since the last one that was taken.
    dropped: u64,
}

impl TellPace {
    /// Whether it may tell something now. If so, how many were dropped before.
    fn admit(&mut self, now: UnixMillis) -> Result<u64, u64> {
        let rested = self.rested.max(now.0);
        if rested > now.0 + PACE * (BURST - 1) {
            self.dropped += 1;
            return Err(self.dropped);
        }
        self.rested = rested + PACE;
        Ok(std::mem::take(&mut self.dropped))
    }
}

/// How a device was when it last told.
#[derive(Debug, Clone)]
struct Health {
    at: UnixMillis,
    level: EventLevel,
    data: Value,
}

/// The last health of each device, also of those that are gone.
#[derive(Debug)]
pub(crate) struct Healths(Mutex<LruCache<Arc<str>, Health>>);

impl Default for Healths {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_HEALTHS)))
    }
}

impl Healths {
    /// As it stands in the interface.
    pub(crate) fn of(&self, serial: &str) -> Option<Value> {
        let table = self.0.lock();
        let health = table.peek(serial)?;
        Some(json!({
            "at": health.at.0,
            "level": health.level.as_str(),
            "data": health.data,
        }))
    }

    /// Keeps it; the level before.
    fn keep(&self, serial: &Arc<str>, health: Health) -> Option<EventLevel> {
        let before = self.0.lock().put(serial.clone(), health);
        before.map(|health| health.level)
    }
}

/// `MSG_DS_EVENT_REQ`: checked, written down, answered.
pub(crate) fn told(state: &State, session: Option<&Session>, message: &Envelope) -> DeviceEventAck {
    let Some(session) = session else {
        let serial = message.body.text_or_empty("Serial");
        return DeviceEventAck::new(serial, ErrorNum::UNAUTHORIZED);
    };
    let mut ack = DeviceEventAck::new(&*session.serial, ErrorNum::OK);
    let now = state.now();
    // Before it is looked at: what makes no sense costs as much.
    let dropped = match session.tells.lock().admit(now) {
        Ok(dropped) => dropped,
        Err(dropped) => {
            ack.error = ErrorNum::TOO_MANY;
            ack.dropped = dropped;
            return ack;
        }
    };
    let Ok((serial, event)) = DeviceEvent::from_envelope(message) else {
        ack.error = ErrorNum::BAD_REQUEST;
        return ack;
    };
    if serial != *session.serial {
        tracing::warn!(own = %session.serial, other = %serial, "event of another device refused");
        ack.error = ErrorNum::FORBIDDEN;
        return ack;
    }
    if event.health {
        health(state, session, &event, now);
    } else {
        let mut told = Event::new(EventKind::DEVICE_EVENT, now)
            .device(session.serial.clone())
            .with(json!({
                "name": event.name,
                "level": event.level.as_str(),
                "number": event.number,
                "time": event.time_ms,
                "data": as_value(&event.data),
                "dropped": event.dropped.saturating_add(dropped),
            }));
        told.channel = event.channel;
        state.events.emit(told);
    }
    ack
}

/// News only if it is better or worse than before.
fn health(state: &State, session: &Session, event: &DeviceEvent, now: UnixMillis) {
    let (level, data) = (event.level, as_value(&event.data));
    let health = Health {
        at: now,
        level,
        data: data.clone(),
    };
    let before = state.healths.keep(&session.serial, health);
    let before = before.unwrap_or(EventLevel::Info);
    if before != level {
        let told = Event::new(EventKind::DEVICE_HEALTH, now)
            .device(session.serial.clone())
            .with(json!({ "level": level.as_str(), "before": before.as_str(), "data": data }));
        state.events.emit(told);
    }
}

fn as_value(fields: &Fields) -> Value {
    serde_json::from_str(&fields.to_json()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tells_too_much_is_not_heard_for_a_while() {
        let mut pace = TellPace::default();
        let at = UnixMillis;
        for _ in 0..BURST {
            assert_eq!(pace.admit(at(1_000_000)), Ok(0));
        }
        assert_eq!(pace.admit(at(1_000_000)), Err(1));
        assert_eq!(pace.admit(at(1_000_400)), Err(2));
        assert_eq!(pace.admit(at(1_000_500)), Ok(2), "and the loss is told");
        assert_eq!(pace.admit(at(1_000_500)), Err(1));
    }
}
