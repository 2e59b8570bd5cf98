//! The interface of version 2: plain JSON below `/api/v2/`.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::reply::{self, Reply};
use crate::access::Access;
use crate::api::{self, Caller};
use crate::state::State;

/// `path`: what stands behind `/api/v2/`.
pub(super) async fn route(
    state: &Arc<State>,
    caller: &Caller,
    path: &str,
    request: Request<Incoming>,
) -> Reply {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["devices"]) => devices(state, caller).await,
        _ => reply::error(StatusCode::NOT_FOUND, "there is no such resource"),
    }
}

/// The refusal, if the caller has not the right that is needed.
pub(super) fn without_right(caller: &Caller, needed: Access) -> Option<Reply> {
    if caller.access >= needed {
        return None;
    }
    Some(match caller.access {
        Access::None => reply::error(
            StatusCode::UNAUTHORIZED,
            "an API key is needed (Authorization: Bearer KEY)",
        ),
        _ => reply::error(StatusCode::FORBIDDEN, "this key may not do that"),
    })
}

/// Everything that the page shows.
async fn devices(state: &Arc<State>, caller: &Caller) -> Reply {
    if let Some(refused) = without_right(caller, Access::Read) {
        return refused;
    }
    match api::overview(state).await {
        Ok(value) => reply::json(StatusCode::OK, &value),
        Err(error) => {
            tracing::error!(%error, "the list of devices failed");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "the device store failed")
        }
    }
}
