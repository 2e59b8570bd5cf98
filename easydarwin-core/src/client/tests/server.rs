use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{broadcast, watch};

use crate::media::{SessionDescription, sdp};
use crate::rtp::PacketRun;
use crate::rtsp::{
    Reply, ServerConfig, ServerConnection, ServerEvent, SessionRole, SetupRequest, Status, Step,
    TransportAnswer, TransportOffer,
};

/// What the server does besides forwarding.
#[derive(Debug, Clone, Default)]
pub(super) struct Behaviour {
    /// Refuse datagrams with 461.
    pub(super) tcp_only: bool,
    /// Called with every ANNOUNCE, DESCRIBE and PAUSE; an error is the answer.
    pub(super) gate: Option<Gate>,
}

pub(super) type Gate = fn(method: &str, authorization: Option<&str>) -> Option<Reply>;

#[derive(Debug)]
struct Shared {
    behaviour: Behaviour,
    stream: Mutex<Option<SessionDescription>>,
    /// Track, RTCP, packet.
    packets: broadcast::Sender<(usize, bool, Bytes)>,
    players: watch::Sender<usize>,
    teardowns: watch::Sender<usize>,
    end: watch::Sender<bool>,
}

/// A running server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                behaviour,
                stream: Mutex::new(None),
                packets: broadcast::channel(65_536).0,
                players: watch::channel(0).0,
                teardowns: watch::channel(0).0,
                end: watch::channel(false).0,
            }),
        };
        let shared = server.shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Connection::run(stream, shared.clone()));
            }
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("rtsp://{}/cam/1", self.address)
    }

    pub(super) fn describe(&self, description: SessionDescription) {
        *self.shared.stream.lock().unwrap() = Some(description);
    }

    /// Waits until that many sessions play.
    pub(super) async fn players(&self, count: usize) {
        let mut players = self.shared.players.subscribe();
        players.wait_for(|now| *now >= count).await.unwrap();
    }

    pub(super) async fn teardowns(&self, count: usize) {
        let mut teardowns = self.shared.teardowns.subscribe();
        teardowns.wait_for(|now| *now >= count).await.unwrap();
    }

    /// Waits until all packets are on their way.
    pub(super) async fn sent(&self) {
        while !self.shared.packets.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Connections that are sent media now.
    pub(super) fn listeners(&self) -> usize {
        self.shared.packets.receiver_count()
    }

    /// Closes all connections.
    pub(super) fn end(&self) {
        self.shared.end.send_replace(true);
    }

    pub(super) fn send(&self, track: usize, rtcp: bool, packet: Bytes) {
        self.shared.packets.send((track, rtcp, packet)).unwrap();
    }
}

/// The transport, and the sockets of RTP and RTCP.
type SetUp = (
    TransportAnswer,
    Option<Arc<UdpSocket>>,
    Option<Arc<UdpSocket>>,
);

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    rtsp: ServerConnection,
    tracks: HashMap<usize, SetUp>,
    packets: Option<broadcast::Receiver<(usize, bool, Bytes)>>,
}

impl Connection {
    async fn run(stream: TcpStream, shared: Arc<Shared>) {
        let peer = stream.peer_addr().unwrap();
        let local = stream.local_addr().unwrap();
        let config = Arc::new(ServerConfig::default());
        let mut connection = Self {
            stream,
            peer,
            rtsp: ServerConnection::new(config, "0123456789abcdef", local, Instant::now()),
            tracks: HashMap::new(),
            packets: None,
            shared,
        };
        let mut end = connection.shared.end.subscribe();
        tokio::select! {
            () = connection.serve() => {}
            _ = end.wait_for(|end| *end) => {}
        }
    }

