//! Transcripts: requests as real clients send them in, answers as they leave us out.

mod control;
mod limits;
mod players;
mod publishers;
mod states;
mod strict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::rtsp::{ServerConfig, TransportAnswer, TransportOffer};

/// A connection under test with a caller that lets everybody do everything.
struct Peer {
    connection: ServerConnection,
    input: Vec<u8>,
    now: Instant,
}

/// What the connection said to one input.
#[derive(Debug, Default)]
struct Said {
    output: String,
    events: Vec<ServerEvent>,
    media: Vec<(u8, usize, bool, Vec<u8>)>,
    closed: Option<CloseReason>,
}

const ID: &str = "5a5a5a5a5a5a5a5a";

impl Peer {
    fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    fn with(config: ServerConfig) -> Self {
        let now = Instant::now();
        let local = "10.0.0.1:554".parse().unwrap();
        Self {
            connection: ServerConnection::new(Arc::new(config), ID, local, now),
            input: Vec::new(),
            now,
        }
    }

    /// Input without answers to events.
    fn send(&mut self, input: impl AsRef<[u8]>) -> Said {
        self.input.extend_from_slice(input.as_ref());
        self.run(|_| None)
    }

    /// Input, and the usual successful answer to every event.
    fn ask(&mut self, input: &str) -> Said {
        self.input.extend_from_slice(input.as_bytes());
        self.run(usual)
    }

    fn run(&mut self, answer: impl Fn(&ServerEvent) -> Option<(RequestId, Reply)>) -> Said {
        let mut said = Said::default();
        loop {
            let consumed = match self.connection.next(&self.input, self.now) {
                Step::NeedMore => break,
                Step::Handled { consumed } => consumed,
                Step::Interleaved {
                    consumed,
                    channel,
                    track,
                    rtcp,
                    data,
                } => {
                    said.media.push((channel, track, rtcp, data.to_vec()));
                    consumed
                }
                Step::Event { consumed, event } => {
                    if let Some((id, reply)) = answer(&event) {
                        assert!(self.connection.respond(id, reply));
                    }
                    said.events.push(event);
                    consumed
                }
                Step::Close { reason } => {
                    said.closed = Some(reason);
                    break;
                }
            };
            self.input.drain(..consumed);
        }
        said.output = self.output();
        said
    }

    fn respond(&mut self, id: RequestId, reply: Reply) -> String {
        assert!(self.connection.respond(id, reply));
        self.output()
    }

    fn output(&mut self) -> String {
        let mut all = Vec::new();
        while let Some(bytes) = self.connection.take_output() {
            all.extend_from_slice(&bytes);
        }
        String::from_utf8(all).unwrap()
    }
}

impl Said {
    fn status(&self) -> u16 {
        self.output[9..12].parse().unwrap()
    }
}

fn id_of(event: &ServerEvent) -> RequestId {
    match event {
        ServerEvent::Describe { id, .. }
        | ServerEvent::Announce { id, .. }
        | ServerEvent::Play { id, .. }
        | ServerEvent::Record { id }
        | ServerEvent::Pause { id } => *id,
        ServerEvent::Setup(setup) => setup.id,
        ServerEvent::Teardown => panic!("a TEARDOWN has no id"),
    }
}

/// Two tracks, the first offer is taken.
fn usual(event: &ServerEvent) -> Option<(RequestId, Reply)> {
    let reply = match event {
        ServerEvent::Teardown => return None,
        ServerEvent::Describe { .. } => Reply::Describe {
            sdp: Bytes::from_static(b"v=0\r\n"),
            tracks: 2,
        },
        ServerEvent::Announce { sdp, .. } => Reply::Announce {
            controls: std::str::from_utf8(sdp)
                .unwrap()
                .lines()
                .filter_map(|line| line.strip_prefix("a=control:"))
                .map(|control| Some(control.to_owned()))
                .collect(),
        },
        ServerEvent::Setup(setup) => Reply::Setup {
            track: setup.track.unwrap_or(0),
            transport: match setup.offers[0] {
                TransportOffer::Tcp { rtp, rtcp } => TransportAnswer::Tcp { rtp, rtcp },
                TransportOffer::Udp { rtp, rtcp } => TransportAnswer::Udp {
                    client: (rtp, rtcp),
                    server: (20000, 20001),
                },
            },
            ssrc: Some(0xCAFE),
        },
        ServerEvent::Play { .. } => Reply::Play {
            rtp_info: vec![
                RtpInfo {
                    track: 0,
                    start: Some((65535, 4_000_000_000)),
                },
                RtpInfo {
                    track: 1,
                    start: None,
                },
            ],
        },
        ServerEvent::Record { .. } | ServerEvent::Pause { .. } => Reply::Ok,
    };
    Some((id_of(event), reply))
}

fn request(method: &str, uri: &str, headers: &str) -> String {
    format!("{method} {uri} RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n")
}

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
const TCP2: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=2-3\r\n";

/// A session that plays both tracks.
fn playing() -> Peer {
    let mut peer = Peer::new();
    peer.ask(&request("DESCRIBE", "rtsp://h/a/1", ""));
    peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=0", TCP));
    peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=1", TCP2));
    let said = peer.ask(&request("PLAY", "rtsp://h/a/1/", ""));
    assert_eq!(said.status(), 200);
    assert_eq!(peer.connection.session(), Some((SessionRole::Play, true)));
    peer
}

/// A session that records both tracks.
fn recording() -> Peer {
    let mut peer = Peer::new();
    peer.ask(
        "ANNOUNCE rtsp://h/a/1 RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 36\r\n\r\n\
         a=control:trackID=0\na=control:audio\n",
    );
    peer.ask(&request("SETUP", "rtsp://h/a/1/trackID=0", TCP));
    peer.ask(&request("SETUP", "rtsp://h/a/1/audio", TCP2));
    let said = peer.ask(&request("RECORD", "rtsp://h/a/1", ""));
    assert_eq!(said.status(), 200);
    assert_eq!(peer.connection.session(), Some((SessionRole::Record, true)));
    peer
}

fn later(peer: &mut Peer, seconds: u64) {
    peer.now += Duration::from_secs(seconds);
}
