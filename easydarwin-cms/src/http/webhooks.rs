//! Webhooks: made, looked at and removed by whoever may control everything, because they are told
//! everything.

use std::sync::Arc;

use easydarwin_core::protocol::check_serial;
use easydarwin_core::registry::{
    EventCursor, EventFilter, EventKind, EventLogError, StoreError, random_bytes,
};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::reply::{self, Reply};
use super::v2::without_right;
use crate::access::Access;
use crate::api::Caller;
use crate::state::State;
use crate::webhooks::{self, MAX_WEBHOOKS, Webhook, check_url, new_secret};

/// Kinds that one webhook may name.
const MAX_KINDS: usize = 32;

/// Most dead letters shown at once.
const MAX_LETTERS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    url: String,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    serial: Option<String>,
    /// A cursor, `oldest`, or from now on.
    #[serde(default)]
    after: Option<String>,
}

fn refused(caller: &Caller) -> Option<Reply> {
    without_right(caller, Access::Control).or_else(|| {
        (caller.identity.everywhere() < Access::Control).then(|| {
            let reason = "webhooks are told everything; rights over one group do not do";
            reply::error(StatusCode::FORBIDDEN, reason)
        })
    })
}

fn failed(error: &dyn std::fmt::Display) -> Reply {
    tracing::error!(%error, "webhooks could not be read or written");
    reply::error(StatusCode::SERVICE_UNAVAILABLE, "the store failed")
}

/// `POST /api/v2/webhooks`. The secret is shown here and never again.
pub(super) async fn add(state: &Arc<State>, caller: &Caller, request: Request<Incoming>) -> Reply {
    if let Some(refused) = refused(caller) {
        return refused;
    }
    let wanted: Wanted = match body::read_json(state, request).await {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    if let Err(what) = check(&wanted) {
        return reply::error(StatusCode::BAD_REQUEST, what);
    }
    match state.webhooks.store().webhooks().await {
        Ok(known) if known.len() >= MAX_WEBHOOKS => {
            let reason = format!("there are {MAX_WEBHOOKS} webhooks already; remove one");
            return reply::error(StatusCode::CONFLICT, reason);
        }
        Ok(_) => {}
        Err(error) => return failed(&error),
    }
    let bounds = match state.events.log().bounds().await {
        Ok(bounds) => bounds,
        Err(error) => return failed(&error),
    };
    let cursor = match wanted.after.as_deref() {
        None => bounds.newest,
        Some("oldest") => bounds.oldest,
        Some(cursor) => match cursor.parse::<EventCursor>() {
            Ok(cursor) => cursor,
            Err(error) => return reply::error(StatusCode::BAD_REQUEST, error),
        },
    };
    let everything = EventFilter::all();
    if let Err(EventLogError::Gone { oldest }) =
        state.events.log().read(cursor, &everything, 0).await
    {
        let reason =
            format!("events behind this cursor are gone; what is left begins behind {oldest}");
        return reply::error(StatusCode::GONE, reason);
    }
    let (id, secret): ([u8; 8], _) = match (random_bytes(), new_secret()) {
        (Ok(id), Ok(secret)) => (id, secret),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let webhook = Webhook {
        id: format!("wh{:016x}", u64::from_le_bytes(id)),
        url: wanted.url,
        secret,
        kinds: wanted.kinds,
        serial: wanted.serial,
        owner: caller.identity.who.to_string(),
        created: state.now(),
        cursor,
    };
    if let Err(error) = state.webhooks.store().add_webhook(webhook.clone()).await {
        return failed(&error);
    }
    tracing::info!(webhook = webhook.id, by = webhook.owner, "webhook made");
    let answer = json!({ "id": webhook.id, "secret": webhook.secret });
    webhooks::start(state, webhook);
    reply::json(StatusCode::CREATED, &answer)
}

fn check(wanted: &Wanted) -> Result<(), &'static str> {
    check_url(&wanted.url)?;
    let known = |kind: &String| {
        let words = kind.strip_suffix('.').unwrap_or(kind);
        EventKind::parse(words).is_some()
    };
    if wanted.kinds.len() > MAX_KINDS || !wanted.kinds.iter().all(known) {
        return Err("kinds: at most 32 dotted words, or their beginnings with a dot (device.)");
    }
    match &wanted.serial {
        Some(serial) => check_serial(serial)
            .map(|_| ())
            .map_err(|_| "serial: this is none"),
        None => Ok(()),
    }
}

/// `GET /api/v2/webhooks`
pub(super) async fn list(state: &State, caller: &Caller) -> Reply {
    if let Some(refused) = refused(caller) {
        return refused;
    }
    let known = match state.webhooks.store().webhooks().await {
        Ok(known) => known,
        Err(error) => return failed(&error),
    };
    let shown = |webhook: Webhook| -> Value {
        let fare = state.webhooks.fare(&webhook.id);
        json!({
            "id": webhook.id,
            "url": webhook.url,
            "kinds": webhook.kinds,
            "serial": webhook.serial,
            "owner": webhook.owner,
            "created": webhook.created.0,
            "cursor": webhook.cursor.to_string(),
            "delivered": fare.delivered.map(|at| at.0),
            "failing": fare.failing.map(|at| at.0),
            "error": fare.error,
        })
    };
    let known: Vec<Value> = known.into_iter().map(shown).collect();
    reply::json(StatusCode::OK, &json!({ "webhooks": known }))
}

/// `GET /api/v2/webhooks/{id}/dead-letters`, newest first.
pub(super) async fn dead_letters(state: &State, caller: &Caller, id: &str) -> Reply {
    if let Some(refused) = refused(caller) {
        return refused;
    }
    match state.webhooks.store().dead_letters(id, MAX_LETTERS).await {
        Ok(letters) => {
            let letters: Vec<Value> = letters
                .iter()
                .map(|l| json!({ "at": l.at.0, "reason": l.reason, "body": l.body }))
                .collect();
            reply::json(StatusCode::OK, &json!({ "deadLetters": letters }))
        }
        Err(error) => failed(&error),
    }
}

/// `DELETE /api/v2/webhooks/{id}`
pub(super) async fn remove(state: &State, caller: &Caller, id: &str) -> Reply {
    if let Some(refused) = refused(caller) {
        return refused;
    }
    match state.webhooks.store().remove_webhook(id).await {
        Ok(()) => {
            state.webhooks.stop(id);
            tracing::info!(webhook = id, by = &*caller.identity.who, "webhook removed");
            reply::json(StatusCode::OK, &json!({}))
        }
        Err(StoreError::NotFound(_)) => {
            reply::error(StatusCode::NOT_FOUND, "there is no such webhook")
        }
        Err(error) => failed(&error),
    }
}
