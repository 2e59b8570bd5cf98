//! The whole camera on real sockets: a CMS that the tests play, and the real media server.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use easydarwin_camera::source::{FileSource, MediaSource, PatternSource, PullSource, blank_unit};
use easydarwin_camera::{Camera, CameraBuilder, CameraEvent};
use easydarwin_core::protocol::login::{DeviceKey, nonce};
use easydarwin_core::protocol::{
    Envelope, ErrorNum, MessageReader, MessageType, PtzRequest, PushAck, PushRequest, Register,
    RegisterAck, Route, Snapshot, StopRequest,
};
use easydarwin_core::registry::{AccessRequest, Action, Authorizer, Denied, Principal, StreamPath};
use easydarwin_core::relay::Hub;
use easydarwin_core::server::MediaServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const SERIAL: &str = "001001000042";
const KEY: &str = "a-secret-key";
const TOKEN: &str = "the.publish-token";
/// Nothing here takes longer unless it is broken.
const SOON: Duration = Duration::from_secs(20);
const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/bigbuckbunny.mp4");

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// A CMS with one connection, that of the camera.
struct Cms {
    stream: TcpStream,
    reader: MessageReader,
}

impl Cms {
    /// Takes a connection and lets the camera in by its key.
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = soon("the camera's connection", listener.accept())
            .await
            .unwrap();
        let mut cms = Self {
            stream,
            reader: MessageReader::default(),
        };
        let hello = Register::from_envelope(&cms.next().await).unwrap();
        assert_eq!(hello.serial, SERIAL);
        let key = DeviceKey::new(KEY, SERIAL);
        let (client_nonce, challenge) = (hello.client_nonce.unwrap(), nonce([1; 18]));
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::UNAUTHORIZED);
        ack.nonce = Some(challenge.clone());
        cms.send(&ack.to_envelope("1")).await;
        let proof = Register::from_envelope(&cms.next().await)
            .unwrap()
            .proof
            .unwrap();
        assert!(
            key.verifier()
                .check(SERIAL, &client_nonce, &challenge, &proof)
        );
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        ack.server_proof = Some(
            key.verifier()
                .server_proof(SERIAL, &client_nonce, &challenge),
        );
        ack.keep_alive_s = Some(1);
        cms.send(&ack.to_envelope("2")).await;
        cms
    }

    async fn send(&mut self, message: &Envelope) {
        self.stream
            .write_all(&message.to_response("EasyDarwin"))
            .await
            .unwrap();
    }

    async fn next(&mut self) -> Envelope {
        let read = async {
            loop {
                if let Some(message) = self.reader.next_message().unwrap() {
                    return message.envelope().unwrap();
                }
                let mut buffer = [0; 4096];
                let count = self.stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the camera closed the connection");
                self.reader.push(&buffer[..count]);
            }
        };
        soon("a message of the camera", read).await
    }

    async fn next_of(&mut self, kind: MessageType) -> Envelope {
        loop {
            let message = self.next().await;
            if message.kind() == Some(kind) {
                return message;
            }
        }
    }

    async fn ask_for_push(&mut self, server: SocketAddr, token: &str, generation: u64) {
        let mut request = PushRequest::new(SERIAL, 1, server.ip().to_string(), server.port());
        request.stream_id = Some(token.to_owned());
        request.generation = Some(generation);
        self.send(&request.to_envelope(5)).await;
        let ack = PushAck::from_envelope(&self.next_of(MessageType::PushStreamAck).await).unwrap();
        assert_eq!(ack.error, ErrorNum::OK);
    }
}

/// Lets publishers in that bring the token, and all players.
struct TokenOnly(Arc<AtomicUsize>);

#[async_trait]
impl Authorizer for TokenOnly {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        if request.action == Action::Play {
            return Ok(Principal::Anonymous);
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        assert!(
            request.credentials.url_token.is_none(),
            "the token never stands in the URL"
        );
        match request.credentials.bearer.as_deref() {
            Some(TOKEN) => Ok(Principal::Named("camera".into())),
            _ => Err(Denied::Forbidden),
        }
    }
}

