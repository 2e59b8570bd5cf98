//! The engine on a simulated host: a shell as the tokio one is, with an encoder beside it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use easydarwin_core::media::{G711Law, Track};
use easydarwin_core::protocol::login::NONCE_LEN;
use easydarwin_core::sim::{End, Event, Network, Node};

use super::pictures::{AUDIO_INTERVAL, Encoder, VIDEO_INTERVAL};
use crate::control::{ControlConfig, ControlEngine, ControlEvent};
use crate::engine::{CameraEngine, EngineEvent};
use crate::frames::{FrameSender, QueueConfig, StreamCounts, queue};
use crate::push::{Channel, ChannelEvent, PushTransport};

/// What the kernel takes of a connection.
const SOCKET_BUFFER: usize = 64 << 10;
/// How often a full socket is tried again; a real one tells.
const AGAIN: Duration = Duration::from_millis(5);

/// What happened to the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    Registered,
    Requested,
    Started,
    Failed,
    Stopped,
}

pub(super) struct CameraNode {
    host: IpAddr,
    pub(super) engine: CameraEngine,
    senders: Vec<FrameSender>,
    encoder: Encoder,
    next_video: Instant,
    next_audio: Instant,
    control: Option<End>,
    media: Option<End>,
    blocked: bool,
    /// When it worked last.
    worked: Instant,
    pub(super) noted: Vec<(Duration, Noted)>,
    pub(super) key_requests: u64,
}

impl CameraNode {
    pub(super) fn new(
        host: IpAddr,
        config: ControlConfig,
        frames: &QueueConfig,
        net: &mut Network,
    ) -> Self {
        let now = net.now();
        let tracks = vec![Track::h264(96, Default::default()), Track::g711(G711Law::A)];
        let (senders, feed) = queue(tracks, frames).unwrap();
        let channel = Channel::new(Some(feed), PushTransport::Tcp, 7);
        let control = ControlEngine::new(config, now);
        Self {
            host,
            engine: CameraEngine::new(Some(control), vec![(1, channel)], now),
            senders,
            encoder: Encoder::default(),
            next_video: now,
            next_audio: now,
            control: None,
            media: None,
            blocked: false,
            worked: now,
            noted: Vec::new(),
            key_requests: 0,
        }
    }

    pub(super) fn counts(&self) -> [StreamCounts; 2] {
        [self.senders[0].counts(), self.senders[1].counts()]
    }

    pub(super) fn media(&self) -> Option<End> {
        self.media
    }

    pub(super) fn control(&self) -> Option<End> {
        self.control
    }

    /// What the camera's process does after every input.
    fn work(&mut self, net: &mut Network) {
        let now = net.now();
        self.worked = now;
        // As often as anything comes of it; a camera that never comes to rest is caught.
        for turn in 0.. {
            assert!(turn < 2000, "the engine does not come to rest");
            self.engine.work(now);
            let mut busy = self.events(net);
            busy |= self.write(net);
            if !busy {
                return;
            }
        }
    }

    fn events(&mut self, net: &mut Network) -> bool {
        let now = net.now();
        let mut some = false;
        while let Some(event) = self.engine.poll_event(now) {
            some = true;
            match event {
                EngineEvent::Control(ControlEvent::Connect { address, .. }) => {
                    let to: SocketAddr = address.to_string().parse().unwrap();
                    self.hang_up_control(net);
                    self.control = Some(net.connect(self.host, to));
                }
                EngineEvent::Control(ControlEvent::Disconnect(_)) => self.hang_up_control(net),
                EngineEvent::Control(ControlEvent::Registered { .. }) => {
                    self.note(Noted::Registered, net)
                }
                EngineEvent::Control(_) => {}
                EngineEvent::Channel { event, .. } => match event {
                    ChannelEvent::Connect { url } => {
                        let host: IpAddr = url.host().parse().unwrap();
                        self.hang_up_media(net);
                        self.media = Some(net.connect(self.host, (host, url.port()).into()));
                    }
                    ChannelEvent::Disconnect => self.hang_up_media(net),
                    ChannelEvent::KeyFrame { .. } => {
                        self.key_requests += 1;
                        self.encoder.make_key();
                    }
                    ChannelEvent::Requested { .. } => self.note(Noted::Requested, net),
                    ChannelEvent::Started => self.note(Noted::Started, net),
                    ChannelEvent::Failed(_) => self.note(Noted::Failed, net),
                    ChannelEvent::Stopped => self.note(Noted::Stopped, net),
                    other => panic!("not asked for: {other:?}"),
                },
            }
        }
        some
    }

