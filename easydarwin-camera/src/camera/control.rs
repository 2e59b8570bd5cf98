//! The connection to the CMS around the engine.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Instant;

use bytes::{Buf, Bytes};
use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::protocol::login::NONCE_LEN;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use super::channel::{TakeSnapshot, Wanted};
use super::event::{CameraCommand, CameraEvent, Reporter};
use crate::control::{CmsAddress, CommandId, ControlConfig, ControlEngine, ControlEvent};

/// Bytes read at once; the CMS's messages are below 1 KiB.
const READ_BUFFER: usize = 4 * 1024;
/// Answers of the embedder under way: as many as the engine keeps commands.
const REPLY_QUEUE: usize = 64;

/// How a channel is told what to do.
#[derive(Debug)]
pub(super) struct ChannelHandle {
    pub(super) number: u32,
    pub(super) wanted: watch::Sender<Option<Wanted>>,
    pub(super) requests: mpsc::Sender<TakeSnapshot>,
}

pub(super) struct Control {
    engine: ControlEngine,
    commands: Option<mpsc::Sender<CameraCommand>>,
    replies: mpsc::Sender<(CommandId, ErrorNum)>,
    replied: mpsc::Receiver<(CommandId, ErrorNum)>,
    reporter: Reporter,
    link: Link,
}

type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

enum Link {
    Down,
    Dialing(Dialing),
    Up(Connection),
}

struct Connection {
    peer: SocketAddr,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    /// What the socket has not taken yet.
    rest: Bytes,
    buffer: Box<[u8; READ_BUFFER]>,
}

enum Happened {
    Shutdown,
    Timeout,
    Dialed(io::Result<TcpStream>),
    /// Bytes read; 0 at the end of the connection.
    Read(io::Result<usize>),
    Written(io::Result<()>),
    Snapshot(u32, Bytes),
    Reply(CommandId, ErrorNum),
}

impl Control {
    pub(super) fn new(
        config: ControlConfig,
        commands: Option<mpsc::Sender<CameraCommand>>,
        reporter: Reporter,
    ) -> Self {
        let (replies, replied) = mpsc::channel(REPLY_QUEUE);
        Self {
            engine: ControlEngine::new(config, Instant::now()),
            commands,
            replies,
            replied,
            reporter,
            link: Link::Down,
        }
    }

    /// Runs until shutdown; hands the channels back, which end when they are dropped.
    pub(super) async fn run(
        mut self,
        channels: Vec<ChannelHandle>,
        mut snapshots: mpsc::Receiver<(u32, Bytes)>,
        shutdown: impl Future<Output = ()>,
    ) -> Vec<ChannelHandle> {
        tokio::pin!(shutdown);
        loop {
            while let Some(event) = self.engine.poll_event() {
                self.act(event, &channels);
            }
            if let Link::Up(connection) = &mut self.link
                && connection.rest.is_empty()
            {
                connection.rest = self.engine.take_output().unwrap_or_default();
            }
            let timeout = self.engine.poll_timeout();
            let happened = tokio::select! {
                () = &mut shutdown => Happened::Shutdown,
                () = sleep_until(timeout) => Happened::Timeout,
                happened = self.link.next() => happened,
                Some((channel, jpeg)) = snapshots.recv() => Happened::Snapshot(channel, jpeg),
                Some((id, result)) = self.replied.recv() => Happened::Reply(id, result),
            };
            let now = Instant::now();
            match happened {
                Happened::Shutdown => return channels,
                Happened::Timeout => self.engine.timeout(now),
                Happened::Dialed(dialed) => self.dialed(dialed, now),
                Happened::Read(Ok(0)) => self.lost("the CMS closed the connection", now),
                Happened::Read(Ok(count)) => {
                    if let Link::Up(connection) = &self.link {
                        let bytes = connection.buffer.get(..count).unwrap_or_default();
                        self.engine.received(bytes, now);
                    }
                }
                Happened::Read(Err(error)) | Happened::Written(Err(error)) => {
                    self.lost(&error.to_string(), now);
                }
                Happened::Written(Ok(())) => {}
                Happened::Snapshot(channel, jpeg) => {
                    if !self.engine.snapshot(channel, &jpeg, now) {
                        tracing::warn!(channel, size = jpeg.len(), "snapshot not sent");
                    }
                }
                Happened::Reply(id, result) => {
                    self.engine.reply(id, result);
                }
            }
        }
    }

    fn act(&mut self, event: ControlEvent, channels: &[ChannelHandle]) {
        let find = |number| channels.iter().find(|channel| channel.number == number);
        match event {
            ControlEvent::Connect { address, .. } => self.dial(address),
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
                    let cms = connection.peer;
                    self.reporter.report(CameraEvent::Registered { cms });
                }
            }
            ControlEvent::StartPush(target) => {
                if let Some(channel) = find(target.channel) {
                    channel.wanted.send_replace(Some(Wanted::asked(target)));
                }
            }
            ControlEvent::StopPush { channel } => {
                if let Some(channel) = find(channel) {
                    channel.wanted.send_replace(None);
                }
            }
            ControlEvent::TakeSnapshot { channel } => {
                if let Some(channel) = find(channel) {
                    // Full: the one before was not even taken yet.
                    let _ = channel.requests.try_send(TakeSnapshot);
                }
            }
            ControlEvent::SnapshotAnswered { channel, error } if error.is_success() => {
                self.reporter.report(CameraEvent::SnapshotSent { channel });
            }
            ControlEvent::SnapshotAnswered { channel, error } => {
                tracing::warn!(channel, %error, "the CMS refused a snapshot");
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
                    self.engine.reply(id, result);
                }
            }
        }
    }

    fn dial(&mut self, address: CmsAddress) {
        self.link = Link::Dialing(Box::pin(async move {
            if address.is_tls() {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let stream = TcpStream::connect(address.authority()).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }));
    }

    fn dialed(&mut self, dialed: io::Result<TcpStream>, now: Instant) {
        let connected = dialed.and_then(|stream| {
            let mut random = [0; NONCE_LEN];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            Ok((Connection::new(stream)?, random))
        });
        match connected {
            Ok((connection, random)) => {
                self.link = Link::Up(connection);
                self.engine.connected(random, now);
            }
            Err(error) => self.lost(&error.to_string(), now),
        }
    }

    fn lost(&mut self, reason: &str, now: Instant) {
        self.link = Link::Down;
        self.engine.disconnected(now);
        self.reporter.report(CameraEvent::Disconnected {
            reason: reason.to_owned(),
        });
    }
}

impl Link {
    /// The next thing that the network does.
    async fn next(&mut self) -> Happened {
        match self {
            Self::Down => pending().await,
            Self::Dialing(dialing) => Happened::Dialed(dialing.await),
            Self::Up(connection) => connection.next().await,
        }
    }
}

impl Connection {
    fn new(stream: TcpStream) -> io::Result<Self> {
        let peer = stream.peer_addr()?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            peer,
            reader,
            writer,
            rest: Bytes::new(),
            buffer: Box::new([0; READ_BUFFER]),
        })
    }

    async fn next(&mut self) -> Happened {
        let writing = !self.rest.is_empty();
        tokio::select! {
            read = self.reader.read(&mut self.buffer[..]) => Happened::Read(read),
            written = self.writer.write(&self.rest), if writing => {
                Happened::Written(match written {
                    Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        self.rest.advance(count);
                        Ok(())
                    }
                    Err(error) => Err(error),
                })
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
