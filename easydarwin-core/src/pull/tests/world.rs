//! A camera, a network and a clock, all of them made up; the camera speaks through our own
//! server's state machine, the supervisor is the real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::rig::frame;
use crate::pull::*;
use crate::rtsp::auth::{AuthConfig, Realm, UserSecret, Verdict, Via};
use crate::rtsp::{
    Method, Reply, ServerConfig, ServerConnection, ServerEvent, Step, TransportAnswer,
    TransportOffer,
};

/// From one end of the network to the other.
const DELAY: Duration = Duration::from_millis(5);

pub(super) struct Camera {
    pub(super) port: u16,
    pub(super) password: &'static str,
    /// Takes connections.
    pub(super) up: bool,
    /// While down: refuses them rather than saying nothing.
    pub(super) refuses: bool,
    realm: Realm,
    connections: BTreeMap<u64, Connection>,
    sessions: u64,
    sequence: u16,
}

struct Connection {
    rtsp: ServerConnection,
    input: Vec<u8>,
    playing: bool,
}

enum News {
    Accepted(u64),
    Refused(u64),
    ToCamera(u64, Bytes),
    ToEngine(u64, Bytes),
    Closed(u64),
    /// The next second of media.
    Media,
}

pub(super) struct World {
    pub(super) engine: SourceEngine,
    pub(super) camera: Camera,
    pub(super) now: Instant,
    start: Instant,
    news: BTreeMap<(Instant, u64), News>,
    numbers: u64,
    /// Connections whose packets vanish, both ways.
    dead: Vec<u64>,
    current: u64,
    input: Vec<u8>,
    pub(super) packets: u64,
    /// Every change of state, with its time.
    pub(super) states: Vec<(Duration, LinkState)>,
    /// Every wait: when, why and for how long.
    pub(super) waits: Vec<(Duration, FailureKind, Duration)>,
}

impl World {
    pub(super) fn new(spec: SourceSpec, seed: u64) -> Self {
        let now = Instant::now();
        let camera = Camera {
            port: 554,
            password: "first",
            up: true,
            refuses: true,
            realm: Realm::new(AuthConfig::default(), [7; 32], now),
            connections: BTreeMap::new(),
            sessions: 0,
            sequence: 0,
        };
        let memory = SourceMemory::default();
        let mut world = Self {
            engine: SourceEngine::new(spec, PullConfig::default(), memory, seed),
            camera,
            now,
            start: now,
            news: BTreeMap::new(),
            numbers: 0,
            dead: Vec::new(),
            current: 0,
            input: Vec::new(),
            packets: 0,
            states: Vec::new(),
            waits: Vec::new(),
        };
        world.send(Duration::ZERO, News::Media);
        world.engine.start(now);
        world.drain();
        world
    }

    pub(super) fn time(&self) -> Duration {
        self.now - self.start
    }

    /// Runs until that time after the start.
    pub(super) fn run(&mut self, until: Duration) {
        let until = self.start + until;
        loop {
            let news = self.news.first_key_value().map(|((at, _), _)| *at);
            let timer = self.engine.poll_timeout();
            let server = self
                .camera
                .connections
                .values()
                .map(|c| c.rtsp.poll_timeout())
                .min();
            let Some(next) = [news, timer, server].into_iter().flatten().min() else {
                break;
            };
            if next > until {
                break;
            }
            self.now = next.max(self.now);
            if let Some(entry) = self.news.first_entry()
                && entry.key().0 <= self.now
            {
                let news = entry.remove();
                self.happen(news);
            } else if timer.is_some_and(|at| at <= self.now) {
                self.engine.handle_timeout(self.now);
            } else {
                self.serve_timers();
            }
            self.drain();
        }
        self.now = until;
    }

    /// Runs until that state, and tells how long it took.
    pub(super) fn run_until(&mut self, state: LinkState, patience: Duration) -> Duration {
        let begin = self.time();
        while self.engine.state() != state {
            assert!(
                self.time() - begin < patience,
                "{state:?} did not come in time"
            );
            let step = self.time() + Duration::from_millis(10);
            self.run(step);
        }
        self.time() - begin
    }

