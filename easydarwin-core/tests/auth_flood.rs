//! Ten thousand wrong logins from many addresses, while a hundred readers play: they lose nothing,
//! who knows the password gets in at once, and what is remembered stays small.
#![cfg(all(feature = "server", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    reason = "a test may stop at the first surprise; options are set as an embedder sets them"
)]

#[allow(dead_code, reason = "the server's tests use all of it")]
#[path = "server/support.rs"]
mod support;

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use easydarwin_core::media::{G711Law, SessionDescription, Track};
use easydarwin_core::registry::{MemoryUsers, PathPattern, Principal, User, UserAuthorizer};
use easydarwin_core::rtsp::auth::{
    AuthConfig, AuthParams, UserSecret, answer_basic, answer_digest,
};
use easydarwin_core::server::{BackoffConfig, MediaServer};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use support::{Rtsp, Server, audio_packet, path, sequence, within};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const READERS: usize = 100;
const ATTEMPTS: u32 = 10_000;
/// Attempts that run at the same time.
const ATTACKERS: usize = 200;
/// One after the other; more than are free.
const ATTEMPTS_PER_ADDRESS: u32 = 5;
/// Rightful logins in the midst of it.
const LOGINS: u32 = 10;
/// How late failures are answered. Who is right has to be served in less, on a busy machine too.
const DELAY: Duration = Duration::from_secs(4);
/// What the server may hold more after it than before: the table of 512 addresses, the events
/// that nobody took (1024 at most), and what the runtime keeps for connections to come.
const MEMORY: usize = 2 << 20;

fn config() -> BackoffConfig {
    let mut config = BackoffConfig::default();
    config.first_delay = DELAY;
    config.max_delay = DELAY;
    config.addresses = 512;
    config.waiting = 64;
    config.waiting_per_address = 2;
    config
}

fn bytes_in_use() -> usize {
    let stats = ALLOCATOR.stats();
    // Reallocations count as neither; they are in the total as they grew.
    stats.bytes_allocated - stats.bytes_deallocated
}

async fn connect_from(source: IpAddr, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    within(socket.connect(server.addr)).await.unwrap()
}

/// A stream of which each packet is accounted for: publishes until told to stop, and then says
/// how many there were.
fn publish(server: &Server, stop: watch::Receiver<bool>) -> tokio::task::JoinHandle<u64> {
    let description = SessionDescription {
        tracks: vec![Track::g711(G711Law::A)],
        ..SessionDescription::default()
    };
    let principal = Principal::Named("test".into());
    let mut publisher = server
        .hub()
        .publish(&path("hall/1"), description, principal)
        .unwrap();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let mut count = 0_u64;
        while !*stop.borrow() {
            tick.tick().await;
            let now = Instant::now();
            publisher.push_rtp(0, &packet(count), now);
            assert!(publisher.flush(now));
            count += 1;
        }
        // Until all have read it.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(publisher);
        });
        count
    })
}

/// A packet that carries its number.
fn packet(number: u64) -> Vec<u8> {
    let mut packet = audio_packet(u16::try_from(number).expect("no test runs for 20 minutes"));
    let end = packet.len();
    packet[end - 8..].copy_from_slice(&number.to_be_bytes());
    packet
}

fn numbered(packet: &[u8]) -> u64 {
    u64::from_be_bytes(packet[packet.len() - 8..].try_into().unwrap())
}

/// Logs in as clients do: asks, is challenged, answers.
async fn log_in(client: &mut Rtsp, url: &str) -> u16 {
    let first = client.describe(url).await;
    assert_eq!(first.status, 401);
    let challenge = AuthParams::parse_list(first.header("WWW-Authenticate").unwrap()).remove(0);
    let login = ("viewer", "look");
    let value = answer_digest(&challenge, login, ("DESCRIBE", url), 1, "c").unwrap();
    let header = [("Authorization", value.as_str())];
    client.request("DESCRIBE", url, &header, "").await.status
}