    async fn serve(&mut self) {
        let mut input = Vec::new();
        loop {
            let Some(event) = self.step(&mut input) else {
                return;
            };
            if let Some(event) = event {
                self.handle(event).await;
            }
            let mut out = Vec::new();
            while let Some(bytes) = self.rtsp.take_output() {
                out.extend_from_slice(&bytes);
            }
            if self.stream.write_all(&out).await.is_err() {
                return;
            }
            if self.rtsp.session() == Some((SessionRole::Play, false)) && self.packets.is_some() {
                self.packets = None;
            }
            if self.rtsp.session() == Some((SessionRole::Play, true)) && self.packets.is_none() {
                self.packets = Some(self.shared.packets.subscribe());
                self.shared.players.send_modify(|count| *count += 1);
            }
            let mut scratch = [0; 65536];
            let packet = async {
                match &mut self.packets {
                    Some(packets) => packets.recv().await.unwrap(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = self.stream.read(&mut scratch) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(len) => input.extend_from_slice(&scratch[..len]),
                },
                (track, rtcp, packet) = packet => self.forward(track, rtcp, &packet).await,
            }
        }
    }

    /// Until an event or nothing is left; `None`: close.
    fn step(&mut self, input: &mut Vec<u8>) -> Option<Option<ServerEvent>> {
        loop {
            let consumed = match self.rtsp.next(input, Instant::now()) {
                Step::NeedMore => return Some(None),
                Step::Handled { consumed } => consumed,
                Step::Interleaved {
                    consumed,
                    track,
                    rtcp,
                    data,
                    ..
                } => {
                    if matches!(self.rtsp.session(), Some((SessionRole::Record, _))) {
                        let packet = Bytes::copy_from_slice(data);
                        let _ = self.shared.packets.send((track, rtcp, packet));
                    }
                    consumed
                }
                Step::Event { consumed, event } => {
                    input.drain(..consumed);
                    return Some(Some(event));
                }
                Step::Close { .. } => return None,
            };
            input.drain(..consumed);
        }
    }

    async fn handle(&mut self, event: ServerEvent) {
        let gate = self.shared.behaviour.gate;
        let refused = |method, credentials: &crate::rtsp::Credentials| {
            let bearer = credentials.bearer.as_deref().map(|t| format!("Bearer {t}"));
            let sent = bearer.or_else(|| credentials.authorization.as_deref().map(str::to_owned));
            gate.and_then(|gate| gate(method, sent.as_deref()))
        };
        let (id, reply) = match event {
            ServerEvent::Describe {
                id,
                uri,
                credentials,
            } => {
                let stream = self.shared.stream.lock().unwrap().clone();
                let reply = match (refused("DESCRIBE", &credentials), stream) {
                    (Some(refusal), _) => refusal,
                    (None, None) => Reply::error(Status::NOT_FOUND),
                    (None, Some(stream)) => Reply::Describe {
                        sdp: sdp::write(&stream, &sdp::WriteOptions::default(), |i| {
                            uri.track_control(i)
                        })
                        .into(),
                        tracks: stream.tracks.len(),
                    },
                };
                (id, reply)
            }
            ServerEvent::Announce {
                id,
                sdp: text,
                credentials,
                ..
            } => {
                let reply = refused("ANNOUNCE", &credentials).unwrap_or_else(|| {
                    let stream = sdp::parse(&text).unwrap();
                    let controls = stream.tracks.iter().map(|t| t.control.clone()).collect();
                    *self.shared.stream.lock().unwrap() = Some(stream);
                    Reply::Announce { controls }
                });
                (id, reply)
            }
            ServerEvent::Setup(setup) => (setup.id, self.set_up(&setup).await),
            ServerEvent::Play { id, .. } => (id, Reply::Play { rtp_info: vec![] }),
            ServerEvent::Pause { id } => {
                let refusal = gate.and_then(|gate| gate("PAUSE", None));
                (id, refusal.unwrap_or(Reply::Ok))
            }
            ServerEvent::Record { id } => (id, Reply::Ok),
            ServerEvent::Teardown => {
                self.shared.teardowns.send_modify(|count| *count += 1);
                return;
            }
        };
        assert!(self.rtsp.respond(id, reply));
    }

    async fn set_up(&mut self, setup: &SetupRequest) -> Reply {
        let track = setup.track.unwrap();
        let (answer, rtp, rtcp) = match setup.offers[0] {
            TransportOffer::Tcp { rtp, rtcp } => (TransportAnswer::Tcp { rtp, rtcp }, None, None),
            TransportOffer::Udp { .. } if self.shared.behaviour.tcp_only => {
                return Reply::error(Status::UNSUPPORTED_TRANSPORT);
            }
            TransportOffer::Udp { rtp, rtcp } => {
                let sockets = [
                    self.socket(setup.role, track, false).await,
                    self.socket(setup.role, track, true).await,
                ];
                let [(a, port_a), (b, port_b)] = sockets;
                let answer = TransportAnswer::Udp {
                    client: (rtp, rtcp),
                    server: (port_a, port_b),
                };
                (answer, Some(a), Some(b))
            }
        };
        self.tracks.insert(track, (answer, rtp, rtcp));
        Reply::Setup {
            track,
            transport: answer,
            ssrc: None,
        }
    }

    async fn socket(&self, role: SessionRole, track: usize, rtcp: bool) -> (Arc<UdpSocket>, u16) {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let port = socket.local_addr().unwrap().port();
        if role == SessionRole::Record {
            let (socket, packets) = (socket.clone(), self.shared.packets.clone());
            tokio::spawn(async move {
                let mut scratch = [0; 65536];
                while let Ok((len, _)) = socket.recv_from(&mut scratch).await {
                    let _ = packets.send((track, rtcp, Bytes::copy_from_slice(&scratch[..len])));
                }
            });
        }
        (socket, port)
    }

    async fn forward(&mut self, track: usize, rtcp: bool, packet: &[u8]) {
        let Some((answer, rtp_socket, rtcp_socket)) = self.tracks.get(&track) else {
            return;
        };
        match *answer {
            TransportAnswer::Tcp { rtp, rtcp: control } => {
                let mut run = PacketRun::new();
                assert!(run.push_packet(if rtcp { control } else { rtp }, packet));
                let _ = self.stream.write_all(run.interleaved()).await;
            }
            TransportAnswer::Udp { client, .. } => {
                let (socket, port) = if rtcp {
                    (rtcp_socket, client.1)
                } else {
                    (rtp_socket, client.0)
                };
                let target = SocketAddr::new(self.peer.ip(), port);
                let _ = socket.as_ref().unwrap().send_to(packet, target).await;
            }
        }
    }
}
