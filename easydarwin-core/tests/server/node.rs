//! The link to the CMS, from the node's side, against a CMS that does what each test says.

use std::time::Duration;

use easydarwin_core::protocol::login::DeviceKey;
use easydarwin_core::protocol::node::{
    Close, Demand, DemandAck, Grant, Join, JoinAck, NodeEvent, Report, ReportAck, Revocation,
    Revoke, Revoked, StreamChange, TokenKey, node_serial,
};
use easydarwin_core::protocol::{Envelope, ErrorNum, FreeStream, MessageReader, MessageType};
use easydarwin_core::registry::{Claims, TokenAction, TokenSigner, UnixMillis};
use easydarwin_core::server::{MediaServer, NodeAgent, NodeConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{AUDIO_SDP, Server, audio_packet, interleaved, path, publish, within};

const JOIN_KEY: &str = "the join key of these tests";

struct Bench {
    server: Server,
    agent: NodeAgent,
    stop: CancellationToken,
    listener: TcpListener,
}

impl Bench {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cms = listener.local_addr().unwrap().to_string();
        let mut config = NodeConfig::new(cms, JOIN_KEY, "node-1");
        config.idle = Duration::from_millis(200);
        config.advertise = Some("media.example".into());
        let agent = NodeAgent::new(config);
        let builder = MediaServer::builder()
            .authorizer(agent.authorizer())
            .on_demand(agent.clone());
        let server = Server::of(builder).await;
        let stop = CancellationToken::new();
        tokio::spawn(agent.clone().run(server.handle.clone(), stop.clone()));
        Self {
            server,
            agent,
            stop,
            listener,
        }
    }

    async fn accept(&self) -> Cms {
        let (socket, _) = within(self.listener.accept()).await.unwrap();
        Cms {
            socket,
            reader: MessageReader::default(),
            signer: TokenSigner::from_seed([7; 32]),
        }
    }

    /// The node, joined, its first report taken.
    async fn joined(&self) -> (Cms, Report) {
        let mut cms = self.accept().await;
        let join = cms.join().await;
        assert_eq!(join.endpoints[0].host, "media.example");
        assert_eq!(join.endpoints[0].rtsp, self.server.addr.port());
        let report = cms.next(MessageType::NodeReport).await;
        let report = Report::from_envelope(&report).unwrap();
        (cms, report)
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.stop().await;
    }
}

struct Cms {
    socket: TcpStream,
    reader: MessageReader,
    signer: TokenSigner,
}

impl Cms {
    async fn send(&mut self, message: &Envelope) {
        self.socket
            .write_all(&message.to_response("test"))
            .await
            .unwrap();
    }

    async fn message(&mut self) -> Envelope {
        loop {
            if let Some(frame) = self.reader.next_message().unwrap() {
                return frame.envelope().unwrap();
            }
            let mut buffer = [0; 4096];
            let count = within(self.socket.read(&mut buffer)).await.unwrap();
            assert_ne!(count, 0, "the node closed the connection");
            self.reader.push(&buffer[..count]);
        }
    }

    /// The next message of that kind. Reports before it are answered.
    async fn next(&mut self, kind: MessageType) -> Envelope {
        loop {
            let message = self.message().await;
            if message.kind() == Some(kind) {
                return message;
            }
            if message.kind() == Some(MessageType::NodeReport) {
                let now = UnixMillis::system().0;
                let ack = ReportAck::new(ErrorNum::OK, now, 5, false);
                self.send(&ack.to_envelope(&message.cseq())).await;
            }
        }
    }

    async fn event(&mut self) -> NodeEvent {
        NodeEvent::from_envelope(&self.next(MessageType::NodeEvent).await).unwrap()
    }

