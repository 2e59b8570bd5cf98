use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::media::sdp;
use crate::rtsp::{
    CloseReason, Reply, RequestUri, ServerConfig, ServerConnection, ServerEvent, SetupRequest,
    Status, Step, TransportAnswer, TransportOffer,
};

use super::client::framed;
use super::{End, Event, Network, Node};

/// First port on which a server takes and sends media by datagram; two for each track.
const FIRST_PORT: u16 = 20_000;

/// [`ServerConnection`] on a simulated host: whoever comes may publish; what is published, or
/// given by [`publish`](Self::publish), may be played. Packets go on as they came: this is a
/// server to test clients with, not the relay.
#[derive(Debug)]
pub struct RtspServer {
    addr: SocketAddr,
    config: Arc<ServerConfig>,
    /// Descriptions by path.
    streams: BTreeMap<String, Bytes>,
    talks: BTreeMap<End, Talk>,
    next_session: u64,
    next_port: u16,
    outcomes: VecDeque<ServerOutcome>,
}

#[derive(Debug)]
struct Talk {
    session: ServerConnection,
    unread: BytesMut,
    path: String,
    role: Role,
    tracks: BTreeMap<usize, TransportAnswer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    None,
    Ready,
    Plays,
    Records,
}

/// What a server came to know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerOutcome {
    /// A reader plays this path.
    Playing(String),
    /// A publisher records to this path.
    Recording(String),
    /// Media came from a publisher.
    Packet {
        /// The stream's path.
        path: String,
        /// Index of the track.
        track: usize,
        /// RTCP rather than RTP.
        rtcp: bool,
        /// The packet.
        data: Bytes,
    },
    /// A session of this path was torn down.
    TornDown(String),
    /// A connection is over because the session said so.
    Closed(CloseReason),
    /// A connection was closed by the peer, or broke.
    Gone,
}

impl RtspServer {
    /// A server at this address.
    pub fn listen(net: &mut Network, addr: SocketAddr, config: ServerConfig) -> Self {
        net.listen(addr);
        Self {
            addr,
            config: Arc::new(config),
            streams: BTreeMap::new(),
            talks: BTreeMap::new(),
            next_session: 0,
            next_port: FIRST_PORT,
            outcomes: VecDeque::new(),
        }
    }

    /// Has a stream of its own, as a camera has; [`send`](Self::send) feeds it.
    pub fn publish(&mut self, path: impl Into<String>, sdp: impl Into<Bytes>) {
        self.streams.insert(path.into(), sdp.into());
    }

    /// Sends a packet to all that play a path. Returns to how many.
    pub fn send(
        &mut self,
        net: &mut Network,
        path: &str,
        track: usize,
        rtcp: bool,
        data: &Bytes,
    ) -> usize {
        let readers = self
            .talks
            .iter()
            .filter(|(_, talk)| talk.role == Role::Plays && talk.path == path);
        let mut count = 0;
        for (&end, talk) in readers {
            match talk.tracks.get(&track) {
                Some(&TransportAnswer::Tcp { rtp, rtcp: control }) => {
                    net.send(end, framed(if rtcp { control } else { rtp }, data));
                }
                Some(&TransportAnswer::Udp { client, server }) => {
                    let Some(peer) = net.peer(end) else { continue };
                    let pick = |(first, second)| if rtcp { second } else { first };
                    let from = SocketAddr::new(self.addr.ip(), pick(server));
                    let to = SocketAddr::new(peer.ip(), pick(client));
                    net.send_to(from, to, data.clone());
                }
                None => continue,
            }
            count += 1;
        }
        count
    }

    /// Ends of the connections that there are.
    pub fn ends(&self) -> impl Iterator<Item = End> {
        self.talks.keys().copied()
    }

    /// Forgets everything, as a reboot does, and listens at this address from now on. To be
    /// called after [`Network::start_host`].
    pub fn restart(&mut self, net: &mut Network, addr: SocketAddr) {
        net.stop_listening(self.addr);
        net.listen(addr);
        self.addr = addr;
        self.talks.clear();
    }

    /// The next thing that it came to know.
    pub fn poll_outcome(&mut self) -> Option<ServerOutcome> {
        self.outcomes.pop_front()
    }

