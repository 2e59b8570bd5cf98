//! A device of ours at a CMS of the year 2017.
//!
//! The CMS is a double that says what was recorded from the original EasyCMS 7.2, byte by byte but
//! for sequence numbers and ports, and is as strict as that was: a message that it does not know
//! ends the test, because the original answered it with a bare 501 and closed.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use easydarwin_camera::source::PatternSource;
use easydarwin_camera::{Camera, CameraBuilder, CameraEvent};
use easydarwin_core::registry::{AllowAll, StreamPath};
use easydarwin_core::relay::Hub;
use easydarwin_core::server::MediaServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// The serial and the media server of the recordings.
const SERIAL: &str = "001001000099";
const SERVER_IP: &str = "127.0.0.2";
const CAPTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../easydarwin-cms/tests/captures/"
);
/// Nothing here takes longer unless it is broken.
const SOON: Duration = Duration::from_secs(30);
/// The original does not say how often it wants to hear from a device.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What the original takes from a device on a connection. Everything else it answers with 501.
const KNOWN: [&str; 7] = [
    "MSG_DS_REGISTER_REQ",
    "MSG_DS_POST_SNAP_REQ",
    "MSG_DS_PUSH_STREAM_ACK",
    "MSG_DS_STREAM_STOP_ACK",
    "MSG_DS_CONTROL_PTZ_ACK",
    "MSG_DS_CONTROL_PRESET_ACK",
    "MSG_DS_CONTROL_TALKBACK_ACK",
];

/// What differed among the CMS in the field.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    /// `POST / HTTP/1.1` in front of what the CMS sends, instead of the original's status line.
    post: bool,
    /// `Server_Port` as the documents have it, instead of the code's `Server_PORT`.
    documented_port: bool,
}

impl Dialect {
    fn all() -> impl Iterator<Item = Self> {
        [(false, false), (false, true), (true, false), (true, true)]
            .into_iter()
            .map(|(post, documented_port)| Self {
                post,
                documented_port,
            })
    }

    /// A recording, with this sequence number and this port.
    fn recorded(self, name: &str, cseq: &str, port: u16) -> Vec<u8> {
        let text = std::fs::read_to_string(format!("{CAPTURES}{name}")).expect(name);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let old_cseq = field(body, "CSeq");
        let mut body = body.replace(
            &format!("\"CSeq\" : \"{old_cseq}\""),
            &format!("\"CSeq\" : \"{cseq}\""),
        );
        let spelling = if self.documented_port {
            "Server_Port"
        } else {
            "Server_PORT"
        };
        body = body.replace(
            "\"Server_PORT\" : \"11554\"",
            &format!("\"{spelling}\" : \"{port}\""),
        );
        let lines = head.lines().map(|line| {
            if line.starts_with("HTTP/1.1") && self.post {
                "POST / HTTP/1.1".to_owned()
            } else if line.starts_with("Content-Length") {
                format!("Content-Length: {}", body.len())
            } else {
                line.to_owned()
            }
        });
        let head = lines.collect::<Vec<_>>().join("\r\n");
        format!("{head}\r\n\r\n{body}").into_bytes()
    }
}

/// A value in the original's JSON.
fn field(body: &str, key: &str) -> String {
    let (_, rest) = body.split_once(&format!("\"{key}\" : \"")).expect(key);
    rest.split('"').next().unwrap().to_owned()
}

/// The CMS's end of a connection.
struct Original {
    dialect: Dialect,
    stream: TcpStream,
    heard: Vec<u8>,
    /// The port of its media server.
    port: u16,
    registered: bool,
}

impl Original {
    async fn accept(listener: &TcpListener, dialect: Dialect, port: u16) -> Self {
        let (stream, _) = soon("a connection", listener.accept()).await.unwrap();
        Self {
            dialect,
            stream,
            heard: Vec::new(),
            port,
            registered: false,
        }
    }