    async fn join(&mut self) -> Join {
        let key = DeviceKey::new(JOIN_KEY, &node_serial("node-1"));
        let message = self.next(MessageType::NodeJoinReq).await;
        assert!(Join::from_envelope(&message).unwrap().proof.is_none());
        let mut challenge = JoinAck::new(ErrorNum::UNAUTHORIZED);
        challenge.nonce = Some("the-nonce".into());
        self.send(&challenge.to_envelope(&message.cseq())).await;

        let message = self.next(MessageType::NodeJoinReq).await;
        let join = Join::from_envelope(&message).unwrap();
        let proof = join.proof.clone().unwrap();
        assert!(key.verifier().check(
            &node_serial("node-1"),
            &join.client_nonce,
            "the-nonce",
            &proof
        ));
        let mut ack = JoinAck::new(ErrorNum::OK);
        ack.server_proof = Some(key.verifier().server_proof(
            &node_serial("node-1"),
            &join.client_nonce,
            "the-nonce",
        ));
        let public = self.signer.public_key();
        ack.keys.push(TokenKey {
            kid: public.kid,
            key: public.key,
        });
        (ack.time_ms, ack.epoch) = (UnixMillis::system().0, 5);
        (ack.beat_ms, ack.lease_ms) = (50, 1000);
        self.send(&ack.to_envelope(&message.cseq())).await;
        join
    }
}

#[tokio::test]
async fn a_grant_lets_a_camera_in_and_its_stream_is_reported() {
    let bench = Bench::new().await;
    let (mut cms, report) = bench.joined().await;
    assert_eq!(report.inventory, Some(vec![]), "the first one is complete");

    let url = bench.server.url("cam/1");
    let mut camera = bench.server.connect().await;
    assert_eq!(publish(&mut camera, &url).await.status, 401);
    let grant = Grant::new("cam/1", 9, Some([127, 0, 0, 1].into()), 30);
    cms.send(&grant.to_envelope(1)).await;
    let ack = cms.next(MessageType::NodeGrantAck).await;
    assert_eq!(ack.error(), Some(ErrorNum::OK));
    assert_eq!(publish(&mut camera, &url).await.status, 200);
    let event = cms.event().await;
    assert_eq!(event.change, StreamChange::Published);
    assert_eq!((&*event.stream.path, event.stream.generation), ("cam/1", 9));
    camera.send(&interleaved(0, &audio_packet(1))).await;
    assert_eq!(cms.event().await.change, StreamChange::Ready);

    // Nobody views it: the CMS is told, and closes it.
    let free = cms.next(MessageType::FreeStreamReq).await;
    let free = FreeStream::from_envelope(&free).unwrap();
    assert_eq!((&*free.stream.serial, free.stream.channel), ("cam", 1));
    assert_eq!(free.generation, Some(9));
    cms.send(&Close::new("cam/1", 8, true).to_envelope(2)).await;
    let ack = cms.next(MessageType::NodeCloseAck).await;
    assert_eq!(ack.error(), Some(ErrorNum::CONFLICT), "a newer one is live");
    cms.send(&Close::new("cam/1", 9, true).to_envelope(3)).await;
    assert_eq!(cms.event().await.change, StreamChange::Ended);
    camera.closed().await;
    cms.send(&Close::new("cam/1", 9, true).to_envelope(4)).await;
    let ack = cms.next(MessageType::NodeCloseAck).await;
    assert!(ack.error() == Some(ErrorNum::OK) || ack.error() == Some(ErrorNum::NOT_FOUND));
    bench.end().await;
}