    fn accept(&mut self, end: End, now: Instant) {
        self.next_session += 1;
        let id = format!("{:016}", self.next_session);
        self.talks.insert(
            end,
            Talk {
                session: ServerConnection::new(self.config.clone(), id, self.addr, now),
                unread: BytesMut::new(),
                path: String::new(),
                role: Role::None,
                tracks: BTreeMap::new(),
            },
        );
    }

    fn read(&mut self, end: End, data: &[u8], net: &mut Network) {
        // Taken out meanwhile: packets go to other connections.
        let Some(mut talk) = self.talks.remove(&end) else {
            return;
        };
        talk.unread.extend_from_slice(data);
        loop {
            let consumed = match talk.session.next(&talk.unread, net.now()) {
                Step::NeedMore => break,
                Step::Handled { consumed } => consumed,
                Step::Interleaved {
                    consumed,
                    track,
                    rtcp,
                    data,
                    ..
                } => {
                    if talk.role == Role::Records {
                        let data = Bytes::copy_from_slice(data);
                        self.forward(net, &talk.path, track, rtcp, data);
                    }
                    consumed
                }
                Step::Event { consumed, event } => {
                    self.answer(&mut talk, event, net);
                    consumed
                }
                Step::Close { reason } => {
                    flush(&mut talk, end, net);
                    return self.close(end, talk, reason, net);
                }
            };
            let _ = talk.unread.split_to(consumed.min(talk.unread.len()));
            flush(&mut talk, end, net);
        }
        flush(&mut talk, end, net);
        self.talks.insert(end, talk);
    }

    fn forward(&mut self, net: &mut Network, path: &str, track: usize, rtcp: bool, data: Bytes) {
        self.send(net, path, track, rtcp, &data);
        self.outcomes.push_back(ServerOutcome::Packet {
            path: path.to_owned(),
            track,
            rtcp,
            data,
        });
    }

    fn close(&mut self, end: End, talk: Talk, reason: CloseReason, net: &mut Network) {
        self.release(&talk, net);
        net.close(end);
        self.outcomes.push_back(ServerOutcome::Closed(reason));
    }

    fn release(&mut self, talk: &Talk, net: &mut Network) {
        for answer in talk.tracks.values() {
            if let TransportAnswer::Udp { server, .. } = answer {
                for port in [server.0, server.1] {
                    net.unbind(SocketAddr::new(self.addr.ip(), port));
                }
            }
        }
        if talk.role == Role::Records {
            self.streams.remove(&talk.path);
        }
    }

    fn answer(&mut self, talk: &mut Talk, event: ServerEvent, net: &mut Network) {
        let (id, reply) = match event {
            ServerEvent::Describe { id, uri, .. } => (id, self.describe(talk, &uri)),
            ServerEvent::Announce { id, uri, sdp, .. } => (id, self.announce(talk, &uri, &sdp)),
            ServerEvent::Setup(setup) => (setup.id, self.set_up(talk, &setup, net)),
            ServerEvent::Play { id, .. } => {
                talk.role = Role::Plays;
                self.outcomes
                    .push_back(ServerOutcome::Playing(talk.path.clone()));
                let rtp_info = Vec::new();
                (id, Reply::Play { rtp_info })
            }
            ServerEvent::Record { id } => {
                talk.role = Role::Records;
                self.outcomes
                    .push_back(ServerOutcome::Recording(talk.path.clone()));
                (id, Reply::Ok)
            }
            ServerEvent::Pause { id } => {
                talk.role = Role::Ready;
                (id, Reply::Ok)
            }
            ServerEvent::Teardown => {
                self.release(talk, net);
                talk.role = Role::None;
                talk.tracks.clear();
                self.outcomes
                    .push_back(ServerOutcome::TornDown(talk.path.clone()));
                return;
            }
        };
        talk.session.respond(id, reply);
    }

    fn describe(&self, talk: &mut Talk, uri: &RequestUri) -> Reply {
        let Some(text) = self.streams.get(uri.path()) else {
            return Reply::error(Status::NOT_FOUND);
        };
        let Ok(description) = sdp::parse(text) else {
            return Reply::error(Status::NOT_FOUND);
        };
        uri.path().clone_into(&mut talk.path);
        let options = sdp::WriteOptions::default();
        let text = sdp::write(&description, &options, |track| uri.track_control(track));
        Reply::Describe {
            sdp: text.into(),
            tracks: description.tracks.len(),
        }
    }

