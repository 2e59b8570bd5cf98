use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::End;

/// Entries that are kept; a day of trouble has many.
const KEPT: usize = 4096;

/// What happened, the newest entries and a digest of all.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    entries: VecDeque<Entry>,
    count: u64,
    digest: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// When, since the beginning.
    pub at: Duration,
    /// What.
    pub what: Happened,
}

/// What can happen in a network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Happened {
    /// A connection was asked for.
    Connecting(End, SocketAddr, SocketAddr),
    /// It came about, seen by this end.
    Connected(End),
    /// It did not.
    NotConnected(End, super::ConnectError),
    /// Bytes were sent by this end.
    Sent(End, usize),
    /// Bytes came to this end.
    Received(End, usize),
    /// This end closed.
    Closed(End),
    /// This end was told that the other has closed.
    SawClose(End),
    /// This end was told that the connection is broken.
    SawReset(End),
    /// A datagram was sent.
    DatagramSent(SocketAddr, SocketAddr, usize),
    /// It came.
    DatagramReceived(SocketAddr, SocketAddr, usize),
    /// It was lost, or nobody listens there.
    DatagramLost(SocketAddr, SocketAddr, usize),
    /// The connection of this end was cut or silenced.
    Fault(End, &'static str),
    /// A host went down or came up.
    Host(IpAddr, bool),
    /// The path between two hosts went down or came up.
    Path(IpAddr, IpAddr, bool),
    /// A node's timer was due.
    Timer(IpAddr),
    /// Something that a test or a node wrote down.
    Note(String),
}

impl Trace {
    /// The newest entries, at most 4096, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many entries there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A digest of all entries from the beginning: two runs of one seed have the same (with one
    /// build; it may change with the compiler).
    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn push(&mut self, at: Duration, what: Happened) {
        let entry = Entry { at, what };
        let mut hasher = DefaultHasher::new();
        (self.digest, &entry).hash(&mut hasher);
        self.digest = hasher.finish();
        self.count += 1;
        if self.entries.len() >= KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        if self.count > kept {
            writeln!(f, "({} entries before)", self.count - kept)?;
        }
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.6}  ", self.at.as_secs_f64())?;
        match &self.what {
            Happened::Connecting(end, from, to) => write!(f, "{end} connects {from} to {to}"),
            Happened::Connected(end) => write!(f, "{end} is connected"),
            Happened::NotConnected(end, error) => write!(f, "{end} is not connected: {error}"),
            Happened::Sent(end, len) => write!(f, "{end} sends {len} bytes"),
            Happened::Received(end, len) => write!(f, "{end} gets {len} bytes"),
            Happened::Closed(end) => write!(f, "{end} closes"),
            Happened::SawClose(end) => write!(f, "{end} sees the close"),
            Happened::SawReset(end) => write!(f, "{end} sees a reset"),
            Happened::DatagramSent(from, to, len) => write!(f, "{from} > {to}: {len} bytes"),
            Happened::DatagramReceived(from, to, len) => {
                write!(f, "{from} > {to}: {len} bytes come")
            }
            Happened::DatagramLost(from, to, len) => {
                write!(f, "{from} > {to}: {len} bytes are lost")
            }
            Happened::Fault(end, what) => write!(f, "{end} is {what}"),
            Happened::Host(ip, up) => write!(f, "{ip} is {}", state(*up)),
            Happened::Path(a, b, up) => write!(f, "{a} - {b} is {}", state(*up)),
            Happened::Timer(ip) => write!(f, "{ip} wakes"),
            Happened::Note(text) => f.write_str(text),
        }
    }
}

fn state(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}
