use std::sync::Arc;

use easydarwin_camera::frames::{self, FrameSender, QueueError};
use easydarwin_camera::{Camera, CameraCommand, CameraEvent};
use tokio::sync::mpsc;

use crate::abi::{EDC_ERR_CONFIG, EDC_ERR_NOMEM};
use crate::failure::Failure;
use crate::instance::Instance;

/// Events and commands on their way within the network's thread, which drains them at each turn.
const CHANNEL: usize = 64;

/// A camera that is ready to run, and the ends that hear from it. Its senders are in the table.
#[derive(Debug)]
pub(crate) struct Built {
    pub(super) camera: Camera,
    pub(super) events: mpsc::Receiver<CameraEvent>,
    pub(super) commands: mpsc::Receiver<CameraCommand>,
}

impl Built {
    /// Takes all memory that the queues need, and puts their senders into the table.
    pub(crate) fn new(instance: &Arc<Instance>) -> Result<Self, Failure> {
        let settings = &instance.settings;
        let (to_events, events) = mpsc::channel(CHANNEL);
        let (to_commands, commands) = mpsc::channel(CHANNEL);
        let mut builder = settings.builder().events(to_events).commands(to_commands);
        let mut made: Vec<Option<FrameSender>> = Vec::new();
        made.resize_with(settings.streams.len(), || None);
        for (channel, streams) in settings.channels() {
            let tracks = settings.tracks(&streams)?;
            let (senders, feed) =
                frames::queue(tracks, &settings.queue(channel)).map_err(no_queue)?;
            builder = builder.frames(channel, feed);
            for (stream, sender) in streams.into_iter().zip(senders) {
                if let Some(place) = made.get_mut(usize::from(stream)) {
                    *place = Some(sender);
                }
            }
        }
        let camera = builder
            .build()
            .map_err(|error| Failure::new(EDC_ERR_CONFIG, error.to_string()))?;
        instance.reached_by(camera.handle());
        // In the order of the streams, in which their counters are kept.
        for (stream, sender) in (0u8..).zip(made) {
            let Some(sender) = sender else { continue };
            instance.counts_from(stream, sender.counter());
            instance.place.set_sender(stream, Some(Box::new(sender)));
        }
        Ok(Self {
            camera,
            events,
            commands,
        })
    }
}

fn no_queue(error: QueueError) -> Failure {
    match error {
        QueueError::NoStream => Failure::new(EDC_ERR_CONFIG, error.to_string()),
        QueueError::Memory(_) => Failure::new(EDC_ERR_NOMEM, error.to_string()),
        error => Failure::system("queue", &error),
    }
}
