//! A camera in a program that has a loop of its own: the engine beside `epoll`, without tokio.
//!
//!     cargo run --release --bin own_loop -- --cms 127.0.0.1:10000 --serial 001001000002 --key KEY
//!
//! The engine knows neither sockets nor clocks. The loop moves bytes, tells it the time, and does
//! what it says. Whatever paces frames may be the encoder; here it is the test picture, on a thread
//! of its own.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::ToSocketAddrs as _;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::{Buf as _, Bytes};
use clap::Parser;
use easydarwin_camera::PushTransport;
use easydarwin_camera::control::{
    CmsAddress, ControlConfig, ControlEngine, ControlEvent, Credential,
};
use easydarwin_camera::engine::{CameraEngine, EngineEvent};
use easydarwin_camera::feedback::Uplink;
use easydarwin_camera::frames::{Frame, FrameSender, QueueConfig, queue};
use easydarwin_camera::push::{Channel, ChannelEvent, PushError};
use easydarwin_camera::socket::{SocketState, UplinkSocket};
use easydarwin_camera::source::{MediaSource, PatternSource, SourceError, blank_unit};
use easydarwin_core::cli::{log_to_stderr, shutdown_signal};
use easydarwin_core::media::{MediaKind, SessionDescription};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

/// A camera that films a test picture
#[derive(Debug, Parser)]
struct Args {
    /// The CMS, host and port
    #[arg(long, default_value = "127.0.0.1:10000")]
    cms: String,
    /// Serial under which the CMS knows this camera
    #[arg(long)]
    serial: String,
    /// The key that the CMS gave for this serial; it is proven, never sent
    #[arg(long, env = "CAMERA_KEY", hide_env_values = true)]
    key: String,
}

const CONTROL: Token = Token(0);
const MEDIA: Token = Token(1);
const BELL: Token = Token(2);
const END: Token = Token(3);
/// The only channel.
const CHANNEL: u32 = 1;

/// What encoder and loop tell each other beside frames.
#[derive(Debug, Default)]
struct Wishes {
    key_frame: AtomicBool,
    end: AtomicBool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr("warn")?;
    let mut source = PatternSource::new(&*args.serial);
    let encoding = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let description = encoding.block_on(poll_fn(|cx| source.poll_open(cx)))?;
    let (senders, feed) = queue(description.tracks.clone(), &QueueConfig::default())?;

    let mut config = ControlConfig::new(&*args.serial, Credential::key(&args.key, &args.serial));
    config.addresses.push(CmsAddress::plain(args.cms));
    config.seed = getrandom::u64()?;
    let now = Instant::now();
    let control = ControlEngine::new(config, now);
    let channel = Channel::new(Some(feed), PushTransport::Tcp, getrandom::u64()?);
    let engine = CameraEngine::new(Some(control), vec![(CHANNEL, channel)], now);

    let wishes = Arc::new(Wishes::default());
    let mut camera = Loop::new(engine, Arc::clone(&wishes))?;
    // Both hold it: a waker that is gone wakes nobody.
    let waker = Arc::new(Waker::new(camera.poll.registry(), END)?);
    let ended = Arc::clone(&waker);
    let stopped = encoding.block_on(async { shutdown_signal() })?;
    let encoder = std::thread::spawn(move || {
        encoding.block_on(async {
            let encoded = tokio::select! {
                encoded = encode(source, &description, senders, &wishes) => encoded,
                () = stopped => Ok(()),
            };
            wishes.end.store(true, Ordering::Release);
            ended.wake()?;
            encoded.map_err(io::Error::other)
        })
    });
    camera.run()?;
    drop(waker);
    encoder.join().map_err(|_| "the encoder panicked")??;
    Ok(())
}

