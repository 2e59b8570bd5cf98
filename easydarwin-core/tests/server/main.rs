//! The media server on real sockets: publishing and playing, rights, on demand, bad input.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    reason = "a test may stop at the first surprise; options are set as an embedder sets them"
)]

mod bad_input;
mod control;
mod demand;
mod filter;
mod forward;
mod lifecycle;
mod node;
mod play;
mod publish;
mod pull;
mod redirect;
mod sloppy;
mod start;
mod support;
mod swap;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_dates;
mod tunnel;
mod v6;
mod websocket;
