//! Connections: what TCP does for those who use it, and what it cannot hide.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::network::Flight;
use super::trace::Happened;
use super::{ConnectError, End, Network};

/// How long an unanswered connection attempt lasts (six repetitions, the default of Linux).
const CONNECT_PATIENCE: Duration = Duration::from_secs(127);
/// How long bytes stay unacknowledged before their sender's end is broken (15 repetitions, the
/// default of Linux).
pub(super) const SEND_PATIENCE: Duration = Duration::from_secs(924);

/// A connection of two ends: the one that asked for it, and the one that accepts.
#[derive(Debug)]
pub(super) struct Stream {
    ends: [StreamEnd; 2],
    silent: bool,
}

#[derive(Debug)]
pub(super) struct StreamEnd {
    addr: SocketAddr,
    pub(super) state: EndState,
    /// When the last bytes for this end come: none overtake.
    latest: Instant,
    /// Bytes that were sent to this end and have not come.
    pub(super) under_way: usize,
    /// Since when something that this end sent goes nowhere.
    pub(super) unanswered: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndState {
    /// Not yet.
    Opening,
    Open,
    /// Closed by its owner, broken, or its host lost power.
    Gone,
}

impl StreamEnd {
    pub(super) fn new(addr: SocketAddr, now: Instant) -> Self {
        Self {
            addr,
            state: EndState::Opening,
            latest: now,
            under_way: 0,
            unanswered: None,
        }
    }
}

impl Stream {
    pub(super) fn new(ends: [StreamEnd; 2]) -> Self {
        Self {
            ends,
            silent: false,
        }
    }

    pub(super) fn end(&mut self, end: End) -> &mut StreamEnd {
        let [first, second] = &mut self.ends;
        if end.accepted { second } else { first }
    }

    pub(super) fn lose_host(&mut self, host: IpAddr) {
        for end in &mut self.ends {
            if end.addr.ip() == host {
                end.state = EndState::Gone;
            }
        }
    }

    /// The ends that sent something to this host, which forgot them.
    pub(super) fn unanswered_by(&self, stream: u64, host: IpAddr) -> Option<End> {
        let [first, second] = &self.ends;
        let asks = |own: &StreamEnd, other: &StreamEnd| {
            !self.silent
                && own.unanswered.is_some()
                && own.state == EndState::Open
                && other.addr.ip() == host
                && other.state == EndState::Gone
        };
        let accepted = asks(second, first);
        (accepted || asks(first, second)).then_some(End { stream, accepted })
    }
}

impl Network {
    /// Accepts connections at this address from now on.
    pub fn listen(&mut self, addr: SocketAddr) {
        self.listening.insert(addr);
    }

    /// Refuses them again; those that there are go on.
    pub fn stop_listening(&mut self, addr: SocketAddr) {
        self.listening.remove(&addr);
    }

    /// Asks for a connection; [`Event::Connected`](super::Event::Connected) or [`Event::NotConnected`](super::Event::NotConnected) follows.
    pub fn connect(&mut self, from: IpAddr, to: SocketAddr) -> End {
        let stream = self.new_stream(from, to);
        let end = End {
            stream,
            accepted: false,
        };
        let local = self.local(end).unwrap_or(to);
        self.record(Happened::Connecting(end, local, to));
        self.fly(end, Flight::Syn(stream), 0);
        let given_up = self.now() + CONNECT_PATIENCE;
        self.schedule(
            given_up,
            Flight::SynAnswer(stream, Some(ConnectError::TimedOut)),
        );
        end
    }

    /// Sends bytes; nothing happens on an end that is closed or broken.
    pub fn send(&mut self, end: End, data: impl Into<Bytes>) {
        let mut data = data.into();
        if data.is_empty() || !self.is_open(end) {
            return;
        }
        self.record(Happened::Sent(end, data.len()));
        let Some((from, to)) = self.route(end) else {
            return;
        };
        while !data.is_empty() {
            let link = self.link(from, to).link.clone();
            let piece = data.split_to(link.piece(data.len(), &mut self.random));
            if let Some(stream) = self.streams.get_mut(&end.stream) {
                stream.end(end.other()).under_way += piece.len();
            }
            let len = piece.len();
            self.fly(end, Flight::Segment(end.other(), piece), len);
        }
    }

    /// Closes an end in order: the other one gets what was sent, then [`Event::Closed`](super::Event::Closed). Nothing
    /// comes to this end any more.
    pub fn close(&mut self, end: End) {
        if self.leave(end) {
            self.record(Happened::Closed(end));
            self.fly(end, Flight::Fin(end.other()), 0);
        }
    }

