//! A channel's sockets and source around its engine.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use easydarwin_core::client::{ClientError, ClientOptions, Link};
use easydarwin_core::rtsp::ClientUrl;

use super::datagrams::Datagrams;
use super::event::{CameraEvent, Reporter};
use super::pump::Pump;
use crate::feedback::Uplink;
use crate::push::{Channel, ChannelEvent, PushError};
use crate::socket::{SocketState, UplinkSocket};

/// Assumed for the room in the kernel before the bitrate is known, in bits a second.
pub(super) const USUAL_BITRATE: u32 = 4_000_000;
/// Read at once; with TLS a record has to fit.
const READ: usize = if cfg!(feature = "tls") {
    18 * 1024
} else {
    2 * 1024
};
/// Reads per turn, so that a talkative server does not keep the camera from sending.
const READS: usize = 4;

type Dialing = Pin<Box<dyn Future<Output = Result<Link, ClientError>> + Send>>;

/// The way to the media server.
enum Way {
    Down,
    Dialing(Dialing),
    Up(Box<Connection>),
}

struct Connection {
    link: Link,
    datagrams: Option<Datagrams>,
    socket: UplinkSocket,
    sent: u64,
    blocked: bool,
}

/// What a channel needs of the world.
pub(super) struct ChannelShell {
    pub(super) number: u32,
    way: Way,
    pump: Option<Pump>,
    options: ClientOptions,
    reporter: Reporter,
}

impl ChannelShell {
    pub(super) fn new(
        number: u32,
        pump: Option<Pump>,
        options: ClientOptions,
        reporter: Reporter,
    ) -> Self {
        Self {
            number,
            way: Way::Down,
            pump,
            options,
            reporter,
        }
    }

    /// What certificates are judged by from now on.
    #[cfg(feature = "tls")]
    pub(super) fn set_tls_clock(&mut self, clock: easydarwin_core::tls::TlsClock) {
        self.options.tls_clock = clock;
    }

    /// Does what the engine wants.
    pub(super) fn act(&mut self, event: ChannelEvent, channel: &mut Channel, now: Instant) {
        let number = self.number;
        match event {
            ChannelEvent::OpenSource => match &mut self.pump {
                Some(pump) => pump.open(),
                None => channel.source_failed("the channel has no source".to_owned(), now),
            },
            ChannelEvent::CloseSource => {
                if let Some(pump) = &mut self.pump {
                    pump.close();
                }
            }
            ChannelEvent::Connect { url } => self.dial(&url),
            ChannelEvent::Bind { tracks } => self.bind(tracks, channel, now),
            ChannelEvent::Disconnect => self.way = Way::Down,
            ChannelEvent::KeyFrame { stream } => {
                if let Some(pump) = &mut self.pump {
                    pump.request_key_frame();
                }
                self.reporter.report(CameraEvent::KeyFrameWanted {
                    channel: number,
                    stream,
                });
            }
            ChannelEvent::Advice(advice) => {
                self.reporter.report(CameraEvent::Advice {
                    channel: number,
                    advice,
                });
            }
            ChannelEvent::Requested { url } => self.reporter.report(CameraEvent::PushRequested {
                channel: number,
                url,
            }),
            ChannelEvent::Started => self
                .reporter
                .report(CameraEvent::PushStarted { channel: number }),
            ChannelEvent::Failed(error) => self.reporter.report(CameraEvent::PushFailed {
                channel: number,
                reason: error.to_string(),
            }),
            ChannelEvent::Stopped => self
                .reporter
                .report(CameraEvent::PushStopped { channel: number }),
        }
    }

    /// A picture of what the source sees.
    pub(super) fn snapshot(&mut self) -> Option<Bytes> {
        self.pump.as_mut()?.snapshot()
    }

    /// Writes what the engine has, as far as the sockets take it.
    pub(super) fn write(&mut self, channel: &mut Channel, now: Instant) {
        let Way::Up(connection) = &mut self.way else {
            return;
        };
        if let Err(error) = connection.write(channel, now) {
            self.broken(channel, error, now);
        }
    }

