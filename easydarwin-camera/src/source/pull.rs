//! A real IP camera as a source: its stream is pulled over RTSP and handed on untouched.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use easydarwin_core::client::{ClientError, ClientOptions, ClientTransport, Player};
use easydarwin_core::media::{AccessUnit, MediaKind, SessionDescription};
use tokio::sync::{mpsc, oneshot};

use super::{MediaSource, SourceError};
use crate::backoff::{Backoff, random_seed};
use crate::url::without_password;

/// Units between the camera and the push, some seconds. When they are full the push is too slow:
/// pictures are dropped up to the next key frame, sounds as long as there is no room.
const QUEUE: usize = 256;
/// How long a camera may be gone before the source gives up and the push ends.
const RECOVER: Duration = Duration::from_secs(10);

/// An IP camera at `rtsp://[user:password@]host[:port]/path`.
///
/// All its tracks are passed on, also those whose codec is not understood. A short absence of the
/// camera is bridged: timestamps go on by the time that passed.
#[derive(Debug)]
pub struct PullSource {
    url: Hidden,
    transport: ClientTransport,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Opening {
        opened: oneshot::Receiver<Result<SessionDescription, SourceError>>,
        units: mpsc::Receiver<Result<AccessUnit, SourceError>>,
    },
    Open(mpsc::Receiver<Result<AccessUnit, SourceError>>),
}

/// A URL whose password no `Debug` shows.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl PullSource {
    /// Pulls over TCP.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Hidden(url.into()),
            transport: ClientTransport::Tcp,
            state: State::Closed,
        }
    }

    /// Pulls over UDP, or over TCP if the camera refuses that.
    pub fn udp(mut self) -> Self {
        self.transport = ClientTransport::UdpThenTcp;
        self
    }
}

impl MediaSource for PullSource {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<SessionDescription, SourceError>> {
        if !matches!(self.state, State::Opening { .. }) {
            let (open, opened) = oneshot::channel();
            let (sender, units) = mpsc::channel(QUEUE);
            let mut options = ClientOptions::default();
            options.transport = self.transport;
            let pull = Pull {
                url: self.url.clone(),
                options,
                units: sender,
                behind: false,
            };
            // Ends when the receiver is dropped; then it takes leave of the camera.
            tokio::spawn(pull.run(open));
            self.state = State::Opening { opened, units };
        }
        let State::Opening { opened, .. } = &mut self.state else {
            return Poll::Ready(Err(SourceError::Closed));
        };
        let opened = ready!(Pin::new(opened).poll(cx));
        let state = std::mem::replace(&mut self.state, State::Closed);
        let description = opened.unwrap_or(Err(SourceError::Closed))?;
        if let State::Opening { units, .. } = state {
            self.state = State::Open(units);
        }
        Poll::Ready(Ok(description))
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        unit: &mut AccessUnit,
    ) -> Poll<Result<(), SourceError>> {
        let State::Open(units) = &mut self.state else {
            return Poll::Ready(Err(SourceError::Closed));
        };
        Poll::Ready(match ready!(units.poll_recv(cx)) {
            Some(Ok(received)) => {
                *unit = received;
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => Err(SourceError::Ended),
        })
    }

    fn close(&mut self) {
        self.state = State::Closed;
    }
}

/// The task that talks to the camera.
struct Pull {
    url: Hidden,
    options: ClientOptions,
    units: mpsc::Sender<Result<AccessUnit, SourceError>>,
    /// Pictures are dropped until the next key frame.
    behind: bool,
}

impl Pull {
    async fn run(mut self, open: oneshot::Sender<Result<SessionDescription, SourceError>>) {
        let mut player = match self.connect().await {
            Ok(player) => player,
            Err(error) => {
                let _ = open.send(Err(self.failed(&error)));
                return;
            }
        };
        let description = player.description().clone();
        if open.send(Ok(description.clone())).is_err() {
            self.take_leave(player).await;
            return;
        }
        let begin = Instant::now();
        let mut shifts = vec![0; description.tracks.len()];
        let mut fresh = vec![false; description.tracks.len()];
        loop {
            let reason = match self.pass_on(&mut player, &shifts, &mut fresh).await {
                Passed::Unwanted => {
                    self.take_leave(player).await;
                    return;
                }
                Passed::Failed(reason) => reason,
            };
            tracing::warn!(url = ?self.url, reason, "camera lost");
            player = match self.reconnect(&description).await {
                Some(player) => player,
                None => {
                    let error = SourceError::Remote {
                        url: without_password(&self.url.0),
                        reason,
                    };
                    // Nobody waits for it any more when this fails.
                    let _ = self.units.send(Err(error)).await;
                    return;
                }
            };
            let elapsed = begin.elapsed();
            for (shift, track) in shifts.iter_mut().zip(&description.tracks) {
                let ticks = elapsed.as_nanos() * u128::from(track.clock_rate) / 1_000_000_000;
                *shift = i64::try_from(ticks).unwrap_or(0);
            }
            fresh.fill(true);
        }
    }