    fn announce(&mut self, talk: &mut Talk, uri: &RequestUri, text: &Bytes) -> Reply {
        let Ok(description) = sdp::parse(text) else {
            return Reply::error(Status::BAD_REQUEST);
        };
        if self.streams.contains_key(uri.path()) {
            return Reply::error(Status::NOT_ACCEPTABLE);
        }
        uri.path().clone_into(&mut talk.path);
        self.streams.insert(talk.path.clone(), text.clone());
        talk.role = Role::Records;
        Reply::Announce {
            controls: description.tracks.into_iter().map(|t| t.control).collect(),
        }
    }

    fn set_up(&mut self, talk: &mut Talk, setup: &SetupRequest, net: &mut Network) -> Reply {
        if !setup.authorized {
            let Reply::Describe { .. } = self.describe(talk, &setup.uri) else {
                return Reply::error(Status::NOT_FOUND);
            };
        }
        let track = setup.track.unwrap_or(0);
        let transport = match setup.offers.first() {
            Some(&TransportOffer::Tcp { rtp, rtcp }) => TransportAnswer::Tcp { rtp, rtcp },
            Some(&TransportOffer::Udp { rtp, rtcp }) => {
                let port = self.next_port;
                self.next_port = port.checked_add(2).unwrap_or(FIRST_PORT);
                for port in [port, port.saturating_add(1)] {
                    net.bind(SocketAddr::new(self.addr.ip(), port));
                }
                TransportAnswer::Udp {
                    client: (rtp, rtcp),
                    server: (port, port.saturating_add(1)),
                }
            }
            None => return Reply::error(Status::UNSUPPORTED_TRANSPORT),
        };
        talk.tracks.insert(track, transport);
        Reply::Setup {
            track,
            transport,
            ssrc: None,
        }
    }

    /// Whose port this is: connection, track, and whether it is that of RTCP.
    fn owner(&self, port: u16) -> Option<(End, usize, bool)> {
        self.talks.iter().find_map(|(&end, talk)| {
            talk.tracks
                .iter()
                .find_map(|(&track, answer)| match answer {
                    TransportAnswer::Udp { server, .. } if server.0 == port => {
                        Some((end, track, false))
                    }
                    TransportAnswer::Udp { server, .. } if server.1 == port => {
                        Some((end, track, true))
                    }
                    _ => None,
                })
        })
    }

    fn datagram(&mut self, port: u16, data: Bytes, net: &mut Network) {
        let Some((end, track, rtcp)) = self.owner(port) else {
            return;
        };
        let Some(talk) = self.talks.get_mut(&end) else {
            return;
        };
        if rtcp {
            talk.session.note_alive(net.now());
        } else {
            talk.session.note_media(net.now());
        }
        if talk.role == Role::Records {
            let path = talk.path.clone();
            self.forward(net, &path, track, rtcp, data);
        }
    }
}

fn flush(talk: &mut Talk, end: End, net: &mut Network) {
    while let Some(bytes) = talk.session.take_output() {
        net.send(end, bytes);
    }
}

impl Node for RtspServer {
    fn host(&self) -> IpAddr {
        self.addr.ip()
    }

    fn handle(&mut self, event: Event, net: &mut Network) {
        match event {
            Event::Accepted { end, .. } => self.accept(end, net.now()),
            Event::Received { end, data } => self.read(end, &data, net),
            Event::Closed { end } | Event::Reset { end } => {
                if let Some(talk) = self.talks.remove(&end) {
                    self.release(&talk, net);
                    self.outcomes.push_back(ServerOutcome::Gone);
                }
            }
            Event::Datagram { to, data, .. } => self.datagram(to.port(), data, net),
            Event::Connected { .. } | Event::NotConnected { .. } => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.talks.values().map(|t| t.session.poll_timeout()).min()
    }

    fn handle_timeout(&mut self, net: &mut Network) {
        let now = net.now();
        let due: Vec<_> = self
            .talks
            .iter_mut()
            .filter_map(|(&end, talk)| Some((end, talk.session.handle_timeout(now)?)))
            .collect();
        for (end, reason) in due {
            if let Some(mut talk) = self.talks.remove(&end) {
                flush(&mut talk, end, net);
                self.close(end, talk, reason, net);
            }
        }
    }
}
