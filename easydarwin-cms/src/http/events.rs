//! The event log over HTTP: as server-sent events that go on, or as pages of JSON.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::check_serial;
use easydarwin_core::registry::{
    EventCursor, EventFilter, EventKind, EventLogError, LoggedEvent, StoreError,
};
use futures_util::{Stream, StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::{self, Reply};
use super::sse::{self, SseEvent};
use super::v2::without_right;
use crate::access::{Access, ClientHeaders, is_foreign};
use crate::api::{Caller, Query};
use crate::events::{Reader, as_json};
use crate::state::State;

/// Listeners at the same time.
const MAX_LISTENERS: usize = 1024;

/// Events read at once. Rights are checked anew for each such batch.
const BATCH: usize = 256;

/// How often rights are checked anew while there is nothing to tell. A login that runs out is no
/// event of which anybody could be woken.
const CHECK: Duration = Duration::from_secs(2);

/// Most events on a page of JSON.
const MAX_PAGE: usize = 1000;

/// Kinds that one filter may name.
const MAX_KINDS: usize = 32;

/// Room for listeners.
#[derive(Debug)]
pub(crate) struct Listeners(Arc<Semaphore>);

impl Default for Listeners {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LISTENERS)))
    }
}

/// `GET /api/v2/events`. From a cursor (`Last-Event-ID`, `?after=`), `?after=oldest`, or from
/// now on; `?kind=device.,stream.failed` and `?serial=` choose. With `Accept: application/json`
/// one page (`?limit=`), else everything as it happens.
pub(super) async fn events(
    state: &Arc<State>,
    caller: &Caller,
    headers: &ClientHeaders,
    request: &Request<Incoming>,
) -> Reply {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let mut listener = match query.get("ticket") {
        Some(ticket) => match by_ticket(state, ticket, headers) {
            Ok(listener) => listener,
            Err(refused) => return *refused,
        },
        None => Listener {
            caller: caller.clone(),
            headers: headers.clone(),
        },
    };
    if let Some(refused) = listener.check(state) {
        return refused;
    }
    let headers = request.headers();
    let filter = match filter(&query) {
        Ok(filter) => filter,
        Err(what) => return reply::error(StatusCode::BAD_REQUEST, what),
    };
    let as_page = text(headers, header::ACCEPT.as_str())
        .is_some_and(|accept| accept.contains("application/json"));
    let after = match start(state, &query, headers, as_page).await {
        Ok(after) => after,
        Err(refused) => return *refused,
    };
    if as_page {
        let limit = query.get("limit").map_or(Ok(100), str::parse);
        return match limit {
            Ok(limit) => page(state, listener, after, &filter, limit).await,
            Err(_) => reply::error(StatusCode::BAD_REQUEST, "limit is no number"),
        };
    }
    // A cursor of which something is gone is refused before anything else is said.
    if let Err(error) = state.events.log().read(after, &filter, 0).await {
        return failed(&error);
    }
    let Ok(room) = state.listeners.0.clone().try_acquire_owned() else {
        return reply::error(StatusCode::SERVICE_UNAVAILABLE, "too many listeners");
    };
    sse::reply(listen(Listening {
        state: state.clone(),
        listener,
        reader: state.events.reader(after, filter),
        _room: room,
    }))
}

/// A ticket is bound to no address and no page; so a foreign page must not be able to use one.
fn by_ticket(state: &State, ticket: &str, headers: &ClientHeaders) -> Result<Listener, Box<Reply>> {
    if is_foreign(&state.config, headers) {
        let refusal = "pages of other hosts may not listen (allowed-origins)";
        return Err(Box::new(reply::error(StatusCode::FORBIDDEN, refusal)));
    }
    let issued = state.tickets.take(ticket, state.now());
    issued.ok_or_else(|| {
        let refusal = "the ticket was used, is too old or was never issued; ask for a new one";
        Box::new(reply::error(StatusCode::UNAUTHORIZED, refusal))
    })
}

/// Somebody who listens, and how he showed who he is.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) caller: Caller,
    pub(super) headers: ClientHeaders,
}

impl Listener {
    /// Asks anew who this is: his rights may be others now, or his login over.
    fn check(&mut self, state: &State) -> Option<Reply> {
        let peer = self.caller.peer.ip();
        let (identity, _) = state.checks().who(peer, &self.headers, true);
        self.caller.access = identity.highest();
        self.caller.identity = identity;
        without_right(&self.caller, Access::Read)
    }