    /// Takes what the world has for the engine; ready if there was something.
    pub(super) fn poll(
        &mut self,
        channel: &mut Channel,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut ready = Poll::Pending;
        if let Some(pump) = &mut self.pump
            && pump.poll(channel, now, cx).is_ready()
        {
            ready = Poll::Ready(());
        }
        if channel.poll_frames(now, cx).is_ready() {
            ready = Poll::Ready(());
        }
        match &mut self.way {
            Way::Down => {}
            Way::Dialing(dialing) => {
                if let Poll::Ready(dialed) = dialing.as_mut().poll(cx) {
                    self.dialed(dialed, channel, now);
                    ready = Poll::Ready(());
                }
            }
            Way::Up(connection) => match connection.poll(channel, now, cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => ready = Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    self.broken(channel, error, now);
                    ready = Poll::Ready(());
                }
            },
        }
        ready
    }

    fn dial(&mut self, url: &ClientUrl) {
        let (url, options) = (url.clone(), self.options.clone());
        let dialing = async move { Link::dial(&url, &options).await };
        self.way = Way::Dialing(Box::pin(dialing));
    }

    fn dialed(&mut self, dialed: Result<Link, ClientError>, channel: &mut Channel, now: Instant) {
        match dialed {
            Ok(link) => {
                let secure = link.is_secure();
                self.way = Way::Up(Box::new(Connection {
                    socket: UplinkSocket::prepare(&link, USUAL_BITRATE),
                    link,
                    datagrams: None,
                    sent: 0,
                    blocked: false,
                }));
                channel.connected(secure, now);
            }
            Err(error) => {
                self.way = Way::Down;
                channel.failed(PushError::Dial(with_causes(&error)), now);
            }
        }
    }

    fn bind(&mut self, tracks: usize, channel: &mut Channel, now: Instant) {
        let Way::Up(connection) = &mut self.way else {
            return;
        };
        match Datagrams::bind(&connection.link, tracks, self.options.interface.as_deref()) {
            Ok(datagrams) => {
                let ports = datagrams.ports();
                connection.datagrams = Some(datagrams);
                channel.bound(ports, now);
            }
            Err(error) => channel.failed(PushError::Dial(with_causes(&error)), now),
        }
    }

    fn broken(&mut self, channel: &mut Channel, error: io::Error, now: Instant) {
        self.way = Way::Down;
        let error = match error.kind() {
            // A server that closes while something of ours is unread resets: also an end.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => PushError::Closed,
            // A connection that is there is not refused; the ports beside it are.
            io::ErrorKind::ConnectionRefused => PushError::PortClosed,
            _ => PushError::Dial(format!("the connection to the media server broke: {error}")),
        };
        channel.failed(error, now);
    }
}

impl Connection {
    fn write(&mut self, channel: &mut Channel, now: Instant) -> io::Result<()> {
        self.link.flush()?;
        self.blocked = false;
        while !channel.output().is_empty() {
            let count = self.try_write(channel.output())?;
            channel.written(count, now);
            self.sent += u64::try_from(count).unwrap_or(0);
            if count == 0 {
                self.blocked = true;
                break;
            }
        }
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.send(channel, now)?;
        }
        if channel.uplink_due(now) {
            let datagrams = self.datagrams.as_ref().map_or(0, Datagrams::sent);
            let mut uplink = Uplink {
                sent_total: self.sent + datagrams,
                ..Uplink::default()
            };
            SocketState::read(&self.link).fill(&mut uplink);
            channel.uplink(uplink, now);
            self.socket.set_bitrate(&self.link, channel.carried(now));
        }
        Ok(())
    }

    /// Writes what ends with an access unit.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.link.is_direct() {
            match self.socket.write_unit(&self.link, bytes) {
                // The runtime has to see it, too.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        Ok(self.link.try_write(bytes)?.unwrap_or(0))
    }

    fn poll(
        &mut self,
        channel: &mut Channel,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ready = Poll::Pending;
        if let Some(datagrams) = &mut self.datagrams
            && datagrams.poll(channel, now, cx).is_ready()
        {
            ready = Poll::Ready(Ok(()));
        }
        let mut room = [0; READ];
        for _ in 0..READS {
            if self.link.poll_ready(false, cx).is_pending() {
                break;
            }
            match self.link.read(&mut room) {
                Ok(Some(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(Some(count)) => {
                    channel.received(room.get(..count).unwrap_or_default(), now);
                    ready = Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.blocked && self.link.poll_ready(true, cx).is_ready() {
            ready = Poll::Ready(Ok(()));
        }
        ready
    }
}

/// An error and what lies under it, in one line.
pub(super) fn with_causes(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
