//! One hour of media, with outages of everything in any order.

use std::net::SocketAddr;
use std::time::Duration;

use easydarwin_core::rtsp::ServerConfig;
use easydarwin_core::sim::{self, Link, Network, Node, RtspServer, ServerOutcome};

use super::camera::{CameraNode, Noted};
use super::cms::CmsNode;
use super::pictures::Reader;
use crate::control::{CmsAddress, ControlConfig, Credential};
use crate::frames::{DropCause, QueueConfig};

const HOUR: Duration = Duration::from_secs(3600);
/// Without faults at the end; until then the stream has to be back.
const QUIET: Duration = Duration::from_secs(180);
const BACK: Duration = Duration::from_secs(90);

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    CmsPower,
    ServerPower,
    CmsPath,
    ServerPath,
    Network,
    CutMedia,
    CutControl,
    ForgottenMedia,
    ForgottenControl,
    Slow,
}

const FAULTS: [Fault; 10] = [
    Fault::CmsPower,
    Fault::ServerPower,
    Fault::CmsPath,
    Fault::ServerPath,
    Fault::Network,
    Fault::CutMedia,
    Fault::CutControl,
    Fault::ForgottenMedia,
    Fault::ForgottenControl,
    Fault::Slow,
];

struct World {
    net: Network,
    camera: CameraNode,
    cms: CmsNode,
    server: RtspServer,
    cms_at: SocketAddr,
    server_at: SocketAddr,
    reader: Option<Reader>,
    pictures: u64,
    sounds: u64,
}

