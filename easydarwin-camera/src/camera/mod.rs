//! The tokio shell: connections, timers and sources around the engine.
//!
//! One future does everything: it spawns nothing, so that a camera costs one task, and allocates
//! nothing while a stream goes on as before.

mod builder;
mod channel;
mod connection;
mod control;
mod datagrams;
mod event;
mod pump;
mod teller;
mod upload;

pub use builder::{BuildError, CameraBuilder};
pub use event::{CameraCommand, CameraEvent};
pub use teller::{CameraHandle, SnapshotVerdict};

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use easydarwin_core::client::ClientOptions;
use tokio::time::Sleep;

use self::builder::{Feed, Settings};
use self::channel::ChannelShell;
use self::control::ControlShell;
use self::event::Reporter;
use self::pump::Pump;
use self::teller::Teller;
use self::upload::UploadShell;
use crate::backoff::random_seed;
use crate::control::{ControlEngine, ControlEvent};
use crate::engine::{CameraEngine, EngineEvent};
use crate::push::{Channel, Wanted};

/// Turns without a pause: then others of the runtime are let on.
const TURNS: usize = 32;

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

    /// The way to tell the CMS something while the camera runs.
    pub fn handle(&self) -> CameraHandle {
        self.settings.teller.handle()
    }

    /// Registers, waits and pushes until `shutdown` is ready, then ends all pushes with TEARDOWN.
    ///
    /// Neither a CMS that is not there yet nor one that goes away ends it. Needs a tokio runtime
    /// with time and IO enabled. Dropping the future ends everything at once, without TEARDOWN.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut shell = Shell::new(self.settings, Instant::now());
        let mut shutdown = pin!(shutdown);
        let mut sleep = pin!(tokio::time::sleep_until(Instant::now().into()));
        let mut leaving = false;
        poll_fn(|cx| {
            for _ in 0..TURNS {
                let now = Instant::now();
                if !leaving && shutdown.as_mut().poll(cx).is_ready() {
                    leaving = true;
                    shell.engine.leave(now);
                    // Answers that the embedder gave just before, as of a reboot, still go out.
                    shell.teller.look(&mut shell.engine, now);
                }
                shell.work(now);
                if shell.engine.has_left() {
                    return Poll::Ready(());
                }
                if shell.poll(now, sleep.as_mut(), cx).is_pending() {
                    return Poll::Pending;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

struct Shell {
    engine: CameraEngine,
    control: ControlShell,
    upload: UploadShell,
    channels: Vec<ChannelShell>,
    teller: Teller,
    reporter: Reporter,
}

impl Shell {
    fn new(settings: Settings, now: Instant) -> Self {
        let reporter = Reporter::new(settings.events);
        let mut engines = Vec::new();
        let mut channels = Vec::new();
        let mut options = ClientOptions::default();
        #[cfg(feature = "tls")]
        {
            options.tls = settings.tls;
        }
        options.tls_stack = settings.tls_stack;
        options.user_agent = crate::USER_AGENT.to_owned();
        options.interface = settings.interface;
        for (number, feed) in settings.feeds {
            let (feed, pump) = match feed {
                Feed::Source(source) => (None, Some(Pump::new(source, settings.queue.clone()))),
                Feed::Frames(feed) => (Some(*feed), None),
            };
            let mut channel = Channel::new(feed, settings.transport, random_seed());
            if let Some(rate) = &settings.rate {
                channel.control_rate(*rate);
            }
            engines.push((number, channel));
            let shell = ChannelShell::new(number, pump, options.clone(), reporter.clone());
            channels.push(shell);
        }
        let control = settings
            .engine
            .map(|config| ControlEngine::new(config, now));
        let mut engine = CameraEngine::new(control, engines, now);
        // The first certificate that is shown is judged by the clock that was given, too.
        settings.teller.look(&mut engine, now);
        if let (Some(url), Some(first)) = (settings.push_to, channels.first()) {
            engine.want(first.number, Some(Wanted::always(url)), now);
        }
        Self {
            engine,
            upload: UploadShell::new(options.clone()),
            control: ControlShell::new(
                settings.commands,
                settings.teller.handle(),
                options,
                reporter.clone(),
            ),
            channels,
            teller: settings.teller,
            reporter,
        }
    }

    /// Does what is due, and writes what there is to write.
    fn work(&mut self, now: Instant) {
        self.engine.work(now);
        while let Some(event) = self.engine.poll_event(now) {
            self.act(event, now);
        }
        for shell in &mut self.channels {
            if let Some(channel) = self.engine.channel(shell.number) {
                shell.write(channel, now);
            }
        }
        if let Some(engine) = self.engine.control() {
            self.control.write(engine, now);
        }
        self.upload.write(now);
    }

    fn act(&mut self, event: EngineEvent, now: Instant) {
        #[cfg(feature = "tls")]
        self.set_tls_clock(now);
        match event {
            EngineEvent::Channel { number, event } => {
                let shell = self.channels.iter_mut().find(|s| s.number == number);
                if let (Some(shell), Some(channel)) = (shell, self.engine.channel(number)) {
                    shell.act(event, channel, now);
                }
            }
            EngineEvent::Control(ControlEvent::TakeSnapshot { channel }) => {
                let shell = self.channels.iter_mut().find(|s| s.number == channel);
                match shell.and_then(ChannelShell::snapshot) {
                    Some(jpeg) => teller::send_snapshot(&mut self.engine, channel, &jpeg, now),
                    None => self
                        .reporter
                        .report(CameraEvent::SnapshotWanted { channel }),
                }
            }
            EngineEvent::Control(ControlEvent::Upload(upload)) => {
                self.upload.begin(upload, self.control.peer());
            }
            EngineEvent::Control(ControlEvent::CancelUpload) => self.upload.cancel(),
            EngineEvent::Control(event) => {
                if let Some(engine) = self.engine.control() {
                    if let ControlEvent::Registered { .. } = event {
                        self.teller.registered(engine.takes_events());
                    }
                    self.control.act(event, engine);
                }
            }
        }
    }

    /// Who is dialed next is judged by the time that is known now. What a CMS said that has not shown who it is
    /// counts for nothing: it could make any certificate bad.
    #[cfg(feature = "tls")]
    fn set_tls_clock(&mut self, now: Instant) {
        use easydarwin_core::tls::TlsClock;
        let clock = match self.engine.trusted_clock(now) {
            Some(time) => TlsClock::Known(time),
            None => TlsClock::Unset,
        };
        self.control.set_tls_clock(clock);
        self.upload.set_tls_clock(clock);
        for shell in &mut self.channels {
            shell.set_tls_clock(clock);
        }
    }

    /// Takes what the world has; ready if there was something, or time has come for more work.
    fn poll(&mut self, now: Instant, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = self.teller.poll(&mut self.engine, now, cx).is_ready();
        if let Some(engine) = self.engine.control() {
            ready |= self.control.poll(engine, now, cx).is_ready();
            ready |= self.upload.poll(engine, now, cx).is_ready();
        }
        for shell in &mut self.channels {
            if let Some(channel) = self.engine.channel(shell.number) {
                ready |= shell.poll(channel, now, cx).is_ready();
            }
        }
        if ready {
            return Poll::Ready(());
        }
        let Some(due) = self.engine.poll_timeout(now) else {
            return Poll::Pending;
        };
        if sleep.deadline() != due.into() {
            sleep.as_mut().reset(due.into());
        }
        sleep.poll(cx)
    }
}
