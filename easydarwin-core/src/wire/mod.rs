//! What carries RTSP beside plain TCP: TLS, the HTTP tunnel, WebSocket. Used by server and client.
//!
//! Coders ([`sniff`], [`http`], [`base64`], [`websocket`]) know only bytes; [`Channel`] is the one
//! thing here with a socket.

mod channel;

#[cfg(feature = "server")]
pub(crate) mod base64;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "server")]
pub(crate) mod http;
#[cfg(feature = "server")]
pub(crate) mod sniff;
#[cfg(feature = "server")]
pub(crate) mod websocket;

pub(crate) use channel::{Channel, Stream};
