//! RTSP over TLS: both doors, trust, certificates that change, readers that stall, handshakes that
//! do not end.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use easydarwin_core::client::{ClientError, ClientOptions, ClientTransport, Player};
use easydarwin_core::media::{G711Law, SessionDescription, Track};
use easydarwin_core::registry::{AllowAll, Principal};
use easydarwin_core::relay::{Hub, RelayConfig};
use easydarwin_core::rtsp::Status;
use easydarwin_core::server::{MediaServer, MediaServerBuilder};
use easydarwin_core::tls::{SpkiPin, TlsConfig, TlsTrust};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, Source, Witness, audio_packet, path, within};
use crate::tunnel::{publish_and_play, tunnelled};

/// Most ciphertext that a connection may hold, as documented.
const MAX_HELD: usize = 64 * 1024;

/// Certificate and key of a server on loopback, in files; removed when dropped.
pub(crate) struct Pair {
    dir: PathBuf,
}

impl Pair {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("easydarwin-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let pair = Self { dir };
        pair.renew();
        pair
    }

    /// Writes another certificate. Returns its pin.
    fn renew(&self) -> SpkiPin {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.certificate(), made.cert.pem()).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        self.pin()
    }

    /// The pin as openssl computes it, by the command that the documentation gives.
    pub(crate) fn pin(&self) -> SpkiPin {
        let command = format!(
            "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der | sha256sum",
            self.certificate().display()
        );
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    pub(crate) fn config(&self) -> TlsConfig {
        TlsConfig::from_pem_files(self.certificate(), self.key()).unwrap()
    }

    pub(crate) fn trust(&self) -> TlsTrust {
        TlsTrust::ca_file(self.certificate()).unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn builder(config: TlsConfig) -> MediaServerBuilder {
    MediaServer::builder()
        .authorizer(AllowAll)
        .rtsps(([127, 0, 0, 1], 0).into(), config)
}

pub(crate) fn rtsps(addr: SocketAddr, path: &str) -> String {
    format!("rtsps://{addr}/{path}")
}

pub(crate) fn believing(trust: TlsTrust) -> ClientOptions {
    let mut options = ClientOptions::default();
    options.tls = Some(trust);
    options
}

async fn connect(url: &str, trust: TlsTrust) -> Result<Player, ClientError> {
    within(Player::connect(url, believing(trust))).await
}

/// A client of rustls' own kind, for what our client would not do.
type Raw = StreamOwned<ClientConnection, std::net::TcpStream>;

fn raw(addr: SocketAddr, pair: &Pair) -> Raw {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(pair.certificate()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = std::net::TcpStream::connect(addr).unwrap();
    socket
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    StreamOwned::new(session, socket)
}

/// Sends a request and reads the answer's head and body.
fn ask(raw: &mut Raw, request: &str) -> String {
    raw.write_all(request.as_bytes()).unwrap();
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        raw.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    raw.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn start_to_play(raw: &mut Raw, url: &str) {
    let described = ask(raw, &format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n"));
    let control = format!("a=control:{url}/trackID=0");
    assert!(described.contains(&control), "{described}");
    let set_up = ask(
        raw,
        &format!(
            "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 2\r\n\
             Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        ),
    );
    let session = set_up
        .lines()
        .find_map(|line| line.strip_prefix("Session: "))
        .unwrap();
    let session = session.split(';').next().unwrap();
    let play = format!("PLAY {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n");
    assert!(ask(raw, &play).starts_with("RTSP/1.0 200"));
}

#[tokio::test]
async fn both_doors_take_tls_and_only_one_takes_none() {
    let pair = Pair::new("doors");
    let server = Server::of(builder(pair.config())).await;
    let _source = Source::start(server.hub(), "cam/1");
    let secure = server.handle.rtsps_addr().unwrap();
    for addr in [secure, server.addr] {
        let mut player = connect(&rtsps(addr, "cam/1"), pair.trust()).await.unwrap();
        for _ in 0..5 {
            within(player.next_packet()).await.unwrap().unwrap();
        }
        within(player.close()).await.unwrap();
    }
    // Without TLS the one works as ever, the other says nothing.
    let mut plain = server.connect().await;
    plain.play(&server.url("cam/1")).await;
    let mut socket = TcpStream::connect(secure).await.unwrap();
    socket
        .write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        .await
        .unwrap();
    let mut all = Vec::new();
    // Closed with something unread, so it may be a reset.
    let _ = within(socket.read_to_end(&mut all)).await;
    assert!(all.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn media_does_not_leave_the_session_in_the_clear() {
    let pair = Pair::new("clear");
    let server = Server::of(builder(pair.config())).await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = rtsps(server.addr, "cam/1");
    let mut options = believing(pair.trust());
    options.transport = ClientTransport::Udp;
    let refused = within(Player::connect(&url, options.clone()))
        .await
        .unwrap_err();
    assert_eq!(
        refused.status(),
        Some(Status::UNSUPPORTED_TRANSPORT),
        "{refused}"
    );
    options.transport = ClientTransport::UdpThenTcp;
    let mut player = within(Player::connect(&url, options)).await.unwrap();
    within(player.next_packet()).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn our_client_publishes_and_plays_with_and_without_a_tunnel() {
    let pair = Pair::new("publish");
    let server = Server::of(builder(pair.config())).await;
    let mut options = tunnelled();
    options.tls = Some(pair.trust());
    let secure = server.handle.rtsps_addr().unwrap();
    publish_and_play(&rtsps(secure, "cam/1"), &believing(pair.trust())).await;
    publish_and_play(&rtsps(secure, "cam/2"), &options).await;
    publish_and_play(&rtsps(server.addr, "cam/2"), &options).await;
    assert_eq!(server.handle.tls_stats().unwrap().held_bytes, 0);
    server.stop().await;
}

#[tokio::test]
async fn only_who_is_believed_is_played_from() {
    let pair = Pair::new("trust");
    let server = Server::of(builder(pair.config())).await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = rtsps(server.addr, "cam/1");
    let pinned = TlsTrust::pinned([pair.pin()]).unwrap();
    connect(&url, pinned).await.unwrap();
    let other = Pair::new("trust-other");
    for trust in [
        TlsTrust::public().unwrap(),
        other.trust(),
        TlsTrust::pinned([other.pin()]).unwrap(),
        TlsTrust::pinned([]).unwrap(),
    ] {
        let error = connect(&url, trust).await.unwrap_err();
        assert!(matches!(error, ClientError::Tls { .. }), "{error}");
    }
    // A name that the certificate does not have; the pin does not ask for names.
    let url = url.replace("127.0.0.1", "127.0.0.1.nip.invalid");
    assert!(connect(&url, pair.trust()).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn fifty_readers_lose_nothing_while_the_certificate_changes() {
    const READERS: usize = 50;
    let pair = Pair::new("reload");
    let first = pair.pin();
    let server = Server::of(builder(pair.config())).await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = rtsps(server.addr, "cam/1");
    let received: Arc<Vec<AtomicUsize>> =
        Arc::new((0..READERS).map(|_| AtomicUsize::new(0)).collect());
    let mut readers = tokio::task::JoinSet::new();
    for index in 0..READERS {
        let mut player = connect(&url, pair.trust()).await.unwrap();
        let received = received.clone();
        readers.spawn(async move {
            loop {
                let packet = player.next_packet().await.unwrap().unwrap();
                assert_eq!(packet.lost_before, 0);
                received[index].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let all_go_on = async |readers: &mut tokio::task::JoinSet<()>| {
        let before: Vec<_> = received.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        within(async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while received
                .iter()
                .zip(&before)
                .any(|(now, before)| now.load(Ordering::Relaxed) < before + 10)
            {
                assert!(readers.try_join_next().is_none(), "a reader has ended");
                tick.tick().await;
            }
        })
        .await;
    };
    all_go_on(&mut readers).await;
    let second = pair.renew();
    server.handle.reload_certificates().unwrap();
    all_go_on(&mut readers).await;
    assert!(
        connect(&url, TlsTrust::pinned([first]).unwrap())
            .await
            .is_err()
    );
    connect(&url, TlsTrust::pinned([second]).unwrap())
        .await
        .unwrap();
    // What is broken is named, and nothing changes.
    std::fs::write(pair.certificate(), "-----BEGIN NONSENSE").unwrap();
    let error = server.handle.reload_certificates().unwrap_err();
    assert!(error.to_string().contains("cert.pem"), "{error}");
    connect(&url, TlsTrust::pinned([second]).unwrap())
        .await
        .unwrap();
    all_go_on(&mut readers).await;
    assert_eq!(server.handle.tls_stats().unwrap().handshakes, 52);
    server.stop().await;
}

#[tokio::test]
async fn changed_files_are_seen_without_being_told() {
    let pair = Pair::new("watch");
    let config = pair.config().watch(Some(Duration::from_millis(50)));
    let server = Server::of(builder(config)).await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = rtsps(server.addr, "cam/1");
    let pin = pair.renew();
    within(async {
        while connect(&url, TlsTrust::pinned([pin]).unwrap())
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    server.stop().await;
}

/// 3 MB/s: more than the socket buffers of loopback take in two seconds.
struct Flood(tokio::task::JoinHandle<()>);

impl Flood {
    fn start(hub: &Hub, name: &str) -> Self {
        let description = SessionDescription {
            name: name.to_owned(),
            tracks: vec![Track::g711(G711Law::A)],
            ..SessionDescription::default()
        };
        let mut publisher = hub
            .publish(&path(name), description, Principal::Named("test".into()))
            .unwrap();
        Self(tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            // On a machine that is busy otherwise it must not make up for what it missed: that
            // would be the flood which drowns the good stream, too.
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut sequence = 0_u16;
            loop {
                tick.tick().await;
                let now = Instant::now();
                for _ in 0..20 {
                    let mut packet = audio_packet(sequence);
                    packet.resize(1400, 0);
                    publisher.push_rtp(0, &packet, now);
                    sequence = sequence.wrapping_add(1);
                }
                if !publisher.flush(now) {
                    return;
                }
            }
        }))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_holds_little_and_is_ended() {
    let pair = Arc::new(Pair::new("stall"));
    let mut relay = RelayConfig::default();
    relay.stall_timeout = Duration::from_secs(1);
    let server = Server::of(builder(pair.config()).relay(relay)).await;
    let _flood = Flood::start(server.hub(), "flood");
    let _source = Source::start(server.hub(), "good");
    let witness = Witness::watch(&server, "good").await;
    let (addr, url) = (server.addr, rtsps(server.addr, "flood"));
    let client = pair.clone();
    let stalled = tokio::task::spawn_blocking(move || {
        let mut raw = raw(addr, &client);
        start_to_play(&mut raw, &url);
        raw
    })
    .await
    .unwrap();
    let mut most = 0;
    within(async {
        while server.handle.connections() > 1 {
            let held = server.handle.tls_stats().unwrap().held_bytes;
            most = most.max(held);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!((1..=MAX_HELD).contains(&most), "{most} bytes held");
    assert_eq!(server.handle.tls_stats().unwrap().held_bytes, 0);
    drop(stalled);
    witness.fine().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_and_the_end_is_said() {
    let pair = Pair::new("keys");
    let server = Server::of(builder(pair.config())).await;
    let _source = Source::start(server.hub(), "cam/1");
    let (addr, url) = (server.addr, rtsps(server.addr, "cam/1"));
    let raw = tokio::task::spawn_blocking(move || {
        let mut raw = raw(addr, &pair);
        for _ in 0..3 {
            let options = format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n");
            assert!(ask(&mut raw, &options).starts_with("RTSP/1.0 200"));
            raw.conn.refresh_traffic_keys().unwrap();
        }
        start_to_play(&mut raw, &url);
        raw.conn.refresh_traffic_keys().unwrap();
        let mut frame = [0; 500];
        raw.read_exact(&mut frame).unwrap();
        raw
    })
    .await
    .unwrap();
    server.stop().await;
    let end = tokio::task::spawn_blocking(move || {
        let mut raw = raw;
        let mut rest = Vec::new();
        raw.read_to_end(&mut rest)
    });
    // Without its close_notify this would be an UnexpectedEof.
    let end = within(end).await.unwrap();
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test]
async fn handshakes_that_do_not_end_are_ended_and_cost_nobody_his_turn() {
    let pair = Pair::new("slow");
    let config = pair
        .config()
        .handshakes(1)
        .handshake_timeout(Duration::from_millis(500));
    let server = Server::of(builder(config)).await;
    let _source = Source::start(server.hub(), "cam/1");
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    // A record is announced, and half of it sent.
    slow.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0])
        .await
        .unwrap();
    within(async {
        while server.handle.tls_stats().unwrap().failed == 0 {
            // Whoever waits for a turn gets it when the slow one's time is over.
            let _ = connect(&rtsps(server.addr, "cam/1"), pair.trust()).await;
        }
    })
    .await;
    let mut rest = Vec::new();
    let end = within(slow.read_to_end(&mut rest)).await;
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    connect(&rtsps(server.addr, "cam/1"), pair.trust())
        .await
        .unwrap();
    // Garbage behind the first byte, and TLS inside of TLS.
    let mut garbage = TcpStream::connect(server.addr).await.unwrap();
    garbage.write_all(&[0x16; 100]).await.unwrap();
    let _ = within(garbage.read_to_end(&mut rest)).await;
    server.stop().await;
}