struct Server {
    address: SocketAddr,
    hub: Hub,
    publishes: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(address: &str) -> Self {
        let publishes = Arc::new(AtomicUsize::new(0));
        let server = MediaServer::builder()
            .rtsp(address.parse().unwrap())
            .authorizer(TokenOnly(publishes.clone()))
            .build()
            .await
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        Self {
            address: server.rtsp_addr(),
            hub: server.hub().clone(),
            publishes,
            stop,
            task: tokio::spawn(async move {
                server.run(async { drop(stopped.await) }).await.unwrap();
            }),
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon("the server's end", self.task).await.unwrap();
    }

    async fn has_picture(&self) {
        let path = path();
        let ready = self.hub.wait(&path, true, SOON).await;
        assert!(ready.is_some(), "no picture at the media server");
    }

    async fn has_no_stream(&self) {
        let mut events = self.hub.events();
        soon("the stream's end", async {
            while self.hub.get(&path()).is_some() {
                events.recv().await.unwrap();
            }
        })
        .await;
    }
}

fn path() -> StreamPath {
    StreamPath::parse(&format!("{SERIAL}/1")).unwrap()
}

/// A camera at work.
struct Running {
    events: mpsc::Receiver<CameraEvent>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(builder: CameraBuilder) -> Self {
        let (sender, events) = mpsc::channel(64);
        let camera = builder.serial(SERIAL).events(sender).build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(camera.run(async { drop(stopped.await) }));
        Self { events, stop, task }
    }

