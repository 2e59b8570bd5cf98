//! What operators do with a device that understands it: reboot, configuration, a picture now.

use std::collections::BTreeMap;
use std::sync::Arc;

use easydarwin_core::protocol::{
    ConfigRequest, Envelope, ErrorNum, Extension, MessageType, RebootRequest, Setting,
    SnapshotRequest, parse_channel,
};
use easydarwin_core::registry::{Event, EventKind};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::json;

use super::reply::{self, Reply};
use super::{body, streams};
use crate::access::Access;
use crate::api::Caller;
use crate::devices::{self, AckError, Session};
use crate::state::State;

/// A command as devices know it.
struct Command {
    name: &'static str,
    extension: Extension,
    answer: MessageType,
}

/// `POST /api/v2/devices/{serial}/reboot`
pub(super) async fn reboot(state: &State, caller: &Caller, serial: &str) -> Reply {
    let command = Command {
        name: "reboot",
        extension: Extension::Reboot,
        answer: MessageType::RebootAck,
    };
    let session = match understands(state, caller, serial, &command).await {
        Ok(session) => session,
        Err(refused) => return refused,
    };
    let request = RebootRequest {
        serial: serial.to_owned(),
        route: route(state, caller, &session),
    };
    let result = ask(state, &session, &command, |cseq| request.to_envelope(cseq)).await;
    note(state, caller, serial, &command, &[], result);
    answer(&command, result)
}

/// `PUT /api/v2/devices/{serial}/config` with `{"name": "value", …}`
pub(super) async fn configure(
    state: &State,
    caller: &Caller,
    serial: &str,
    request: Request<Incoming>,
) -> Reply {
    let command = Command {
        name: "config",
        extension: Extension::Config,
        answer: MessageType::ConfigAck,
    };
    let session = match understands(state, caller, serial, &command).await {
        Ok(session) => session,
        Err(refused) => return refused,
    };
    let values: BTreeMap<String, String> = match body::read_json(state, request).await {
        Ok(values) => values,
        Err(refused) => return refused,
    };
    let settings: Vec<_> = values
        .into_iter()
        .map(|(name, value)| Setting { name, value })
        .collect();
    let number = (1..=ConfigRequest::MAX_SETTINGS).contains(&settings.len());
    if !number || !settings.iter().all(Setting::is_valid) {
        return reply::error(
            StatusCode::BAD_REQUEST,
            "send 1 to 32 values; names have 1 to 64 of A-Z a-z 0-9 . _ -, values at most 1024 bytes",
        );
    }
    let names: Vec<_> = settings.iter().map(|s| s.name.clone()).collect();
    let request = ConfigRequest {
        serial: serial.to_owned(),
        settings,
        route: route(state, caller, &session),
    };
    let result = ask(state, &session, &command, |cseq| request.to_envelope(cseq)).await;
    note(state, caller, serial, &command, &names, result);
    answer(&command, result)
}

/// `POST /api/v2/devices/{serial}/snapshot?channel=`: the picture comes a moment after the answer.
pub(super) async fn snapshot(
    state: &State,
    caller: &Caller,
    serial: &str,
    query: Option<&str>,
) -> Reply {
    let command = Command {
        name: "snapshot",
        extension: Extension::Snapshot,
        answer: MessageType::SnapshotReqAck,
    };
    let session = match understands(state, caller, serial, &command).await {
        Ok(session) => session,
        Err(refused) => return refused,
    };
    let mut pairs = query.unwrap_or_default().split('&');
    let channel = parse_channel(pairs.find_map(|pair| pair.strip_prefix("channel=")));
    let puts = session.info().ext.has(Extension::SnapshotPut);
    let request = SnapshotRequest {
        serial: serial.to_owned(),
        channel,
        upload: puts
            .then(|| devices::ticket(state, &session, channel))
            .flatten(),
        route: route(state, caller, &session),
    };
    let result = ask(state, &session, &command, |cseq| request.to_envelope(cseq)).await;
    answer(&command, result)
}

/// The device, if the caller may, it is there, and it has said that it understands the command.
async fn understands(
    state: &State,
    caller: &Caller,
    serial: &str,
    command: &Command,
) -> Result<Arc<Session>, Reply> {
    streams::his(state, caller, serial, Access::Control, "device").await?;
    if caller.identity.is_by_network() {
        // Any page in a browser of that network could send this.
        return Err(reply::error(
            StatusCode::FORBIDDEN,
            "an address in legacy_clients is not enough for this: log in, or bring a key",
        ));
    }
    let Some(session) = state.sessions.get(serial) else {
        return Err(match state.devices.get(serial).await {
            Ok(Some(_)) => reply::error(StatusCode::CONFLICT, "the device is not there"),
            Ok(None) => reply::error(StatusCode::NOT_FOUND, "there is no such device"),
            Err(error) => {
                tracing::error!(serial, %error, "a device could not be looked up");
                reply::error(StatusCode::SERVICE_UNAVAILABLE, "the device store failed")
            }
        });
    };
    if !session.info().ext.has(command.extension) {
        return Err(not_supported(command));
    }
    Ok(session)
}

fn route(state: &State, caller: &Caller, session: &Session) -> easydarwin_core::protocol::Route {
    session.route(
        state.connection_id(caller.connection),
        state.connection_id(session.link.id),
        &state.via,
    )
}

async fn ask(
    state: &State,
    session: &Session,
    command: &Command,
    make: impl FnOnce(u32) -> Envelope,
) -> Result<ErrorNum, AckError> {
    let within = state.config.control_ack;
    let answer = session.ask(command.answer, within, make).await?;
    Ok(answer.error().unwrap_or(ErrorNum::DEVICE_FAILURE))
}

/// Who did what stands in the log. Values may be secrets, their names are not.
fn note(
    state: &State,
    caller: &Caller,
    serial: &str,
    command: &Command,
    names: &[String],
    result: Result<ErrorNum, AckError>,
) {
    let (code, cause) = match result {
        Ok(error) => (Some(error.code()), error.to_string()),
        Err(error) => (None, error.to_string()),
    };
    tracing::info!(serial, who = %caller.identity.who, command = command.name, result = cause, "device commanded");
    let mut data = json!({
        "command": command.name, "by": &*caller.identity.who, "result": code,
    });
    if let (false, Some(fields)) = (names.is_empty(), data.as_object_mut()) {
        fields.insert("names".to_owned(), json!(names));
    }
    let event = Event::new(EventKind::DEVICE_COMMANDED, state.now());
    state
        .events
        .emit(event.device(serial).because(cause).with(data));
}

fn answer(command: &Command, result: Result<ErrorNum, AckError>) -> Reply {
    match result {
        Ok(error) if error.is_success() => {
            reply::json(StatusCode::OK, &json!({ "result": error.code() }))
        }
        Ok(ErrorNum::NOT_IMPLEMENTED) => not_supported(command),
        Ok(ErrorNum::TIMEOUT) => reply::error(
            StatusCode::GATEWAY_TIMEOUT,
            "the device took the command and did not say what became of it",
        ),
        Ok(error) => reply::json(
            StatusCode::BAD_GATEWAY,
            &json!({ "error": format!("the device refused: {error}"), "result": error.code() }),
        ),
        Err(error @ AckError::Silent) => reply::error(StatusCode::GATEWAY_TIMEOUT, error),
        Err(error) => reply::error(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

fn not_supported(command: &Command) -> Reply {
    let reason = format!("the device does not support {}", command.name);
    reply::error(StatusCode::NOT_IMPLEMENTED, reason)
}
