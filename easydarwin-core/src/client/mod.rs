//! RTSP client: [`Publisher`] pushes a stream to a server, [`Player`] pulls one from a server or
//! an IP camera.
//!
//! Whoever drives a [`ClientSession`](crate::rtsp::ClientSession) himself finds the ways that its bytes
//! travel in [`Link`] and [`UdpPair`]. Whoever has a TLS library already gives it as [`ForeignTls`].
//!
//! Neither spawns a task: work happens while one of their futures is awaited, and all of those
//! may be dropped at any point without losing a byte. Between access units await
//! [`Publisher::drive`], so that keep-alives go out and the end of the connection is seen:
//!
//! ```no_run
//! # use easydarwin_core::{client::{ClientError, ClientOptions, Publisher}, media::{AccessUnit, SessionDescription}};
//! # async fn push(description: SessionDescription, mut units: tokio::sync::mpsc::Receiver<AccessUnit>) -> Result<(), ClientError> {
//! let mut publisher =
//!     Publisher::connect("rtsp://127.0.0.1:10554/cam/1", description, ClientOptions::default()).await?;
//! loop {
//!     tokio::select! {
//!         unit = units.recv() => match unit {
//!             Some(unit) => publisher.send(&unit).await?,
//!             None => return publisher.close().await,
//!         },
//!         ended = publisher.drive() => return ended,
//!     }
//! }
//! # }
//! ```

mod connection;
mod error;
#[cfg(feature = "server")]
mod handover;
mod handshake;
mod interface;
mod link;
mod options;
mod played;
mod player;
mod publisher;
mod random;
mod stack;
mod stack_stream;
#[cfg(test)]
mod tests;
#[cfg(feature = "tunnel")]
mod tunnel;
mod udp;
mod wire;

#[cfg(feature = "server")]
pub(crate) use handover::Handover;
#[cfg(feature = "server")]
pub(crate) use udp::MAX_DATAGRAM;

pub use crate::rtsp::Login;
pub use error::ClientError;
pub use link::Link;
pub use options::{ClientOptions, ClientTransport};
pub use player::{PlayedPacket, Player};
pub use publisher::Publisher;
pub use stack::{ForeignTls, TlsPause, TlsSession, TlsStack};
pub use udp::UdpPair;
