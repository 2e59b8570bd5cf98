//! TLS on the one port: cameras, clients and strangers' garbage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, TestCms, code};
use easydarwin_camera::CameraEvent;
use easydarwin_cms::{Cms, CmsConfig, LegacyLevel};
use easydarwin_core::protocol::{AppType, Envelope, Register, Snapshot, TerminalType};
use easydarwin_core::tls::{TlsConfig, TlsTrust};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

/// A certificate for localhost and 127.0.0.1 in a directory of its own.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("cms-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = Self { dir };
        files.renew();
        files
    }

    fn renew(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.cert(), pair.cert.pem()).unwrap();
        std::fs::write(self.key(), pair.signing_key.serialize_pem()).unwrap();
    }

    fn cert(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    fn config(&self) -> TlsConfig {
        TlsConfig::from_pem_files(self.cert(), self.key()).unwrap()
    }

    fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.cert()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn start(tls: TlsConfig, change: impl FnOnce(&mut CmsConfig)) -> TestCms {
    let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
    change(&mut config);
    let cms = Cms::builder(config)
        .legacy_client("127.0.0.0/8".parse().unwrap(), LegacyLevel::Control)
        .tls(tls)
        .build()
        .await
        .unwrap();
    let cms = TestCms::run(cms);
    cms.handle.provision_token("old", "123456").await.unwrap();
    cms
}

/// A peer over TLS; its calls block.
struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    fn connect(addr: SocketAddr, trust: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let socket = TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(trust.clone(), name).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    /// Head and body of one message.
    fn message(&mut self) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a whole answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .expect("Content-Length");
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }

    fn ask(&mut self, bytes: &[u8]) -> Envelope {
        self.0.write_all(bytes).unwrap();
        Envelope::parse(&self.message().1).unwrap()
    }

    fn get(&mut self, target: &str) -> Envelope {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:10000\r\n\r\n").as_bytes())
    }

    fn register(&mut self) -> Envelope {
        self.ask(&register().to_request("x"))
    }
}

