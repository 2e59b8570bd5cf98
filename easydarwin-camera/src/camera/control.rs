//! The connection to the CMS around its engine.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes};
use easydarwin_core::client::{ClientError, ClientOptions};
use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::protocol::login::NONCE_LEN;
use easydarwin_core::rtsp::ClientUrl;
use tokio::sync::mpsc;

use super::channel::with_causes;
use super::event::{CameraCommand, CameraEvent, Reporter};
use super::teller::Teller;
use crate::control::{CmsAddress, CommandId, ControlEngine, ControlEvent};

/// Bytes read at once: the CMS's messages are below 1 KiB, but with TLS a record has to fit.
pub(super) const READ: usize = if cfg!(feature = "tls") {
    18 * 1024
} else {
    4 * 1024
};
/// Answers of the embedder under way: as many as the engine keeps commands.
const REPLY_QUEUE: usize = 64;

pub(super) type Dialing = Pin<Box<dyn Future<Output = Result<Wire, ClientError>> + Send>>;
/// The same wire as to a media server: TCP or TLS.
pub(super) type Wire = easydarwin_core::client::Link;

/// What the conversation with the CMS needs of the world.
pub(super) struct ControlShell {
    commands: Option<mpsc::Sender<CameraCommand>>,
    replies: mpsc::Sender<(CommandId, ErrorNum)>,
    replied: mpsc::Receiver<(CommandId, ErrorNum)>,
    teller: Teller,
    reporter: Reporter,
    options: ClientOptions,
    link: Link,
}

enum Link {
    Down,
    Dialing(Dialing),
    Up(Connection),
}

struct Connection {
    peer: SocketAddr,
    wire: Wire,
    /// What the socket has not taken yet.
    rest: Bytes,
    blocked: bool,
}

impl ControlShell {
    pub(super) fn new(
        commands: Option<mpsc::Sender<CameraCommand>>,
        teller: Teller,
        options: ClientOptions,
        reporter: Reporter,
    ) -> Self {
        let (replies, replied) = mpsc::channel(REPLY_QUEUE);
        Self {
            commands,
            replies,
            replied,
            teller,
            reporter,
            options,
            link: Link::Down,
        }
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
                self.teller.registered(engine);
                if let Link::Up(connection) = &self.link {
                    let cms = connection.peer;
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
                    replies: self.replies.clone(),
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
            Link::Up(connection) => Some(connection.peer),
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

    /// Gives the engine the answers that wait.
    pub(super) fn take_replies(&mut self, engine: &mut ControlEngine) {
        while let Ok((id, result)) = self.replied.try_recv() {
            engine.reply(id, result);
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
        while let Poll::Ready(Some((id, result))) = self.replied.poll_recv(cx) {
            engine.reply(id, result);
            ready = Poll::Ready(());
        }
        if self.teller.poll(engine, now, cx).is_ready() {
            ready = Poll::Ready(());
        }
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
                    let reason = match error.kind() {
                        io::ErrorKind::UnexpectedEof => "the CMS closed the connection".to_owned(),
                        _ => error.to_string(),
                    };
                    self.lost(&reason, engine, now);
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
                let connection = Connection {
                    peer: wire.peer,
                    wire,
                    rest: Bytes::new(),
                    blocked: false,
                };
                Ok((connection, random))
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

/// Connects to a CMS.
pub(super) fn dial(address: CmsAddress, options: ClientOptions) -> Dialing {
    Box::pin(async move {
        let scheme = if address.is_tls() { "rtsps" } else { "rtsp" };
        let url = ClientUrl::parse(&format!("{scheme}://{}/", address.authority()))?;
        Wire::dial(&url, &options).await
    })
}

impl Connection {
    fn write(&mut self, engine: &mut ControlEngine) -> io::Result<()> {
        self.wire.flush()?;
        self.blocked = false;
        loop {
            if self.rest.is_empty() {
                match engine.take_output() {
                    Some(bytes) => self.rest = bytes,
                    None => return Ok(()),
                }
            }
            match self.wire.try_write(&self.rest)? {
                Some(count) => self.rest.advance(count),
                None => {
                    self.blocked = true;
                    return Ok(());
                }
            }
        }
    }

    fn poll(
        &mut self,
        engine: &mut ControlEngine,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = [0; READ];
        if self.wire.poll_ready(self.blocked, cx).is_pending() {
            return Poll::Pending;
        }
        match self.wire.read(&mut room)? {
            Some(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Some(count) => engine.received(room.get(..count).unwrap_or_default(), now),
            // Only room to write, or nothing after all: the runtime will tell.
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}
