//! The connection to the CMS around its engine.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use easydarwin_core::client::{ClientError, ClientOptions};
use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::protocol::login::NONCE_LEN;
use tokio::sync::mpsc;

use super::channel::with_causes;
use super::connection::{Connection, Dialing, Wire, dial, end_of};
use super::event::{CameraCommand, CameraEvent, Reporter};
use super::teller::CameraHandle;
use crate::control::{ControlEngine, ControlEvent};

/// What the conversation with the CMS needs of the world.
pub(super) struct ControlShell {
    commands: Option<mpsc::Sender<CameraCommand>>,
    camera: CameraHandle,
    reporter: Reporter,
    options: ClientOptions,
    link: Link,
}

enum Link {
    Down,
    Dialing(Dialing),
    Up(Connection),
}

impl ControlShell {
    pub(super) fn new(
        commands: Option<mpsc::Sender<CameraCommand>>,
        camera: CameraHandle,
        options: ClientOptions,
        reporter: Reporter,
    ) -> Self {
        Self {
            commands,
            camera,
            reporter,
            options,
            link: Link::Down,
        }
    }

    /// What certificates are judged by from now on.
    #[cfg(feature = "tls")]
    pub(super) fn set_tls_clock(&mut self, clock: easydarwin_core::tls::TlsClock) {
        self.options.tls_clock = clock;
    }

    /// Does what the engine wants. Pushes and snapshots are others' business.
    pub(super) fn act(&mut self, event: ControlEvent, engine: &mut ControlEngine) {
        match event {
            ControlEvent::Connect { address, .. } => {
                self.link = Link::Dialing(dial(address, self.options.clone()));
            }
            ControlEvent::Disconnect(reason) => {
                self.link = Link::Down;
                self.reporter.report(CameraEvent::Disconnected {
                    reason: reason.to_string(),
                });
            }
            ControlEvent::LoginRefused {
                address,
                reason,
                retry_in,
            } => self.reporter.report(CameraEvent::LoginRefused {
                cms: address.to_string(),
                reason: reason.to_string(),
                retry_in,
            }),
            ControlEvent::Registered { .. } => {
                if let Link::Up(connection) = &self.link {
                    let cms = connection.peer();
                    self.reporter.report(CameraEvent::Registered { cms });
                }
            }
            ControlEvent::SnapshotAnswered { channel, error } if error.is_success() => {
                self.reporter.report(CameraEvent::SnapshotSent { channel });
            }
            ControlEvent::SnapshotAnswered { channel, error } => {
                self.snapshot_failed(channel, &error);
            }
            ControlEvent::SnapshotFailed { channel, error } => {
                self.snapshot_failed(channel, &error);
            }
            ControlEvent::Command { id, command } => {
                let command = CameraCommand {
                    command,
                    id,
                    camera: self.camera.clone(),
                };
                let taken = match &self.commands {
                    None => Err(ErrorNum::NOT_IMPLEMENTED),
                    Some(commands) => commands
                        .try_send(command)
                        .map_err(|_| ErrorNum::UNAVAILABLE),
                };
                if let Err(result) = taken {
                    engine.reply(id, result);
                }
            }
            ControlEvent::Talkback(frame) => self.reporter.report(CameraEvent::Talkback(frame)),
            ControlEvent::TalkbackEnded { channel, stats } => {
                let ended = CameraEvent::TalkbackEnded { channel, stats };
                self.reporter.report(ended);
            }
            ControlEvent::StartPush(_)
            | ControlEvent::StopPush { .. }
            | ControlEvent::TakeSnapshot { .. }
            | ControlEvent::Upload(_)
            | ControlEvent::CancelUpload => {}
        }
    }

    /// The CMS at the other end.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match &self.link {
            Link::Up(connection) => Some(connection.peer()),
            Link::Down | Link::Dialing(_) => None,
        }
    }

    fn snapshot_failed(&self, channel: u32, reason: &dyn std::fmt::Display) {
        let reason = reason.to_string();
        let failed = CameraEvent::SnapshotFailed { channel, reason };
        self.reporter.report(failed);
    }

    /// Writes what the engine has, as far as the socket takes it.
    pub(super) fn write(&mut self, engine: &mut ControlEngine, now: Instant) {
        let Link::Up(connection) = &mut self.link else {
            return;
        };
        if let Err(error) = connection.write(engine) {
            self.lost(&error.to_string(), engine, now);
        }
    }

    /// Takes what the world has for the engine; ready if there was something.
    pub(super) fn poll(
        &mut self,
        engine: &mut ControlEngine,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut ready = Poll::Pending;
        match &mut self.link {
            Link::Down => {}
            Link::Dialing(dialing) => {
                if let Poll::Ready(dialed) = dialing.as_mut().poll(cx) {
                    self.dialed(dialed, engine, now);
                    ready = Poll::Ready(());
                }
            }
            Link::Up(connection) => match connection.poll(engine, now, cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => ready = Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    self.lost(&end_of(&error), engine, now);
                    ready = Poll::Ready(());
                }
            },
        }
        ready
    }

    fn dialed(
        &mut self,
        dialed: Result<Wire, ClientError>,
        engine: &mut ControlEngine,
        now: Instant,
    ) {
        let connected = dialed
            .map_err(|error| with_causes(&error))
            .and_then(|wire| {
                let mut random = [0; NONCE_LEN];
                getrandom::fill(&mut random).map_err(|error| error.to_string())?;
                Ok((Connection::new(wire), random))
            });
        match connected {
            Ok((connection, random)) => {
                self.link = Link::Up(connection);
                engine.connected(random, now);
            }
            Err(error) => self.lost(&error, engine, now),
        }
    }

    fn lost(&mut self, reason: &str, engine: &mut ControlEngine, now: Instant) {
        self.link = Link::Down;
        engine.disconnected(now);
        self.reporter.report(CameraEvent::Disconnected {
            reason: reason.to_owned(),
        });
    }
}
