//! Why a device is there or not.

use easydarwin_core::registry::PresenceState;
use hyper::StatusCode;
use serde_json::json;

use super::reply::{self, Reply};
use super::v2::without_right;
use crate::access::Access;
use crate::api::Caller;
use crate::devices;
use crate::state::State;

/// `GET /api/v2/devices/{serial}/presence`
pub(super) async fn of(state: &State, caller: &Caller, serial: &str) -> Reply {
    if let Some(refused) = without_right(caller, Access::Read) {
        return refused;
    }
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(serial, %error, "presence could not be asked");
        reply::error(StatusCode::SERVICE_UNAVAILABLE, "the store failed")
    };
    let known = match state.devices.get(serial).await {
        Ok(Some(device)) => device,
        Ok(None) => return reply::error(StatusCode::NOT_FOUND, "there is no such device"),
        Err(error) => return failed(&error),
    };
    if caller.identity.in_group(&known.group) < Access::Read {
        // Who does not see it does not learn that it exists.
        return reply::error(StatusCode::NOT_FOUND, "there is no such device");
    }
    match state.presence.entry(serial).await {
        Ok(Some(entry)) => {
            let mut answer = devices::explained(&entry);
            if let (Some(fields), Some(health)) = (answer.as_object_mut(), state.healths.of(serial))
            {
                fields.insert("health".to_owned(), health);
            }
            reply::json(StatusCode::OK, &answer)
        }
        // Known since a moment ago.
        Ok(None) => reply::json(
            StatusCode::OK,
            &json!({
                "serial": serial,
                "state": PresenceState::Offline.as_str(),
                "since": known.created.0,
                "lastSeen": null,
                "why": "It has never registered.",
                "history": [],
            }),
        ),
        Err(error) => failed(&error),
    }
}
