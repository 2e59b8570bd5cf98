//! The camera's engine between a CMS and a media server that say anything.

use std::time::{Duration, Instant};

use easydarwin_camera::PushTransport;
use easydarwin_camera::control::{
    CmsAddress, CommandKind, CommandKinds, ControlConfig, ControlEngine, ControlEvent, Credential,
    Upload,
};
use easydarwin_camera::engine::{CameraEngine, EngineEvent};
use easydarwin_camera::feedback::{RateConfig, Uplink};
use easydarwin_camera::frames::{Frame, FrameSender, QueueConfig, queue};
use easydarwin_camera::push::{Channel, ChannelEvent, PushError};
use easydarwin_core::media::{G711Law, Track};
use easydarwin_core::protocol::ErrorNum;

use crate::Meter;
use crate::input::Input;

/// Works until it comes to rest; an engine that never does is caught.
const TURNS: usize = 1000;
/// Beyond rings and tables, which are taken before: messages that wait for a CMS that does not
/// read, one picture in packets, what a server has half said.
const HELD: usize = 6 << 20;

struct Rig {
    engine: CameraEngine,
    senders: Vec<FrameSender>,
    now: Instant,
    /// The sockets take nothing.
    blocked: bool,
    /// What the kernel says when it is asked.
    uplink: Uplink,
    pts_us: i64,
    /// What the shell was asked to put.
    upload: Option<Box<Upload>>,
}

/// A program of connections, bytes, frames and time.
pub fn camera(data: &[u8]) {
    let mut input = Input::new(data);
    let now = Instant::now();
    let flags = input.byte();
    let credential = if flags & 1 == 0 {
        Credential::Token("t".to_owned())
    } else {
        Credential::key("a key", "cam")
    };
    let mut config = ControlConfig::new("cam", credential);
    config.addresses = vec![CmsAddress::plain("cms:10000"), CmsAddress::tls("b:10001")];
    config.supports = CommandKinds::from_iter([
        CommandKind::Ptz,
        CommandKind::Talkback,
        CommandKind::Snapshot,
        CommandKind::Config,
    ]);
    config.uploads = flags & 16 != 0;
    let mut queued = QueueConfig::default();
    queued.video_bytes = 64 << 10;
    queued.audio_bytes = 4 << 10;
    if flags & 4 != 0 {
        queued.pre_roll = Duration::from_secs(2);
    }
    let tracks = vec![Track::h264(96, Default::default()), Track::g711(G711Law::A)];
    let (senders, feed) = queue(tracks, &queued).expect("memory and a pipe");
    let transport = if flags & 2 == 0 {
        PushTransport::Tcp
    } else {
        PushTransport::Udp
    };
    let mut channel = Channel::new(Some(feed), transport, 7);
    if flags & 8 != 0 {
        channel.control_rate(RateConfig::default());
    }
    let control = ControlEngine::new(config, now);
    let mut rig = Rig {
        engine: CameraEngine::new(Some(control), vec![(1, channel)], now),
        senders,
        now,
        blocked: false,
        uplink: Uplink::default(),
        pts_us: 0,
        upload: None,
    };
    let meter = Meter::new();
    rig.rest();
    while !input.is_empty() {
        rig.step(&mut input);
        rig.rest();
        assert!(meter.held() <= HELD, "{} bytes are held", meter.held());
    }
    rig.blocked = false;
    rig.engine.leave(rig.now);
    // A server that does not answer a goodbye is waited for, but not for ever.
    for _ in 0..100 {
        rig.rest();
        if rig.engine.has_left() {
            return;
        }
        rig.now += Duration::from_secs(1);
    }
    panic!("it does not leave");
}

impl Rig {
    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.now;
        let what = input.byte();
        match what & 0x0f {
            0 => self.control().connected([what; 18], now),
            1 => self.control().received(input.piece(), now),
            2 => self.control().disconnected(now),
            3 => self.channel().connected(what & 0x10 != 0, now),
            4 => self.channel().received(input.piece(), now),
            5 => self.channel().failed(PushError::Closed, now),
            6 => self.channel().bound(vec![(6000, 6001), (6002, 6003)], now),
            7 => self.channel().received_datagram(input.piece(), now),
            8 => self.now += Duration::from_millis(u64::from(input.byte())),
            9 => self.now += Duration::from_secs(u64::from(input.byte())),
            10 | 11 => self.push(usize::from(what & 1), what & 0x10 != 0, input.word()),
            12 => self.blocked = what & 0x10 != 0,
            13 if what & 0x20 != 0 => {
                let piece = input.piece();
                let ended = self
                    .upload
                    .as_mut()
                    .and_then(|upload| upload.received(piece));
                if let Some(result) = ended {
                    self.upload = None;
                    self.control().uploaded(result, now);
                }
            }
            13 => {
                let jpeg = vec![0xff; usize::from(input.word()) * 20];
                self.control().snapshot(1, &jpeg, now);
            }
            _ => {
                self.uplink.unsent = usize::from(input.word());
                self.uplink.in_flight = usize::from(input.word());
                self.uplink.sent_total = u64::from(input.long());
            }
        }
    }

    fn control(&mut self) -> &mut ControlEngine {
        self.engine.control().expect("it has a CMS")
    }

    fn channel(&mut self) -> &mut Channel {
        self.engine.channel(1).expect("it has a channel")
    }

    fn push(&mut self, stream: usize, key: bool, len: u16) {
        self.pts_us += 20_000;
        let bytes = vec![0x55; usize::from(len)];
        let start = [0, 0, 0, 1, if key { 0x65 } else { 0x41 }];
        let parts: &[&[u8]] = &[&start, &bytes];
        let frame = Frame {
            parts: if stream == 0 { parts } else { &parts[1..] },
            pts_us: self.pts_us,
            key,
        };
        self.senders[stream].push(&frame);
    }

    /// What a shell does after every input.
    fn rest(&mut self) {
        for _ in 0..TURNS {
            self.engine.work(self.now);
            let mut busy = false;
            while let Some(event) = self.engine.poll_event(self.now) {
                busy = true;
                self.act(event);
            }
            busy |= !self.blocked && self.write();
            let now = self.now;
            if self.channel().uplink_due(now) {
                busy = true;
                let uplink = self.uplink;
                self.channel().uplink(uplink, now);
            }
            if !busy && !self.channel().listen() {
                let due = self.engine.poll_timeout(self.now);
                assert!(
                    due.is_none_or(|due| due > self.now),
                    "it wants to work again at once"
                );
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn act(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Control(ControlEvent::Command { id, .. }) => {
                self.control().reply(id, ErrorNum::OK);
            }
            EngineEvent::Control(ControlEvent::Upload(upload)) => {
                assert!(self.upload.is_none(), "two at once");
                self.upload = Some(upload);
            }
            EngineEvent::Control(ControlEvent::CancelUpload) => self.upload = None,
            EngineEvent::Channel {
                event: ChannelEvent::Requested { url },
                ..
            } => assert!(!url.contains("secret"), "{url}"),
            _ => {}
        }
    }

    /// Everything that is there; whether there was anything.
    fn write(&mut self) -> bool {
        let now = self.now;
        let mut some = false;
        while self.control().take_output().is_some() {
            some = true;
        }
        while self
            .upload
            .as_mut()
            .is_some_and(|upload| upload.take_output().is_some())
        {
            some = true;
        }
        let channel = self.channel();
        while !channel.output().is_empty() {
            channel.written(channel.output().len(), now);
            some = true;
        }
        while channel.datagram(now).is_some() {
            channel.datagram_sent(now);
            some = true;
        }
        some
    }
}
