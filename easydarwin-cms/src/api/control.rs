//! PTZ, presets, talkback.

use easydarwin_core::protocol::{
    Envelope, ErrorNum, MessageType, PresetRequest, PtzRequest, Route, TalkbackRequest,
    parse_channel,
};

use super::answer::{Answer, Caller};
use super::devices::unknown_device;
use super::query::Query;
use crate::access::Access;
use crate::devices::{AckError, Session, Talk};
use crate::state::State;

fn route(state: &State, caller: &Caller, session: &Session) -> Route {
    session.route(
        state.connection_id(caller.connection),
        state.connection_id(session.link.id),
        &state.via,
    )
}

fn answer(
    kind: MessageType,
    cseq: &str,
    error: ErrorNum,
    serial: &str,
    channel: u32,
    protocol: &str,
    reserve: &str,
) -> Envelope {
    let mut envelope = Envelope::answer(kind, cseq, error);
    envelope
        .body
        .set("Serial", serial)
        .set("Channel", channel.to_string())
        .set("Protocol", protocol)
        .set("Reserve", reserve);
    envelope
}

fn error_of(error: AckError) -> ErrorNum {
    match error {
        AckError::Silent => ErrorNum::TIMEOUT,
        AckError::Gone | AckError::Busy => ErrorNum::UNAVAILABLE,
    }
}

/// `ptzcontrol`: answered at once, as in the original. Some devices never ack.
pub(super) fn ptz(state: &State, caller: &Caller, query: &Query) -> Answer {
    let kind = MessageType::PtzControlAck;
    let [serial, protocol, action, command] =
        match required(kind, query, ["device", "protocol", "actiontype", "command"]) {
            Ok(values) => values,
            Err(answer) => return answer,
        };
    let Some(session) = state.sessions.get(serial) else {
        return unknown_device(kind, serial, "1");
    };
    let request = PtzRequest {
        serial: serial.to_owned(),
        channel: parse_channel(query.get("channel")),
        protocol: protocol.to_ascii_uppercase(),
        reserve: query.get("reserve").unwrap_or("1").to_owned(),
        action_type: action.to_ascii_uppercase(),
        command: command.to_ascii_uppercase(),
        speed: query.get("speed").unwrap_or("1").to_owned(),
        route: route(state, caller, &session),
    };
    let (cseq, error) = match session.notify(|cseq| request.to_envelope(cseq)) {
        Ok(cseq) => (cseq, ErrorNum::OK),
        Err(error) => (1, error_of(error)),
    };
    Answer::new(answer(
        kind,
        &cseq.to_string(),
        error,
        serial,
        request.channel,
        &request.protocol,
        &request.reserve,
    ))
}

/// `presetcontrol`: answered when the device has answered.
pub(super) async fn preset(state: &State, caller: &Caller, query: &Query) -> Answer {
    let kind = MessageType::PresetControlAck;
    let [serial, protocol, command] = match required(kind, query, ["device", "protocol", "command"])
    {
        Ok(values) => values,
        Err(answer) => return answer,
    };
    let Some(session) = state.sessions.get(serial) else {
        return unknown_device(kind, serial, "1");
    };
    let request = PresetRequest {
        serial: serial.to_owned(),
        channel: parse_channel(query.get("channel")),
        protocol: protocol.to_ascii_uppercase(),
        reserve: query.get("reserve").unwrap_or("1").to_owned(),
        command: command.to_ascii_uppercase(),
        preset: query.get("preset").unwrap_or("1").to_owned(),
        route: route(state, caller, &session),
    };
    let acked = session
        .ask(
            MessageType::ControlPresetAck,
            state.config.control_ack,
            |cseq| request.to_envelope(cseq),
        )
        .await;
    let (cseq, error) = match acked {
        Ok(ack) => (ack.cseq(), ack.error().unwrap_or(ErrorNum::DEVICE_FAILURE)),
        Err(error) => ("1".to_owned(), error_of(error)),
    };
    Answer::new(answer(
        kind,
        &cseq,
        error,
        serial,
        request.channel,
        &request.protocol,
        &request.reserve,
    ))
}

fn required<'a, const N: usize>(
    kind: MessageType,
    query: &'a Query,
    names: [&str; N],
) -> Result<[&'a str; N], Answer> {
    let mut values = [""; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = query.get(name).ok_or_else(|| Answer::missing(kind, name))?;
    }
    Ok(values)
}

/// `MSG_CS_TALKBACK_CONTROL_REQ`: answered at once. One talker per device; who has a higher right
/// takes over, and anybody when the talker has said nothing for long.
pub(super) async fn talkback(state: &State, caller: &Caller, message: &Envelope) -> Envelope {
    let kind = MessageType::TalkbackControlAck;
    let (cseq, body) = (message.cseq(), &message.body);
    let serial = body.text_or_empty("Serial");
    let request = TalkbackRequest {
        channel: parse_channel(body.text("Channel").as_deref()),
        protocol: body.text_or_empty("Protocol").to_ascii_uppercase(),
        reserve: body.non_empty("Reserve").unwrap_or_else(|| "1".into()),
        command: body.text_or_empty("Command").to_ascii_uppercase(),
        audio_type: body.text_or_empty("AudioType"),
        audio_data: body.text_or_empty("AudioData"),
        pts: body.text_or_empty("Pts"),
        route: Route::default(),
        serial,
    };
    let error = match state.sessions.get(&request.serial) {
        None => ErrorNum::DEVICE_NOT_FOUND,
        Some(session) => {
            let may = caller.may(state, &request.serial).await;
            let access = may.unwrap_or(Access::None);
            talk(state, caller, access, &session, &request)
        }
    };
    answer(
        kind,
        &cseq,
        error,
        &request.serial,
        request.channel,
        &request.protocol,
        &request.reserve,
    )
}

fn talk(
    state: &State,
    caller: &Caller,
    access: Access,
    session: &Session,
    request: &TalkbackRequest,
) -> ErrorNum {
    let (connection, now) = (caller.connection, state.now());
    let serial = request.serial.as_str();
    let mut request = request.clone();
    request.route = route(state, caller, session);
    let talkers = &state.talkers;
    match request.command.as_str() {
        "START" => match talkers.start(serial, connection, access, now) {
            Talk::Begun => {}
            Talk::Busy => return ErrorNum::CONFLICT,
            Talk::TakenOver => {
                tracing::info!(serial, who = %caller.identity.who, "another one talks through the device now");
                let mut stop = request.clone();
                "STOP".clone_into(&mut stop.command);
                // If it cannot be told, neither can what follows.
                let _ = session.notify(|cseq| stop.to_envelope(cseq));
            }
        },
        "SENDDATA" if talkers.says(serial, connection, now) => {}
        "STOP" if talkers.stop(serial, connection) => {}
        _ => return ErrorNum::BAD_REQUEST,
    }
    match session.notify(|cseq| request.to_envelope(cseq)) {
        Ok(_) => ErrorNum::OK,
        Err(error) => error_of(error),
    }
}
