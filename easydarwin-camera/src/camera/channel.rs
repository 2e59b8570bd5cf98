//! One channel: its source, and the push while it is wanted.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use easydarwin_core::client::{ClientError, ClientOptions, ClientTransport, Login, Publisher};
use easydarwin_core::media::{AccessUnit, SessionDescription};
use tokio::sync::{mpsc, watch};

use super::event::{CameraEvent, Reporter};
use crate::backoff::Backoff;
use crate::control::PushTarget;
use crate::source::{MediaSource, SourceError, blank_unit};
use crate::url::without_password;

/// Waited before every further try, besides the back-off: when a media server closes an idle
/// stream, the CMS's stop must not meet a camera that is back already.
const RETRY_FLOOR: Duration = Duration::from_millis(500);
/// A push that lasted this long makes the next wait a short one.
const LASTING: Duration = Duration::from_secs(10);

/// A push that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    url: String,
    token: Option<String>,
    generation: Option<u64>,
    /// Nobody asks again: tried again even when the server refuses the right.
    always: bool,
}

impl Wanted {
    /// Without a CMS.
    pub(super) fn always(url: String) -> Self {
        Self {
            url,
            token: None,
            generation: None,
            always: true,
        }
    }

    pub(super) fn asked(target: PushTarget) -> Self {
        Self {
            url: target.url,
            token: target.token,
            generation: target.generation,
            always: false,
        }
    }

    /// Whether a push for this serves `other`, too. A new generation is a push of its own: the
    /// CMS would not have asked if it saw the old one.
    fn serves(&self, other: &Self) -> bool {
        self.url == other.url && self.generation == other.generation
    }
}

/// Asks a channel for a picture.
#[derive(Debug)]
pub(super) struct TakeSnapshot;

pub(super) struct Channel {
    pub(super) number: u32,
    pub(super) source: Box<dyn MediaSource>,
    pub(super) transport: ClientTransport,
    pub(super) reporter: Reporter,
    pub(super) snapshots: mpsc::Sender<(u32, Bytes)>,
    pub(super) seed: u64,
}

