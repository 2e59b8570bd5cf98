//! The whole server side of a connection: bytes in, answers by a script from the same input.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use easydarwin_core::rtsp::{
    Reply, RequestId, RtpInfo, ServerConfig, ServerConnection, ServerEvent, SetupRequest, Status,
    Step, TransportAnswer, TransportOffer,
};

use crate::Meter;
use crate::input::{Input, cuts};

/// Most bytes of answers that one call may leave: those to all waiting requests. Each echoes at
/// most its own head, in lines that it may split; what we add is far less than a KiB.
const ANSWER: usize = 1024;
/// What a session and the texts of its stream's URL cost, besides what waits.
const SESSION: usize = 64 * 1024;

/// Any bytes, any answers, early or late, and time that passes: no panic, and neither output nor
/// held memory beyond what the limits allow.
pub fn rtsp_server(data: &[u8]) {
    let mut input = Input::new(data);
    let script = input.bytes(16);
    let gaps = input.bytes(4);
    let data = input.rest();
    let mut config = ServerConfig::default();
    config.limits.head = 1024;
    config.limits.body = 2048;
    config.max_waiting_bytes = 8 * 1024;
    config.max_tracks = 4;
    Caller::new(Arc::new(config), script).run(data, gaps);
}

struct Caller<'a> {
    meter: Meter,
    connection: ServerConnection,
    config: Arc<ServerConfig>,
    /// What is decided, over and over.
    script: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    late: Vec<(RequestId, Reply)>,
    now: Instant,
}

impl<'a> Caller<'a> {
    fn new(config: Arc<ServerConfig>, script: &'a [u8]) -> Self {
        let script = if script.is_empty() { &[0] } else { script };
        let now = Instant::now();
        let local = "127.0.0.1:554".parse().expect("an address");
        Self {
            meter: Meter::new(),
            connection: ServerConnection::new(config.clone(), "12345678", local, now),
            config,
            script: script.iter().cycle(),
            late: Vec::new(),
            now,
        }
    }

    fn decide(&mut self) -> u8 {
        self.script.next().copied().unwrap_or(0)
    }

    fn run(mut self, data: &[u8], gaps: &[u8]) {
        let mut from = 0;
        for end in cuts(data.len(), gaps) {
            loop {
                let unread = &data[from..end];
                let consumed = match self.connection.next(unread, self.now) {
                    Step::NeedMore => {
                        assert!(unread.len() <= self.config.limits.message());
                        // A late answer lets what waits come out.
                        match self.late.pop() {
                            Some((id, reply)) => {
                                self.respond(id, reply);
                                continue;
                            }
                            None => break,
                        }
                    }
                    Step::Close { .. } => {
                        self.check();
                        let again = self.connection.next(unread, self.now);
                        assert!(matches!(again, Step::Close { .. }));
                        return;
                    }
                    Step::Interleaved {
                        consumed,
                        data,
                        track,
                        ..
                    } => {
                        assert!(data.len() + 4 == consumed && track < 1000);
                        assert!(self.connection.session().is_some());
                        consumed
                    }
                    Step::Handled { consumed } => consumed,
                    Step::Event { consumed, event } => {
                        self.event(event);
                        consumed
                    }
                };
                assert!(consumed <= unread.len());
                from += consumed;
                self.check();
            }
            let pause = Duration::from_millis(u64::from(self.decide()) * 50);
            self.now = self
                .now
                .max(self.connection.poll_timeout().min(self.now + pause));
            if self.connection.handle_timeout(self.now).is_some() {
                return;
            }
        }
    }

    fn event(&mut self, event: ServerEvent) {
        let decision = self.decide();
        let (id, reply) = match event {
            ServerEvent::Teardown => {
                assert_eq!(self.connection.session(), None);
                return;
            }
            ServerEvent::Describe { id, .. } => {
                let sdp = Bytes::from_static(b"v=0\r\n");
                let tracks = usize::from(decision >> 4);
                (id, Reply::Describe { sdp, tracks })
            }
            ServerEvent::Announce { id, sdp, .. } => {
                assert!(!sdp.is_empty() && sdp.len() <= self.config.limits.body);
                let text = String::from_utf8_lossy(&sdp);
                let controls = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("a=control:"))
                    .map(|control| Some(control.to_owned()))
                    .take(4)
                    .collect();
                (id, Reply::Announce { controls })
            }
            ServerEvent::Setup(setup) => (setup.id, set_up(&setup, decision)),
            ServerEvent::Play { id, .. } => {
                let start = Some((u16::from(decision), 1));
                let rtp_info = vec![RtpInfo { track: 0, start }];
                (id, Reply::Play { rtp_info })
            }
            ServerEvent::Record { id } | ServerEvent::Pause { id } => (id, Reply::Ok),
            other => panic!("nobody decides {other:?}"),
        };
        match decision % 8 {
            0..=4 => self.respond(id, reply),
            5 | 6 => self.late.push((id, reply)),
            _ => self.respond(id, Reply::error(Status::NOT_FOUND)),
        }
    }

    fn respond(&mut self, id: RequestId, reply: Reply) {
        assert!(self.connection.respond(id, reply), "{id:?} waits");
        assert!(
            !self.connection.respond(id, Reply::Ok),
            "and is answered once"
        );
    }

    /// Takes the output and holds both to the limits.
    fn check(&mut self) {
        let config = &self.config;
        let answers = config.max_waiting + 1;
        let output = self.connection.take_output().unwrap_or_default();
        assert!(output.len() <= answers * (config.limits.head + ANSWER));
        assert!(output.is_empty() || output.starts_with(b"RTSP/1.0 "));
        drop(output);
        // Texts and their list entries of at most this many headers a request.
        let entries = answers * config.limits.headers * 2 * size_of::<(String, String)>();
        let most = config.max_waiting_bytes + config.limits.message() + entries + SESSION;
        let held = self.meter.held();
        assert!(held <= most, "{held} bytes are held, more than {most}");
    }
}

fn set_up(setup: &SetupRequest, decision: u8) -> Reply {
    assert!(!setup.offers.is_empty());
    let Some(offer) = setup
        .offers
        .get(usize::from(decision >> 4) % setup.offers.len())
    else {
        return Reply::error(Status::UNSUPPORTED_TRANSPORT);
    };
    Reply::Setup {
        track: setup.track.unwrap_or(0),
        transport: match *offer {
            TransportOffer::Tcp { rtp, rtcp } => TransportAnswer::Tcp { rtp, rtcp },
            TransportOffer::Udp { rtp, rtcp } => TransportAnswer::Udp {
                client: (rtp, rtcp),
                server: (5000, 5001),
            },
        },
        ssrc: Some(1),
    }
}