struct Reader {
    /// Number of the first packet.
    first: u64,
    /// Packets that came since, without a gap.
    count: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

/// A reader that notes each packet.
async fn read(server: &Server, url: &str) -> Reader {
    let mut client = server.connect().await;
    assert_eq!(log_in(&mut client, url).await, 200);
    let track = format!("{url}/trackID=0");
    let transport = "RTP/AVP/TCP;unicast;interleaved=0-1";
    assert_eq!(client.set_up(&track, transport).await.status, 200);
    assert_eq!(client.request("PLAY", url, &[], "").await.status, 200);
    let packet = client.packet().await.expect("a packet");
    let (first, number) = (sequence(&packet), numbered(&packet));
    let count = Arc::new(AtomicU64::new(1));
    let counted = count.clone();
    let task = tokio::spawn(async move {
        let mut last = first;
        while let Some(packet) = client.packet().await {
            let sequence = sequence(&packet);
            assert_eq!(sequence, last.wrapping_add(1), "a packet was lost");
            last = sequence;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    Reader {
        first: number,
        count,
        task,
    }
}

/// One wrong login: the status that it got.
async fn attempt(number: u32, server: &Server) -> u16 {
    let mut stream = connect_from(address(number), server).await;
    let url = format!("rtsp://{}/hall/1", server.addr);
    let (url, header) = match number % 3 {
        0 => (format!("{url}?token=guess{number}"), String::new()),
        1 => {
            let basic = answer_basic("viewer", &format!("guess{number}"));
            (url, format!("Authorization: {basic}\r\n"))
        }
        _ => {
            let challenge = AuthParams::parse_list("Digest realm=\"EasyDarwin\", nonce=\"0\"");
            let password = format!("guess{number}");
            let login = ("viewer", password.as_str());
            let value = answer_digest(&challenge[0], login, ("DESCRIBE", &url), 1, "c").unwrap();
            (url, format!("Authorization: {value}\r\n"))
        }
    };
    let request = format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\n{header}\r\n");
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

fn address(number: u32) -> IpAddr {
    let base = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    Ipv4Addr::from(base + number / ATTEMPTS_PER_ADDRESS).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_wrong_logins_disturb_nobody() {
    let users = MemoryUsers::new();
    let secret = UserSecret::from_password("viewer", AuthConfig::REALM, "look");
    users.insert("viewer", User::new(secret).play(PathPattern::all()));
    let builder = MediaServer::builder()
        .authorizer(UserAuthorizer::new(Arc::new(users)))
        .backoff(config());
    let server = Arc::new(Server::of(builder).await);
    let url = server.url("hall/1");
    let (stop, stopped) = watch::channel(false);
    let publisher = publish(&server, stopped);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(read(&server, &url).await);
    }
    let before = bytes_in_use();

    let next = Arc::new(AtomicU32::new(0));
    let begun = Instant::now();
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|_| {
            let (next, server) = (next.clone(), server.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ATTEMPTS {
                        return;
                    }
                    assert_eq!(attempt(number, &server).await, 401);
                }
            })
        })
        .collect();
    // Who is right comes from an address that has just failed.
    let mut slowest = Duration::ZERO;
    for login in 1..=LOGINS {
        let due = login * (ATTEMPTS / (LOGINS + 1));
        within(async {
            while next.load(Ordering::Relaxed) < due {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let since = Instant::now();
        let stream = connect_from(address(due - ATTEMPTS_PER_ADDRESS), &server).await;
        let mut client = Rtsp::over(stream);
        assert_eq!(log_in(&mut client, &url).await, 200);
        slowest = slowest.max(since.elapsed());
    }
    for attacker in attackers {
        attacker.await.unwrap();
    }
    let took = begun.elapsed();
    let grown = bytes_in_use().saturating_sub(before);
    stop.send(true).unwrap();
    let published = within(publisher).await.unwrap();

    // All that came since each began to read, to the last.
    let mut delivered = 0;
    for reader in &readers {
        let due = published - reader.first;
        within(async {
            while reader.count.load(Ordering::Relaxed) < due {
                assert!(!reader.task.is_finished(), "a reader was disturbed");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(reader.count.load(Ordering::Relaxed), due);
        delivered += due;
    }
    let stats = server.handle.backoff();
    println!(
        "{ATTEMPTS} wrong logins in {took:?}: {stats:?}; slowest right login {slowest:?}; \
         {delivered} packets to {READERS} readers, none lost; {grown} bytes more in use"
    );
    assert_eq!(stats.failures, u64::from(ATTEMPTS));
    assert!(stats.delayed > 0 && stats.closed > 0);
    assert_eq!(stats.waiting, 0);
    assert!(stats.addresses <= 512);
    assert!(slowest < DELAY, "{slowest:?}");
    assert!(grown < MEMORY, "{grown}");
}
