//! A connection that says whatever it is told, and hears answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::vector::{Names, State};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing must come for it to count as silence.
const SILENCE: Duration = Duration::from_millis(300);

const H265_SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=control:streamid=0\r\n";

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An answer: its status and its whole head.
    Answer(u16, String),
    /// The connection was closed.
    Close,
    /// Nothing, for a while.
    Silence,
}

/// One connection to the server under test.
#[derive(Debug)]
pub struct Peer {
    tcp: TcpStream,
    buffer: Vec<u8>,
    cseq: u32,
}

impl Peer {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&addr, PATIENCE)?;
        tcp.set_nodelay(true)?;
        Ok(Self {
            tcp,
            buffer: Vec::new(),
            cseq: 1000,
        })
    }

    /// Sends bytes as they are; that the server has closed is seen when listening.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.tcp.write_all(bytes);
    }

    /// A request of the usual form, and its answer.
    pub fn request(&mut self, method: &str, url: &str, headers: &str, body: &str) -> Heard {
        self.cseq += 1;
        let length = if body.is_empty() {
            String::new()
        } else {
            format!(
                "Content-Type: application/sdp\r\nContent-Length: {}\r\n",
                body.len()
            )
        };
        let text = format!(
            "{method} {url} RTSP/1.0\r\nCSeq: {}\r\n{headers}{length}\r\n{body}",
            self.cseq
        );
        self.send(text.as_bytes());
        self.hear(PATIENCE)
    }

    /// OPTIONS, as anybody may ask.
    pub fn options(&mut self, url: &str) -> Heard {
        self.request("OPTIONS", url, "", "")
    }

    /// The next answer, media passed over.
    pub fn answer(&mut self, silence_expected: bool, patience: Duration) -> Heard {
        self.hear(if silence_expected { SILENCE } else { patience })
    }

    fn hear(&mut self, patience: Duration) -> Heard {
        let deadline = Instant::now() + patience;
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(heard) = self.take_message() {
                return heard;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Silence;
            }
            if self.tcp.set_read_timeout(Some(left)).is_err() {
                return Heard::Close;
            }
            match self.tcp.read(&mut chunk) {
                Ok(0) => return Heard::Close,
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => return Heard::Close,
            }
        }
    }

    /// Takes one whole answer off the buffer, frames before it dropped.
    fn take_message(&mut self) -> Option<Heard> {
        while *self.buffer.first()? == b'$' {
            let head = self.buffer.get(..4)?;
            let length = 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
            self.buffer.get(..length)?;
            self.buffer.drain(..length);
        }
        let end = self.buffer.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0);
        self.buffer.get(..end + 4 + length)?;
        self.buffer.drain(..end + 4 + length);
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        Some(Heard::Answer(status, head))
    }

    /// Brings the connection into `state`; fills in the session's and the track's names.
    ///
    /// # Errors
    /// What the server answered instead.
    pub fn bring_to(&mut self, state: State, names: &mut Names) -> Result<(), String> {
        match state {
            State::Fresh => {}
            State::Ready | State::Playing => {
                self.expect_ok(
                    "DESCRIBE",
                    &names.url.clone(),
                    "Accept: application/sdp\r\n",
                    "",
                    names,
                )?;
                let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
                self.expect_ok("SETUP", &names.track.clone(), transport, "", names)?;
                if state == State::Playing {
                    let session = format!("Session: {}\r\n", names.session);
                    self.expect_ok("PLAY", &names.url.clone(), &session, "", names)?;
                }
            }
            State::Announced | State::Recording | State::RecordingH265 => {
                let sdp = match state {
                    State::RecordingH265 => H265_SDP.to_owned(),
                    _ => crate::synthetic::sdp(),
                };
                // The stream that readers use is taken, and a server may take a while to notice
                // that the publisher of the vector before has gone: each has a stream of its own.
                names.url = format!("{}-{}", names.url, names.publisher);
                names.path = format!("{}-{}", names.path, names.publisher);
                names.track = format!("{}/streamid=0", names.url);
                self.expect_ok("ANNOUNCE", &names.url.clone(), "", &sdp, names)?;
                if state != State::Announced {
                    let transport =
                        "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
                    self.expect_ok("SETUP", &names.track.clone(), transport, "", names)?;
                    let session = format!("Session: {}\r\n", names.session);
                    self.expect_ok("RECORD", &names.url.clone(), &session, "", names)?;
                }
            }
        }
        Ok(())
    }

    fn expect_ok(
        &mut self,
        method: &str,
        url: &str,
        headers: &str,
        body: &str,
        names: &mut Names,
    ) -> Result<(), String> {
        match self.request(method, url, headers, body) {
            Heard::Answer(200, head) => {
                if let Some(session) = value(&head, "session") {
                    names.session = session
                        .split(';')
                        .next()
                        .unwrap_or_default()
                        .trim()
                        .to_owned();
                }
                Ok(())
            }
            other => Err(format!("{method} before the vector: {other:?}")),
        }
    }

    /// The URL of the first track, from a DESCRIBE.
    pub fn first_track(&mut self, url: &str) -> Result<String, String> {
        self.cseq += 1;
        let text = format!(
            "DESCRIBE {url} RTSP/1.0\r\nCSeq: {}\r\nAccept: application/sdp\r\n\r\n",
            self.cseq
        );
        self.send(text.as_bytes());
        let mut chunk = [0; 16 * 1024];
        let mut all = Vec::new();
        self.tcp
            .set_read_timeout(Some(PATIENCE))
            .map_err(|error| error.to_string())?;
        loop {
            let read = self
                .tcp
                .read(&mut chunk)
                .map_err(|error| format!("DESCRIBE: {error}"))?;
            all.extend_from_slice(&chunk[..read]);
            let text = String::from_utf8_lossy(&all).into_owned();
            let media = text.find("m=").map(|at| &text[at..]);
            if let Some(line) = media.and_then(|media| {
                media
                    .lines()
                    .find_map(|line| line.strip_prefix("a=control:"))
            }) && text.ends_with("\r\n")
            {
                let line = line.trim();
                let base = value(&text, "content-base").unwrap_or_else(|| url.to_owned());
                return Ok(if line.starts_with("rtsp://") {
                    line.to_owned()
                } else {
                    format!("{}/{line}", base.trim_end_matches('/'))
                });
            }
            if read == 0 || (text.contains("\r\n\r\n") && !text.starts_with("RTSP/1.0 200")) {
                return Err(format!(
                    "DESCRIBE {url}: {}",
                    text.lines().next().unwrap_or("closed")
                ));
            }
        }
    }
}

/// A header's value.
pub fn value(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
}
