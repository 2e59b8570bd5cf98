//! A node's messages.

use std::sync::Arc;

use easydarwin_core::protocol::node::{
    Demand, DemandAck, Join, JoinAck, NodeEvent, NodeStream, Report, ReportAck, StreamChange,
    TokenKey, node_serial,
};
use easydarwin_core::protocol::{Envelope, ErrorNum, MessageType, StreamRef, login};
use easydarwin_core::registry::{
    Event, EventKind, NodeBeat, NodeInfo, NodeLoad, StoreError, StreamLocation, StreamPath,
    UnixMillis, random_bytes,
};

use super::link::NodeLink;
use super::revoke::catch_up;
use crate::conn::{Link, LinkClosed};
use crate::devices;
use crate::state::State;
use crate::streams::Wish;

/// What a connection has done towards being a node's.
#[derive(Debug, Default)]
pub(crate) struct NodeConn {
    challenge: Option<(String, String, String)>,
    joined: Option<Arc<NodeLink>>,
    has_inventory: bool,
}

impl NodeConn {
    pub(crate) fn joined(&self) -> Option<&Arc<NodeLink>> {
        self.joined.as_ref()
    }
}

/// Handles one message of a node, or of somebody who would be one.
pub(crate) async fn handle(
    state: &Arc<State>,
    link: &Arc<Link>,
    conn: &mut NodeConn,
    kind: MessageType,
    message: Envelope,
) -> Result<(), LinkClosed> {
    if kind == MessageType::NodeJoinReq {
        return join(state, link, conn, &message).await;
    }
    let Some(node) = conn.joined.clone() else {
        // Whatever it is: whoever has not joined is told to join.
        let ack = ReportAck::new(
            ErrorNum::SESSION_NOT_FOUND,
            state.now().0,
            state.epoch,
            false,
        );
        return link.send(&ack.to_envelope(&message.cseq()));
    };
    match kind {
        MessageType::NodeReport => {
            let cseq = message.cseq();
            let result = report(state, &node, conn, &message).await;
            let error = match result {
                Ok(true) => ErrorNum::OK,
                Ok(false) => ErrorNum::SESSION_NOT_FOUND,
                Err(error) => {
                    tracing::error!(node = %node.id, %error, "a report could not be taken");
                    ErrorNum::UNAVAILABLE
                }
            };
            let ack = ReportAck::new(error, state.now().0, state.epoch, !conn.has_inventory);
            link.send(&ack.to_envelope(&cseq))?;
            // A node that is known no longer has to come again.
            if error == ErrorNum::SESSION_NOT_FOUND {
                return Err(LinkClosed);
            }
        }
        MessageType::NodeEvent => {
            if let Ok(event) = NodeEvent::from_envelope(&message) {
                happened(state, &node, &event).await;
            }
        }
        MessageType::NodeDemandReq => demand(state, &node, &message),
        MessageType::NodeGrantAck | MessageType::NodeCloseAck | MessageType::NodeRevokeAck => {
            node.answered(&message);
        }
        _ => {}
    }
    Ok(())
}

