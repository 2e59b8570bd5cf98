use std::time::Duration;

/// How much of a peer's input is held before it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Start line and headers together, in bytes. Default 8 KiB.
    pub head: usize,
    /// Number of headers. Default 64.
    pub headers: usize,
    /// Body, in bytes. Default 64 KiB.
    pub body: usize,
    /// Junk skipped between two good messages before the connection is given up, in bytes.
    /// Default 64 KiB. Before the first good message nothing is skipped.
    pub junk: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 8 * 1024,
            headers: 64,
            body: 64 * 1024,
            junk: 64 * 1024,
        }
    }
}

impl Limits {
    /// The most bytes that a caller ever has to hold for one message to become complete.
    pub fn message(&self) -> usize {
        let message = self.head.saturating_add(self.body);
        message.max(usize::from(u16::MAX).saturating_add(4))
    }
}

/// What the server side of every connection obeys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits of the parser.
    pub limits: Limits,
    /// Value of the `Server` header.
    pub server: String,
    /// Silence after which a session is over; told to clients in `Session: …;timeout=`. Default
    /// 60 s.
    pub session_timeout: Duration,
    /// Silence after which a publisher that records is over. Default 10 s.
    pub publisher_timeout: Duration,
    /// How long a new connection may take for its first complete request. Default 10 s.
    pub first_request_timeout: Duration,
    /// How long a connection without session may be silent. Default 60 s.
    pub idle_timeout: Duration,
    /// Requests that may wait behind one that is not answered yet. Default 16.
    pub max_waiting: usize,
    /// Bytes which those requests may hold together. Default 128 KiB.
    pub max_waiting_bytes: usize,
    /// Tracks that one session may set up. Default 32.
    pub max_tracks: usize,
    /// Faults are refused instead of repaired ([`Repair`](super::Repair)): a request with 400 and
    /// the fault as reason, what cannot be answered by closing. Either way they are counted.
    /// Default no.
    pub strict: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            server: concat!("EasyDarwin/", env!("CARGO_PKG_VERSION")).to_owned(),
            session_timeout: Duration::from_secs(60),
            publisher_timeout: Duration::from_secs(10),
            first_request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_waiting: 16,
            max_waiting_bytes: 128 * 1024,
            max_tracks: 32,
            strict: false,
        }
    }
}
