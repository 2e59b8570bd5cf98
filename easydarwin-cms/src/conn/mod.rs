//! Connections: which loop owns one, and the lean loop for devices, media nodes and old clients
//! that mix REST and JSON.

mod dispatch;
mod link;
mod listener;
mod protocol_loop;
mod repeat;
mod sniff;

pub(crate) use link::{Link, LinkClosed, SERVER};
#[cfg(feature = "cli")]
pub(crate) use listener::BACKLOG;
pub(crate) use listener::{accept_loop, bind};
pub(crate) use repeat::Fingerprints;