    fn write(&mut self, net: &mut Network) -> bool {
        let now = net.now();
        let mut some = false;
        if let (Some(end), Some(control)) = (self.control, self.engine.control()) {
            while let Some(bytes) = control.take_output() {
                some = true;
                net.send(end, bytes);
            }
        }
        self.blocked = false;
        if let (Some(end), Some(channel)) = (self.media, self.engine.channel(1)) {
            while !channel.output().is_empty() {
                let room = SOCKET_BUFFER.saturating_sub(net.under_way(end));
                let count = channel.output().len().min(room);
                if count > 0 {
                    net.send(end, channel.output()[..count].to_vec());
                    some = true;
                }
                channel.written(count, now);
                if count == 0 {
                    self.blocked = true;
                    break;
                }
            }
        }
        some
    }

    fn note(&mut self, what: Noted, net: &Network) {
        self.noted.push((net.elapsed(), what));
    }

    fn hang_up_control(&mut self, net: &mut Network) {
        if let Some(end) = self.control.take() {
            net.close(end);
        }
    }

    fn hang_up_media(&mut self, net: &mut Network) {
        if let Some(end) = self.media.take() {
            net.close(end);
        }
    }

    fn encode(&mut self, net: &Network) {
        let now = net.now();
        while self.next_video <= now {
            self.encoder.video(&mut self.senders[0], self.next_video);
            self.next_video += VIDEO_INTERVAL;
        }
        while self.next_audio <= now {
            self.encoder.audio(&mut self.senders[1], self.next_audio);
            self.next_audio += AUDIO_INTERVAL;
        }
    }
}

impl Node for CameraNode {
    fn host(&self) -> IpAddr {
        self.host
    }

    fn handle(&mut self, event: Event, net: &mut Network) {
        let now = net.now();
        let of_control = |end| self.control == Some(end);
        match event {
            Event::Connected { end } if of_control(end) => {
                let mut nonce = [0; NONCE_LEN];
                for byte in &mut nonce {
                    *byte = u8::try_from(net.random().index(256)).unwrap();
                }
                self.engine.control().unwrap().connected(nonce, now);
            }
            Event::Received { end, data } if of_control(end) => {
                self.engine.control().unwrap().received(&data, now);
            }
            Event::NotConnected { end, .. } | Event::Closed { end } | Event::Reset { end }
                if of_control(end) =>
            {
                self.control = None;
                self.engine.control().unwrap().disconnected(now);
            }
            Event::Connected { end } if self.media == Some(end) => {
                self.engine.channel(1).unwrap().connected(false, now);
            }
            Event::Received { end, data } if self.media == Some(end) => {
                self.engine.channel(1).unwrap().received(&data, now);
            }
            Event::NotConnected { end, .. } | Event::Closed { end } | Event::Reset { end }
                if self.media == Some(end) =>
            {
                self.media = None;
                let error = crate::push::PushError::Closed;
                self.engine.channel(1).unwrap().failed(error, now);
            }
            // Of a connection that was given up.
            _ => {}
        }
        self.work(net);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let encoder = self.next_video.min(self.next_audio);
        let again = self.blocked.then(|| self.worked + AGAIN);
        let engine = self.engine.poll_timeout(self.worked);
        [Some(encoder), again, engine].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, net: &mut Network) {
        self.encode(net);
        self.work(net);
    }
}
