//! What comes of things that have been on their way.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};

use super::network::{Flight, Noticed};
use super::stream::{EndState, SEND_PATIENCE};
use super::trace::Happened;
use super::{ConnectError, End, Event, Network};

impl Network {
    pub(super) fn arrive(&mut self, flight: Flight) -> Option<Noticed> {
        match flight {
            Flight::Datagram(from, to, data) => self.datagram(from, to, data),
            Flight::Syn(stream) => self.asked(stream),
            Flight::SynAnswer(stream, error) => self.answered(stream, error),
            Flight::Segment(end, bytes) => self.segment(end, bytes),
            Flight::Fin(end) => {
                let host = self.owner(end)?;
                self.leave(end);
                self.record(Happened::SawClose(end));
                Some((host, Event::Closed { end }))
            }
            Flight::Reset(end) => self.broken(end),
            Flight::Abandon(end) => {
                let since = self.streams.get_mut(&end.stream)?.end(end).unanswered?;
                // Answered meanwhile, and unanswered again only later.
                if self.now() < since + SEND_PATIENCE {
                    return None;
                }
                self.broken(end)
            }
        }
    }

    /// The host that knows this end, as long as there is something to know.
    fn owner(&mut self, end: End) -> Option<IpAddr> {
        let known = match self.state(end)? {
            EndState::Open => true,
            EndState::Opening => !end.accepted,
            EndState::Gone => false,
        };
        if !known {
            self.leave(end);
            return None;
        }
        Some(self.local(end)?.ip())
    }

    fn broken(&mut self, end: End) -> Option<Noticed> {
        let host = self.owner(end)?;
        let opening = self.state(end)? == EndState::Opening;
        self.leave(end);
        if opening {
            let error = ConnectError::Refused;
            self.record(Happened::NotConnected(end, error));
            return Some((host, Event::NotConnected { end, error }));
        }
        self.record(Happened::SawReset(end));
        Some((host, Event::Reset { end }))
    }

    fn asked(&mut self, stream: u64) -> Option<Noticed> {
        let client = End {
            stream,
            accepted: false,
        };
        let server = client.other();
        let addr = self.local(server)?;
        if !self.is_up(addr.ip()) {
            return None;
        }
        if !self.listening.contains(&addr) {
            self.fly(
                server,
                Flight::SynAnswer(stream, Some(ConnectError::Refused)),
                0,
            );
            return None;
        }
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.end(server).state = EndState::Open;
        }
        self.record(Happened::Connected(server));
        self.fly(server, Flight::SynAnswer(stream, None), 0);
        let from = self.peer(server)?;
        let event = Event::Accepted {
            end: server,
            from,
            to: addr,
        };
        Some((addr.ip(), event))
    }

    fn answered(&mut self, stream: u64, error: Option<ConnectError>) -> Option<Noticed> {
        let end = End {
            stream,
            accepted: false,
        };
        match self.state(end)? {
            EndState::Opening => {}
            // Answered in time, or not waited for any more.
            EndState::Open => return None,
            EndState::Gone => {
                self.fly(end, Flight::Reset(end.other()), 0);
                return None;
            }
        }
        let host = self.local(end)?.ip();
        match error {
            None => {
                self.streams.get_mut(&stream)?.end(end).state = EndState::Open;
                self.record(Happened::Connected(end));
                Some((host, Event::Connected { end }))
            }
            Some(error) => {
                self.streams.remove(&stream);
                self.record(Happened::NotConnected(end, error));
                Some((host, Event::NotConnected { end, error }))
            }
        }
    }

    fn segment(&mut self, end: End, first: Bytes) -> Option<Noticed> {
        let host = self.local(end)?.ip();
        let mut data = BytesMut::from(&*first);
        while let Some(more) = self.more_for(end) {
            data.extend_from_slice(&more);
        }
        if let Some(stream) = self.streams.get_mut(&end.stream) {
            let own = stream.end(end);
            own.under_way = own.under_way.saturating_sub(data.len());
        }
        if !self.is_up(host) {
            self.unanswered(end.other());
            return None;
        }
        if !self.is_open(end) {
            self.fly(end, Flight::Reset(end.other()), 0);
            return None;
        }
        self.record(Happened::Received(end, data.len()));
        let data = data.freeze();
        Some((host, Event::Received { end, data }))
    }
}