    async fn say(&mut self, name: &str, cseq: &str) {
        let bytes = self.dialect.recorded(name, cseq, self.port);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next message, answered if the original answers it.
    async fn next(&mut self) -> Message {
        let message = soon("a message of the device", self.read()).await;
        match message.kind.as_str() {
            "MSG_DS_REGISTER_REQ" => {
                message.check_register();
                self.say("06-register-camera.resp", &message.cseq).await;
                self.registered = true;
            }
            "MSG_DS_POST_SNAP_REQ" => {
                message.check_snapshot();
                self.say("74-snap.resp", &message.cseq).await;
            }
            _ => {}
        }
        message
    }

    async fn next_of(&mut self, kind: &str) -> Message {
        loop {
            let message = self.next().await;
            if message.kind == kind {
                return message;
            }
        }
    }

    async fn read(&mut self) -> Message {
        loop {
            if let Some(message) = Message::take(&mut self.heard) {
                assert!(
                    self.registered || message.kind == "MSG_DS_REGISTER_REQ",
                    "answered with 401, for it is not registered: {message:?}"
                );
                return message;
            }
            let count = self.stream.read_buf(&mut self.heard).await.unwrap();
            assert!(count > 0, "the device closed the connection");
        }
    }

    /// Sends a recorded request; the device's answer has to fit it as the original's device's did.
    async fn ask(&mut self, name: &str, cseq: &str, ack: &str) -> Message {
        self.say(name, cseq).await;
        let request = self.dialect.recorded(name, cseq, self.port);
        let request = String::from_utf8(request).unwrap();
        let message = self.next_of(ack).await;
        assert_eq!(message.cseq, cseq);
        for (key, asked) in [
            ("Serial", "Serial"),
            ("Channel", "Channel"),
            ("From", "To"),
            ("To", "From"),
            ("Via", "Via"),
        ] {
            assert_eq!(message.body(key), field(&request, asked), "{key}");
        }
        message
    }
}

/// A message of the device, read with nothing of ours.
#[derive(Debug)]
struct Message {
    kind: String,
    cseq: String,
    header: Value,
    body: Value,
}

impl Message {
    fn take(heard: &mut Vec<u8>) -> Option<Self> {
        let at = heard.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&heard[..at]).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap();
        assert!(
            start == "POST / HTTP/1.1" || start == "HTTP/1.1 200 OK",
            "answered with 400: {start}"
        );
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| *name == "Content-Length")
            .expect("a length");
        let end = at + 4 + length.1.trim().parse::<usize>().unwrap();
        if heard.len() < end {
            return None;
        }
        let json: Value = serde_json::from_slice(&heard[at + 4..end]).expect("501: no JSON");
        heard.drain(..end);
        let root = &json["EasyDarwin"];
        let (header, body) = (root["Header"].clone(), root["Body"].clone());
        let text = |key: &str| header[key].as_str().expect(key).to_owned();
        let message = Self {
            kind: text("MessageType"),
            cseq: text("CSeq"),
            header: header.clone(),
            body,
        };
        assert!(KNOWN.contains(&message.kind.as_str()), "501: {message:?}");
        assert!(message.cseq.bytes().all(|b| b.is_ascii_digit()));
        for part in [&message.header, &message.body] {
            let scalars = part.as_object().expect("an object").values();
            assert!(scalars.clone().all(|v| v.is_string()), "{message:?}");
        }
        Some(message)
    }

    fn body(&self, key: &str) -> &str {
        self.body[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    fn error(&self) -> &str {
        self.header["ErrorNum"].as_str().expect("ErrorNum")
    }

    /// The original answers 400 when one of these is missing or not one that it knows.
    fn check_register(&self) {
        assert_eq!(self.body("Serial"), SERIAL);
        assert_eq!(self.header["AppType"], "EasyCamera");
        let terminal = self.header["TerminalType"].as_str().unwrap();
        assert!(["ARM_Linux", "Android", "Linux", "Windows"].contains(&terminal));
    }

    fn check_snapshot(&self) {
        assert_eq!((self.body("Serial"), self.body("Type")), (SERIAL, "JPEG"));
        let image = base64::engine::general_purpose::STANDARD
            .decode(self.body("Image"))
            .unwrap();
        assert!(image.starts_with(&[0xff, 0xd8]));
        // It makes a file name of this.
        let time = self.body("Time").bytes();
        assert!(
            time.clone()
                .all(|b| b.is_ascii_digit() || b"- :".contains(&b))
        );
    }
}

struct Device {
    events: mpsc::Receiver<CameraEvent>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Device {
    fn start(builder: CameraBuilder, cms: SocketAddr) -> Self {
        let (sender, events) = mpsc::channel(64);
        let camera = builder
            .serial(SERIAL)
            .cms(cms.to_string())
            .keep_alive(KEEP_ALIVE)
            .source(PatternSource::new(SERIAL))
            .events(sender)
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(camera.run(async { drop(stopped.await) }));
        Self { events, stop, task }
    }

    async fn until(&mut self, wanted: impl Fn(&CameraEvent) -> bool) {
        soon("an event of the device", async {
            while !wanted(&self.events.recv().await.expect("it runs")) {}
        })
        .await;
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon("the device's end", self.task).await.unwrap();
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come in time"))
}

async fn media_server() -> (Hub, u16) {
    let server = MediaServer::builder()
        .rtsp(format!("{SERVER_IP}:0").parse().unwrap())
        .authorizer(AllowAll)
        .build()
        .await
        .unwrap();
    let (hub, port) = (server.hub().clone(), server.rtsp_addr().port());
    tokio::spawn(server.run(std::future::pending()));
    (hub, port)
}

fn path() -> StreamPath {
    StreamPath::parse(&format!("{SERIAL}/1")).unwrap()
}

async fn has_picture(hub: &Hub) {
    assert!(hub.wait(&path(), true, SOON).await.is_some(), "no picture");
}

async fn has_no_stream(hub: &Hub) {
    let mut events = hub.events();
    soon("the stream's end", async {
        while hub.get(&path()).is_some() {
            events.recv().await.unwrap();
        }
    })
    .await;
}

/// A device's day at this CMS. Returns its registers.
async fn day(builder: CameraBuilder, dialect: Dialect) -> Vec<Message> {
    let (hub, port) = media_server().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut device = Device::start(builder, listener.local_addr().unwrap());
    let mut cms = Original::accept(&listener, dialect, port).await;
    let mut registers = vec![cms.next_of("MSG_DS_REGISTER_REQ").await];
    cms.next_of("MSG_DS_POST_SNAP_REQ").await;
    let taken = |e: &CameraEvent| matches!(e, CameraEvent::SnapshotSent { channel: 1 });
    device.until(taken).await;
    for _ in 0..2 {
        registers.push(cms.next_of("MSG_DS_REGISTER_REQ").await);
    }
    assert!(
        hub.get(&path()).is_none(),
        "it pushes although nobody asked"
    );

    for stop in ["43-stop-to-device.req", "48-freestream-to-device.req"] {
        // Asked twice it goes on.
        for cseq in ["1", "2"] {
            let ack = cms
                .ask(
                    "33-start-camera-to-device.req",
                    cseq,
                    "MSG_DS_PUSH_STREAM_ACK",
                )
                .await;
            assert_eq!(ack.error(), "200");
            assert_eq!(ack.body("Server_IP"), SERVER_IP);
            assert_eq!(ack.body("Server_PORT"), port.to_string());
            assert_eq!(ack.body("Reserve"), "1");
            has_picture(&hub).await;
        }
        let ptz = cms
            .ask("53-ptz-to-device.req", "6", "MSG_DS_CONTROL_PTZ_ACK")
            .await;
        assert_eq!((ptz.error(), ptz.body("Protocol")), ("501", "ONVIF"));
        let ack = cms.ask(stop, "4", "MSG_DS_STREAM_STOP_ACK").await;
        assert_eq!(ack.error(), "200");
        has_no_stream(&hub).await;
    }

    // It was restarted, and takes the device for another one with the same serial at first.
    drop(cms);
    let mut cms = Original::accept(&listener, dialect, port).await;
    let register = cms.read().await;
    cms.say("106-register-conflict-first.resp", &register.cseq)
        .await;
    let mut cms = Original::accept(&listener, dialect, port).await;
    registers.push(cms.next_of("MSG_DS_REGISTER_REQ").await);
    cms.next_of("MSG_DS_POST_SNAP_REQ").await;
    device.until(taken).await;
    device.stop().await;
    registers
}

/// The day in every dialect, at the same time.
async fn days(builder: fn() -> CameraBuilder) -> Vec<Message> {
    let mut days = JoinSet::new();
    for dialect in Dialect::all() {
        days.spawn(day(builder(), dialect));
    }
    days.join_all().await.into_iter().flatten().collect()
}

#[tokio::test]
async fn takes_a_device_with_a_token() {
    for register in days(|| Camera::builder().token("123456")).await {
        assert_eq!(register.body("Token"), "123456");
        assert!(register.body.get("Auth").is_none());
    }
}

#[tokio::test]
async fn takes_a_device_with_a_key_that_it_never_asks_for() {
    let builder = || Camera::builder().key("a key of ours").unproven_cms(true);
    for register in days(builder).await {
        assert!(!register.body.to_string().contains("a key of ours"));
        assert!(register.body.get("Token").is_none() && register.body.get("Proof").is_none());
    }
}
