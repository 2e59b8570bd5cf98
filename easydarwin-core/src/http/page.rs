use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

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

/// Relative URIs need the final slash.
pub(crate) fn add_slash(uri: &Uri) -> Response {
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    // One leading slash only: two would name another host.
    let path = uri.path().trim_start_matches('/');
    let location = format!("/{path}/{query}");
    (
        StatusCode::PERMANENT_REDIRECT,
        [(header::LOCATION, location)],
    )
        .into_response()
}
