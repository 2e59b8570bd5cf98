//! A supervisor with somebody who answers it by hand.

use std::time::{Duration, Instant};

use crate::media::SessionDescription;
use crate::pull::*;
use crate::registry::StreamPath;

pub(super) fn spec(url: &str) -> SourceSpec {
    SourceSpec::new(StreamPath::parse("cam/1").unwrap(), url.parse().unwrap())
}

pub(super) struct Rig {
    pub(super) engine: SourceEngine,
    pub(super) now: Instant,
    pub(super) attempt: u64,
    pub(super) outputs: Vec<SourceOutput>,
    pub(super) media: Vec<(usize, bool, Vec<u8>)>,
    pub(super) published: Option<SessionDescription>,
    cseq: String,
    wanted: Option<String>,
}

impl Rig {
    /// Started and connected.
    pub(super) fn new(spec: SourceSpec) -> Self {
        let mut rig = Self::idle(spec);
        rig.engine.start(rig.now);
        rig.connect();
        rig
    }

    /// The same for a server that repairs nothing.
    pub(super) fn strict(spec: SourceSpec) -> Self {
        let config = PullConfig {
            strict: true,
            ..PullConfig::default()
        };
        let mut rig = Self::with(spec, config);
        rig.engine.start(rig.now);
        rig.connect();
        rig
    }

    pub(super) fn idle(spec: SourceSpec) -> Self {
        Self::with(spec, PullConfig::default())
    }

    fn with(spec: SourceSpec, config: PullConfig) -> Self {
        Self {
            engine: SourceEngine::new(spec, config, SourceMemory::default(), 7),
            now: Instant::now(),
            attempt: 0,
            outputs: Vec::new(),
            media: Vec::new(),
            published: None,
            cseq: String::new(),
            wanted: None,
        }
    }

    /// Takes the outputs; returns where to connect, if that is asked for.
    pub(super) fn drain(&mut self) -> Option<String> {
        while let Some(output) = self.engine.poll_output() {
            match &output {
                SourceOutput::Connect { attempt, url, .. } => {
                    self.attempt = *attempt;
                    self.wanted = Some(format!("{}:{}", url.host(), url.port()));
                }
                SourceOutput::Publish(description) => self.published = Some(description.clone()),
                SourceOutput::Offline(_) => self.published = None,
                _ => {}
            }
            self.outputs.push(output);
        }
        self.wanted.clone()
    }

    pub(super) fn connect(&mut self) -> String {
        self.drain();
        let to = self.wanted.take().expect("a connection is asked for");
        self.engine.connected(self.attempt, false, self.now);
        to
    }

    /// What was written since the last time; remembers its number for the answer.
    pub(super) fn sent(&mut self) -> String {
        let mut text = String::new();
        while let Some(bytes) = self.engine.take_output() {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        if let Some(number) = text
            .lines()
            .filter_map(|line| line.strip_prefix("CSeq: "))
            .next_back()
        {
            self.cseq = number.to_owned();
        }
        text
    }

    /// The first line of what was written.
    pub(super) fn request(&mut self) -> String {
        self.sent().lines().next().unwrap_or_default().to_owned()
    }

    /// Bytes as they are.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let consumed = match self.engine.next(rest, self.now) {
                SourceStep::NeedMore => break,
                SourceStep::Handled { consumed } => consumed,
                SourceStep::Media {
                    consumed,
                    track,
                    rtcp,
                    data,
                } => {
                    self.media.push((track, rtcp, data.to_vec()));
                    consumed
                }
            };
            rest = &rest[consumed..];
        }
        self.drain();
    }

    /// An answer as a camera gave it, with line ends and with the number of our last request.
    pub(super) fn answer(&mut self, text: &str) {
        self.sent();
        self.answer_as(text, &self.cseq.clone());
    }

    /// The same with another number.
    pub(super) fn answer_as(&mut self, text: &str, cseq: &str) {
        let mut lines: Vec<String> = Vec::new();
        for line in text.trim_start().lines().map(str::trim_end) {
            match line.get(..5) {
                Some(name) if name.eq_ignore_ascii_case("cseq:") => {
                    lines.push(format!("{name} {cseq}"));
                }
                _ => lines.push(line.to_owned()),
            }
        }
        let mut bytes = lines.join("\r\n").into_bytes();
        if !text.contains("\n\n") {
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        self.feed(&bytes);
    }

    /// 200 with a description.
    pub(super) fn describe(&mut self, headers: &str, sdp: &str) {
        self.sent();
        let sdp = sdp.trim_start().replace('\n', "\r\n");
        let text = format!(
            "RTSP/1.0 200 OK\r\nCSeq: {}\r\n{headers}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            self.cseq,
            sdp.len()
        );
        self.feed(text.as_bytes());
    }

    /// DESCRIBE, SETUP and PLAY of one track, and a first packet.
    pub(super) fn play(&mut self, session: &str) {
        self.describe("", SDP);
        self.answer(&format!(
            "RTSP/1.0 200 OK\nCSeq: 0\nSession: {session}\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1"
        ));
        self.answer("RTSP/1.0 200 OK\nCSeq: 0");
        self.feed(&frame(0, 1));
        assert_eq!(self.engine.state(), LinkState::Playing);
        self.sent();
    }

    /// Time passes; timers are served. Media comes every second if `media`.
    pub(super) fn pass(&mut self, time: Duration, media: bool) {
        let until = self.now + time;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= until) {
            let next = if media {
                (self.now + Duration::from_secs(1)).min(due)
            } else {
                due
            };
            self.now = next.max(self.now);
            self.engine.handle_timeout(self.now);
            if media {
                self.feed(&frame(0, 2));
            }
            self.drain();
        }
        self.now = until;
    }

    /// Lets the wait pass that is going on, and connects.
    pub(super) fn after_wait(&mut self) -> Duration {
        assert_eq!(self.engine.state(), LinkState::Waiting);
        let before = self.now;
        let due = self.engine.poll_timeout().unwrap();
        self.now = due;
        self.engine.handle_timeout(due);
        self.connect();
        due - before
    }

    pub(super) fn close(&mut self) {
        self.engine.closed(self.attempt, self.now);
        self.sent();
        self.drain();
    }

    pub(super) fn quirk(&self, quirk: Quirk) -> u64 {
        let info = self.engine.info(self.now);
        info.counters.quirks.get(&quirk).copied().unwrap_or(0)
    }

    pub(super) fn memory(&self) -> SourceMemory {
        self.engine.memory()
    }
}

/// One H.264 track.
pub(super) const SDP: &str = "
v=0
o=- 0 0 IN IP4 0.0.0.0
s=x
t=0 0
a=control:*
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=control:trackID=1
";

/// An interleaved RTP packet of payload type 96.
pub(super) fn frame(channel: u8, sequence: u16) -> Vec<u8> {
    let mut bytes = vec![b'$', channel, 0, 16, 0x80, 96];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 9, 0x65, 1, 2, 3]);
    bytes
}