impl World {
    fn new(seed: u64, pre_roll: Duration) -> Self {
        let mut net = Network::new(seed);
        let (cms_at, server_at) = (
            "10.0.0.1:10000".parse().unwrap(),
            "10.0.0.2:554".parse().unwrap(),
        );
        let mut link = Link::with_delay(Duration::from_millis(20));
        link.jitter = Duration::from_millis(5);
        link.random_cuts = seed.is_multiple_of(2);
        link.bandwidth = Some(4_000_000);
        net.set_default_link(link);
        let cms = CmsNode::listen(cms_at, server_at, &mut net);
        let server = RtspServer::listen(&mut net, server_at, ServerConfig::default());
        let mut config = ControlConfig::new("camera", Credential::Token("secret".to_owned()));
        config.addresses = vec![CmsAddress::plain(cms_at.to_string())];
        config.seed = seed;
        let frames = QueueConfig {
            video_bytes: 256 << 10,
            pre_roll,
            ..QueueConfig::default()
        };
        let camera = CameraNode::new("10.0.0.9".parse().unwrap(), config, &frames, &mut net);
        Self {
            net,
            camera,
            cms,
            server,
            cms_at,
            server_at,
            reader: None,
            pictures: 0,
            sounds: 0,
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.net.now() + time;
        while sim::step(
            &mut self.net,
            &mut [&mut self.camera, &mut self.cms, &mut self.server],
            until,
        ) {
            self.look();
        }
    }

    /// What the server has come to know.
    fn look(&mut self) {
        while let Some(outcome) = self.server.poll_outcome() {
            match outcome {
                ServerOutcome::Recording(path) => {
                    assert_eq!(path, "camera/1");
                    self.ended();
                    self.reader = Some(Reader::default());
                    self.cms.streams = true;
                }
                ServerOutcome::Packet {
                    track,
                    rtcp: false,
                    data,
                    ..
                } => {
                    self.reader.as_mut().unwrap().packet(track, &data);
                }
                ServerOutcome::Packet { .. } => {}
                _ => self.ended(),
            }
        }
    }

    fn ended(&mut self) {
        self.cms.streams = false;
        if let Some(reader) = self.reader.take() {
            self.pictures += reader.pictures;
            self.sounds += reader.sounds;
        }
    }

    fn fault(&mut self) {
        let (camera, cms, server) = (self.camera.host(), self.cms_at.ip(), self.server_at.ip());
        let fault = FAULTS[self.net.random().index(FAULTS.len())];
        let lasts =
            Duration::from_millis(100) + self.net.random().duration(Duration::from_secs(60));
        self.net.note(format!("{fault:?} for {lasts:?}"));
        match fault {
            Fault::CmsPower => {
                self.net.stop_host(cms);
                self.run(lasts);
                self.net.start_host(cms);
                self.cms.restart(&mut self.net);
            }
            Fault::ServerPower => {
                self.net.stop_host(server);
                self.ended();
                self.run(lasts);
                self.net.start_host(server);
                self.server =
                    RtspServer::listen(&mut self.net, self.server_at, ServerConfig::default());
            }
            Fault::CmsPath => self.without(&[(camera, cms)], lasts),
            Fault::ServerPath => self.without(&[(camera, server)], lasts),
            Fault::Network => self.without(&[(camera, cms), (camera, server)], lasts),
            Fault::CutMedia => self
                .camera
                .media()
                .into_iter()
                .for_each(|end| self.net.cut(end)),
            Fault::CutControl => self
                .camera
                .control()
                .into_iter()
                .for_each(|end| self.net.cut(end)),
            Fault::ForgottenMedia => self
                .camera
                .media()
                .into_iter()
                .for_each(|end| self.net.silence(end)),
            Fault::ForgottenControl => self
                .camera
                .control()
                .into_iter()
                .for_each(|end| self.net.silence(end)),
            Fault::Slow => {
                let link = |bandwidth| {
                    let mut link = Link::with_delay(Duration::from_millis(20));
                    link.bandwidth = Some(bandwidth);
                    link
                };
                self.net.set_link(camera, server, link(200_000));
                self.run(lasts);
                self.net.set_link(camera, server, link(4_000_000));
            }
        }
    }

    fn without(&mut self, paths: &[(std::net::IpAddr, std::net::IpAddr)], lasts: Duration) {
        for (a, b) in paths {
            self.net.set_path(*a, *b, false);
        }
        self.run(lasts);
        for (a, b) in paths {
            self.net.set_path(*a, *b, true);
        }
    }
}

fn hour(seed: u64, pre_roll: Duration) {
    let mut world = World::new(seed, pre_roll);
    while world.net.elapsed() < HOUR - QUIET {
        let pause = world.net.random().duration(Duration::from_secs(90));
        world.run(pause);
        world.fault();
    }
    world.run(BACK);
    let (reader, before) = (world.reader.as_ref().unwrap(), world.camera.counts());
    let pictures = reader.pictures;
    world.run(QUIET - BACK);
    // All that is filmed arrives again.
    let reader = world.reader.as_ref().unwrap();
    let filmed = u64::try_from((QUIET - BACK).as_millis() / 40).unwrap();
    assert!(
        reader.pictures - pictures + 2 >= filmed,
        "{} of {filmed} pictures",
        reader.pictures - pictures
    );

    let [video, audio] = world.camera.counts();
    for (counts, before) in [(video, before[0]), (audio, before[1])] {
        assert_eq!(counts.dropped(), before.dropped(), "{counts:?}");
        // Every frame is accounted for; what waits is a moment's.
        assert!(
            counts.waiting() <= if pre_roll.is_zero() { 2 } else { 400 },
            "{counts:?}"
        );
        assert_eq!(
            counts.dropped_by(DropCause::Format) + counts.dropped_by(DropCause::Size),
            0
        );
    }
    let hour = world.net.elapsed();
    let frames = u64::try_from(hour.as_millis() / 40).unwrap();
    assert!(video.pushed.abs_diff(frames) <= 1 && audio.pushed.abs_diff(2 * frames) <= 2);
    world.ended();
    // What was sent but did not arrive was under way in a connection that broke.
    assert!(world.pictures <= video.sent + u64::from(!pre_roll.is_zero()) * frames);
    let started = world
        .camera
        .noted
        .iter()
        .filter(|(_, what)| *what == Noted::Started);
    assert!(started.count() >= 10, "{:?}", world.camera.noted);
    println!(
        "seed {seed}: {} of {} pictures sent, {} arrived; dropped {:?}",
        video.sent,
        video.pushed,
        world.pictures,
        DropCause::ALL.map(|cause| (cause, video.dropped_by(cause))),
    );
}

#[test]
fn an_hour_of_outages() {
    for seed in 0..2 {
        hour(seed, Duration::ZERO);
    }
}

#[test]
fn an_hour_of_outages_with_pre_roll() {
    for seed in 100..101 {
        hour(seed, Duration::from_secs(2));
    }
}
