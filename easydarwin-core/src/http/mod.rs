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
//! | `/api/v1/…` | streams and readers; needs a bearer token |
//! | `/healthz` | 200 while the process serves |

mod config;
mod state;

pub use config::HttpConfig;
pub use state::HttpState;

/// The routes of the node, to be served by [`serve`] or mounted in another application.
///
/// A router that is mounted elsewhere learns its clients' addresses from axum's `ConnectInfo`
/// (`into_make_service_with_connect_info::<SocketAddr>()`); without it every client is treated as
/// an unknown, remote address.
pub fn router(state: HttpState) -> axum::Router {
    axum::Router::new().with_state(std::sync::Arc::new(state))
}
