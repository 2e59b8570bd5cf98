//! A server, a publisher and a player, each on a host of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use easydarwin_core::rtsp::{ClientUrl, ServerConfig};
use easydarwin_core::sim::{
    self, ClientOutcome, Link, Network, Node, RtspClient, RtspServer, ServerOutcome,
};

pub(crate) const PUBLISHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
pub(crate) const PLAYER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=cam\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n\
    m=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\n";

pub(crate) struct World {
    pub(crate) net: Network,
    pub(crate) server: RtspServer,
    pub(crate) publisher: RtspClient,
    pub(crate) player: RtspClient,
    /// What each was told so far, in order.
    pub(crate) published: Vec<ClientOutcome>,
    pub(crate) played: Vec<ClientOutcome>,
    pub(crate) served: Vec<ServerOutcome>,
}

impl World {
    pub(crate) fn new(seed: u64, link: Link, udp: bool) -> Self {
        let mut net = Network::new(seed);
        net.set_default_link(link);
        let addr = SocketAddr::new(SERVER, 554);
        let server = RtspServer::listen(&mut net, addr, ServerConfig::default());
        let url = ClientUrl::parse("rtsp://10.0.0.2/live/cam?x=1").unwrap();
        let mut publisher = RtspClient::publisher(PUBLISHER, addr, &url, SDP.into());
        let mut player = RtspClient::player(PLAYER, addr, &url);
        if udp {
            publisher = publisher.udp();
            player = player.udp();
        }
        Self {
            net,
            server,
            publisher,
            player,
            published: Vec::new(),
            played: Vec::new(),
            served: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let mut nodes: [&mut dyn Node; 3] =
            [&mut self.server, &mut self.publisher, &mut self.player];
        sim::run(&mut self.net, &mut nodes, time);
        self.published
            .extend(std::iter::from_fn(|| self.publisher.poll_outcome()));
        self.played
            .extend(std::iter::from_fn(|| self.player.poll_outcome()));
        self.served
            .extend(std::iter::from_fn(|| self.server.poll_outcome()));
    }

    /// Until the publisher records and the player plays.
    pub(crate) fn begin(&mut self) {
        self.publisher.start(&mut self.net);
        self.run(Duration::from_secs(5));
        assert_eq!(self.published, [ClientOutcome::Recording]);
        self.player.start(&mut self.net);
        self.run(Duration::from_secs(5));
        assert_eq!(self.played, [ClientOutcome::Playing]);
    }

    /// Sends packets of both tracks, 20 ms apart; returns them by track.
    pub(crate) fn publish(&mut self, count: u16) -> [Vec<Bytes>; 2] {
        let mut sent = [Vec::new(), Vec::new()];
        for n in 0..count {
            for track in [0, 1] {
                let packet = packet(track, 65_500_u16.wrapping_add(n), 20 * u32::from(n));
                self.publisher.send(&mut self.net, track, &packet);
                sent[track].push(packet);
            }
            self.run(Duration::from_millis(20));
        }
        self.run(Duration::from_secs(2));
        sent
    }

    /// The RTP packets of a track that the player got.
    pub(crate) fn got(&self, wanted: usize) -> Vec<Bytes> {
        self.played
            .iter()
            .filter_map(|outcome| match outcome {
                ClientOutcome::Packet { track, rtcp, data } if *track == wanted && !rtcp => {
                    Some(data.clone())
                }
                _ => None,
            })
            .collect()
    }
}

/// A packet whose payload tells its number, of a length that varies.
pub(crate) fn packet(track: usize, sequence: u16, ms: u32) -> Bytes {
    let clock = [90, 8][track];
    let mut packet = vec![0x80, [96, 8][track]];
    packet.extend(sequence.to_be_bytes());
    packet.extend((ms * clock).to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    let len = 1 + usize::from(sequence.wrapping_mul(31) % 900);
    packet.extend(sequence.to_be_bytes().repeat(len));
    packet.into()
}
