use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::link::{LinkState, pair};
use super::stream::{Stream, StreamEnd};
use super::trace::Happened;
use super::{ConnectError, End, Event, Link, Random, Trace};

/// First port of those that connections are made from (RFC 6335, 6).
const FIRST_EPHEMERAL: u16 = 49_152;

/// Hosts, the links between them, and the virtual time.
///
/// Whatever an address is used for makes its host exist; all hosts reach each other. Nothing
/// happens until [`next`](Self::next) (or [`step`](super::step)) is called. Dropped by a panic it
/// prints seed and trace.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    start: Instant,
    now: Instant,
    pub(super) random: Random,
    default_link: Link,
    links: BTreeMap<(IpAddr, IpAddr), LinkState>,
    pub(super) down: BTreeSet<IpAddr>,
    pub(super) listening: BTreeSet<SocketAddr>,
    bound: BTreeSet<SocketAddr>,
    pub(super) streams: BTreeMap<u64, Stream>,
    next_stream: u64,
    next_port: BTreeMap<IpAddr, u16>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    trace: Trace,
    /// The node that was woken last, and when: it is not woken twice at one time.
    pub(super) woken: Option<(IpAddr, Instant)>,
}

/// An event and the host that notices it.
pub(super) type Noticed = (IpAddr, Event);

/// Something on its way.
#[derive(Debug, Clone)]
pub(super) enum Flight {
    /// Asks the second end of this stream to accept.
    Syn(u64),
    /// Tells the first end that it was accepted, or why not.
    SynAnswer(u64, Option<ConnectError>),
    /// Bytes for this end.
    Segment(End, Bytes),
    /// The other end has closed.
    Fin(End),
    /// The other end does not know the connection any more.
    Reset(End),
    /// What this end sent was not acknowledged for too long, if it still is not.
    Abandon(End),
    Datagram(SocketAddr, SocketAddr, Bytes),
}

#[derive(Debug)]
struct Scheduled {
    at: Instant,
    order: u64,
    flight: Flight,
}

impl Network {
    /// A network in which everything that is random follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let start = Instant::now();
        Self {
            seed,
            start,
            now: start,
            random: Random::new(seed),
            default_link: Link::default(),
            links: BTreeMap::new(),
            down: BTreeSet::new(),
            listening: BTreeSet::new(),
            bound: BTreeSet::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            next_port: BTreeMap::new(),
            queue: BinaryHeap::new(),
            scheduled: 0,
            trace: Trace::default(),
            woken: None,
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The virtual time, to hand to engines.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    /// Random numbers of the same seed, for decisions of a test.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Writes something down in the trace.
    pub fn note(&mut self, text: impl Into<String>) {
        self.record(Happened::Note(text.into()));
    }

    /// How all paths are that were not used yet and have no link of their own.
    pub fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
    }

    /// How the path between two hosts is from now on.
    pub fn set_link(&mut self, a: IpAddr, b: IpAddr, link: Link) {
        self.link(a, b).link = link;
    }

    /// Takes the path between two hosts down or up. Streams wait meanwhile, as far as their ends
    /// have the patience; datagrams are lost.
    pub fn set_path(&mut self, a: IpAddr, b: IpAddr, up: bool) {
        self.record(Happened::Path(a, b, up));
        let state = self.link(a, b);
        state.up = up;
        if up {
            for flight in std::mem::take(&mut state.held) {
                self.resend(flight);
            }
        }
    }

    /// Takes a host's power. Its ends of streams, its listeners and its sockets are gone; nobody
    /// is told.
    pub fn stop_host(&mut self, host: IpAddr) {
        self.record(Happened::Host(host, false));
        self.down.insert(host);
        self.listening.retain(|addr| addr.ip() != host);
        self.bound.retain(|addr| addr.ip() != host);
        for stream in self.streams.values_mut() {
            stream.lose_host(host);
        }
    }

    /// Gives it back. The host knows nothing of its old connections and resets them when it hears
    /// of them.
    pub fn start_host(&mut self, host: IpAddr) {
        self.record(Happened::Host(host, true));
        self.down.remove(&host);
        let asking: Vec<End> = self
            .streams
            .iter()
            .flat_map(|(&id, stream)| stream.unanswered_by(id, host))
            .collect();
        for end in asking {
            self.fly(end.other(), Flight::Reset(end), 0);
        }
    }

