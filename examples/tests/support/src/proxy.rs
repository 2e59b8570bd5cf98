//! A TCP proxy that records what passes, so that a test can look at each message between
//! programs that know nothing of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From him who connected to the program behind the proxy.
    In,
    /// Back.
    Out,
}

/// A message with a head like that of HTTP or RTSP.
#[derive(Debug, Clone)]
pub struct Message {
    /// Which connection, counted from 0.
    pub connection: usize,
    /// Which way it went.
    pub way: Way,
    /// When its last byte passed.
    pub at: Instant,
    /// Start line and headers.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Message {
    /// The body as JSON, without the outermost `EasyDarwin`.
    pub fn json(&self) -> Option<Value> {
        let mut value: Value = serde_json::from_slice(&self.body).ok()?;
        Some(value["EasyDarwin"].take())
    }

    /// `Header.MessageType`, for EasyDarwin messages.
    pub fn message_type(&self) -> Option<String> {
        Some(self.json()?["Header"]["MessageType"].as_str()?.to_owned())
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then_some(value.trim())
        })
    }
}

/// An interleaved frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Which connection, counted from 0.
    pub connection: usize,
    /// Which way it went.
    pub way: Way,
    /// Its channel.
    pub channel: u8,
    /// RTP or RTCP.
    pub data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Record {
    messages: Vec<Message>,
    /// Those that are to be kept.
    frames: Option<Vec<Frame>>,
    /// Bytes of interleaved RTP and RTCP per connection and way.
    interleaved: u64,
    connections: usize,
    open: Vec<TcpStream>,
}

/// The proxy; it lives until the test process ends.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<(Mutex<Record>, Condvar)>,
}

impl Proxy {
    /// Listens on `listen` and passes everything on to `target`.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start(listen: SocketAddr, target: SocketAddr) -> Self {
        Self::start_with(Record::default(), listen, target)
    }

    /// The same, and keeps the media that pass: for some minutes of them at most.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start_keeping_media(listen: SocketAddr, target: SocketAddr) -> Self {
        let record = Record {
            frames: Some(Vec::new()),
            ..Record::default()
        };
        Self::start_with(record, listen, target)
    }

    fn start_with(record: Record, listen: SocketAddr, target: SocketAddr) -> Self {
        let listener =
            TcpListener::bind(listen).unwrap_or_else(|error| panic!("{listen}: {error}"));
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new((Mutex::new(record), Condvar::new()));
        let proxy = Self { address, shared };
        let this = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Nobody behind: the caller sees a closed connection, as he would directly.
                if let Ok(server) = TcpStream::connect(target) {
                    this.serve(client, server);
                }
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that has passed so far.
    pub fn messages(&self) -> Vec<Message> {
        self.shared
            .0
            .lock()
            .expect("no panic inside")
            .messages
            .clone()
    }

    /// The media that have passed so far, if they are kept.
    pub fn frames(&self) -> Vec<Frame> {
        let record = self.shared.0.lock().expect("no panic inside");
        record.frames.clone().unwrap_or_default()
    }

    /// Bytes of interleaved media that have passed so far.
    pub fn interleaved(&self) -> u64 {
        self.shared.0.lock().expect("no panic inside").interleaved
    }

    /// Cuts all connections, as a network that goes away.
    pub fn cut(&self) {
        for stream in self
            .shared
            .0
            .lock()
            .expect("no panic inside")
            .open
            .drain(..)
        {
            // An error says that it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits for a message, among those that have passed already too, from number `from` on.
    /// Gives its number with it.
    ///
    /// # Panics
    /// When it does not come within `limit`; `what` names it.
    pub fn wait_for(
        &self,
        what: &str,
        from: usize,
        limit: Duration,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> (usize, Message) {
        let deadline = Instant::now() + limit;
        let (lock, changed) = &*self.shared;
        let mut record = lock.lock().expect("no panic inside");
        let mut seen = from;
        loop {
            for (index, message) in record.messages.iter().enumerate().skip(seen) {
                if wanted(message) {
                    return (index, message.clone());
                }
            }
            seen = seen.max(record.messages.len());
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let passed: Vec<_> = record
                    .messages
                    .iter()
                    .map(|m| {
                        format!(
                            "{:?} {}",
                            m.way,
                            m.message_type().unwrap_or_else(|| m
                                .head
                                .lines()
                                .next()
                                .unwrap_or("")
                                .to_owned())
                        )
                    })
                    .collect();
                drop(record);
                panic!("{what} did not pass within {limit:?}; what passed: {passed:#?}");
            }
            record = changed
                .wait_timeout(record, left)
                .expect("no panic inside")
                .0;
        }
    }

    /// Waits for an EasyDarwin message of this type.
    ///
    /// # Panics
    /// When it does not come within `limit`.
    pub fn wait_type(&self, message_type: &str, from: usize, limit: Duration) -> (usize, Message) {
        self.wait_for(message_type, from, limit, |message| {
            message.message_type().as_deref() == Some(message_type)
        })
    }

    fn serve(&self, client: TcpStream, server: TcpStream) {
        let connection = {
            let mut record = self.shared.0.lock().expect("no panic inside");
            record.open.extend(
                [client.try_clone(), server.try_clone()]
                    .into_iter()
                    .flatten(),
            );
            record.connections += 1;
            record.connections - 1
        };
        for stream in [&client, &server] {
            // Small messages shall pass at once; without it they are only later.
            let _ = stream.set_nodelay(true);
        }
        if let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) {
            let (this, that) = (self.clone(), self.clone());
            std::thread::spawn(move || this.pump(connection, Way::In, client, server));
            std::thread::spawn(move || that.pump(connection, Way::Out, server2, client2));
        }
    }

    fn pump(&self, connection: usize, way: Way, mut from: TcpStream, mut to: TcpStream) {
        let mut pending = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            pending.extend_from_slice(&piece[..count]);
            self.take_messages(connection, way, &mut pending);
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }

    /// Cuts complete messages off the front of `pending`.
    fn take_messages(&self, connection: usize, way: Way, pending: &mut Vec<u8>) {
        let mut at = 0;
        let mut messages = Vec::new();
        let mut frames = Vec::new();
        while let Some((length, message)) = next_message(&pending[at..]) {
            match message {
                None => frames.push(Frame {
                    connection,
                    way,
                    channel: pending[at + 1],
                    data: pending[at + 4..at + length].to_vec(),
                }),
                Some((head, body)) => messages.push(Message {
                    connection,
                    way,
                    at: Instant::now(),
                    head,
                    body,
                }),
            }
            at += length;
        }
        pending.drain(..at);
        if !frames.is_empty() || !messages.is_empty() {
            let (lock, changed) = &*self.shared;
            let mut record = lock.lock().expect("no panic inside");
            let interleaved: usize = frames.iter().map(|frame| 4 + frame.data.len()).sum();
            record.interleaved += interleaved as u64;
            if let Some(kept) = &mut record.frames {
                kept.extend(frames);
            }
            record.messages.extend(messages);
            changed.notify_all();
        }
    }
}

/// The first complete piece: its length, and head and body if it is no interleaved frame.
type Piece = (usize, Option<(String, Vec<u8>)>);

fn next_message(data: &[u8]) -> Option<Piece> {
    if let [b'$', _, high, low, ..] = data {
        let length = 4 + usize::from(u16::from_be_bytes([*high, *low]));
        return (data.len() >= length).then_some((length, None));
    }
    let end = data.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&data[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let body = data.get(end..end + length)?.to_vec();
    Some((end + length, Some((head, body))))
}