/// Why a push came to an end.
enum End {
    /// Something else is wanted now, or nothing.
    Changed,
    /// The camera is shut down.
    Shutdown,
    /// Not by our will.
    Failed(Failure),
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{}", with_causes(.0))]
    Push(#[from] ClientError),
}

fn with_causes(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What a channel is told while it does something else.
enum Interrupt {
    Changed,
    Shutdown,
    Snapshot,
}

/// The channel's ear.
struct Orders {
    wanted: watch::Receiver<Option<Wanted>>,
    requests: mpsc::Receiver<TakeSnapshot>,
}

impl Orders {
    async fn next(&mut self) -> Interrupt {
        tokio::select! {
            changed = self.wanted.changed() => match changed {
                Ok(()) => Interrupt::Changed,
                Err(_) => Interrupt::Shutdown,
            },
            Some(TakeSnapshot) = self.requests.recv() => Interrupt::Snapshot,
        }
    }

    fn wanted(&mut self) -> Option<Wanted> {
        self.wanted.borrow_and_update().clone()
    }
}

impl Channel {
    /// Runs until the sender of `wanted` is gone.
    pub(super) async fn run(
        mut self,
        wanted: watch::Receiver<Option<Wanted>>,
        requests: mpsc::Receiver<TakeSnapshot>,
    ) {
        let mut orders = Orders { wanted, requests };
        let mut backoff = Backoff::new(self.seed);
        loop {
            let Some(wanted) = orders.wanted() else {
                match orders.next().await {
                    Interrupt::Changed => continue,
                    Interrupt::Shutdown => return,
                    Interrupt::Snapshot => self.take_snapshot(),
                }
                continue;
            };
            self.reporter.report(CameraEvent::PushRequested {
                channel: self.number,
                url: without_password(&wanted.url),
            });
            backoff.reset();
            if matches!(
                self.keep_pushing(&wanted, &mut orders, &mut backoff).await,
                End::Shutdown
            ) {
                return;
            }
        }
    }

    /// Pushes, and again after a failure, until something else is wanted.
    async fn keep_pushing(
        &mut self,
        first: &Wanted,
        orders: &mut Orders,
        backoff: &mut Backoff,
    ) -> End {
        let mut wanted = first.clone();
        loop {
            let began = Instant::now();
            let end = self.push(&mut wanted, orders).await;
            self.source.close();
            let failure = match end {
                End::Failed(failure) => failure,
                end => {
                    self.stopped();
                    return end;
                }
            };
            // A server that closes an idle stream is about to have it stopped by the CMS: no fault.
            let closed = matches!(failure, Failure::Push(ClientError::Closed));
            if !closed {
                self.failed(&failure);
            }
            if let Some(end) = self.pause(orders, Some(RETRY_FLOOR)).await {
                return end;
            }
            if closed {
                self.failed(&failure);
            }
            if began.elapsed() >= LASTING {
                backoff.reset();
            }
            let refused = is_refusal(&failure) && !wanted.always;
            let wait = (!refused).then(|| backoff.next(Instant::now()));
            if let Some(end) = self.pause(orders, wait).await {
                return end;
            }
        }
    }

    /// Waits before a further try, without `time` for ever. An end when something else is wanted.
    async fn pause(&mut self, orders: &mut Orders, time: Option<Duration>) -> Option<End> {
        let wait = tokio::time::sleep(time.unwrap_or_default());
        tokio::pin!(wait);
        let end = loop {
            tokio::select! {
                () = &mut wait, if time.is_some() => return None,
                order = orders.next() => match order {
                    Interrupt::Changed => break End::Changed,
                    Interrupt::Shutdown => break End::Shutdown,
                    Interrupt::Snapshot => self.take_snapshot(),
                },
            }
        };
        self.stopped();
        Some(end)
    }

    /// One session at the media server.
    async fn push(&mut self, wanted: &mut Wanted, orders: &mut Orders) -> End {
        let source = &mut self.source;
        let opening = async {
            let description = poll_fn(|cx| source.poll_open(cx)).await?;
            connect(wanted, description, self.transport).await
        };
        let opened = tokio::select! {
            opened = opening => opened,
            // A picture can wait until the stream runs.
            changed = orders.wanted.changed() => return match changed {
                Ok(()) => End::Changed,
                Err(_) => End::Shutdown,
            },
        };
        let mut publisher = match opened {
            Ok(publisher) => publisher,
            Err(failure) => return End::Failed(failure),
        };
        self.reporter.report(CameraEvent::PushStarted {
            channel: self.number,
        });
        let end = self.stream(&mut publisher, wanted, orders).await;
        // A session that failed has nobody to take leave of.
        if !matches!(end, End::Failed(Failure::Push(_)))
            && let Err(error) = publisher.close().await
        {
            tracing::debug!(channel = self.number, %error, "TEARDOWN not delivered");
        }
        end
    }

    async fn stream(
        &mut self,
        publisher: &mut Publisher,
        wanted: &mut Wanted,
        orders: &mut Orders,
    ) -> End {
        // The server may have waited for us since the source was opened.
        self.source.request_key_frame();
        let mut unit = blank_unit(Instant::now());
        loop {
            let order = tokio::select! {
                frame = poll_fn(|cx| self.source.poll_frame(cx, &mut unit)) => {
                    if let Err(error) = frame {
                        return End::Failed(error.into());
                    }
                    // An order may cut in: what is not sent then goes with the next unit.
                    tokio::select! {
                        sent = send(publisher, &unit) => match sent {
                            Ok(()) => continue,
                            Err(failure) => return End::Failed(failure),
                        },
                        order = orders.next() => order,
                    }
                }
                ended = publisher.drive() => match ended {
                    Ok(()) => continue,
                    Err(error) => return End::Failed(error.into()),
                },
                order = orders.next() => order,
            };
            match order {
                Interrupt::Shutdown => return End::Shutdown,
                Interrupt::Snapshot => self.take_snapshot(),
                Interrupt::Changed => match orders.wanted() {
                    Some(new) if wanted.serves(&new) => *wanted = new,
                    _ => return End::Changed,
                },
            }
        }
    }

    fn failed(&self, failure: &Failure) {
        self.reporter.report(CameraEvent::PushFailed {
            channel: self.number,
            reason: failure.to_string(),
        });
    }

    fn stopped(&self) {
        self.reporter.report(CameraEvent::PushStopped {
            channel: self.number,
        });
    }

    fn take_snapshot(&mut self) {
        if let Some(jpeg) = self.source.snapshot() {
            // Full means that the CMS does not take them.
            let _ = self.snapshots.try_send((self.number, jpeg));
        }
    }
}

async fn connect(
    wanted: &Wanted,
    description: SessionDescription,
    transport: ClientTransport,
) -> Result<Publisher, Failure> {
    let mut options = ClientOptions::default();
    options.transport = transport;
    if let Some(token) = &wanted.token {
        options.login = Login::Bearer(token.clone());
    }
    Ok(Publisher::connect(&wanted.url, description, options).await?)
}

/// Sends a unit. One that the payload format cannot carry is left out.
async fn send(publisher: &mut Publisher, unit: &AccessUnit) -> Result<(), Failure> {
    match publisher.send(unit).await {
        Err(error @ (ClientError::Packetize(_) | ClientError::NoSuchTrack(_))) => {
            tracing::warn!(%error, "access unit left out");
            Ok(())
        }
        sent => Ok(sent?),
    }
}

/// Whether the media server denies the right to publish.
fn is_refusal(failure: &Failure) -> bool {
    let Failure::Push(error) = failure else {
        return false;
    };
    error
        .status()
        .is_some_and(|status| matches!(status.code(), 401 | 403))
}
