use std::sync::Arc;
use std::time::Duration;

use super::{EndReason, ReaderInfo, Start, Stream};
use crate::media::{AccessUnit, SessionDescription};

/// What a tap wants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TapOptions {
    /// Indices of the tracks; `None`: all that can be depacketized.
    pub tracks: Option<Vec<usize>>,
    /// Where it starts.
    pub start: Start,
    /// `None`: [`RelayConfig::max_lag`](super::RelayConfig::max_lag).
    pub max_lag: Option<Duration>,
    /// Counts as a viewer.
    pub viewer: bool,
    /// Purpose, for logs and the API.
    pub label: Arc<str>,
}

impl TapOptions {
    /// All tracks from the last key frame, counted as a viewer.
    pub fn new(label: impl Into<Arc<str>>) -> Self {
        Self {
            tracks: None,
            start: Start::Key,
            max_lag: None,
            viewer: true,
            label: label.into(),
        }
    }
}

/// What a [`Tap`] sees.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TapEvent {
    /// A picture or an audio frame.
    Unit(AccessUnit),
    /// The tap was too slow: something was skipped; video goes on with a key frame.
    Gap,
    /// Parameter sets changed; the description as it is now.
    ParamsChanged(Arc<SessionDescription>),
    /// A new publisher, or a jump of the publisher's clock: what follows is another take.
    Discontinuity,
    /// The stream ended; nothing follows.
    End(EndReason),
}

/// Reads a stream by access unit, with the same cursor and policy as other readers.
#[derive(Debug)]
pub struct Tap {}

impl Tap {
    /// The stream that it reads.
    pub fn stream(&self) -> &Stream {
        todo!()
    }

    /// The next event; `None` after [`TapEvent::End`]. Cancel safe.
    pub async fn recv(&mut self) -> Option<TapEvent> {
        todo!()
    }

    /// Counters.
    pub fn info(&self) -> ReaderInfo {
        todo!()
    }
}