async fn join(
    state: &Arc<State>,
    link: &Arc<Link>,
    conn: &mut NodeConn,
    message: &Envelope,
) -> Result<(), LinkClosed> {
    let cseq = message.cseq();
    let refuse = |error| link.send(&JoinAck::new(error).to_envelope(&cseq));
    let Ok(join) = Join::from_envelope(message) else {
        return refuse(ErrorNum::BAD_REQUEST);
    };
    let Some(proof) = &join.proof else {
        let Ok(random) = random_bytes() else {
            return refuse(ErrorNum::INTERNAL);
        };
        let nonce = login::nonce(random);
        let mut ack = JoinAck::new(ErrorNum::UNAUTHORIZED);
        ack.nonce = Some(nonce.clone());
        conn.challenge = Some((join.node, join.client_nonce, nonce));
        return link.send(&ack.to_envelope(&cseq));
    };
    let serial = node_serial(&join.node);
    let key = login::DeviceKey::new(&state.secrets.join_key, &serial);
    let nonce = conn
        .challenge
        .take()
        .filter(|(node, client_nonce, _)| *node == join.node && *client_nonce == join.client_nonce)
        .map(|(_, _, nonce)| nonce);
    let proven = nonce.filter(|nonce| {
        key.verifier()
            .check(&serial, &join.client_nonce, nonce, proof)
    });
    let Some(nonce) = proven else {
        tracing::warn!(node = %join.node, peer = %link.peer, "a media node with a wrong join key was refused");
        let wrong = state.guard.attempts.failed(link.peer.ip());
        if !state.wait(wrong.delay).await {
            return Err(LinkClosed);
        }
        return refuse(ErrorNum::UNAUTHORIZED);
    };
    link.visit.proven();
    let info = NodeInfo {
        id: join.node.clone(),
        endpoints: join.endpoints,
        capacity: join.capacity,
    };
    let now = state.now();
    if let Err(error) = state.directory.join(info, now).await {
        tracing::error!(node = %join.node, %error, "a media node could not join");
        return refuse(ErrorNum::UNAVAILABLE);
    }
    let node = Arc::new(NodeLink::new(join.node.clone(), link.clone()));
    let old = state.nodes.enter(node.clone());
    if old.is_none() {
        let joined = Event::new(EventKind::NODE_JOINED, now).node(node.id.as_str());
        state.events.emit(joined);
    }
    if let Some(old) = old.filter(|old| old.link.id != link.id) {
        tracing::warn!(node = %node.id, old = %old.link.peer, new = %link.peer, "a media node joined again; the old connection is closed");
        old.ended();
        old.link.close();
    }
    tracing::info!(node = %node.id, peer = %link.peer, "media node joined");
    conn.joined = Some(node.clone());
    conn.has_inventory = false;
    let mut ack = JoinAck::new(ErrorNum::OK);
    ack.server_proof = Some(
        key.verifier()
            .server_proof(&serial, &join.client_nonce, &nonce),
    );
    let public = state.signer.public_key();
    ack.keys.push(TokenKey {
        kid: public.kid,
        key: public.key,
    });
    ack.time_ms = now.0;
    ack.epoch = state.epoch;
    ack.beat_ms = millis(state.config.node_beat);
    ack.lease_ms = millis(state.config.node_lease);
    link.send(&ack.to_envelope(&cseq))?;
    catch_up(state, node);
    Ok(())
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn report(
    state: &Arc<State>,
    node: &NodeLink,
    conn: &mut NodeConn,
    message: &Envelope,
) -> Result<bool, StoreError> {
    let Ok(report) = Report::from_envelope(message) else {
        return Ok(true);
    };
    let beat = NodeBeat {
        load: NodeLoad {
            permille: report.load_permille,
            streams: report.streams,
            viewers: report.viewers,
        },
        clock: report.clock_ms.map(UnixMillis),
    };
    if !state.directory.beat(&node.id, beat, state.now()).await? {
        return Ok(false);
    }
    if let Some(streams) = report.inventory {
        let here: Vec<_> = streams
            .iter()
            .filter_map(|stream| location(node, stream))
            .collect();
        let paths: Vec<StreamPath> = here.iter().map(|l| l.path.clone()).collect();
        let ready: Vec<_> = here.iter().filter(|l| l.ready).cloned().collect();
        let gone = state.directory.inventory(&node.id, here).await?;
        conn.has_inventory = true;
        for location in ready {
            state
                .streams
                .is_there(&state.events, &location, state.now());
        }
        for location in gone {
            let (events, now) = (&state.events, state.now());
            let why = "the media node has it no longer";
            state.streams.is_gone(events, &location, why, now);
            state.operations.changed(&location.path);
            media(state, &location.path, false).await;
        }
        for path in paths {
            state.operations.changed(&path);
            media(state, &path, true).await;
        }
    }
    Ok(true)
}

fn location(node: &NodeLink, stream: &NodeStream) -> Option<StreamLocation> {
    Some(StreamLocation {
        path: StreamPath::parse(&stream.path).ok()?,
        node: node.id.clone(),
        generation: stream.generation,
        viewers: stream.viewers,
        ready: stream.ready,
    })
}

async fn happened(state: &Arc<State>, node: &NodeLink, event: &NodeEvent) {
    let Some(mut location) = location(node, &event.stream) else {
        return;
    };
    let path = location.path.clone();
    let result = match event.change {
        StreamChange::Ended => {
            tracing::info!(node = %node.id, %path, reason = %event.reason, "stream ended");
            let generation = location.generation;
            let removed = state.directory.remove(&node.id, &path, generation).await;
            if removed == Ok(true) {
                let (events, now) = (&state.events, state.now());
                state.streams.is_gone(events, &location, &event.reason, now);
                media(state, &path, false).await;
                state.operations.ended(&path, generation, &event.reason);
            }
            removed
        }
        _ => {
            location.ready |= event.change == StreamChange::Ready;
            let put = state.directory.put(location.clone()).await;
            if location.ready && put == Ok(true) {
                state
                    .streams
                    .is_there(&state.events, &location, state.now());
            }
            media(state, &path, true).await;
            put
        }
    };
    if let Err(error) = result {
        tracing::error!(node = %node.id, %path, %error, "an event could not be taken");
    }
    state.operations.changed(&path);
}

/// Flowing media is a sign of life of its device.
async fn media(state: &State, path: &StreamPath, flows: bool) {
    let Some((serial, _)) = path.as_device() else {
        return;
    };
    match state.presence.media(serial, flows, state.now()).await {
        Ok(None) => {}
        Ok(Some(transition)) => devices::changed(state, &transition).await,
        Err(error) => tracing::error!(serial, %error, "presence could not be updated"),
    }
}

/// A viewer at the node wants a stream. Answered when it is there or has failed.
fn demand(state: &Arc<State>, node: &Arc<NodeLink>, message: &Envelope) {
    let cseq = message.cseq();
    let Ok(demand) = Demand::from_envelope(message) else {
        let ack = DemandAck::new("", ErrorNum::BAD_REQUEST, "request");
        let _ = node.link.send(&ack.to_envelope(&cseq));
        return;
    };
    let (state_, node) = (state.clone(), node.clone());
    state.spawn(async move {
        let ack = demanded(&state_, &node, demand.path).await;
        let _ = node.link.send(&ack.to_envelope(&cseq));
    });
}

async fn demanded(state: &Arc<State>, node: &NodeLink, path: String) -> DemandAck {
    let stream = StreamPath::parse(&path).ok().and_then(|path| {
        let (serial, channel) = path.as_device()?;
        Some(StreamRef::new(serial, channel))
    });
    let Some(stream) = stream else {
        return DemandAck::new(path, ErrorNum::NOT_FOUND, "no device's stream");
    };
    let who = format!("node:{}", node.id);
    let wish = Wish {
        who: &who,
        node: Some(&node.id),
        key: None,
    };
    match state.operations.start(state, &stream, wish).await {
        Ok(ready) if ready.node == node.id => DemandAck::new(path, ErrorNum::OK, "ready"),
        Ok(ready) => DemandAck::new(
            path,
            ErrorNum::CONFLICT,
            format!("the stream is on media node {}", ready.node),
        ),
        Err(error) => DemandAck::new(path, error.error_num(), error.to_string()),
    }
}

/// A node's connection has ended.
pub(crate) async fn left(state: &Arc<State>, node: &NodeLink) {
    node.ended();
    if !state.nodes.leave(node) {
        return;
    }
    tracing::warn!(node = %node.id, peer = %node.link.peer, "media node gone");
    let left = Event::new(EventKind::NODE_LEFT, state.now()).node(node.id.as_str());
    state.events.emit(left);
    match state.directory.leave(&node.id).await {
        Ok(gone) => {
            for location in gone {
                let (events, now) = (&state.events, state.now());
                let why = "its media node is gone";
                state.streams.is_gone(events, &location, why, now);
                media(state, &location.path, false).await;
                state.operations.changed(&location.path);
            }
        }
        Err(error) => tracing::error!(node = %node.id, %error, "a media node could not be removed"),
    }
}

/// Closes the connections of nodes that have been silent for too long; the rest follows.
pub(crate) async fn sweep(state: &State) {
    let expired = state
        .directory
        .expired(state.config.node_lease, state.now())
        .await;
    for node in expired.unwrap_or_default() {
        if let Some(node) = state.nodes.get(&node) {
            node.link.close();
        }
    }
}