    /// Hands units on until somebody has enough.
    async fn pass_on(&mut self, player: &mut Player, shifts: &[i64], fresh: &mut [bool]) -> Passed {
        loop {
            let unit = tokio::select! {
                unit = player.next_unit() => unit,
                () = self.units.closed() => return Passed::Unwanted,
            };
            let mut unit = match unit {
                Ok(Some(unit)) => unit,
                Ok(None) => return Passed::Failed("the camera ended the stream".to_owned()),
                Err(error) => return Passed::Failed(error.to_string()),
            };
            unit.pts += shifts.get(unit.track).copied().unwrap_or(0);
            if let Some(fresh) = fresh.get_mut(unit.track) {
                unit.discontinuity |= std::mem::take(fresh);
            }
            let kind = player.description().tracks.get(unit.track).map(|t| t.kind);
            self.queue(unit, kind == Some(MediaKind::Video));
        }
    }

    fn queue(&mut self, mut unit: AccessUnit, picture: bool) {
        if picture && self.behind {
            if !unit.key {
                return;
            }
            unit.lossy = true;
        }
        let sent = self.units.try_send(Ok(unit));
        if picture {
            self.behind = sent.is_err();
        }
    }

    async fn connect(&self) -> Result<Player, ClientError> {
        Player::connect(&self.url.0, self.options.clone()).await
    }

    /// Tries for a while; `None` when the camera stays away or has become another.
    async fn reconnect(&self, before: &SessionDescription) -> Option<Player> {
        let begin = Instant::now();
        let mut backoff = Backoff::new(random_seed());
        while begin.elapsed() < RECOVER {
            tokio::time::sleep(backoff.next(Instant::now())).await;
            match self.connect().await {
                Ok(player) if same_tracks(before, player.description()) => return Some(player),
                Ok(player) => {
                    self.take_leave(player).await;
                    return None;
                }
                Err(error) => tracing::debug!(%error, "camera still away"),
            }
        }
        None
    }

    async fn take_leave(&self, player: Player) {
        if let Err(error) = player.close().await {
            tracing::debug!(%error, "TEARDOWN not delivered");
        }
    }

    fn failed(&self, error: &ClientError) -> SourceError {
        SourceError::Remote {
            url: without_password(&self.url.0),
            reason: error.to_string(),
        }
    }
}

enum Passed {
    /// The source was closed.
    Unwanted,
    Failed(String),
}

/// Whether the stream can go on under the description that was announced.
fn same_tracks(a: &SessionDescription, b: &SessionDescription) -> bool {
    let shape = |description: &SessionDescription| {
        let tracks = description.tracks.iter();
        tracks
            .map(|t| {
                (
                    t.kind,
                    t.encoding.to_ascii_uppercase(),
                    t.clock_rate,
                    t.channels,
                )
            })
            .collect::<Vec<_>>()
    };
    shape(a) == shape(b)
}
