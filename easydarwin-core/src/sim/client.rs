use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use crate::media::sdp;
use crate::rtsp::{
    ClientEvent, ClientSession, ClientStep, ClientUrl, Limits, Login, Method, ParseError, Status,
    Transport,
};

use super::{ConnectError, End, Event, Network, Node};

/// First port of a client that takes media by datagram; two for each track.
const FIRST_PORT: u16 = 5000;

/// [`ClientSession`] on a simulated host: plays or publishes one stream.
#[derive(Debug)]
pub struct RtspClient {
    host: IpAddr,
    url: ClientUrl,
    /// The description of what is published; a player has none.
    publishes: Option<Bytes>,
    udp: bool,
    session: Option<ClientSession>,
    end: Option<End>,
    unread: BytesMut,
    /// Control attributes of the tracks, and how far they are set up.
    controls: Vec<Option<String>>,
    transports: Vec<Transport>,
    server: SocketAddr,
    outcomes: VecDeque<ClientOutcome>,
}

/// What a client came to know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientOutcome {
    /// The media of these tracks begins.
    Playing,
    /// Media can be sent.
    Recording,
    /// Media came.
    Packet {
        /// Index of its track.
        track: usize,
        /// RTCP rather than RTP.
        rtcp: bool,
        /// The packet.
        data: Bytes,
    },
    /// The session ended as asked for.
    TornDown,
    /// A request was refused; the connection is closed.
    Refused(Method, Status),
    /// The stream is elsewhere; the connection is closed.
    Redirected(String),
    /// There is no connection.
    NotConnected(ConnectError),
    /// The server closed, or ended the session.
    Ended,
    /// The connection broke.
    Broken,
    /// What came is no RTSP.
    Unreadable(ParseError),
}

impl RtspClient {
    /// A player of `url` on `host`; `server` is where it is to be found.
    pub fn player(host: IpAddr, server: SocketAddr, url: &ClientUrl) -> Self {
        Self {
            host,
            url: url.clone(),
            publishes: None,
            udp: false,
            session: None,
            end: None,
            unread: BytesMut::new(),
            controls: Vec::new(),
            transports: Vec::new(),
            server,
            outcomes: VecDeque::new(),
        }
    }

    /// A publisher of what `sdp` describes.
    pub fn publisher(host: IpAddr, server: SocketAddr, url: &ClientUrl, sdp: Bytes) -> Self {
        Self {
            publishes: Some(sdp),
            ..Self::player(host, server, url)
        }
    }

    /// Media by datagram instead of interleaved.
    #[must_use]
    pub fn udp(mut self) -> Self {
        self.udp = true;
        self
    }

    /// Connects; also again, after an end.
    pub fn start(&mut self, net: &mut Network) {
        self.stop(net);
        self.end = Some(net.connect(self.host, self.server));
    }

    /// Asks the server to end the session.
    pub fn tear_down(&mut self, net: &mut Network) {
        if let Some(session) = &mut self.session {
            session.teardown();
            self.flush(net);
        }
    }

    /// Closes the connection without a word.
    pub fn stop(&mut self, net: &mut Network) {
        if let Some(end) = self.end.take() {
            net.close(end);
        }
        for track in 0..self.transports.len() {
            let (rtp, rtcp) = self.local_ports(track);
            net.unbind(rtp);
            net.unbind(rtcp);
        }
        self.session = None;
        self.unread.clear();
        self.controls.clear();
        self.transports.clear();
    }

    /// Sends a packet of a track; for publishers that record.
    pub fn send(&mut self, net: &mut Network, track: usize, packet: &[u8]) {
        let Some(end) = self.end else { return };
        let Some(transport) = self.transports.get(track) else {
            return;
        };
        if let (Some((to, _)), false) = (transport.server_port, transport.tcp) {
            let (from, _) = self.local_ports(track);
            let to = SocketAddr::new(self.server.ip(), to);
            net.send_to(from, to, Bytes::copy_from_slice(packet));
        } else if let Some((channel, _)) = transport.interleaved {
            net.send(end, framed(channel, packet));
        }
    }

    /// Sends bytes on the connection as they are, for peers that misbehave.
    pub fn send_raw(&mut self, net: &mut Network, data: impl Into<Bytes>) {
        if let Some(end) = self.end {
            net.send(end, data);
        }
    }

    /// The client's end of the connection, to be cut or silenced.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The next thing that it came to know.
    pub fn poll_outcome(&mut self) -> Option<ClientOutcome> {
        self.outcomes.pop_front()
    }

    fn local_ports(&self, track: usize) -> (SocketAddr, SocketAddr) {
        let offset = u16::try_from(track * 2).unwrap_or(0);
        let rtp = FIRST_PORT.saturating_add(offset);
        (
            SocketAddr::new(self.host, rtp),
            SocketAddr::new(self.host, rtp.saturating_add(1)),
        )
    }

    fn over(&mut self, net: &mut Network, outcome: ClientOutcome) {
        self.stop(net);
        self.outcomes.push_back(outcome);
    }

    fn begin(&mut self, net: &mut Network) {
        let limits = Limits::default();
        let mut session = ClientSession::new(&self.url, Login::FromUrl, "cnonce", "sim", limits);
        match &self.publishes {
            Some(sdp) => session.announce(sdp.clone()),
            None => session.describe(),
        }
        self.session = Some(session);
        self.flush(net);
    }

    fn flush(&mut self, net: &mut Network) {
        if let (Some(session), Some(end)) = (&mut self.session, self.end) {
            while let Some(bytes) = session.take_output() {
                net.send(end, bytes);
            }
        }
    }