    async fn until(&mut self, wanted: impl Fn(&CameraEvent) -> bool) -> CameraEvent {
        soon("an event of the camera", async {
            loop {
                let event = self.events.recv().await.expect("the camera ended");
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon("the camera's end", self.task).await.unwrap();
    }
}

fn at(cms: &TcpListener) -> CameraBuilder {
    let address = cms.local_addr().unwrap();
    Camera::builder()
        .key(KEY)
        .cms(address.to_string())
        .source(PatternSource::new(SERIAL))
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn waits_pushes_when_asked_and_stops() {
    let (listener, server) = (listener().await, Server::start("127.0.0.1:0").await);
    let mut camera = Running::start(at(&listener));
    let mut cms = Cms::accept(&listener).await;
    camera
        .until(|e| matches!(e, CameraEvent::Registered { .. }))
        .await;

    let snapshot = cms.next_of(MessageType::PostSnapReq).await;
    let snapshot = Snapshot::from_envelope(&snapshot).unwrap();
    let jpeg = base64::engine::general_purpose::STANDARD
        .decode(snapshot.image)
        .unwrap();
    assert!(jpeg.starts_with(&[0xff, 0xd8]));
    // The CMS asked for a register each second.
    let keep_alive = Register::from_envelope(&cms.next_of(MessageType::RegisterReq).await).unwrap();
    assert!(keep_alive.proof.is_none() && keep_alive.token.is_none());
    assert!(
        server.hub.get(&path()).is_none(),
        "it pushes although nobody asked"
    );

    for generation in 1..=2 {
        cms.ask_for_push(server.address, TOKEN, generation).await;
        camera
            .until(|e| matches!(e, CameraEvent::PushStarted { channel: 1 }))
            .await;
        server.has_picture().await;
        cms.send(&StopRequest::new(SERIAL, 1).to_envelope(6)).await;
        cms.next_of(MessageType::StopStreamAck).await;
        camera
            .until(|e| matches!(e, CameraEvent::PushStopped { channel: 1 }))
            .await;
        server.has_no_stream().await;
    }

    let ptz = PtzRequest {
        serial: SERIAL.into(),
        channel: 1,
        protocol: "ONVIF".into(),
        reserve: "1".into(),
        action_type: "SINGLE".into(),
        command: "UP".into(),
        speed: "1".into(),
        route: Route::default(),
    };
    cms.send(&ptz.to_envelope(7)).await;
    let ack = cms.next_of(MessageType::ControlPtzAck).await;
    assert_eq!(ack.error(), Some(ErrorNum::NOT_IMPLEMENTED));
    camera.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn the_stream_outlives_a_cms_that_comes_late_and_restarts() {
    let server = Server::start("127.0.0.1:0").await;
    let first = listener().await;
    let address = first.local_addr().unwrap();
    let builder = at(&first);
    // Nobody listens yet.
    drop(first);
    let mut camera = Running::start(builder);
    camera
        .until(|e| matches!(e, CameraEvent::Disconnected { .. }))
        .await;
    let listener = TcpListener::bind(address).await.unwrap();
    let mut cms = Cms::accept(&listener).await;
    cms.ask_for_push(server.address, TOKEN, 1).await;
    server.has_picture().await;
    let generation = server.hub.get(&path()).unwrap().generation();

    drop((cms, listener));
    camera
        .until(|e| matches!(e, CameraEvent::Disconnected { .. }))
        .await;
    let listener = TcpListener::bind(address).await.unwrap();
    let mut cms = Cms::accept(&listener).await;
    let stream = server.hub.get(&path()).expect("the stream runs on");
    assert_eq!(stream.generation(), generation, "it was not even touched");
    cms.send(&StopRequest::new(SERIAL, 1).to_envelope(6)).await;
    server.has_no_stream().await;
    camera.stop().await;
}

#[tokio::test]
async fn comes_back_to_a_media_server_that_was_restarted() {
    let (listener, server) = (listener().await, Server::start("127.0.0.1:0").await);
    let camera = Running::start(at(&listener));
    let mut cms = Cms::accept(&listener).await;
    cms.ask_for_push(server.address, TOKEN, 1).await;
    server.has_picture().await;
    let address = server.address.to_string();
    server.stop().await;
    let server = Server::start(&address).await;
    server.has_picture().await;
    // Asked again with a new generation it pushes anew.
    let before = server.publishes.load(Ordering::SeqCst);
    cms.ask_for_push(server.address, TOKEN, 2).await;
    soon("a new publish", async {
        let mut events = server.hub.events();
        while server.publishes.load(Ordering::SeqCst) == before {
            events.recv().await.unwrap();
        }
    })
    .await;
    server.has_picture().await;
    camera.stop().await;
    server.has_no_stream().await;
}

#[tokio::test]
async fn a_refused_right_is_not_tried_again_until_the_cms_asks() {
    let (listener, server) = (listener().await, Server::start("127.0.0.1:0").await);
    let mut camera = Running::start(at(&listener));
    let mut cms = Cms::accept(&listener).await;
    cms.ask_for_push(server.address, "stale", 1).await;
    let failed = camera
        .until(|e| matches!(e, CameraEvent::PushFailed { .. }))
        .await;
    assert!(!format!("{failed:?}").contains("stale"));
    let tries = server.publishes.load(Ordering::SeqCst);
    // Longer than the first wait of the back-off: two registers, a second apart.
    for _ in 0..2 {
        cms.next_of(MessageType::RegisterReq).await;
    }
    assert_eq!(server.publishes.load(Ordering::SeqCst), tries);
    cms.ask_for_push(server.address, TOKEN, 2).await;
    server.has_picture().await;
    camera.stop().await;
}

#[tokio::test]
async fn an_ip_camera_is_pulled_and_bridged_when_it_is_away() {
    let server = MediaServer::builder()
        .authorizer(easydarwin_core::registry::AllowAll)
        .build()
        .await
        .unwrap();
    let url = format!("rtsp://{}/{SERIAL}/1", server.rtsp_addr());
    let hub = server.hub().clone();
    tokio::spawn(server.run(std::future::pending()));
    let ip_camera =
        |url: &str| Running::start(Camera::builder().push_to(url).source(FileSource::new(CLIP)));
    let camera = ip_camera(&url);
    assert!(hub.wait(&path(), true, SOON).await.is_some());

    let mut source = PullSource::new(url.replace("rtsp://", "rtsp://user:secret@"));
    assert!(!format!("{source:?}").contains("secret"));
    let description = soon(
        "the description",
        std::future::poll_fn(|cx| source.poll_open(cx)),
    )
    .await
    .unwrap();
    assert_eq!(description.tracks.len(), 2);
    let mut unit = blank_unit(std::time::Instant::now());
    let (mut last, mut seen) = ([i64::MIN; 2], [0; 2]);
    let (mut camera, mut back) = (Some(camera), None);
    while seen.iter().any(|&count| count < 100) {
        soon(
            "a unit",
            std::future::poll_fn(|cx| source.poll_frame(cx, &mut unit)),
        )
        .await
        .unwrap();
        assert!(
            unit.pts > last[unit.track],
            "{} after {}",
            unit.pts,
            last[unit.track]
        );
        last[unit.track] = unit.pts;
        seen[unit.track] += 1;
        if seen[0] == 30
            && let Some(running) = camera.take()
        {
            running.stop().await;
            let again = ip_camera(&url);
            assert!(hub.wait(&path(), true, SOON).await.is_some());
            back = Some(again);
        }
    }
    source.close();
    back.expect("the camera went and came back").stop().await;
}
