//! The conversation with a CMS through TLS: what is believed, and what is sent to whom.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::io::{ErrorKind, IoSlice};
use std::path::PathBuf;
use std::time::Duration;

use easydarwin_camera::source::PatternSource;
use easydarwin_camera::{Camera, CameraEvent};
use easydarwin_core::protocol::{Envelope, ErrorNum, MessageReader, Register, RegisterAck};
use easydarwin_core::tls::{TlsConfig, TlsStream, TlsTrust};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const SERIAL: &str = "001001000043";
const TOKEN: &str = "123456";
/// Nothing here takes longer unless it is broken.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// A certificate for 127.0.0.1, signed by itself, in a folder of its own.
struct Certificate(PathBuf);

impl Certificate {
    fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let dir = std::env::temp_dir().join(format!("cms-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self(dir)
    }

    fn shown(&self) -> TlsConfig {
        TlsConfig::from_pem_files(self.0.join("cert.pem"), self.0.join("key.pem")).unwrap()
    }

    fn trusted(&self) -> TlsTrust {
        TlsTrust::ca_file(self.0.join("cert.pem")).unwrap()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A CMS's end of a connection.
struct Cms {
    stream: TlsStream,
    reader: MessageReader,
}

impl Cms {
    async fn accept(listener: &TcpListener, shown: &TlsConfig) -> std::io::Result<Self> {
        let (socket, _) = soon("a connection", listener.accept()).await?;
        let stream = shown.accept(socket).unwrap();
        soon("the handshake", stream.handshake(&[])).await?;
        Ok(Self {
            stream,
            reader: MessageReader::default(),
        })
    }

    async fn register(&mut self) -> Register {
        let mut room = vec![0; 20 * 1024];
        loop {
            if let Some(message) = self.reader.next_message().unwrap() {
                return Register::from_envelope(&message.envelope().unwrap()).unwrap();
            }
            match self.stream.try_read(&mut room) {
                Ok(Some(count)) => {
                    assert!(count > 0, "the camera closed the connection");
                    self.reader.push(&room[..count]);
                }
                Ok(None) => soon("bytes", self.stream.socket().readable())
                    .await
                    .unwrap(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn send(&self, message: &Envelope) {
        let bytes = message.to_response("EasyDarwin");
        let count = self.stream.try_write(&[IoSlice::new(&bytes)]).unwrap();
        assert_eq!(count, bytes.len());
    }
}

struct Running {
    events: mpsc::Receiver<CameraEvent>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(cms: &TcpListener, trust: TlsTrust) -> Self {
        let (sender, events) = mpsc::channel(64);
        let camera = Camera::builder()
            .serial(SERIAL)
            .token(TOKEN)
            .cms(format!("tls://{}", cms.local_addr().unwrap()))
            .tls(trust)
            .source(PatternSource::new(SERIAL))
            .events(sender)
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(camera.run(async { drop(stopped.await) }));
        Self { events, stop, task }
    }

    async fn until(&mut self, wanted: impl Fn(&CameraEvent) -> bool) -> CameraEvent {
        soon("an event", async {
            loop {
                let event = self.events.recv().await.expect("it runs");
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

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn a_cms_that_is_believed_may_send_a_token_to_another_one() {
    let certificate = Certificate::new("believed");
    let (shown, home, other) = (certificate.shown(), listener().await, listener().await);
    let mut camera = Running::start(&home, certificate.trusted());
    let mut cms = Cms::accept(&home, &shown).await.unwrap();
    assert_eq!(cms.register().await.token.as_deref(), Some(TOKEN));
    let mut ack = RegisterAck::new(SERIAL, ErrorNum::MOVED);
    ack.redirect = Some(other.local_addr().unwrap().to_string());
    cms.send(&ack.to_envelope("1"));

    let mut cms = Cms::accept(&other, &shown).await.unwrap();
    assert_eq!(cms.register().await.token.as_deref(), Some(TOKEN));
    cms.send(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("2"));
    let registered = camera
        .until(|e| matches!(e, CameraEvent::Registered { .. }))
        .await;
    let at = other.local_addr().unwrap();
    assert_eq!(registered, CameraEvent::Registered { cms: at });
    camera.stop().await;
}

#[tokio::test]
async fn a_cms_that_is_not_believed_gets_nothing() {
    let (certificate, other) = (Certificate::new("shown"), Certificate::new("other"));
    let home = listener().await;
    let mut camera = Running::start(&home, other.trusted());
    // The camera ends the handshake, before anything of its own was sent.
    assert!(Cms::accept(&home, &certificate.shown()).await.is_err());
    let CameraEvent::Disconnected { reason } = camera
        .until(|e| matches!(e, CameraEvent::Disconnected { .. }))
        .await
    else {
        unreachable!()
    };
    assert!(reason.contains("certificate"), "{reason}");
    camera.stop().await;
}