    fn read(&mut self, data: &[u8], net: &mut Network) {
        self.unread.extend_from_slice(data);
        loop {
            let Some(session) = &mut self.session else {
                return;
            };
            let mut event = None;
            let consumed = match session.next(&self.unread, net.now()) {
                ClientStep::NeedMore => break,
                ClientStep::Failed(error) => {
                    return self.over(net, ClientOutcome::Unreadable(error));
                }
                ClientStep::Handled { consumed } => consumed,
                ClientStep::Interleaved {
                    consumed,
                    channel,
                    data,
                } => {
                    let data = Bytes::copy_from_slice(data);
                    let packet = self.transports.iter().enumerate().find_map(|(track, t)| {
                        let (rtp, rtcp) = t.interleaved?;
                        (channel == rtp || channel == rtcp).then_some((track, channel == rtcp))
                    });
                    if let Some((track, rtcp)) = packet {
                        self.outcomes
                            .push_back(ClientOutcome::Packet { track, rtcp, data });
                    }
                    consumed
                }
                ClientStep::Event { consumed, event: e } => {
                    event = Some(e);
                    consumed
                }
            };
            let _ = self.unread.split_to(consumed.min(self.unread.len()));
            if let Some(event) = event {
                self.go_on(event, net);
            }
            self.flush(net);
        }
        self.flush(net);
    }

    fn go_on(&mut self, event: ClientEvent, net: &mut Network) {
        match event {
            ClientEvent::Described { sdp } => self.set_tracks(&sdp),
            ClientEvent::Announced => {
                let sdp = self.publishes.clone().unwrap_or_default();
                self.set_tracks(&sdp);
            }
            ClientEvent::SetUp { transport } => self.transports.push(transport),
            ClientEvent::Playing { .. } => {
                return self.outcomes.push_back(ClientOutcome::Playing);
            }
            ClientEvent::Recording => return self.outcomes.push_back(ClientOutcome::Recording),
            ClientEvent::TornDown => return self.over(net, ClientOutcome::TornDown),
            ClientEvent::Ended => return self.over(net, ClientOutcome::Ended),
            ClientEvent::Refused { method, status, .. } => {
                return self.over(net, ClientOutcome::Refused(method, status));
            }
            ClientEvent::LoginFailed { method, .. } => {
                return self.over(net, ClientOutcome::Refused(method, Status::UNAUTHORIZED));
            }
            ClientEvent::Redirected { location } => {
                return self.over(net, ClientOutcome::Redirected(location));
            }
            // Nobody asks for a pause here.
            ClientEvent::Options | ClientEvent::Paused => return,
        }
        self.set_up_next(net);
    }

    fn set_tracks(&mut self, text: &[u8]) {
        self.controls = sdp::parse(text).map_or_else(
            |_| Vec::new(),
            |found| found.tracks.into_iter().map(|t| t.control).collect(),
        );
    }

    /// The next track, or what comes after them.
    fn set_up_next(&mut self, net: &mut Network) {
        let track = self.transports.len();
        let (rtp, rtcp) = self.local_ports(track);
        let record = self.publishes.is_some();
        let Some(session) = &mut self.session else {
            return;
        };
        let Some(control) = self.controls.get(track) else {
            return if record {
                session.record();
            } else {
                session.play();
            };
        };
        let channel = u8::try_from(track * 2).unwrap_or(0);
        let mut transport = Transport {
            tcp: !self.udp,
            record,
            ..Transport::default()
        };
        if self.udp {
            net.bind(rtp);
            net.bind(rtcp);
            transport.client_port = Some((rtp.port(), rtcp.port()));
        } else {
            transport.interleaved = Some((channel, channel.saturating_add(1)));
        }
        session.setup(control.as_deref(), &transport);
    }
}

impl Node for RtspClient {
    fn host(&self) -> IpAddr {
        self.host
    }

    fn handle(&mut self, event: Event, net: &mut Network) {
        match event {
            Event::Connected { end } if self.end == Some(end) => self.begin(net),
            Event::NotConnected { end, error } if self.end == Some(end) => {
                self.over(net, ClientOutcome::NotConnected(error));
            }
            Event::Received { end, data } if self.end == Some(end) => self.read(&data, net),
            Event::Closed { end } if self.end == Some(end) => self.over(net, ClientOutcome::Ended),
            Event::Reset { end } if self.end == Some(end) => self.over(net, ClientOutcome::Broken),
            Event::Datagram { to, data, .. } => {
                let offset = to.port().wrapping_sub(FIRST_PORT);
                let track = usize::from(offset / 2);
                if track < self.transports.len() {
                    let rtcp = offset % 2 == 1;
                    self.outcomes
                        .push_back(ClientOutcome::Packet { track, rtcp, data });
                }
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.as_ref()?.poll_timeout()
    }

    fn handle_timeout(&mut self, net: &mut Network) {
        if let Some(session) = &mut self.session {
            session.handle_timeout(net.now());
        }
        self.flush(net);
    }
}

/// An interleaved frame (RFC 2326, 10.12); longer packets than it can carry are cut.
pub(super) fn framed(channel: u8, packet: &[u8]) -> Bytes {
    let len = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    let mut frame = BytesMut::with_capacity(packet.len() + 4);
    frame.put_slice(&[b'$', channel]);
    frame.put_u16(len);
    frame.put_slice(packet.get(..usize::from(len)).unwrap_or(packet));
    frame.freeze()
}
