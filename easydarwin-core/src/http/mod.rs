//! Streams over HTTP: HLS, fMP4 over WebSocket and over plain HTTP, posters, the player page,
//! and the node's API.
//!
//! [`router`] can be mounted in the embedder's own axum application; it follows the version of
//! axum that this crate depends on, and no other public item names an axum type.
//!
//! Every media path exists twice: `/<serial>/<channel>/…` and, with the right in the path so
//! that relative URIs inherit it, `/t/<token>/<serial>/<channel>/…`:
//!
//! | path | what |
//! |---|---|
//! | `…/` | small player page |
//! | `…/index.m3u8` | HLS media playlist with fMP4 segments |
//! | `…/live.ws` | fMP4 over WebSocket |
//! | `…/live.mp4` | endless fMP4 |
//! | `…/poster.mp4` | the last key frame as a one-picture MP4 |
//! | `/player.js` | the player as an ES module |
//! | `/api/v1/…` | streams, readers, sources and forwards; needs a bearer token |
//! | `/healthz` | 200 while the process serves |

//!
//! # Pages of other origins
//!
//! A page may use a URL with a token wherever it came from: the token is the right. Without a
//! token the right can only come from the client's address (or be everybody's), which any page
//! that the client visits could borrow; so then only pages of the node's own host name (the port
//! does not matter: the CMS's page is one), and of
//! [`allowed_origins`](HttpConfig::allowed_origins), are served.

mod access;
mod api;
mod config;
mod error;
mod feed;
mod fmp4;
mod forwards;
mod hls;
mod media;
mod page;
mod progressive;
mod serve;
mod sources;
mod state;
mod target;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method, header};
use axum::routing::{any, delete, get};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

pub use config::HttpConfig;
pub use serve::serve;
pub use state::HttpState;

/// Bodies are small: a source.
const MAX_BODY: usize = 4 << 10;

/// The routes of the node, to be served by [`serve`] or mounted in another application.
///
/// A router that is mounted elsewhere learns its clients' addresses from axum's `ConnectInfo`
/// (`into_make_service_with_connect_info::<SocketAddr>()`); without it every client has the
/// address 0.0.0.0, which no rule should trust. Its last route takes every path that no other
/// route has; the player page expects `/player.js` at the root.
pub fn router(state: HttpState) -> Router {
    let allowed: Vec<_> = state
        .config()
        .allowed_origins
        .iter()
        .filter_map(|origin| origin.parse().ok())
        .collect();
    let shared = Arc::new(state::Shared::from(state));

    let api = Router::new()
        .route("/streams", get(api::streams))
        .route("/streams/{*path}", get(api::stream).delete(api::close))
        .route(
            "/sources",
            get(sources::list).post(sources::add).put(sources::update),
        )
        .route(
            "/sources/{*path}",
            get(sources::get).delete(sources::remove),
        )
        .route(
            "/forwards",
            get(forwards::list)
                .post(forwards::add)
                .put(forwards::update),
        )
        .route("/forwards/{*path}", delete(forwards::remove))
        .route("/getrtsplivesessions", get(api::rtsp_live_sessions))
        .route("/getserverinfo", get(api::server_info))
        .route("/{*path}", any(api::no_route))
        .layer(axum::middleware::from_fn_with_state(
            shared.clone(),
            api::require_token,
        ))
        .layer(
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(allowed))
                .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
                .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]),
        );
    // Reading across origins is safe here: what a page may not have is refused, see above.
    let open = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::RANGE, header::AUTHORIZATION])
        .expose_headers([HeaderName::from_static("retry-after")]);
    let media = Router::new()
        .route("/player.js", get(page::player_script))
        .route("/{*path}", get(media::serve))
        .layer(open);
    Router::new()
        .route("/healthz", get(api::healthz))
        .nest("/api/v1", api)
        .merge(media)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared)
}