fn register() -> Envelope {
    let mut register = Register::new("old", AppType::EasyCamera, TerminalType::Linux);
    register.token = Some("123456".into());
    register.to_envelope(1)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_camera_lives_over_tls_as_it_does_without() {
    let files = Files::new("camera");
    let cms = start(files.config(), |_| {}).await;
    let (addr, trust) = (cms.addr, files.trust());
    let (mut camera, info) = blocking(move || {
        let mut camera = Secure::connect(addr, &trust).unwrap();
        assert_eq!(code(&camera.register()), 200);
        assert_eq!(code(&camera.register()), 200);
        // Longer than a record and than what is read at once.
        let mut jpeg = vec![0xab; 700_000];
        jpeg[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
        let image = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &jpeg);
        let snapshot = Snapshot::jpeg("old", 1, image);
        let ack = camera.ask(&snapshot.to_envelope(2).to_request("x"));
        assert_eq!(code(&ack), 200);

        let mut client = Secure::connect(addr, &trust).unwrap();
        let info = client.get("/api/v1/getdeviceinfo?device=old");
        let url = info.body.text_or_empty("SnapURL");
        let path = url.strip_prefix("https://127.0.0.1:10000/").expect("https");
        client
            .0
            .write_all(format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(client.message().1, jpeg);
        (camera, info)
    })
    .await;
    assert_eq!(code(&info), 200);
    let plain = cms.api("getdeviceinfo?device=old").await;
    assert!(plain.body.text_or_empty("SnapURL").starts_with("http://"));
    // What the CMS sends by itself comes through, too.
    let ptz = "ptzcontrol?device=old&protocol=onvif&actiontype=single&command=down";
    assert_eq!(code(&cms.api(ptz).await), 200);
    let (head, body) = blocking(move || camera.message()).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("MSG_SD_CONTROL_PTZ_REQ"));
}

#[tokio::test]
async fn curl_and_openssl_get_through() {
    let files = Files::new("programs");
    let cms = start(files.config(), |_| {}).await;
    let port = cms.addr.port();
    let ca = files.cert().display().to_string();
    let (ca_, url) = (
        ca.clone(),
        format!("https://127.0.0.1:{port}/api/v1/getdevicelist"),
    );
    let out = blocking(move || {
        Command::new("curl")
            .args(["-sS", "--cacert", &ca_, &url, &url])
            .output()
            .unwrap_or_else(|e| panic!("curl: {e}; apt-get install curl"))
    })
    .await;
    assert!(out.status.success(), "{out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(text.matches("MSG_SC_DEVICE_LIST_ACK").count(), 2, "{text}");

    for version in ["-tls1_2", "-tls1_3"] {
        let (ca, to) = (ca.clone(), format!("127.0.0.1:{port}"));
        let message = register().to_request("x");
        let out = blocking(move || {
            let mut child = Command::new("openssl")
                .args(["s_client", "-quiet", "-verify_return_error", version])
                .args(["-connect", &to, "-CAfile", &ca])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|e| panic!("openssl: {e}; apt-get install openssl"));
            child.stdin.as_mut().unwrap().write_all(&message).unwrap();
            let mut answer = Vec::new();
            let mut stdout = child.stdout.take().unwrap();
            while !String::from_utf8_lossy(&answer).contains("MSG_SD_REGISTER_ACK") {
                let mut piece = [0; 4096];
                let count = stdout.read(&mut piece).unwrap();
                assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&piece[..count]);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            String::from_utf8(answer).unwrap()
        })
        .await;
        assert!(out.starts_with("HTTP/1.1 200 OK"), "{out}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_and_a_new_certificate_is_shown_to_the_next() {
    let files = Files::new("renewed");
    let config = files.config();
    let cms = start(config.clone(), |_| {}).await;
    let (addr, trust) = (cms.addr, files.trust());
    let mut first = blocking(move || {
        let mut first = Secure::connect(addr, &trust).unwrap();
        assert_eq!(first.0.conn.handshake_kind(), Some(HandshakeKind::Full));
        // The ticket comes after the handshake, with the first answer.
        assert_eq!(code(&first.register()), 200);
        let again = Secure::connect(addr, &trust).unwrap();
        assert_eq!(again.0.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        first
    })
    .await;
    let old = files.trust();
    files.renew();
    config.reload().unwrap();
    let new = files.trust();
    blocking(move || {
        assert!(Secure::connect(addr, &old).is_err());
        assert!(Secure::connect(addr, &new).is_ok());
        // Who is there stays.
        assert_eq!(code(&first.register()), 200);
    })
    .await;
}

#[tokio::test]
async fn garbage_and_silence_in_a_handshake_end_and_disturb_nobody() {
    let files = Files::new("garbage");
    let cms = start(files.config(), |c| {
        c.first_message = Duration::from_millis(800);
        c.node_lease = Duration::from_millis(150);
    })
    .await;
    let (addr, trust) = (cms.addr, files.trust());
    let mut camera = blocking(move || {
        let mut camera = Secure::connect(addr, &trust).unwrap();
        assert_eq!(code(&camera.register()), 200);
        camera
    })
    .await;
    let mut huge = vec![0x16, 3, 1, 0xff, 0xff];
    huge.resize(100_000, 0x41);
    for garbage in [
        &b"\x16"[..],
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x16POST / HTTP/1.1\r\n\r\n",
        &huge,
    ] {
        let mut peer = tokio::net::TcpStream::connect(addr).await.unwrap();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut peer, garbage).await;
        let mut answer = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut answer);
        let _ = tokio::time::timeout(PATIENCE, end).await.expect("closed");
        // Nothing but an alert.
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
    assert_eq!(blocking(move || code(&camera.register())).await, 200);
    // Whoever has done the handshake has to say something, too.
    let trust = files.trust();
    blocking(move || {
        let mut silent = Secure::connect(addr, &trust).unwrap();
        let mut rest = Vec::new();
        let _ = silent.0.read_to_end(&mut rest);
        assert!(rest.is_empty());
    })
    .await;
}

#[tokio::test]
async fn handshakes_have_a_pace() {
    let files = Files::new("pace");
    let cms = start(files.config(), |c| c.handshakes_per_second = 10).await;
    let started = Instant::now();
    let mut herd = Vec::new();
    for _ in 0..8 {
        let (addr, trust) = (cms.addr, files.trust());
        herd.push(tokio::task::spawn_blocking(move || {
            Secure::connect(addr, &trust).unwrap();
        }));
    }
    // Without TLS nobody waits for them.
    assert_eq!(cms.get("/healthz").await.status, 200);
    assert!(started.elapsed() < Duration::from_millis(500));
    for peer in herd {
        peer.await.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_millis(600));
}

#[tokio::test]
async fn without_a_certificate_a_handshake_is_refused() {
    let cms = TestCms::start(|_| {}).await;
    let files = Files::new("none");
    let (addr, trust) = (cms.addr, files.trust());
    assert!(blocking(move || Secure::connect(addr, &trust).is_err()).await);
}

/// The real camera behind TLS: believes the authority that it is given, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_registers_over_tls_and_believes_only_whom_it_trusts() {
    let files = Files::new("real-camera");
    // A picture that fits as it is, and not in a message.
    let cms = start(files.config(), |c| c.max_body_device = 200_000).await;
    let address = format!("tls://localhost:{}", cms.addr.port());
    let camera = |trust| {
        let (events, happened) = tokio::sync::mpsc::channel(16);
        let camera = easydarwin_camera::Camera::builder()
            .serial("old")
            .token("123456")
            .cms(address.as_str())
            .tls(trust)
            .source(common::Large::new(180_000))
            .events(events)
            .build()
            .unwrap();
        let task = tokio::spawn(camera.run(std::future::pending()));
        (task, happened)
    };
    let first = async |happened: &mut tokio::sync::mpsc::Receiver<_>| {
        let event = tokio::time::timeout(PATIENCE, happened.recv()).await;
        event.expect("an event in time").expect("the camera runs")
    };
    let (task, mut happened) = camera(TlsTrust::ca_file(files.cert()).unwrap());
    let event = first(&mut happened).await;
    assert!(matches!(event, CameraEvent::Registered { .. }), "{event:?}");
    // Over the other connection the same trust counts.
    let event = first(&mut happened).await;
    assert_eq!(event, CameraEvent::SnapshotSent { channel: 1 });
    task.abort();

    let stranger = Files::new("stranger");
    let (task, mut happened) = camera(TlsTrust::ca_file(stranger.cert()).unwrap());
    match first(&mut happened).await {
        CameraEvent::Disconnected { reason } => assert!(reason.contains("TLS"), "{reason}"),
        other => panic!("{other:?}"),
    }
    task.abort();
    cms.stop().await;
}
