//! The way from the embedder's threads to the CMS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::control::{ControlEngine, DeviceEvent, EventVerdict};

/// Events that the camera's task has not seen yet. It comes to them between two packets.
const QUEUE: usize = 16;

/// Tells the CMS what happens at a camera, from any thread. Never waits.
#[derive(Debug, Clone)]
pub struct CameraHandle {
    events: mpsc::Sender<DeviceEvent>,
    /// The CMS has said that it takes none.
    deaf: Arc<AtomicBool>,
}

impl CameraHandle {
    /// Tells the CMS something, if it listens; it goes into its log of events, for everybody who may
    /// see the camera. What happens while no CMS is there waits for one, up to 32 of it; a health
    /// replaces the one before it. More than one a second, after ten at once, has to wait.
    pub fn send_event(&self, event: DeviceEvent) -> EventVerdict {
        if let Err(error) = event.check() {
            return EventVerdict::Invalid(error);
        }
        if self.deaf.load(Ordering::Relaxed) {
            return EventVerdict::NotSupported;
        }
        match self.events.try_send(event) {
            Ok(()) => EventVerdict::Queued,
            Err(_) => EventVerdict::Busy,
        }
    }
}

/// The camera's end.
#[derive(Debug)]
pub(super) struct Teller {
    handle: CameraHandle,
    waiting: mpsc::Receiver<DeviceEvent>,
}

impl Default for Teller {
    fn default() -> Self {
        let (events, waiting) = mpsc::channel(QUEUE);
        let handle = CameraHandle {
            events,
            deaf: Arc::default(),
        };
        Self { handle, waiting }
    }
}

impl Teller {
    pub(super) fn handle(&self) -> CameraHandle {
        self.handle.clone()
    }

    /// A CMS has let us in.
    pub(super) fn registered(&self, engine: &ControlEngine) {
        let deaf = engine.takes_events() == Some(false);
        self.handle.deaf.store(deaf, Ordering::Relaxed);
    }

    /// Ready if there was something to tell.
    pub(super) fn poll(
        &mut self,
        engine: &mut ControlEngine,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut ready = Poll::Pending;
        while let Poll::Ready(Some(event)) = self.waiting.poll_recv(cx) {
            let verdict = engine.send_event(event, now);
            tracing::debug!(?verdict, "an event for the CMS");
            ready = Poll::Ready(());
        }
        ready
    }
}
