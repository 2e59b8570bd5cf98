//! Whether it is well, for those who run it: readiness, counts, media nodes.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::v2::without_right;
use crate::access::Access;
use crate::api::Caller;
use crate::metrics::{self, SKEW};
use crate::state::State;

/// `GET /readyz`: open to everybody, like `/healthz`; it tells no names. 200 when the CMS can do
/// its work; before its start is complete it takes no connection.
pub(super) async fn ready(state: &State) -> Reply {
    let mut reasons = Vec::new();
    if state.shutdown.is_cancelled() {
        reasons.push("it is shutting down");
    }
    if let Err(error) = state.devices.count().await {
        tracing::error!(%error, "not ready: the store does not answer");
        reasons.push("the store does not answer");
    }
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    reply::json(
        status,
        &json!({ "ready": reasons.is_empty(), "reasons": reasons }),
    )
}

/// `GET /metrics`: for those who may read everything.
pub(super) async fn metrics(state: &State, caller: &Caller) -> Reply {
    if let Some(refused) = not_for_all(caller) {
        return refused;
    }
    match state.metrics.render(state).await {
        Ok(text) => reply::text(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(error) => {
            tracing::error!(%error, "what is counted could not be looked at");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "the stores do not answer")
        }
    }
}

/// `GET /api/v2/nodes`.
pub(super) async fn nodes(state: &Arc<State>, caller: &Caller) -> Reply {
    if let Some(refused) = not_for_all(caller) {
        return refused;
    }
    let nodes = match state.directory.nodes().await {
        Ok(nodes) => nodes,
        Err(error) => {
            tracing::error!(%error, "the media nodes could not be looked up");
            return reply::error(StatusCode::SERVICE_UNAVAILABLE, "the node directory failed");
        }
    };
    let nodes: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let endpoints: Vec<Value> = node
                .info
                .endpoints
                .iter()
                .map(|e| {
                    json!({
                        "name": e.name, "networks": e.cidrs, "host": e.host,
                        "rtsp": e.rtsp, "rtsps": e.rtsps, "http": e.http,
                    })
                })
                .collect();
            let off = node
                .skew_ms
                .is_some_and(|skew| u128::from(skew.unsigned_abs()) > SKEW.as_millis());
            json!({
                "id": node.info.id,
                "endpoints": endpoints,
                "capacity": node.info.capacity,
                "load_permille": node.load.permille,
                "streams": node.load.streams,
                "viewers": node.load.viewers,
                "skew_ms": node.skew_ms,
                "clock_is_off": off,
                "since": node.since.0,
                "last_beat": node.last_beat.0,
            })
        })
        .collect();
    reply::json(StatusCode::OK, &json!({ "nodes": nodes }))
}

/// What is about the whole CMS is for those who may read all of it.
fn not_for_all(caller: &Caller) -> Option<Reply> {
    if caller.identity.everywhere() >= Access::Read {
        return None;
    }
    Some(
        without_right(caller, Access::Read).unwrap_or_else(|| {
            reply::error(StatusCode::FORBIDDEN, "this needs a right to all groups")
        }),
    )
}