    /// What he may see of these: of devices, those that he sees; of everything else, nothing
    /// unless he sees all.
    async fn sees(
        &self,
        state: &State,
        events: Vec<LoggedEvent>,
    ) -> Result<Vec<LoggedEvent>, StoreError> {
        if self.caller.identity.everywhere() >= Access::Read {
            return Ok(events);
        }
        let mut seen = Vec::new();
        for logged in events {
            if let Some(serial) = logged.event.serial.clone()
                && self.caller.may(state, &serial).await? >= Access::Read
            {
                seen.push(logged);
            }
        }
        Ok(seen)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn filter(query: &Query) -> Result<EventFilter, &'static str> {
    let mut filter = EventFilter::all();
    for kind in query.get("kind").unwrap_or_default().split(',') {
        let kind = kind.trim();
        if kind.is_empty() {
            continue;
        }
        if EventKind::parse(kind.strip_suffix('.').unwrap_or(kind)).is_none() {
            return Err("kind: write dotted words, or their beginning with a dot (device.)");
        }
        if filter.kinds.len() >= MAX_KINDS {
            return Err("too many kinds");
        }
        filter.kinds.push(kind.to_owned());
    }
    if let Some(serial) = query.get("serial") {
        check_serial(serial).map_err(|_| "serial: this is none")?;
        filter.serial = Some(serial.to_owned());
    }
    Ok(filter)
}

/// Where the caller goes on. A browser that comes again says so in a header, with the URL of
/// the first time.
async fn start(
    state: &State,
    query: &Query,
    headers: &HeaderMap,
    as_page: bool,
) -> Result<EventCursor, Box<Reply>> {
    let asked = text(headers, "last-event-id")
        .filter(|id| !id.is_empty())
        .or(query.get("after"));
    match asked {
        Some("oldest") => {}
        None if as_page => {}
        None | Some("newest") => {
            let bounds = state.events.log().bounds().await;
            return bounds.map(|b| b.newest).map_err(|e| failed(&e).into());
        }
        Some(cursor) => {
            let wrong = |error| Box::new(reply::error(StatusCode::BAD_REQUEST, error));
            return cursor.parse().map_err(wrong);
        }
    }
    let bounds = state.events.log().bounds().await;
    bounds.map(|b| b.oldest).map_err(|e| failed(&e).into())
}

fn failed(error: &EventLogError) -> Reply {
    match error {
        EventLogError::Gone { oldest } => reply::json(
            StatusCode::GONE,
            &json!({ "error": error.to_string(), "oldest": oldest.to_string() }),
        ),
        _ => {
            tracing::error!(%error, "the event log could not be read");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "the event log failed")
        }
    }
}

async fn page(
    state: &State,
    listener: Listener,
    after: EventCursor,
    filter: &EventFilter,
    limit: usize,
) -> Reply {
    let log = state.events.log();
    let page = match log.read(after, filter, limit.clamp(1, MAX_PAGE)).await {
        Ok(page) => page,
        Err(error) => return failed(&error),
    };
    match listener.sees(state, page.events).await {
        Ok(seen) => reply::json(
            StatusCode::OK,
            &json!({
                "events": seen.iter().map(as_json).collect::<Vec<_>>(),
                "next": page.next.to_string(),
                "more": page.more,
            }),
        ),
        Err(error) => {
            tracing::error!(%error, "devices could not be looked up");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "the device store failed")
        }
    }
}

struct Listening {
    state: Arc<State>,
    listener: Listener,
    reader: Reader,
    _room: OwnedSemaphorePermit,
}

impl Listening {
    /// The next events to be sent; why there are none any longer.
    async fn next(&mut self) -> Result<Vec<SseEvent>, Option<SseEvent>> {
        let last = |event, data| {
            let id = None;
            Some(SseEvent { id, event, data })
        };
        let refused = || last("refused", Value::Null);
        let read = {
            let next = self.reader.next(BATCH);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    read = next.as_mut() => break read,
                    () = self.state.shutdown.cancelled() => return Err(None),
                    () = tokio::time::sleep(CHECK) => {
                        if self.listener.check(&self.state).is_some() {
                            return Err(refused());
                        }
                    }
                }
            }
        };
        let page = read.map_err(|error| match error {
            EventLogError::Gone { oldest } => last("gone", json!({ "oldest": oldest.to_string() })),
            error => {
                tracing::error!(%error, "the event log could not be read");
                last("failed", Value::Null)
            }
        })?;
        if self.listener.check(&self.state).is_some() {
            return Err(refused());
        }
        let seen = self.listener.sees(&self.state, page.events).await;
        let seen = seen.map_err(|error| {
            tracing::error!(%error, "devices could not be looked up");
            last("failed", Value::Null)
        })?;
        Ok(seen
            .iter()
            .map(|logged| SseEvent {
                id: Some(logged.id.to_string()),
                event: "event",
                data: as_json(logged),
            })
            .collect())
    }
}

fn listen(listening: Listening) -> impl Stream<Item = SseEvent> + Send + 'static {
    // So that a client has a place to come again to, also when nothing happens for long.
    let open = SseEvent {
        id: Some(listening.reader.after().to_string()),
        event: "open",
        data: json!({ "time": listening.state.now().0 }),
    };
    let batches = stream::unfold(Some(listening), |listening| async move {
        let mut listening = listening?;
        match listening.next().await {
            Ok(batch) => Some((batch, Some(listening))),
            Err(last) => Some((Vec::from_iter(last), None)),
        }
    });
    stream::iter([open]).chain(batches.flat_map(stream::iter))
}