    pub(super) fn update(&mut self, url: &str) {
        self.engine.update(super::rig::spec(url), self.now);
        self.drain();
    }

    /// All connections end; `fin`: and the other side is told.
    pub(super) fn cut(&mut self, fin: bool) {
        let all: Vec<_> = std::mem::take(&mut self.camera.connections)
            .into_keys()
            .collect();
        for number in all {
            if fin {
                self.send(DELAY, News::Closed(number));
            } else {
                self.dead.push(number);
            }
        }
    }

    /// Packets of the connections of now vanish; neither end is told.
    pub(super) fn half_open(&mut self) {
        self.dead.extend(self.camera.connections.keys().copied());
    }

    fn send(&mut self, delay: Duration, news: News) {
        self.numbers += 1;
        self.news.insert((self.now + delay, self.numbers), news);
    }

    fn happen(&mut self, news: News) {
        match news {
            News::Accepted(number) => self.engine.connected(number, false, self.now),
            News::Refused(number) => {
                self.engine
                    .connect_failed(number, "connection refused", self.now);
            }
            News::ToCamera(number, bytes) if !self.dead.contains(&number) => {
                if let Some(connection) = self.camera.connections.get_mut(&number) {
                    connection.input.extend_from_slice(&bytes);
                    self.serve(number);
                }
            }
            News::ToEngine(number, bytes) if !self.dead.contains(&number) => {
                if number == self.current {
                    self.input.extend_from_slice(&bytes);
                    self.take();
                }
            }
            News::Closed(number) => self.engine.closed(number, self.now),
            News::ToCamera(..) | News::ToEngine(..) => {}
            News::Media => {
                self.send(Duration::from_secs(1), News::Media);
                self.camera.sequence = self.camera.sequence.wrapping_add(1);
                let packet = Bytes::from(frame(0, self.camera.sequence));
                let playing: Vec<_> = self
                    .camera
                    .connections
                    .iter()
                    .filter(|(_, connection)| connection.playing)
                    .map(|(number, _)| *number)
                    .collect();
                for number in playing {
                    self.send(DELAY, News::ToEngine(number, packet.clone()));
                }
            }
        }
    }

    /// The supervisor reads.
    fn take(&mut self) {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        loop {
            let consumed = match self.engine.next(rest, self.now) {
                SourceStep::NeedMore => break,
                SourceStep::Handled { consumed } => consumed,
                SourceStep::Media { consumed, .. } => {
                    self.packets += 1;
                    consumed
                }
            };
            rest = &rest[consumed..];
        }
        self.input = rest.to_vec();
    }

    /// The camera reads and answers.
    fn serve(&mut self, number: u64) {
        let Some(connection) = self.camera.connections.get_mut(&number) else {
            return;
        };
        let input = std::mem::take(&mut connection.input);
        let mut rest = input.as_slice();
        let mut close = false;
        loop {
            let consumed = match connection.rtsp.next(rest, self.now) {
                Step::NeedMore => break,
                Step::Handled { consumed } | Step::Interleaved { consumed, .. } => consumed,
                Step::Event { consumed, event } => {
                    connection.on_event(event, &self.camera.realm, self.camera.password, self.now);
                    consumed
                }
                Step::Close { .. } => {
                    close = true;
                    break;
                }
            };
            rest = &rest[consumed..];
        }
        connection.input = rest.to_vec();
        while let Some(bytes) = connection.rtsp.take_output() {
            self.numbers += 1;
            let at = (self.now + DELAY, self.numbers);
            self.news.insert(at, News::ToEngine(number, bytes));
        }
        if close {
            self.camera.connections.remove(&number);
            self.send(2 * DELAY, News::Closed(number));
        }
    }

