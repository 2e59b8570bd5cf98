//! The conversation with a CMS through TLS: what is believed, and what is sent to whom.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::io::{ErrorKind, IoSlice};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use easydarwin_camera::control::ClockQuality;
use easydarwin_camera::source::PatternSource;
use easydarwin_camera::{Camera, CameraBuilder, CameraEvent};
use easydarwin_core::protocol::{Envelope, ErrorNum, MessageReader, Register, RegisterAck};
use easydarwin_core::tls::{SpkiPin, TlsConfig, TlsStream, TlsTrust};
use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
#[cfg(all(feature = "cli", target_os = "linux"))]
use {
    std::process::Stdio,
    tokio::io::{AsyncBufReadExt as _, BufReader},
};

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
        Self::of(name, |_| {})
    }

    fn of(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let dir = std::env::temp_dir().join(format!("cms-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("cert.pem"), made.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
        Self(dir)
    }

    /// As openssl computes it.
    fn pin(&self) -> SpkiPin {
        let cert = self.0.join("cert.pem");
        let command = format!(
            "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der | sha256sum",
            cert.display()
        );
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
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
        Self::of(Camera::builder(), cms, trust)
    }

    fn of(builder: CameraBuilder, cms: &TcpListener, trust: TlsTrust) -> Self {
        let (sender, events) = mpsc::channel(64);
        let camera = builder
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

    async fn until_disconnected(&mut self) -> String {
        match self
            .until(|e| matches!(e, CameraEvent::Disconnected { .. }))
            .await
        {
            CameraEvent::Disconnected { reason } => reason,
            other => panic!("{other:?}"),
        }
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

/// A CMS with a pinned key, whose certificate ran out in 1999, is believed by a device that does not
/// know what time it is, and tells it.
#[tokio::test]
async fn dates_of_a_pinned_key_count_once_the_time_is_known() {
    let certificate = Certificate::of("dates", |params| {
        params.not_before = rcgen::date_time_ymd(1990, 1, 1);
        params.not_after = rcgen::date_time_ymd(1999, 12, 31);
    });
    let home = listener().await;
    let trust = TlsTrust::pinned([certificate.pin()]).unwrap();
    let mut camera = Running::start(&home, trust);
    let mut cms = Cms::accept(&home, &certificate.shown()).await.unwrap();
    cms.register().await;
    let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
    ack.time_ms = Some(1_795_386_123_000);
    cms.send(&ack.to_envelope("1"));
    camera
        .until(|e| matches!(e, CameraEvent::Registered { .. }))
        .await;
    drop(cms);
    camera
        .until(|e| matches!(e, CameraEvent::Disconnected { .. }))
        .await;
    assert!(Cms::accept(&home, &certificate.shown()).await.is_err());
    let reason = camera.until_disconnected().await;
    assert!(reason.contains("certificate: Expired"), "{reason}");
    camera.stop().await;
}

/// What the vendor knows counts, not what the system says: a certificate of the nineties is good in 1995.
#[tokio::test]
async fn the_vendors_clock_judges_certificates_of_authorities() {
    let certificate = Certificate::of("nineties", |params| {
        params.not_before = rcgen::date_time_ymd(1990, 1, 1);
        params.not_after = rcgen::date_time_ymd(1999, 12, 31);
    });
    let home = listener().await;
    for (year, fault) in [
        (1989, Some("certificate not valid yet")),
        (1995, None),
        (2000, Some("certificate expired")),
    ] {
        // In the middle of the year.
        let time = UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952 + 15_778_476);
        let builder = Camera::builder().clock(time, ClockQuality::Rtc);
        let mut camera = Running::of(builder, &home, certificate.trusted());
        let accepted = Cms::accept(&home, &certificate.shown()).await;
        if let Some(fault) = fault {
            assert!(accepted.is_err());
            let reason = camera.until_disconnected().await;
            assert!(reason.contains(fault), "{year}: {reason}");
        } else {
            let register = accepted.unwrap().register().await;
            assert_eq!(register.clock_quality, Some(ClockQuality::Rtc));
        }
        camera.stop().await;
    }
}

#[tokio::test]
async fn a_cms_that_is_not_believed_gets_nothing() {
    let (certificate, other) = (Certificate::new("shown"), Certificate::new("other"));
    let home = listener().await;
    let mut camera = Running::start(&home, other.trusted());
    // The camera ends the handshake, before anything of its own was sent.
    assert!(Cms::accept(&home, &certificate.shown()).await.is_err());
    let reason = camera.until_disconnected().await;
    assert!(reason.contains("certificate"), "{reason}");
    camera.stop().await;
}

/// `faketime` makes the program believe that its system begins in 1970. It cannot get in, says why and
/// what to do; with a pin it gets in.
#[cfg(all(feature = "cli", target_os = "linux"))]
#[tokio::test]
async fn a_clock_that_was_never_set_is_told() {
    let certificate = Certificate::new("1970");
    let home = listener().await;
    let at = format!("tls://{}", home.local_addr().unwrap());
    let ca = certificate.0.join("cert.pem");
    let run = |way: &str, whom: &str| {
        tokio::process::Command::new("faketime")
            .args(["-f", "@1970-01-01 00:01:00"])
            .arg(env!("CARGO_BIN_EXE_easydarwin-camera"))
            .args(["--cms", &at, "--serial", SERIAL, "--legacy-token", TOKEN])
            .args([way, whom])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("faketime: scripts/peers installs it")
    };
    let mut camera = run("--tls-ca", ca.to_str().unwrap());
    let mut lines = BufReader::new(camera.stderr.take().unwrap()).lines();
    let said = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it runs");
            if line.contains("not at the CMS") {
                return line;
            }
        }
    };
    let line = soon("a line of the log", said).await;
    assert!(line.contains("clock of this device is not set"), "{line}");
    assert!(line.contains("pin"), "{line}");
    drop(camera);

    let camera = run("--tls-pin", &certificate.pin().to_string());
    // The first one may have connected before it saw that it cannot go on.
    let mut cms = loop {
        if let Ok(cms) = Cms::accept(&home, &certificate.shown()).await {
            break cms;
        }
    };
    assert_eq!(cms.register().await.token.as_deref(), Some(TOKEN));
    drop(camera);
}
