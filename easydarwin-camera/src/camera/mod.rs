//! The tokio shell: connections, timers and pushes around the engine.

mod builder;
mod channel;
mod control;
mod event;

pub use builder::{BuildError, CameraBuilder, PushTransport};
pub use event::{CameraCommand, CameraEvent};

use std::future::Future;

use easydarwin_core::client::ClientTransport;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::builder::Settings;
use self::channel::{Channel, Wanted};
use self::control::Control;
use self::event::Reporter;
use crate::backoff::random_seed;

/// Snapshots that may be under way per camera; more are not asked for.
const SNAPSHOT_QUEUE: usize = 8;

/// A camera that runs as one future; many of them share a runtime.
#[derive(Debug)]
pub struct Camera {
    settings: Settings,
}

impl Camera {
    /// Starts to describe a camera.
    pub fn builder() -> CameraBuilder {
        CameraBuilder::default()
    }

    /// Registers, waits and pushes until `shutdown` is ready, then ends all pushes with TEARDOWN.
    ///
    /// Neither a CMS that is not there yet nor one that goes away ends it. Needs a tokio runtime
    /// with time and IO enabled. Dropping the future ends everything at once, without TEARDOWN.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let settings = self.settings;
        let reporter = Reporter::new(settings.events);
        let (snapshots, taken) = mpsc::channel(SNAPSHOT_QUEUE);
        let mut tasks = JoinSet::new();
        let mut channels = Vec::new();
        let mut direct = settings.push_to;
        for (number, source) in settings.sources {
            let first = direct.take().map(Wanted::always);
            let (wanted, wants) = watch::channel(first);
            let (requests, asked) = mpsc::channel(1);
            channels.push(control::ChannelHandle {
                number,
                wanted,
                requests,
            });
            let channel = Channel {
                number,
                source,
                transport: match settings.transport {
                    PushTransport::Tcp => ClientTransport::Tcp,
                    PushTransport::Udp => ClientTransport::UdpThenTcp,
                },
                reporter: reporter.clone(),
                snapshots: snapshots.clone(),
                seed: random_seed(),
            };
            tasks.spawn(channel.run(wants, asked));
        }
        drop(snapshots);
        let control = settings
            .engine
            .map(|config| Control::new(config, settings.commands, reporter));
        let channels = match control {
            Some(control) => control.run(channels, taken, shutdown).await,
            None => {
                shutdown.await;
                channels
            }
        };
        // The senders are what the channels wait for: without them they end their pushes.
        drop(channels);
        while tasks.join_next().await.is_some() {}
    }
}
