use std::net::SocketAddr;

use crate::registry::{Action, Denied, StreamPath};
use crate::relay::HubEvent;

/// What happens at a server, for embedders; see [`ServerHandle::events`](super::ServerHandle::events).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Something happened to a stream: published, first key frame, viewers, end.
    Stream(HubEvent),
    /// Somebody had no right.
    Refused {
        /// Which stream was asked for.
        path: StreamPath,
        /// What for.
        action: Action,
        /// By whom.
        peer: SocketAddr,
        /// Why not.
        reason: Denied,
    },
    /// Events were lost because they were not taken in time.
    Missed(u64),
}
