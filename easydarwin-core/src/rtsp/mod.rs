//! RTSP 1.0 (RFC 2326) without sockets and clocks: bytes and time in, events and bytes out.
//!
//! - [`Parser`] cuts a byte stream into requests, responses and interleaved frames; it is lenient
//!   about what cameras and players really send and bounded in everything.
//! - [`ServerConnection`] is the server's side of one connection and the session on it.
//! - [`ClientSession`] is the client's side: it plays or publishes.
//!
//! The caller owns the socket and the buffer: it hands in what it has read, drops what was
//! consumed, and writes what `take_output` returns.

pub mod auth;
mod client;
mod config;
mod credentials;
mod headers;
mod message;
mod parser;
#[cfg(test)]
mod properties;
mod redact;
mod scheme;
mod server;
mod status;
mod transport;
mod uri;

pub use crate::media::{Repair, Repairs};
pub use client::{
    ClientEvent, ClientSession, ClientStep, ClientUrl, ClientUrlError, KeepAlive, Login,
    LoginError, RedirectError, RedirectPolicy, Redirects, TrackStart,
};
#[cfg(feature = "server")]
pub(crate) use client::{aggregate_urls, track_urls};
pub use config::{Limits, ServerConfig};
pub use credentials::Credentials;
pub use headers::Headers;
pub use message::{Method, Request, Response};
pub use parser::{Message, ParseError, Parsed, Parser};
pub(crate) use redact::redacted;
pub use scheme::split_scheme;
pub use server::{
    CloseReason, Reply, RequestId, RtpInfo, ServerConnection, ServerEvent, SessionRole,
    SetupRequest, Step,
};
pub use status::Status;
pub use transport::{Transport, TransportAnswer, TransportOffer};
pub use uri::{RequestUri, UriError};