/// A camera with a token publishes, and sends until its connection ends.
async fn token_camera(bench: &Bench, cms: &mut Cms, serial: &str) -> tokio::task::JoinHandle<()> {
    let url = format!("{serial}/1");
    let now = UnixMillis::system();
    let mut claims = Claims::new(path(&url), TokenAction::Publish, serial, now, 60);
    claims.generation = Some(3);
    let bearer = format!("Bearer {}", cms.signer.sign(&claims));
    let url = bench.server.url(&url);
    let mut camera = bench.server.connect().await;
    let headers = [
        ("Content-Type", "application/sdp"),
        ("Authorization", bearer.as_str()),
    ];
    let response = camera.request("ANNOUNCE", &url, &headers, AUDIO_SDP).await;
    assert_eq!(response.status, 200, "{response:?}");
    let track = format!("{url}/trackID=0");
    let transport = "RTP/AVP/TCP;unicast;mode=record;interleaved=0-1";
    assert_eq!(camera.set_up(&track, transport).await.status, 200);
    assert_eq!(camera.request("RECORD", &url, &[], "").await.status, 200);
    camera.send(&interleaved(0, &audio_packet(1))).await;
    tokio::spawn(async move { camera.closed().await })
}

#[tokio::test]
async fn what_is_taken_back_ends_within_two_seconds_and_nothing_else() {
    let bench = Bench::new().await;
    let (mut cms, _) = bench.joined().await;
    let yard = token_camera(&bench, &mut cms, "yard").await;
    let hall = token_camera(&bench, &mut cms, "hall").await;
    let now = UnixMillis::system();
    let url = |cms: &Cms, who: &str, stream: &str, iat: u64| {
        let mut claims = Claims::new(path(stream), TokenAction::Play, who, now, 3600);
        claims.iat = iat;
        let token = cms.signer.sign(&claims);
        format!("{}?token={token}", bench.server.url(stream))
    };
    let mut players = Vec::new();
    for (who, stream) in [("ann", "yard/1"), ("bob", "yard/1"), ("bob", "hall/1")] {
        let mut player = bench.server.connect().await;
        player.play(&url(&cms, who, stream, now.seconds())).await;
        players.push(player);
    }
    let [mut ann, mut bob, mut bob_in_the_hall] = <[_; 3]>::try_from(players).ok().unwrap();

    let until = now.0 + 3_600_000;
    let not_before = now.seconds() + 1;
    let revoke = |what| Revoke::new(vec![Revocation::new(what, not_before, until)], 0);
    let begun = std::time::Instant::now();
    cms.send(&revoke(Revoked::Subject("ann".into())).to_envelope(1))
        .await;
    ann.closed().await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let ack = cms.next(MessageType::NodeRevokeAck).await;
    assert_eq!(ack.error(), Some(ErrorNum::OK));
    let mut again = bench.server.connect().await;
    let old = url(&cms, "ann", "yard/1", now.seconds());
    assert_eq!(again.describe(&old).await.status, 401);
    let new = url(&cms, "ann", "yard/1", not_before);
    again.play(&new).await;
    assert_eq!(bob.request("OPTIONS", "*", &[], "").await.status, 200);

    // A device with all that is its.
    cms.send(&revoke(Revoked::Device("yard".into())).to_envelope(2))
        .await;
    within(yard).await.unwrap();
    bob.closed().await;
    let in_the_hall = bob_in_the_hall.request("OPTIONS", "*", &[], "").await;
    assert_eq!(in_the_hall.status, 200);
    assert!(!hall.is_finished());

    // What cannot be read is not said to be done.
    let mut unread = revoke(Revoked::Subject("bob".into())).to_envelope(3);
    let whose = unread.body.list("Revocations").to_vec();
    let whose = whose.into_iter().map(|mut entry| {
        entry.set("NotBefore", "soon");
        entry
    });
    unread.body.set_list("Revocations", whose.collect());
    cms.send(&unread).await;
    let ack = loop {
        let ack = cms.next(MessageType::NodeRevokeAck).await;
        if ack.cseq() == "3" {
            break ack;
        }
    };
    assert_eq!(ack.error(), Some(ErrorNum::BAD_REQUEST));
    bench.end().await;
}

