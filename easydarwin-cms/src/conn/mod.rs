//! Connections: which loop owns one, and the lean loop for devices, media nodes and old clients
//! that mix REST and JSON.

mod dispatch;
mod link;
mod listener;
mod long;
mod protocol_loop;
mod repeat;
mod sniff;
#[cfg(feature = "tls")]
mod tls;
mod transport;

pub(crate) use link::{Link, LinkClosed, SERVER};
#[cfg(feature = "cli")]
pub(crate) use listener::BACKLOG;
pub(crate) use listener::{accept_loop, bind};
pub(crate) use long::LongMessages;
pub(crate) use repeat::Fingerprints;
#[cfg(feature = "tls")]
pub(crate) use tls::TlsDoor;
pub(crate) use transport::Transport;
