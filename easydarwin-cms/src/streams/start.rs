//! The stages of an operation: place, grant, push, publish, first key frame.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::node::Grant;
use easydarwin_core::protocol::{
    AppType, ErrorNum, Extension, MessageType, PushAck, PushRequest, StopRequest, StreamRef,
};
use easydarwin_core::registry::{NodeStatus, StoreError, StreamLocation, StreamPath, TokenAction};

use super::operation::Operation;
use super::progress::{Ready, Stage, StartError};
use crate::devices::{AckError, Session};
use crate::nodes::{Asker, NodeError, NodeLink, Reach, reach};
use crate::state::State;

/// How long a grant at a node holds: the device's answer and its way to the node.
const GRANT_TTL_S: u64 = 30;

/// How long an old camera may take to stop before it is moved to another node.
const STOP_ACK: Duration = Duration::from_secs(3);

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.to_string())
    }
}

fn path_of(stream: &StreamRef) -> Result<StreamPath, StartError> {
    StreamPath::device(&stream.serial, stream.channel).map_err(|_| StartError::UnknownDevice)
}

/// The stream, if a living node has it already.
pub(crate) async fn already_live(
    state: &State,
    stream: &StreamRef,
) -> Result<Option<Ready>, StartError> {
    let location = located(state, &path_of(stream)?).await?;
    Ok(location.filter(|l| l.ready).map(|location| Ready {
        node: location.node,
        cseq: None,
    }))
}

async fn located(state: &State, path: &StreamPath) -> Result<Option<StreamLocation>, StartError> {
    let location = state.directory.locate(path).await?;
    Ok(location.filter(|l| state.nodes.get(&l.node).is_some()))
}

pub(super) async fn run(
    state: &State,
    operation: &Operation,
    wanted_node: Option<&str>,
) -> Result<Ready, StartError> {
    let stream = &operation.stream;
    let patience = &state.config;
    let to_accept = patience.node_ack.saturating_add(patience.push_ack);
    operation.reached(state, Stage::Requested, Some(to_accept));
    let path = path_of(stream)?;
    // Published already, the picture still to come: nothing to ask for.
    if let Some(location) = located(state, &path).await? {
        return first_picture(state, &path, location.generation, operation, None).await;
    }
    let session = state
        .sessions
        .get(&stream.serial)
        .ok_or(StartError::UnknownDevice)?;
    check_channel(&session, stream.channel)?;
    let (node, reach) = place(state, &session, wanted_node).await?;
    let generation = state
        .presence
        .next_generation()
        .await
        .map_err(|e| StartError::Internal(e.to_string()))?;
    grant(state, &session, &node, &path, generation).await?;
    let cseq = push(state, &session, stream, &path, &reach, generation).await?;
    operation.reached(state, Stage::Accepted, Some(patience.first_picture));
    first_picture(state, &path, generation, operation, Some(cseq)).await
}

fn check_channel(session: &Session, channel: u32) -> Result<(), StartError> {
    let info = session.info();
    if info.app_type != AppType::EasyNvr {
        return Ok(());
    }
    let found = info.channels.iter().find(|c| c.channel == channel);
    match found {
        None => Err(StartError::UnknownChannel),
        Some(channel) if !channel.online => Err(StartError::ChannelOffline),
        Some(_) => Ok(()),
    }
}

/// The least loaded node that can be reached, or the wanted one.
async fn place(
    state: &State,
    session: &Session,
    wanted: Option<&str>,
) -> Result<(Arc<NodeLink>, Reach), StartError> {
    let mut nodes = state.directory.nodes().await?;
    nodes.retain(|node| wanted.is_none_or(|id| id == node.info.id) && has_room(node));
    nodes.sort_by_key(|node| (node.load.permille, node.load.streams));
    let asker = Asker::new(session.link.peer.ip(), session.link.local.ip());
    nodes
        .iter()
        .find_map(|status| {
            let node = state.nodes.get(&status.info.id)?;
            let reach = reach(&status.info.endpoints, node.link.peer.ip(), asker)?;
            Some((node, reach))
        })
        .ok_or(StartError::NoNode)
}

fn has_room(node: &NodeStatus) -> bool {
    node.info.capacity == 0 || node.load.streams < node.info.capacity
}

/// Tells the node whom to expect. A device that will bring a token needs no grant by address.
async fn grant(
    state: &State,
    session: &Session,
    node: &NodeLink,
    path: &StreamPath,
    generation: u64,
) -> Result<(), StartError> {
    let brings_token = session.info().ext.has(Extension::Token);
    if !brings_token && !state.config.legacy_publish {
        return Err(StartError::Node(
            "old cameras may not publish (legacy_publish is off)".into(),
        ));
    }
    let source = (!brings_token).then(|| session.link.peer.ip().to_canonical());
    let asked = node
        .ask(state.config.node_ack, |cseq| {
            Grant::new(path.as_str(), generation, source, GRANT_TTL_S).to_envelope(cseq)
        })
        .await;
    match asked {
        Ok(error) if error.is_success() => Ok(()),
        Ok(error) => Err(StartError::Node(error.to_string())),
        Err(error @ (NodeError::Silent | NodeError::Gone | NodeError::Busy)) => {
            Err(StartError::Node(error.to_string()))
        }
    }
}