    fn serve_timers(&mut self) {
        let due: Vec<_> = self
            .camera
            .connections
            .iter_mut()
            .filter_map(|(number, connection)| {
                connection.rtsp.handle_timeout(self.now).map(|_| *number)
            })
            .collect();
        for number in due {
            self.camera.connections.remove(&number);
            self.send(DELAY, News::Closed(number));
        }
    }

    /// Does what the supervisor asks for.
    fn drain(&mut self) {
        loop {
            let mut any = false;
            while let Some(bytes) = self.engine.take_output() {
                let number = self.current;
                self.send(DELAY, News::ToCamera(number, bytes));
            }
            while let Some(output) = self.engine.poll_output() {
                any = true;
                self.on_output(output);
            }
            if !any {
                break;
            }
        }
        let state = self.engine.state();
        if self.states.last().is_none_or(|(_, last)| *last != state) {
            self.states.push((self.time(), state));
        }
    }

    fn on_output(&mut self, output: SourceOutput) {
        match output {
            SourceOutput::Connect { attempt, url, .. } => {
                self.current = attempt;
                self.input.clear();
                if self.camera.up && url.port() == self.camera.port {
                    self.camera.accept(attempt, self.now);
                    self.send(2 * DELAY, News::Accepted(attempt));
                } else if self.camera.up || self.camera.refuses {
                    self.send(2 * DELAY, News::Refused(attempt));
                }
            }
            SourceOutput::Close { attempt } if !self.dead.contains(&attempt) => {
                self.camera.connections.remove(&attempt);
            }
            SourceOutput::Failed(failure, wait) => {
                let time = self.time();
                self.waits.push((time, failure.kind(), wait));
            }
            _ => {}
        }
    }
}

impl Camera {
    fn accept(&mut self, number: u64, now: Instant) {
        self.sessions += 1;
        let config = ServerConfig {
            session_timeout: Duration::from_secs(60),
            ..ServerConfig::default()
        };
        let id = format!("session{:08}", self.sessions);
        let local = "10.0.0.9:554".parse().unwrap();
        let connection = Connection {
            rtsp: ServerConnection::new(Arc::new(config), id, local, now),
            input: Vec::new(),
            playing: false,
        };
        self.connections.insert(number, connection);
    }

    pub(super) fn readers(&self) -> usize {
        self.connections.values().filter(|c| c.playing).count()
    }
}

impl Connection {
    fn on_event(&mut self, event: ServerEvent, realm: &Realm, password: &str, now: Instant) {
        match event {
            ServerEvent::Describe {
                id,
                uri,
                credentials,
            } => {
                let via = Via {
                    peer: [10, 0, 0, 1].into(),
                    secure: false,
                };
                let secret = UserSecret::from_password("admin", realm.name(), password);
                let sent = credentials.authorization.as_deref().unwrap_or_default();
                let right = realm
                    .read(sent, (&Method::Describe, &uri), via, now)
                    .is_ok_and(|proof| proof.check(Some(&secret)) == Verdict::Right);
                let reply = if right {
                    let control = uri.track_control(0);
                    let sdp = format!(
                        "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:{control}\r\n"
                    );
                    Reply::Describe {
                        sdp: sdp.into(),
                        tracks: 1,
                    }
                } else {
                    Reply::unauthorized(realm.challenges(via, false, now))
                };
                self.rtsp.respond(id, reply);
            }
            ServerEvent::Setup(request) => {
                let reply = match request.offers.first() {
                    Some(TransportOffer::Tcp { rtp, rtcp }) => Reply::Setup {
                        track: 0,
                        transport: TransportAnswer::Tcp {
                            rtp: *rtp,
                            rtcp: *rtcp,
                        },
                        ssrc: None,
                    },
                    _ => Reply::error(crate::rtsp::Status::UNSUPPORTED_TRANSPORT),
                };
                self.rtsp.respond(request.id, reply);
            }
            ServerEvent::Play { id, .. } => {
                self.playing = true;
                self.rtsp.respond(id, Reply::Play { rtp_info: vec![] });
            }
            ServerEvent::Teardown => self.playing = false,
            other => panic!("{other:?}"),
        }
    }
}
