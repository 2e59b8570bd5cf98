use std::time::Duration;
use tokio::sync::broadcast;

use super::{CloseError, HubEvent, HubInfo, PublishError, Publisher, RelayConfig, Stream};
use crate::media::SessionDescription;
use crate::registry::{Principal, StreamPath};

/// All streams of one process. Cheap to clone; clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub {}

impl Hub {
    /// A hub without streams. Needs no runtime yet.
    pub fn new(config: RelayConfig) -> Self {
        todo!()
    }

    /// Makes `path` live, or takes it over.
    ///
    /// `Principal::Device` brings its generation along; otherwise the hub counts.
    ///
    /// # Errors
    /// [`PublishError`] when the path is taken or the description is unusable.
    pub fn publish(
        &self,
        path: &StreamPath,
        description: SessionDescription,
        principal: Principal,
    ) -> Result<Publisher, PublishError> {
        todo!()
    }

    /// The live stream of that path.
    pub fn get(&self, path: &StreamPath) -> Option<Stream> {
        todo!()
    }

    /// All live streams, in no order.
    pub fn streams(&self) -> Vec<Stream> {
        todo!()
    }

    /// Waits up to `patience` for the stream to be published (and ready to start, if `ready`).
    pub async fn wait(&self, path: &StreamPath, ready: bool, patience: Duration) -> Option<Stream> {
        todo!()
    }

    /// Ends a stream. `generation`: only if this publisher (or an older one) is live; `if_idle`:
    /// only if nobody views it.
    ///
    /// # Errors
    /// [`CloseError`] says why it was left alone.
    pub fn close(
        &self,
        path: &StreamPath,
        generation: Option<u64>,
        if_idle: bool,
    ) -> Result<(), CloseError> {
        todo!()
    }

    /// Ends all streams; readers end too once they got what is in the rings.
    pub fn shutdown(&self) {
        todo!()
    }

    /// Events from now on. A receiver that lags loses the oldest and is told so.
    pub fn events(&self) -> broadcast::Receiver<HubEvent> {
        todo!()
    }

    /// Sums over all streams.
    pub fn info(&self) -> HubInfo {
        todo!()
    }
}