    /// Breaks a connection from one end: the other one gets [`Event::Reset`](super::Event::Reset).
    pub fn reset(&mut self, end: End) {
        if self.leave(end) {
            self.record(Happened::Fault(end, "reset"));
            self.fly(end, Flight::Reset(end.other()), 0);
        }
    }

    /// Breaks a connection on the way: both ends get [`Event::Reset`](super::Event::Reset).
    pub fn cut(&mut self, end: End) {
        self.record(Happened::Fault(end, "cut"));
        let now = self.now();
        for end in [end, end.other()] {
            self.schedule(now, Flight::Reset(end));
        }
    }

    /// Makes a connection half-open: nothing comes through any more, and nobody is told (a NAT
    /// that forgot it). Who sends is told after 15 minutes.
    pub fn silence(&mut self, end: End) {
        self.record(Happened::Fault(end, "silenced"));
        if let Some(stream) = self.streams.get_mut(&end.stream) {
            stream.silent = true;
        }
    }

    /// Bytes that this end sent and the other has not got: what a socket's buffer would hold.
    pub fn under_way(&self, end: End) -> usize {
        let ends = self.streams.get(&end.stream).map(|stream| &stream.ends);
        ends.map_or(0, |[first, second]| {
            // Counted where it arrives.
            if end.accepted { first } else { second }.under_way
        })
    }

    /// Whether this end can send.
    pub fn is_open(&self, end: End) -> bool {
        self.state(end) == Some(EndState::Open)
    }

    /// The address of this end.
    pub fn local(&self, end: End) -> Option<SocketAddr> {
        let [first, second] = &self.streams.get(&end.stream)?.ends;
        Some(if end.accepted { second } else { first }.addr)
    }

    /// The address of the other end.
    pub fn peer(&self, end: End) -> Option<SocketAddr> {
        self.local(end.other())
    }

    pub(super) fn state(&self, end: End) -> Option<EndState> {
        let [first, second] = &self.streams.get(&end.stream)?.ends;
        Some(if end.accepted { second } else { first }.state)
    }

    fn route(&self, end: End) -> Option<(IpAddr, IpAddr)> {
        Some((self.local(end)?.ip(), self.peer(end)?.ip()))
    }

    /// The owner of this end lets go of it; whether there was something to let go of.
    pub(super) fn leave(&mut self, end: End) -> bool {
        let Some(stream) = self.streams.get_mut(&end.stream) else {
            return false;
        };
        let before = std::mem::replace(&mut stream.end(end).state, EndState::Gone);
        let [first, second] = &stream.ends;
        if first.state == EndState::Gone && second.state == EndState::Gone {
            // What is still under way finds nobody.
            self.streams.remove(&end.stream);
        }
        before != EndState::Gone
    }

    /// Sends part of a stream from `end` on its way.
    pub(super) fn fly(&mut self, end: End, flight: Flight, len: usize) {
        let Some((from, to)) = self.route(end) else {
            // Both ends are gone; the last word is not heard.
            return;
        };
        if self.streams.get(&end.stream).is_some_and(|s| s.silent) {
            self.unanswered(end);
            return;
        }
        let now = self.now();
        let mut random = self.random.clone();
        let state = self.link(from, to);
        if !state.up {
            state.held.push(flight);
            self.unanswered(end);
            return;
        }
        let mut at = state.through((from, to), len, now, &mut random);
        at += state.retransmissions(&mut random);
        self.random = random;
        if let Some(stream) = self.streams.get_mut(&end.stream) {
            let receiver = stream.end(end.other());
            receiver.latest = receiver.latest.max(at);
            at = receiver.latest;
        }
        self.schedule(at, flight);
    }

    /// What waited for its link.
    pub(super) fn resend(&mut self, flight: Flight) {
        let (end, len) = match &flight {
            Flight::Syn(stream) => (
                End {
                    stream: *stream,
                    accepted: false,
                },
                0,
            ),
            Flight::SynAnswer(stream, _) => (
                End {
                    stream: *stream,
                    accepted: true,
                },
                0,
            ),
            Flight::Segment(to, bytes) => (to.other(), bytes.len()),
            Flight::Fin(to) | Flight::Reset(to) => (to.other(), 0),
            Flight::Abandon(_) | Flight::Datagram(..) => return,
        };
        if let Some(stream) = self.streams.get_mut(&end.stream) {
            stream.end(end).unanswered = None;
        }
        self.fly(end, flight, len);
    }

    /// Something that this end sent went nowhere: it will not wait for ever.
    pub(super) fn unanswered(&mut self, end: End) {
        let now = self.now();
        let Some(stream) = self.streams.get_mut(&end.stream) else {
            return;
        };
        if stream.end(end).unanswered.is_none() {
            stream.end(end).unanswered = Some(now);
            self.schedule(now + SEND_PATIENCE, Flight::Abandon(end));
        }
    }
}
