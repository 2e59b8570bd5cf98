//! What clients ask: REST paths and JSON requests, the same for both loops.

mod answer;
mod control;
mod devices;
mod query;
mod streams;
mod usages;

use std::sync::Arc;

use easydarwin_core::protocol::{Envelope, ErrorNum, MessageType};

pub(crate) use answer::{Answer, Caller, content_type};
pub(crate) use devices::overview;
pub(crate) use query::Query;
pub(crate) use streams::free_stream;

use crate::access::Access;
use crate::state::State;

/// Answers one REST call. Never waits longer than the deadlines of its stages.
pub(crate) async fn rest(state: &Arc<State>, caller: &Caller, target: &str) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = Query::parse(query);
    let path = path.to_ascii_lowercase();
    let name = path
        .trim_matches('/')
        .strip_prefix("api/")
        .map(|rest| rest.strip_prefix("v1/").unwrap_or(rest))
        .unwrap_or_default();
    let (kind, needed) = match name {
        "getdevicelist" => (MessageType::DeviceListAck, Access::Read),
        "getdeviceinfo" => (MessageType::DeviceInfoAck, Access::Read),
        "getbaseconfig" => (MessageType::BaseConfigAck, Access::Read),
        "startdevicestream" => (MessageType::StartStreamAck, Access::View),
        "stopdevicestream" => (MessageType::StopStreamClientAck, Access::View),
        "freedevicestream" => (MessageType::FreeStreamAck, Access::View),
        "getdevicestream" | "livedevicestream" => (MessageType::GetStreamAck, Access::View),
        "ptzcontrol" => (MessageType::PtzControlAck, Access::Control),
        "presetcontrol" => (MessageType::PresetControlAck, Access::Control),
        "setbaseconfig" => return Answer::refusal(MessageType::SetBaseConfigAck),
        "restart" => return Answer::refusal(MessageType::Exception),
        _ => return usages::answer(),
    };
    if let Some(refused) = Answer::without_right(kind, caller.access, needed, "1") {
        return refused;
    }
    if let Some(serial) = query.get("device")
        && let Some(refused) = not_his(state, caller, kind, needed, serial, "1").await
    {
        return refused;
    }
    match name {
        "getdevicelist" => devices::list(state, caller, &query, "1").await,
        "getdeviceinfo" => devices::info(state, caller, query.get("device"), "1"),
        "getbaseconfig" => devices::base_config(state, caller),
        "startdevicestream" => streams::start(state, caller, &query).await,
        "stopdevicestream" | "freedevicestream" => streams::stop(state, caller, kind, &query),
        "getdevicestream" => streams::get(state, caller, &query).await,
        "livedevicestream" => streams::live(state, &query).await,
        "ptzcontrol" => control::ptz(state, caller, &query),
        _ => control::preset(state, caller, &query).await,
    }
}

/// The refusal, if the caller has not the right that is needed to this very device. One that he
/// may not even see does not exist for him.
async fn not_his(
    state: &State,
    caller: &Caller,
    kind: MessageType,
    needed: Access,
    serial: &str,
    cseq: &str,
) -> Option<Answer> {
    match caller.may(state, serial).await {
        Ok(Access::None) => Some(devices::unknown_device(kind, serial, cseq)),
        Ok(access) => Answer::without_right(kind, access, needed, cseq),
        Err(error) => {
            tracing::error!(serial, %error, "the rights to a device could not be looked up");
            let envelope = Envelope::answer(kind, cseq, ErrorNum::UNAVAILABLE);
            Some(Answer::new(envelope))
        }
    }
}

/// Answers one JSON request of a client.
pub(crate) async fn json(
    state: &Arc<State>,
    caller: &Caller,
    kind: MessageType,
    message: &Envelope,
) -> Envelope {
    let cseq = message.cseq();
    let (ack, needed) = match kind {
        MessageType::DeviceListReq => (MessageType::DeviceListAck, Access::Read),
        MessageType::DeviceInfoReq => (MessageType::DeviceInfoAck, Access::Read),
        MessageType::TalkbackControlReq => (MessageType::TalkbackControlAck, Access::Control),
        MessageType::FreeStreamReq => (MessageType::FreeStreamAck, Access::Control),
        _ => {
            return Envelope::answer(MessageType::Exception, &cseq, ErrorNum::NOT_IMPLEMENTED);
        }
    };
    if let Some(refused) = Answer::without_right(ack, caller.access, needed, &cseq) {
        return refused.envelope;
    }
    if let Some(serial) = message.body.text("Serial")
        && let Some(refused) = not_his(state, caller, ack, needed, &serial, &cseq).await
    {
        return refused.envelope;
    }
    match kind {
        MessageType::DeviceListReq => {
            let query = Query::default();
            devices::list(state, caller, &query, &cseq).await.envelope
        }
        MessageType::DeviceInfoReq => {
            let serial = message.body.text("Serial");
            devices::info(state, caller, serial.as_deref(), &cseq).envelope
        }
        MessageType::FreeStreamReq => free_stream(state, message).await,
        _ => control::talkback(state, caller, message).await,
    }
}
