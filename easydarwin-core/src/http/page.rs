use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::registry::StreamPath;

const PLAYER: &str = include_str!("assets/player.js");
const PAGE: &str = include_str!("assets/page.html");
/// The page loads nothing from elsewhere; `blob:` is how a MediaSource is attached. Style and the
/// few lines of script are inside the page.
const POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; \
    style-src 'unsafe-inline'; img-src data:; media-src 'self' blob:; connect-src 'self' ws: wss:; \
    base-uri 'none'; form-action 'none'";

/// The player as an ES module, for pages of any origin.
pub(crate) async fn player_script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PLAYER).into_response()
}

/// The page of one stream. It is the same for all; rights are checked when it plays.
pub(crate) fn player_page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // The path may hold a token.
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    (headers, PAGE).into_response()
}

/// Relative URIs need the final slash. Relative itself, so that it is right wherever the router
/// is mounted.
pub(crate) fn add_slash(uri: &Uri) -> Response {
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let location = format!("./{last}/{query}");
    (
        StatusCode::PERMANENT_REDIRECT,
        [(header::LOCATION, location)],
    )
        .into_response()
}

/// From `…/index.m3u8?token=T` to `/t/T/…/index.m3u8`: the segments' relative URIs would lose the
/// query. `None` when the token could not stand in a path.
pub(crate) fn token_into_path(path: &StreamPath, uri: &Uri, token: &str) -> Option<Response> {
    let clean = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if !token.bytes().all(clean) {
        return None;
    }
    let up = "../".repeat(uri.path().matches('/').count().saturating_sub(1));
    let location = format!("{up}t/{token}/{path}/index.m3u8");
    Some(
        (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, location)],
        )
            .into_response(),
    )
}
