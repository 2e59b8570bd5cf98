//! The interface of version 2: plain JSON below `/api/v2/`.

use std::sync::Arc;

use easydarwin_core::registry::StoreError;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::reply::{self, Reply};
use super::{commands, events, health, people, presence, streams, tickets, webhooks};
use crate::access::{Access, ClientHeaders};
use crate::api::{self, Caller};
use crate::state::State;

/// `path`: what stands behind `/api/v2/`.
pub(super) async fn route(
    state: &Arc<State>,
    caller: &Caller,
    headers: &ClientHeaders,
    path: &str,
    request: Request<Incoming>,
) -> Reply {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match (request.method(), segments.as_slice()) {
        (&Method::POST, ["login"]) => people::login(state, caller, request).await,
        (&Method::POST, ["logout"]) => people::logout(state, headers),
        (&Method::POST, ["first-run"]) => people::first_run(state, caller, request).await,
        (&Method::POST, ["password"]) => people::password(state, caller, headers, request).await,
        (&Method::GET, ["me"]) => {
            without_right(caller, Access::Read).unwrap_or_else(|| people::me(caller))
        }
        (&Method::GET, ["devices"]) => devices(state, caller, request.uri().query()).await,
        (&Method::GET, ["devices", serial, "presence"]) => {
            presence::of(state, caller, serial).await
        }
        (&Method::POST, ["devices", serial, "reboot"]) => {
            commands::reboot(state, caller, serial).await
        }
        (&Method::PUT, ["devices", serial, "config"]) => {
            commands::configure(state, caller, serial, request).await
        }
        (&Method::POST, ["devices", serial, "snapshot"]) => {
            commands::snapshot(state, caller, serial, request.uri().query()).await
        }
        (&Method::GET, ["events"]) => events::events(state, caller, headers, &request).await,
        (&Method::POST, ["tickets"]) => tickets::issue(state, caller, headers),
        (&Method::GET, ["webhooks"]) => webhooks::list(state, caller).await,
        (&Method::POST, ["webhooks"]) => webhooks::add(state, caller, request).await,
        (&Method::GET, ["webhooks", id, "dead-letters"]) => {
            webhooks::dead_letters(state, caller, id).await
        }
        (&Method::DELETE, ["webhooks", id]) => webhooks::remove(state, caller, id).await,
        (&Method::GET, ["nodes"]) => health::nodes(state, caller).await,
        (_, ["streams" | "operations", ..]) => {
            let (parts, _) = request.into_parts();
            let found = streams::route(state, caller, &segments, &parts).await;
            found.unwrap_or_else(no_resource)
        }
        _ => no_resource(),
    }
}

fn no_resource() -> Reply {
    reply::error(StatusCode::NOT_FOUND, "there is no such resource")
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

/// What the page shows. `?text=&tag=&group=&kind=&sort=name|created&desc=1&limit=&cursor=`.
async fn devices(state: &Arc<State>, caller: &Caller, query: Option<&str>) -> Reply {
    if let Some(refused) = without_right(caller, Access::Read) {
        return refused;
    }
    match api::overview(state, caller, query.unwrap_or_default()).await {
        Ok(value) => reply::json(StatusCode::OK, &value),
        Err(error @ (StoreError::Cursor | StoreError::InUse(_))) => {
            reply::error(StatusCode::BAD_REQUEST, error)
        }
        Err(error) => {
            tracing::error!(%error, "the list of devices failed");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "the device store failed")
        }
    }
}