/// Pushes every frame, wanted or not: the queue knows.
async fn encode(
    mut source: PatternSource,
    description: &SessionDescription,
    mut senders: Vec<FrameSender>,
    wishes: &Wishes,
) -> Result<(), SourceError> {
    let mut unit = blank_unit(Instant::now());
    loop {
        if wishes.key_frame.swap(false, Ordering::AcqRel) {
            source.request_key_frame();
        }
        poll_fn(|cx| source.poll_frame(cx, &mut unit)).await?;
        // An encoder that is behind has always a frame; the end is seen all the same.
        tokio::task::yield_now().await;
        let track = description.tracks.get(unit.track);
        let (Some(track), Some(sender)) = (track, senders.get_mut(unit.track)) else {
            continue;
        };
        // Pictures as encoders hand them over, each NAL unit behind a start code.
        let mut parts: Vec<&[u8]> = Vec::new();
        for data in &unit.data {
            if track.kind == MediaKind::Video {
                parts.push(&[0, 0, 0, 1]);
            }
            parts.push(data);
        }
        sender.push(&Frame {
            parts: &parts,
            pts_us: unit.pts * 1_000_000 / i64::from(track.clock_rate),
            key: unit.key,
        });
    }
}

/// A connection that is made or there.
struct Wire {
    stream: TcpStream,
    connected: bool,
    /// Keeps the kernel's queue short, where media is sent.
    uplink: Option<UplinkSocket>,
    sent: u64,
}

/// Sockets and clock around the engine.
struct Loop {
    engine: CameraEngine,
    poll: Poll,
    control: Option<Wire>,
    /// What the CMS's socket has not taken yet.
    rest: Bytes,
    media: Option<Wire>,
    wishes: Arc<Wishes>,
}

