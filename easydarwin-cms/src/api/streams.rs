//! Streams: start, stop, where to play.

use std::sync::Arc;

use easydarwin_core::protocol::{
    Envelope, ErrorNum, FreeStream, MessageType, StreamRef, check_serial, parse_channel,
};
use easydarwin_core::registry::StreamPath;

use super::answer::{Answer, Caller};
use super::devices::unknown_device;
use super::query::Query;
use crate::state::State;
use crate::streams::{PlayProtocol, Ready, StartError, Wish, play_url, release};

/// A stream out of a query, or the answer that says what is wrong with it.
struct Asked {
    stream: StreamRef,
    reserve: String,
}

fn asked(kind: MessageType, query: &Query) -> Result<Asked, Answer> {
    let serial = query
        .get("device")
        .ok_or_else(|| Answer::missing(kind, "device"))?;
    check_serial(serial).map_err(|_| unknown_device(kind, serial, "1"))?;
    Ok(Asked {
        stream: StreamRef::new(serial, parse_channel(query.get("channel"))),
        reserve: query.get("reserve").unwrap_or("1").to_owned(),
    })
}

fn answer(kind: MessageType, cseq: &str, error: ErrorNum, asked: &Asked) -> Envelope {
    let mut envelope = Envelope::answer(kind, cseq, error);
    envelope
        .body
        .set("Serial", asked.stream.serial.as_str())
        .set("Channel", asked.stream.channel.to_string())
        .set("Reserve", asked.reserve.as_str());
    envelope
}

/// An answer that names the stage at which a stream failed.
fn failed(kind: MessageType, error: &StartError, asked: &Asked) -> Envelope {
    let mut envelope = answer(kind, "1", error.error_num(), asked);
    envelope
        .body
        .set("Stage", error.stage())
        .set("Reason", error.to_string());
    envelope
}

async fn started(
    state: &Arc<State>,
    caller: &Caller,
    stream: &StreamRef,
) -> Result<Ready, StartError> {
    let who = caller.interest();
    let wish = Wish {
        who: &who,
        ..Wish::default()
    };
    state.operations.start(state, stream, wish).await
}

fn cseq_of(ready: &Ready) -> String {
    ready.cseq.unwrap_or(1).to_string()
}

/// `startdevicestream`: answers when the stream is live. `Service` names the CMS itself, where
/// the client asks for the URL.
pub(super) async fn start(state: &Arc<State>, caller: &Caller, query: &Query) -> Answer {
    let kind = MessageType::StartStreamAck;
    let asked = match asked(kind, query) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let mut envelope = match started(state, caller, &asked.stream).await {
        Ok(ready) => {
            let mut envelope = answer(kind, &cseq_of(&ready), ErrorNum::OK, &asked);
            let (host, port) = caller.our_address(state);
            let service = format!("IP={host};Port={port};Type=EasyDarwin");
            envelope.body.set("Service", service);
            envelope
        }
        Err(error) => {
            let mut envelope = failed(kind, &error, &asked);
            envelope.body.set("Service", "");
            envelope
        }
    };
    let protocol = query.get("protocol").unwrap_or_default();
    envelope.body.set("Protocol", protocol.to_ascii_uppercase());
    Answer::new(envelope)
}

/// `stopdevicestream`: the caller wants it no longer. Answered at once; the stream ends if
/// nobody else watches.
pub(super) fn stop(
    state: &Arc<State>,
    caller: &Caller,
    kind: MessageType,
    query: &Query,
) -> Answer {
    let asked = match asked(kind, query) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    if state.sessions.get(&asked.stream.serial).is_none() {
        return unknown_device(kind, &asked.stream.serial, "1");
    }
    let envelope = answer(kind, "1", ErrorNum::OK, &asked);
    let who = caller.interest();
    state.operations.withdraw_from(&asked.stream, Some(&who));
    spawn_release(state, asked.stream, None);
    Answer::new(envelope)
}

fn spawn_release(state: &Arc<State>, stream: StreamRef, generation: Option<u64>) {
    let state_ = state.clone();
    state.spawn(async move { release(&state_, &stream, generation).await });
}

/// `getdevicestream`: a URL to play, after starting the stream if it is not live.
pub(super) async fn get(state: &Arc<State>, caller: &Caller, query: &Query) -> Answer {
    let kind = MessageType::GetStreamAck;
    let asked = match asked(kind, query) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let protocol = query.get("protocol").map(PlayProtocol::parse);
    let Some(Some(protocol)) = protocol else {
        let mut envelope = answer(kind, "1", ErrorNum::BAD_REQUEST, &asked);
        envelope.body.set(
            "Reason",
            "protocol is one of RTSP, RTSPS, HLS, WS, FMP4, POSTER",
        );
        return Answer::new(envelope);
    };
    let ready = match started(state, caller, &asked.stream).await {
        Ok(ready) => ready,
        Err(error) => return Answer::new(failed(kind, &error, &asked)),
    };
    let url = play_url(
        state,
        &asked.stream,
        &ready.node,
        protocol,
        caller.asker(),
        &caller.identity.who,
    )
    .await;
    let Some(url) = url else {
        let mut envelope = answer(kind, "1", ErrorNum::NOT_IMPLEMENTED, &asked);
        envelope
            .body
            .set("Reason", "the media node does not serve this protocol");
        return Answer::new(envelope);
    };
    let mut envelope = answer(kind, &cseq_of(&ready), ErrorNum::OK, &asked);
    envelope
        .body
        .set("URL", url.url)
        .set("Protocol", protocol.as_str())
        .set("IsReady", "1")
        .set_some("PlayerURL", url.player)
        .set_some("PosterURL", url.poster);
    Answer::new(envelope)
}

/// `livedevicestream`: the beat of an old web client. Nodes count their viewers themselves, so
/// it only says whether the stream is still there.
pub(super) async fn live(state: &State, query: &Query) -> Answer {
    let kind = MessageType::GetStreamAck;
    let asked = match asked(kind, query) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let path = StreamPath::device(&asked.stream.serial, asked.stream.channel);
    let location = match path {
        Ok(path) => state.directory.locate(&path).await.ok().flatten(),
        Err(_) => None,
    };
    let error = match location {
        Some(_) => ErrorNum::OK,
        None => ErrorNum::NOT_FOUND,
    };
    Answer::new(answer(kind, "1", error, &asked))
}

/// `MSG_CS_FREE_STREAM_REQ`: a media server has no viewers. Answered at once.
pub(crate) async fn free_stream(state: &Arc<State>, message: &Envelope) -> Envelope {
    let kind = MessageType::FreeStreamAck;
    let cseq = message.cseq();
    let Ok(free) = FreeStream::from_envelope(message) else {
        return Envelope::answer(kind, &cseq, ErrorNum::BAD_REQUEST);
    };
    if state.sessions.get(&free.stream.serial).is_none() {
        // Its media may flow on although the device is gone: the node may close it.
        spawn_release(state, free.stream.clone(), free.generation);
        return unknown_device(kind, &free.stream.serial, &cseq).envelope;
    }
    let asked = Asked {
        stream: free.stream.clone(),
        reserve: "1".into(),
    };
    let mut envelope = answer(kind, &cseq, ErrorNum::OK, &asked);
    envelope.body.set("Protocol", "");
    spawn_release(state, free.stream, free.generation);
    envelope
}