async fn push(
    state: &State,
    session: &Session,
    stream: &StreamRef,
    path: &StreamPath,
    reach: &Reach,
    generation: u64,
) -> Result<u32, StartError> {
    let ip = literal(reach).await?;
    let mut request = PushRequest::new(
        stream.serial.as_str(),
        stream.channel,
        ip.to_string(),
        reach.rtsp,
    );
    request.route = session.route(
        // Of the CMS itself: many clients may wait for this one answer.
        state.via.clone(),
        state.connection_id(session.link.id),
        &state.via,
    );
    let brings_token = session.info().ext.has(Extension::Token);
    if brings_token {
        let ttl = state.config.token_ttl;
        let (path, serial) = (path.clone(), stream.serial.as_str());
        let mut claims = state.claims(path, TokenAction::Publish, serial, ttl);
        claims.generation = Some(generation);
        request.stream_id = Some(state.signer.sign(&claims));
        request.generation = Some(generation);
        request.server_host = Some(reach.host.clone());
    }
    let (ack, cseq) = ask_to_push(state, session, &request).await?;
    let elsewhere = (ack.server_ip.parse() != Ok(ip) && !ack.server_ip.is_empty())
        || ack.server_port.is_some_and(|port| port != reach.rtsp);
    if brings_token || !elsewhere {
        return Ok(cseq);
    }
    // An old camera that pushes already keeps its first target and names it. It has to stop
    // before it can be moved.
    tracing::info!(%stream, target = %ack.server_ip, "the device pushes elsewhere; it is moved");
    let mut stop = StopRequest::new(stream.serial.as_str(), stream.channel);
    stop.route = request.route.clone();
    let stopped = session.ask(MessageType::StopStreamAck, STOP_ACK, |cseq| {
        stop.to_envelope(cseq)
    });
    if let Err(error) = stopped.await {
        tracing::debug!(%stream, %error, "the stop was not answered");
    }
    Ok(ask_to_push(state, session, &request).await?.1)
}

/// Sends a push request; the device's agreement and the request's CSeq.
async fn ask_to_push(
    state: &State,
    session: &Session,
    request: &PushRequest,
) -> Result<(PushAck, u32), StartError> {
    let mut sent = 0;
    let answer = session
        .ask(MessageType::PushStreamAck, state.config.push_ack, |cseq| {
            sent = cseq;
            request.to_envelope(cseq)
        })
        .await;
    let refused = |error| StartError::DeviceRefused(error);
    match answer.map(|answer| PushAck::from_envelope(&answer)) {
        Ok(Ok(ack)) if ack.error.is_success() => Ok((ack, sent)),
        Ok(Ok(ack)) => Err(refused(ack.error)),
        Ok(Err(_)) => Err(refused(ErrorNum::DEVICE_FAILURE)),
        Err(AckError::Silent) => Err(StartError::DeviceSilent),
        Err(AckError::Gone) => Err(StartError::DeviceGone),
        Err(AckError::Busy) => Err(StartError::Internal(AckError::Busy.to_string())),
    }
}

/// Devices build the address into a URL of their own: it has to be an IP literal.
async fn literal(reach: &Reach) -> Result<IpAddr, StartError> {
    if let Ok(ip) = reach.host.parse() {
        return Ok(ip);
    }
    let found = tokio::net::lookup_host((reach.host.as_str(), reach.rtsp)).await;
    let mut addresses: Vec<IpAddr> = found
        .map_err(|e| StartError::Node(format!("its host {} is not known: {e}", reach.host)))?
        .map(|address| address.ip())
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| StartError::Node(format!("its host {} has no address", reach.host)))
}

/// Waits until the node has told of a key frame.
async fn first_picture(
    state: &State,
    path: &StreamPath,
    generation: u64,
    operation: &Operation,
    cseq: Option<u32>,
) -> Result<Ready, StartError> {
    let patience = state.config.first_picture;
    let began = state.now();
    let deadline = tokio::time::sleep(patience);
    tokio::pin!(deadline);
    let mut published = false;
    loop {
        if let Some(location) = located(state, path).await? {
            if !published {
                published = true;
                let rest = patience.saturating_sub(state.now().since(began));
                operation.reached(state, Stage::Publishing, Some(rest));
            }
            if location.ready {
                return Ok(Ready {
                    node: location.node,
                    cseq,
                });
            }
        }
        let ended = operation.ended.lock().take();
        if let Some((ended, reason)) = ended
            && ended >= generation
        {
            return Err(StartError::Ended(reason));
        }
        tokio::select! {
            () = operation.changed.notified() => {}
            () = &mut deadline => {
                return Err(if published {
                    StartError::NoKeyFrame
                } else {
                    StartError::NotPublished
                });
            }
        }
    }
}