impl Loop {
    fn new(mut engine: CameraEngine, wishes: Arc<Wishes>) -> io::Result<Self> {
        let poll = Poll::new()?;
        if let Some(bell) = engine.channel(CHANNEL).and_then(|channel| channel.bell()) {
            let bell = bell.as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&bell), BELL, Interest::READABLE)?;
        }
        Ok(Self {
            engine,
            poll,
            control: None,
            rest: Bytes::new(),
            media: None,
            wishes,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(16);
        loop {
            let now = Instant::now();
            self.engine.work(now);
            while let Some(event) = self.engine.poll_event(now) {
                self.act(event, now);
            }
            self.write(now);
            if self.engine.has_left() {
                return Ok(());
            }
            // Last: from here on the bell rings for frames.
            if self.engine.channel(CHANNEL).is_some_and(Channel::listen) {
                continue;
            }
            let due = self.engine.poll_timeout(now);
            let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    BELL => self.engine.channel(CHANNEL).map_or((), Channel::hush),
                    CONTROL => self.read_control(now),
                    MEDIA => self.read_media(now),
                    _ if self.wishes.end.load(Ordering::Acquire) => self.engine.leave(now),
                    _ => {}
                }
            }
        }
    }

    fn act(&mut self, event: EngineEvent, now: Instant) {
        match event {
            EngineEvent::Control(ControlEvent::Connect { address, .. }) => {
                self.control = self.dial(address.authority(), CONTROL);
                if self.control.is_none() {
                    self.lost_control(now);
                }
            }
            EngineEvent::Control(ControlEvent::Disconnect(reason)) => {
                self.control = None;
                self.rest = Bytes::new();
                println!("the CMS: {reason}");
            }
            EngineEvent::Control(ControlEvent::Registered { .. }) => println!("ready: registered"),
            // Without commands that it supports there is nothing to be answered here.
            EngineEvent::Control(_) => {}
            EngineEvent::Channel { event, .. } => match event {
                ChannelEvent::Connect { url } if url.is_secure() => {
                    self.lost_media(PushError::Dial("no TLS in this program".to_owned()), now);
                }
                ChannelEvent::Connect { url } => {
                    let authority = format!("{}:{}", url.host(), url.port());
                    self.media = self.dial(&authority, MEDIA);
                    if self.media.is_none() {
                        self.lost_media(PushError::Dial(format!("no way to {authority}")), now);
                    }
                }
                ChannelEvent::Disconnect => self.media = None,
                ChannelEvent::KeyFrame { .. } => {
                    self.wishes.key_frame.store(true, Ordering::Release);
                }
                event => println!("{event:?}"),
            },
            _ => {}
        }
    }

    /// The name is looked up on the way, which may take a while; a vendor asks another thread.
    fn dial(&self, authority: &str, token: Token) -> Option<Wire> {
        let address = authority.to_socket_addrs().ok()?.next()?;
        let mut stream = TcpStream::connect(address).ok()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, token, both)
            .ok()?;
        Some(Wire {
            stream,
            connected: false,
            uplink: None,
            sent: 0,
        })
    }

    fn write(&mut self, now: Instant) {
        if let Err(error) = self.write_control() {
            println!("the CMS: {error}");
            self.lost_control(now);
        }
        if self.write_media(now).is_err() {
            self.lost_media(PushError::Closed, now);
        }
    }

    fn write_control(&mut self) -> io::Result<()> {
        let (Some(wire), Some(engine)) = (&mut self.control, self.engine.control()) else {
            return Ok(());
        };
        while wire.connected {
            if self.rest.is_empty() {
                match engine.take_output() {
                    Some(bytes) => self.rest = bytes,
                    None => break,
                }
            }
            match take(wire.stream.write(&self.rest))? {
                Some(count) => self.rest.advance(count),
                None => break,
            }
        }
        Ok(())
    }

    fn write_media(&mut self, now: Instant) -> io::Result<()> {
        let (Some(wire), Some(channel)) = (&mut self.media, self.engine.channel(CHANNEL)) else {
            return Ok(());
        };
        while wire.connected && !channel.output().is_empty() {
            let count = take(wire.stream.write(channel.output()))?.unwrap_or(0);
            channel.written(count, now);
            wire.sent += count as u64;
            if count == 0 {
                break;
            }
        }
        // What the kernel holds decides which frames would still leave in time.
        if wire.connected && channel.uplink_due(now) {
            let mut uplink = Uplink {
                sent_total: wire.sent,
                ..Uplink::default()
            };
            SocketState::read(&wire.stream).fill(&mut uplink);
            channel.uplink(uplink, now);
            let carried = channel.carried(now);
            let socket = wire
                .uplink
                .get_or_insert_with(|| UplinkSocket::prepare(&wire.stream, carried));
            socket.set_bitrate(&wire.stream, carried);
        }
        Ok(())
    }

    fn read_control(&mut self, now: Instant) {
        let (Some(wire), Some(engine)) = (&mut self.control, self.engine.control()) else {
            return;
        };
        let read = wire.read(|event| match event {
            Incoming::Connected => {
                let mut random = [0; 18];
                getrandom::fill(&mut random).map_err(io::Error::other)?;
                engine.connected(random, now);
                Ok(())
            }
            Incoming::Bytes(bytes) => {
                engine.received(bytes, now);
                Ok(())
            }
        });
        if let Err(error) = read {
            println!("the CMS: {error}");
            self.lost_control(now);
        }
    }

    fn read_media(&mut self, now: Instant) {
        let (Some(wire), Some(channel)) = (&mut self.media, self.engine.channel(CHANNEL)) else {
            return;
        };
        let read = wire.read(|event| {
            match event {
                Incoming::Connected => channel.connected(false, now),
                Incoming::Bytes(bytes) => channel.received(bytes, now),
            }
            Ok(())
        });
        if read.is_err() {
            self.lost_media(PushError::Closed, now);
        }
    }

    fn lost_control(&mut self, now: Instant) {
        self.control = None;
        self.rest = Bytes::new();
        if let Some(engine) = self.engine.control() {
            engine.disconnected(now);
        }
    }

    fn lost_media(&mut self, error: PushError, now: Instant) {
        self.media = None;
        if let Some(channel) = self.engine.channel(CHANNEL) {
            channel.failed(error, now);
        }
    }
}

/// What a socket brings.
enum Incoming<'a> {
    Connected,
    Bytes(&'a [u8]),
}

impl Wire {
    /// All that is there: the system tells of it once.
    fn read(&mut self, mut take_in: impl FnMut(Incoming<'_>) -> io::Result<()>) -> io::Result<()> {
        if !self.connected {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.connected = true;
            take_in(Incoming::Connected)?;
        }
        let mut room = [0; 4096];
        while let Some(count) = take(self.stream.read(&mut room))? {
            match room.get(..count) {
                Some(bytes) if !bytes.is_empty() => take_in(Incoming::Bytes(bytes))?,
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(())
    }
}

/// `None` when the socket is not ready.
fn take(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