#[tokio::test]
async fn tokens_of_the_cms_count_also_while_it_is_away() {
    let bench = Bench::new().await;
    let (cms, _) = bench.joined().await;
    let now = UnixMillis::system();
    let mut claims = Claims::new(path("cam/1"), TokenAction::Publish, "cam", now, 60);
    claims.generation = Some(3);
    let bearer = format!("Bearer {}", cms.signer.sign(&claims));
    drop(cms);
    let mut camera = bench.server.connect().await;
    let headers = [
        ("Content-Type", "application/sdp"),
        ("Authorization", bearer.as_str()),
    ];
    let url = bench.server.url("cam/1");
    let response = camera.request("ANNOUNCE", &url, &headers, AUDIO_SDP).await;
    assert_eq!(response.status, 200, "{response:?}");

    // The CMS is back: it learns what there is.
    let (_cms, report) = bench.joined().await;
    let inventory = report.inventory.unwrap();
    assert_eq!(inventory.len(), 1);
    assert_eq!(inventory[0].path, "cam/1");
    assert_eq!(inventory[0].generation, 3);
    bench.end().await;
}

#[tokio::test]
async fn viewers_ask_the_cms_once_for_a_stream() {
    let bench = Bench::new().await;
    let (mut cms, _) = bench.joined().await;
    let now = UnixMillis::system();
    let claims = Claims::new(path("cam/1"), TokenAction::Play, "somebody", now, 60);
    let url = format!(
        "{}?token={}",
        bench.server.url("cam/1"),
        cms.signer.sign(&claims)
    );
    let mut first = bench.server.connect().await;
    first.write_request("DESCRIBE", &url, &[], "").await;
    let asked = cms.next(MessageType::NodeDemandReq).await;
    assert_eq!(Demand::from_envelope(&asked).unwrap().path, "cam/1");
    let mut second = bench.server.connect().await;
    second.write_request("DESCRIBE", &url, &[], "").await;
    // Three beats later the second one has been heard.
    for _ in 0..3 {
        let message = cms.message().await;
        assert_eq!(message.kind(), Some(MessageType::NodeReport));
        let ack = ReportAck::new(ErrorNum::OK, now.0, 5, false);
        cms.send(&ack.to_envelope(&message.cseq())).await;
    }
    let ack = DemandAck::new("cam/1", ErrorNum::TIMEOUT, "the device does not answer");
    cms.send(&ack.to_envelope(&asked.cseq())).await;
    for mut player in [first, second] {
        let response = player.response().await;
        assert_eq!(response.status, 504);
        assert!(response.reason.contains("does not answer"), "{response:?}");
    }
    assert!(bench.agent.is_joined());
    bench.end().await;
}

#[tokio::test]
async fn without_the_cms_a_missing_stream_is_503() {
    let bench = Bench::new().await;
    let (cms, _) = bench.joined().await;
    let now = UnixMillis::system();
    let claims = Claims::new(path("cam/1"), TokenAction::Play, "somebody", now, 60);
    let token = cms.signer.sign(&claims);
    drop(cms);
    within(async {
        while bench.agent.is_joined() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut player = bench.server.connect().await;
    let url = format!("{}?token={token}", bench.server.url("cam/1"));
    let response = player.describe(&url).await;
    assert_eq!(response.status, 503, "{response:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_cms_that_does_not_know_the_key_is_not_believed() {
    let bench = Bench::new().await;
    let mut cms = bench.accept().await;
    let message = cms.next(MessageType::NodeJoinReq).await;
    let mut challenge = JoinAck::new(ErrorNum::UNAUTHORIZED);
    challenge.nonce = Some("nonce".into());
    cms.send(&challenge.to_envelope(&message.cseq())).await;
    let message = cms.next(MessageType::NodeJoinReq).await;
    let mut ack = JoinAck::new(ErrorNum::OK);
    ack.server_proof = Some("made up".into());
    cms.send(&ack.to_envelope(&message.cseq())).await;
    let mut rest = Vec::new();
    let _ = within(cms.socket.read_to_end(&mut rest)).await;
    assert!(!bench.agent.is_joined());
    bench.end().await;
}
