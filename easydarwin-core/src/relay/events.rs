use std::time::Instant;

use super::EndReason;
use crate::registry::{Principal, StreamPath};

/// What happened at a [`Hub`](super::Hub); see [`Hub::events`](super::Hub::events).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HubEvent {
    /// Which stream.
    pub path: StreamPath,
    /// The generation of its publisher.
    pub generation: u64,
    /// What happened to it.
    pub event: StreamEvent,
}

/// What happened to a stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A publisher is there; nothing need have come yet.
    Published {
        /// Who publishes.
        principal: Principal,
        /// It continues a stream whose readers stay.
        takeover: bool,
    },
    /// The first key frame is in the ring (without video: the first unit). Once per generation.
    Ready,
    /// A viewer came.
    ReaderJoined {
        /// Viewers now.
        viewers: usize,
    },
    /// A viewer left.
    ReaderLeft {
        /// Viewers now.
        viewers: usize,
    },
    /// There is no viewer (any more). [`StreamEvent::ReaderJoined`] cancels it.
    Idle {
        /// Since when.
        since: Instant,
    },
    /// The publisher went away; readers wait for another one.
    Offline {
        /// Why.
        reason: EndReason,
    },
    /// The stream is gone.
    Ended {
        /// Why.
        reason: EndReason,
    },
}