    /// Whether a host has power.
    pub fn is_up(&self, host: IpAddr) -> bool {
        !self.down.contains(&host)
    }

    /// Binds a socket for datagrams.
    pub fn bind(&mut self, addr: SocketAddr) {
        self.bound.insert(addr);
    }

    /// Closes a socket for datagrams.
    pub fn unbind(&mut self, addr: SocketAddr) {
        self.bound.remove(&addr);
    }

    /// Sends a datagram, from whatever port.
    pub fn send_to(&mut self, from: SocketAddr, to: SocketAddr, data: impl Into<Bytes>) {
        let data = data.into();
        self.record(Happened::DatagramSent(from, to, data.len()));
        let now = self.now;
        let mut random = self.random.clone();
        let state = self.link(from.ip(), to.ip());
        let copies = 1 + u8::from(random.per_mille(state.link.duplicates));
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let lost = !state.up || random.per_mille(state.link.loss);
            let mut at = state.through((from.ip(), to.ip()), data.len(), now, &mut random);
            if random.per_mille(state.link.late) {
                at += state.link.late_by;
            }
            arrivals.push((!lost).then_some(at));
        }
        self.random = random;
        for arrival in arrivals {
            match arrival {
                Some(at) => self.schedule(at, Flight::Datagram(from, to, data.clone())),
                None => self.record(Happened::DatagramLost(from, to, data.len())),
            }
        }
    }

    /// When the next thing happens, if nobody does anything.
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(next)| next.at)
    }

    /// Goes on to the next event, at most to `until`: what happened and the host that notices it.
    /// `None`: it is `until` now.
    pub fn next(&mut self, until: Instant) -> Option<(IpAddr, Event)> {
        while self.next_at().is_some_and(|at| at <= until) {
            let Some(Reverse(next)) = self.queue.pop() else {
                break;
            };
            self.now = self.now.max(next.at);
            if let Some(event) = self.arrive(next.flight) {
                return Some(event);
            }
        }
        self.advance_to(until);
        None
    }

    pub(super) fn advance_to(&mut self, time: Instant) {
        self.now = self.now.max(time);
    }

    pub(super) fn record(&mut self, what: Happened) {
        self.trace.push(self.elapsed(), what);
    }

    pub(super) fn link(&mut self, a: IpAddr, b: IpAddr) -> &mut LinkState {
        let default = &self.default_link;
        self.links
            .entry(pair(a, b))
            .or_insert_with(|| LinkState::new(default.clone()))
    }

    pub(super) fn schedule(&mut self, at: Instant, flight: Flight) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            order: self.scheduled,
            flight,
        }));
    }

    /// Further segments for `end` that come at this very time: one read takes them all.
    pub(super) fn more_for(&mut self, end: End) -> Option<Bytes> {
        let Reverse(next) = self.queue.peek()?;
        match &next.flight {
            Flight::Segment(to, _) if *to == end && next.at == self.now => {}
            _ => return None,
        }
        match self.queue.pop() {
            Some(Reverse(Scheduled {
                flight: Flight::Segment(_, bytes),
                ..
            })) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn new_stream(&mut self, from: IpAddr, to: SocketAddr) -> u64 {
        self.next_stream += 1;
        let port = self.next_port.entry(from).or_insert(FIRST_EPHEMERAL);
        let local = SocketAddr::new(from, *port);
        *port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
        let ends = [
            StreamEnd::new(local, self.now),
            StreamEnd::new(to, self.now),
        ];
        self.streams.insert(self.next_stream, Stream::new(ends));
        self.next_stream
    }

    pub(super) fn datagram(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        data: Bytes,
    ) -> Option<Noticed> {
        if !self.bound.contains(&to) {
            self.record(Happened::DatagramLost(from, to, data.len()));
            return None;
        }
        self.record(Happened::DatagramReceived(from, to, data.len()));
        Some((to.ip(), Event::Datagram { from, to, data }))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self}");
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network with seed {}:", self.seed)?;
        write!(f, "{}", self.trace)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
