//! Users and passwords on real sockets: our clients, ffmpeg and GStreamer.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    reason = "a test may stop at the first surprise; options are set as an embedder sets them"
)]

mod clients;
mod peers;
#[allow(dead_code, reason = "the server's tests use all of it")]
#[path = "../server/support.rs"]
mod support;
mod throttle;

use std::sync::Arc;

use easydarwin_core::registry::{MemoryUsers, PathPattern, User, UserAuthorizer};
use easydarwin_core::rtsp::auth::{AuthConfig, UserSecret};
use easydarwin_core::server::{MediaServer, MediaServerBuilder};

/// A server where `anna`, with the password `p@ss:w`, may do everything under `hall`, and
/// `viewer`, with `look`, may play it.
fn with_users() -> MediaServerBuilder {
    let users = MemoryUsers::new();
    let secret = |user, password| UserSecret::from_password(user, AuthConfig::REALM, password);
    let hall: PathPattern = "hall/*".parse().unwrap();
    let anna = User::new(secret("anna", "p@ss:w"));
    users.insert("anna", anna.play(hall.clone()).publish(hall.clone()));
    users.insert("viewer", User::new(secret("viewer", "look")).play(hall));
    MediaServer::builder().authorizer(UserAuthorizer::new(Arc::new(users)))
}
