//! A CMS on a free port, and peers that speak to it over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(dead_code)] // Each test file uses its own part of it.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use easydarwin_camera::source::{MediaSource, PatternSource, SourceError};
use easydarwin_cms::{Cms, CmsConfig, CmsHandle, LegacyLevel};
use easydarwin_core::media::{AccessUnit, SessionDescription};
use easydarwin_core::protocol::node::{
    Endpoint, Grant, Join, JoinAck, NodeEvent, NodeStream, Report, ReportAck, StreamChange,
    node_ack, node_serial,
};
use easydarwin_core::protocol::{
    AppType, Envelope, ErrorNum, FrameDecoder, MessageType, Register, StartLine, TerminalType,
    login,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Nothing on loopback takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestCms {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: CmsHandle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl TestCms {
    /// A CMS that takes loopback for old clients.
    pub(crate) async fn start(change: impl FnOnce(&mut CmsConfig)) -> Self {
        let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
        config.refusal_delay = Duration::from_millis(20);
        change(&mut config);
        let cms = Cms::builder(config)
            .legacy_client("127.0.0.0/8".parse().unwrap(), LegacyLevel::Control)
            .build()
            .await
            .unwrap();
        Self::run(cms)
    }

    pub(crate) fn run(cms: Cms) -> Self {
        let (addr, handle) = (cms.local_addr(), cms.handle());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            cms.run(shutdown).await.unwrap();
        });
        Self {
            addr,
            handle,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer::connect(self.addr).await
    }

    pub(crate) async fn get(&self, target: &str) -> Reply {
        let mut peer = self.connect().await;
        peer.get(target).await
    }

    /// One REST call's envelope.
    pub(crate) async fn api(&self, target: &str) -> Envelope {
        self.get(&format!("/api/v1/{target}")).await.envelope()
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the CMS ends")
            .unwrap();
    }
}

/// One message from the CMS.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn envelope(&self) -> Envelope {
        Envelope::parse(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn error(&self) -> u16 {
        self.envelope().error().expect("ErrorNum").code()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    decoder: FrameDecoder,
    buf: Vec<u8>,
}

impl Peer {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(addr).await.unwrap(),
            decoder: FrameDecoder::default(),
            buf: Vec::new(),
        }
    }

    /// From this address: all of 127.0.0.0/8 are ours.
    pub(crate) async fn connect_from(from: std::net::IpAddr, to: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self {
            stream: socket.connect(to).await.unwrap(),
            decoder: FrameDecoder::default(),
            buf: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send_message(&mut self, message: &Envelope) {
        self.send(&message.to_request("test")).await;
    }

    /// The next message; `None` when the connection was closed.
    pub(crate) async fn next(&mut self) -> Option<Reply> {
        tokio::time::timeout(PATIENCE, self.read())
            .await
            .expect("an answer in time")
    }

    async fn read(&mut self) -> Option<Reply> {
        loop {
            if let Some(frame) = self.decoder.decode(&self.buf).expect("a clean answer") {
                let StartLine::Status { code } = frame.start else {
                    panic!("the CMS sends status lines only");
                };
                let reply = Reply {
                    status: code,
                    headers: frame
                        .headers()
                        .map(|(k, v)| (k.to_owned(), v.to_owned()))
                        .collect(),
                    body: frame.body.to_vec(),
                };
                let consumed = frame.consumed;
                self.buf.drain(..consumed);
                return Some(reply);
            }
            match self.stream.read_buf(&mut self.buf).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn expect(&mut self) -> Reply {
        self.next().await.expect("an answer, not the end")
    }

    /// Waits until this text has come: of an answer that goes on.
    pub(crate) async fn until(&mut self, text: &str) {
        let reading = async {
            let found = |buf: &[u8]| buf.windows(text.len()).any(|w| w == text.as_bytes());
            while !found(&self.buf) {
                let read = self.stream.read_buf(&mut self.buf).await;
                assert!(read.unwrap() > 0, "it ended before {text:?} came");
            }
            self.buf.clear();
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the text in time");
    }

    /// Waits until the CMS closes the connection.
    pub(crate) async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    pub(crate) async fn get(&mut self, target: &str) -> Reply {
        let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.send(request.as_bytes()).await;
        self.expect().await
    }

    pub(crate) async fn ask(&mut self, message: &Envelope) -> Envelope {
        self.send_message(message).await;
        self.expect().await.envelope()
    }

    /// Logs in with ED1. The last answer.
    pub(crate) async fn login(&mut self, serial: &str, key: &str) -> Envelope {
        let mut register = Register::new(serial, AppType::EasyCamera, TerminalType::Linux);
        register.ext = easydarwin_core::protocol::Ext::parse("auth,token");
        register.auth = Some(login::ED1.into());
        register.client_nonce = Some("client-nonce".into());
        let challenge = self.ask(&register.to_envelope(1)).await;
        let Some(nonce) = challenge.body.non_empty("Nonce") else {
            return challenge;
        };
        let key = login::DeviceKey::new(key, serial);
        register.proof = Some(key.proof("client-nonce", &nonce));
        register.nonce = Some(nonce.clone());
        let ack = self.ask(&register.to_envelope(2)).await;
        if let Some(proof) = ack.body.non_empty("ServerProof") {
            assert!(key.check_server("client-nonce", &nonce, &proof));
        }
        ack
    }

    /// Registers as an old device.
    pub(crate) async fn register(&mut self, serial: &str, token: &str) -> Envelope {
        let mut register = Register::new(serial, AppType::EasyCamera, TerminalType::Linux);
        register.token = Some(token.into());
        self.ask(&register.to_envelope(1)).await
    }
}

/// A JPEG by its first bytes, of this length.
pub(crate) fn picture(length: usize) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0];
    let filler = (0u8..=250).cycle();
    bytes.extend(filler.take(length - bytes.len()));
    bytes
}

/// A source whose snapshots are [`picture`]s of a length.
#[derive(Debug)]
pub(crate) struct Large {
    films: PatternSource,
    length: usize,
}

impl Large {
    pub(crate) fn new(length: usize) -> Self {
        let films = PatternSource::new("large");
        Self { films, length }
    }
}

impl MediaSource for Large {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<SessionDescription, SourceError>> {
        self.films.poll_open(cx)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        unit: &mut AccessUnit,
    ) -> Poll<Result<(), SourceError>> {
        self.films.poll_frame(cx, unit)
    }

    fn close(&mut self) {
        self.films.close();
    }

    fn snapshot(&mut self) -> Option<bytes::Bytes> {
        Some(picture(self.length).into())
    }
}

pub(crate) fn code(message: &Envelope) -> u16 {
    message.error().expect("ErrorNum").code()
}

/// A media node that grants everything and closes everything, and tells what it was asked.
pub(crate) struct FakeNode {
    pub(crate) asked: mpsc::UnboundedReceiver<Envelope>,
    events: mpsc::UnboundedSender<Envelope>,
    task: JoinHandle<()>,
}

impl FakeNode {
    pub(crate) async fn join(cms: &TestCms, id: &str) -> Self {
        let mut peer = cms.connect().await;
        let ack = Self::join_with(&mut peer, id, cms.handle.join_key()).await;
        assert_eq!(ack.error, ErrorNum::OK);
        assert!(!ack.keys.is_empty() && ack.server_proof.is_some());
        Self::serve(peer, Vec::new()).await
    }

    /// Tries to join with this key.
    pub(crate) async fn join_with(peer: &mut Peer, id: &str, key: &str) -> JoinAck {
        let mut endpoint = Endpoint::wan("127.0.0.2", 11554, Some(11080));
        endpoint.rtsps = Some(11322);
        let mut join = Join::new(id, "node-nonce", vec![endpoint]);
        let ack = peer.ask(&join.to_envelope(1)).await;
        let nonce = JoinAck::from_envelope(&ack).unwrap().nonce.unwrap();
        let key = login::DeviceKey::new(key, &node_serial(id));
        join.proof = Some(key.proof("node-nonce", &nonce));
        join.nonce = Some(nonce);
        JoinAck::from_envelope(&peer.ask(&join.to_envelope(2)).await).unwrap()
    }

    /// Reports the inventory, then answers on its own.
    pub(crate) async fn serve(mut peer: Peer, inventory: Vec<NodeStream>) -> Self {
        let mut report = Report::default();
        report.inventory = Some(inventory);
        let ack = peer.ask(&report.to_envelope(3)).await;
        assert!(!ReportAck::from_envelope(&ack).unwrap().want_inventory);
        let (asked_tx, asked) = mpsc::unbounded_channel();
        let (events, mut to_send) = mpsc::unbounded_channel::<Envelope>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = to_send.recv() => match event {
                        Some(event) => peer.send_message(&event).await,
                        None => return,
                    },
                    reply = peer.read() => {
                        let Some(reply) = reply else { return };
                        let message = reply.envelope();
                        if let Some(ack) = node_ack(&message, ErrorNum::OK) {
                            peer.send_message(&ack).await;
                        }
                        let _ = asked_tx.send(message);
                    }
                }
            }
        });
        Self {
            asked,
            events,
            task,
        }
    }

    pub(crate) fn send(&self, message: Envelope) {
        self.events.send(message).unwrap();
    }

    pub(crate) fn tell(&self, change: StreamChange, path: &str, generation: u64) {
        let event = NodeEvent::new(change, NodeStream::new(path, generation));
        self.send(event.to_envelope(10));
    }

    /// The next request of this kind.
    pub(crate) async fn asked(&mut self, kind: MessageType) -> Envelope {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let message = self.asked.recv().await.expect("the node's connection");
                if message.kind() == Some(kind) {
                    return message;
                }
            }
        })
        .await
        .expect("a request in time")
    }

    pub(crate) async fn granted(&mut self) -> Grant {
        Grant::from_envelope(&self.asked(MessageType::NodeGrantReq).await).unwrap()
    }

    pub(crate) async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
