use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::access::{bearer, text};
use super::error::HttpError;
use super::state::Shared;
use crate::registry::StreamPath;

/// Lets only holders of a configured token pass. Addresses give no right here, loopback neither.
pub(crate) async fn require_token(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let given = text(request.headers(), header::AUTHORIZATION)
        .and_then(bearer)
        .ok_or(HttpError::ApiUnauthorized)?
        .as_bytes();
    let known = shared.config.api_tokens.iter().fold(false, |known, token| {
        known | bool::from(token.as_bytes().ct_eq(given))
    });
    if !known {
        return Err(HttpError::ApiUnauthorized);
    }
    Ok(next.run(request).await)
}

/// `GET /healthz`
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /api/v1/streams`
pub(crate) async fn streams(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut streams: Vec<_> = shared.hub.streams().iter().map(|s| s.info()).collect();
    streams.sort_by(|a, b| a.path.cmp(&b.path));
    let mut answer = json!({ "hub": shared.hub.info(), "streams": streams });
    // A router inside somebody else's server has no logins of its own to tell about.
    if let (Some(backoff), Some(fields)) = (&shared.backoff, answer.as_object_mut()) {
        fields.insert("failed_logins".to_owned(), json!(backoff.stats()));
    }
    Json(answer)
}

/// `GET /api/v1/streams/{path}`
pub(crate) async fn stream(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
) -> Result<Response, HttpError> {
    let path = StreamPath::parse(&path)?;
    let stream = shared.hub.get(&path).ok_or(HttpError::NoStream)?;
    Ok(Json(stream.info()).into_response())
}

/// Query of `DELETE /api/v1/streams/{path}`.
#[derive(Debug, Deserialize)]
pub(crate) struct CloseQuery {
    /// Only this publisher or an older one.
    generation: Option<u64>,
    /// Only if nobody views it.
    #[serde(default)]
    if_idle: bool,
}

/// `DELETE /api/v1/streams/{path}`: ends the stream with all its readers.
pub(crate) async fn close(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    Query(query): Query<CloseQuery>,
) -> Result<Response, HttpError> {
    let path = StreamPath::parse(&path)?;
    shared.hub.close(&path, query.generation, query.if_idle)?;
    Ok(Json(json!({ "closed": path.as_str() })).into_response())
}

/// `GET /api/v1/getrtsplivesessions`, as EasyDarwin's clients know it: version `1.0`, no
/// `ErrorNum`, integers in the list.
pub(crate) async fn rtsp_live_sessions(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Json<Value> {
    let host = text(request.headers(), header::HOST)
        .map(super::access::host_of)
        .unwrap_or("127.0.0.1");
    let authority = match shared.config.rtsp_port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut streams = shared.hub.streams();
    streams.sort_by(|a, b| a.path().cmp(b.path()));
    let sessions: Vec<_> = streams
        .iter()
        .enumerate()
        .map(|(index, stream)| {
            let path = stream.path();
            let (name, channel) = path.as_device().unwrap_or((path.as_str(), 1));
            json!({
                "index": index,
                "url": format!("rtsp://{authority}/{path}"),
                "name": name,
                "Channel": channel,
                "NumOutputs": stream.viewers(),
            })
        })
        .collect();
    Json(json!({ "EasyDarwin": {
        "Header": {
            "Version": "1.0",
            "CSeq": "1",
            "MessageType": "MSG_SC_RTSP_LIVE_SESSIONS_ACK",
        },
        "Body": { "SessionCount": sessions.len().to_string(), "Sessions": sessions },
    }}))
}

/// `GET /api/v1/getserverinfo`, as EasyDarwin's clients know it.
pub(crate) async fn server_info(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let seconds = shared.started.elapsed().as_secs();
    let running = format!(
        "{} Days {} Hours {} Mins {} Secs",
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    Json(json!({ "EasyDarwin": {
        "Header": {
            "Version": "v1",
            "CSeq": "1",
            "MessageType": "MSG_SC_SERVER_INFO_ACK",
            "ErrorNum": "200",
            "ErrorString": "Success OK",
        },
        "Body": {
            "Server": shared.config.server_name,
            "RunningTime": running,
            "Hardware": std::env::consts::ARCH,
            "InterfaceVersion": "v1",
        },
    }}))
}

/// Everything else under the API.
pub(crate) async fn no_route() -> HttpError {
    HttpError::NoRoute
}
