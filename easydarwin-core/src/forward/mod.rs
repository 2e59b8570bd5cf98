//! Forwards: streams of this server that it pushes on to other RTSP servers.
//!
//! [`ForwardEngine`] decides when to connect and how long to wait, without sockets and clocks; a
//! forward is fed by the relay as any reader is: it never holds the stream up, and skips to a key
//! frame when the other server is too slow.

mod engine;
mod forwards;
mod info;
mod push;
mod run;
mod spec;

pub use engine::{ForwardEngine, ForwardOutput};
pub use forwards::{ForwardError, Forwards};
pub use info::{ForwardCounters, ForwardInfo};
pub use spec::{ForwardConfig, ForwardMode, ForwardSpec};
