//! One channel's media on its way to a media server, without sockets and clocks.
//!
//! - `session`: RTSP from ANNOUNCE to RECORD and TEARDOWN (RFC 2326, 10), and frames as packets on
//!   one TCP connection or as datagrams.
//! - `channel`: when there is a session: asked for, failed, tried again, asked for elsewhere.

mod channel;
mod error;
mod output;
mod parameters;
mod session;
mod track;

#[cfg(test)]
mod tests;

pub(crate) use channel::{Channel, ChannelEvent, Wanted};
pub use error::PushError;
