use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::access::Caller;
use super::error::HttpError;
use super::hls::{HlsStream, SessionKey};
use super::state::Shared;
use super::target::{Output, Target};
use super::{page, progressive, ws};
use crate::relay::Asked;

/// All outputs of all streams.
pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let mut target = Target::parse(parts.uri.path())?;
    let in_query = target.token.is_none();
    let caller = Caller::new(&parts, target.token.take(), &shared.config.allowed_origins);
    if let (Output::Playlist, true, Some(token)) =
        (target.output, in_query, &caller.credentials.url_token)
        && let Some(redirect) = page::token_into_path(&target.path, &parts.uri, token)
    {
        return Ok(redirect);
    }
    match target.output {
        Output::Page => return Ok(page::player_page()),
        Output::PageWithoutSlash => return Ok(page::add_slash(&parts.uri)),
        Output::Playlist => return playlist(&shared, &caller, &target).await,
        Output::Init(number) => {
            let hls = resume(&shared, &caller, &target)?;
            return hls.init(number).map(segment).ok_or(HttpError::NoSegment);
        }
        Output::Segment(number) => {
            let hls = resume(&shared, &caller, &target)?;
            return hls.segment(number).map(segment).ok_or(HttpError::NoSegment);
        }
        Output::WebSocket | Output::Progressive | Output::Poster => {}
    }

    // Before anything is started for it.
    let asked = Asked::in_query(parts.uri.query())?;
    let (principal, permit) = caller.may_play(&shared, &target.path).await?;
    // A browser does not show a page why its WebSocket was refused; the player asks again without
    // upgrade to learn the reason, and that must not start anything.
    let socket = match target.output {
        Output::WebSocket => Some(socket.map_err(|_| shared.plain_request(&target.path))?),
        _ => None,
    };
    let stream = shared.stream(&target.path, &principal).await?;
    match (target.output, socket) {
        (_, Some(socket)) => ws::upgrade(&shared, socket, &stream, caller.peer, asked, permit),
        (Output::Poster, _) => {
            progressive::last_picture(&stream, shared.config.start_timeout).await
        }
        _ => progressive::live(&shared, &stream, caller.peer, asked, permit),
    }
}

async fn playlist(
    shared: &Shared,
    caller: &Caller,
    target: &Target,
) -> Result<Response, HttpError> {
    let key = session_key(caller);
    let hls = match shared.hls.resume(&target.path, &key) {
        Some(hls) => hls,
        None => {
            let (principal, permit) = caller.may_play(shared, &target.path).await?;
            let stream = shared.stream(&target.path, &principal).await?;
            shared.hls.join(&stream, key, permit, &shared.config)?
        }
    };
    let text = hls.playlist(shared.config.hls_start_timeout).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.apple.mpegurl"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, text).into_response())
}

/// Segments are for sessions only: their playlist request was authorized.
fn resume(shared: &Shared, caller: &Caller, target: &Target) -> Result<Arc<HlsStream>, HttpError> {
    shared
        .hls
        .resume(&target.path, &session_key(caller))
        .ok_or(HttpError::NoSegment)
}

fn session_key(caller: &Caller) -> SessionKey {
    SessionKey::new(
        caller.peer.ip(),
        &caller.credentials,
        caller.agent.as_deref(),
    )
}

fn segment(bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "video/mp4"),
        // The right to a segment is the session's: nobody else's cache may answer for it.
        (header::CACHE_CONTROL, "private, max-age=60"),
    ];
    (StatusCode::OK, headers, bytes).into_response()
}
