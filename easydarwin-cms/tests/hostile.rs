//! Everything that is known to have been done to CMSes of this kind, beside a camera whose stream
//! is watched. Each abuse gets nowhere, and the stream misses no packet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;
#[path = "hostile/flow.rs"]
mod flow;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use common::{PATIENCE, Peer, Reply, code};
use easydarwin_core::protocol::{
    AppType, Envelope, MessageType, Register, Snapshot, TerminalType, login,
};
use flow::{Flow, HOLDER, OLD, OLD_TOKEN};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Somebody in the network whom nobody trusts.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// Longer than any head, body or JSON that somebody has reason to send.
const HUGE: usize = 100 << 20;

async fn from(flow: &Flow, address: impl Into<IpAddr>) -> Peer {
    Peer::connect_from(address.into(), flow.cms.addr).await
}

async fn stranger(flow: &Flow) -> Peer {
    from(flow, STRANGER).await
}

/// A request of a client at the trusted address.
async fn trusted(flow: &Flow, head: &str) -> Reply {
    let mut peer = flow.cms.connect().await;
    peer.send(head.as_bytes()).await;
    peer.expect().await
}

fn post(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A register whose serial is put in as it is.
fn register_as(serial: &str) -> Vec<u8> {
    let json = serde_json::json!({"EasyDarwin": {
        "Header": {"MessageType": "MSG_DS_REGISTER_REQ", "Version": "1.0", "CSeq": "1",
                   "AppType": "EasyCamera", "TerminalType": "Linux"},
        "Body": {"Serial": serial, "Name": "", "Tag": "", "Token": "x"},
    }});
    post(&json.to_string())
}

/// Sends until the peer takes no more; how much that was.
async fn pour(peer: &mut Peer, begin: &[u8], filler: u8) -> usize {
    let _ = peer.stream.write_all(begin).await;
    let piece = vec![filler; 64 * 1024];
    let mut sent = 0;
    while sent < HUGE {
        match peer.stream.write_all(&piece).await {
            Ok(()) => sent += piece.len(),
            Err(_) => break,
        }
    }
    sent
}

/// Waits for the end, whatever comes before it.
async fn ended(peer: &mut Peer) -> Vec<u8> {
    let mut came = Vec::new();
    let end = peer.stream.read_to_end(&mut came);
    let _ = tokio::time::timeout(PATIENCE, end).await.expect("the end");
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_serials() {
    let mut flow = Flow::start(|_| {}).await;
    let long = "9".repeat(300);
    for serial in [
        "../../etc/passwd",
        "..",
        "%s%n%s%n",
        "%00",
        "a\0b",
        "a b",
        " ",
        "",
        "a/1",
        "'; DROP TABLE devices;--",
        "${jndi:ldap://x}",
        "<script>",
        "\u{202e}",
        &long,
    ] {
        let mut peer = stranger(&flow).await;
        peer.send(&register_as(serial)).await;
        assert_eq!(peer.expect().await.error(), 400, "{serial:?}");
        let escaped: String = serial.bytes().map(|b| format!("%{b:02X}")).collect();
        for call in [
            "getdeviceinfo",
            "startdevicestream",
            "stopdevicestream",
            "getdevicestream",
        ] {
            let target = format!("/api/v1/{call}?device={escaped}&channel=1&protocol=rtsp");
            let answer = flow.cms.get(&target).await;
            assert!([400, 603].contains(&answer.error()), "{call} {serial:?}");
            assert!(answer.body.len() < 1000);
        }
    }
    for path in [
        "/snap/../../../../etc/passwd",
        "/snap/..%2f..%2fetc%2fpasswd",
        "/snap/x/../../x",
        "/../Cargo.toml",
        "//etc/passwd",
        "/api/v2/devices/..%2f..",
    ] {
        let reply = flow.cms.get(path).await;
        assert!(
            (400..500).contains(&reply.status) || reply.body.starts_with(b"{"),
            "{path}"
        );
        assert!(
            !String::from_utf8_lossy(&reply.body).contains("root:"),
            "{path}"
        );
    }
    flow.undisturbed().await;
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_snapshots() {
    let flow = Flow::start(|_| {}).await;
    let fake = "/9j/RkFLRUZBS0VGQUtF";
    let snapshot = Snapshot::jpeg(HOLDER, 1, fake).to_envelope(3);
    assert_eq!(code(&stranger(&flow).await.ask(&snapshot).await), 401);
    // As the body of a web client's request, from a trusted address.
    let mut client = flow.cms.connect().await;
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_ne!(code(&client.ask(&snapshot).await), 200);
    // By a device that is somebody, but not the holder.
    let mut old = stranger(&flow).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    assert_eq!(code(&old.ask(&snapshot).await), 403);
    // Channels that are none, pictures that are none.
    for (channel, image) in [
        (0, fake),
        (65, fake),
        (u32::MAX, fake),
        (1, "AAAA"),
        (1, "%%%"),
    ] {
        let odd = Snapshot::jpeg(HOLDER, channel, image).to_envelope(4);
        assert_ne!(code(&old.ask(&odd).await), 200);
    }
    let info = flow
        .cms
        .api(&format!("getdeviceinfo?device={HOLDER}"))
        .await;
    let url = info.body.text_or_empty("SnapURL");
    if let Some(path) = url
        .split_once("/snap/")
        .map(|(_, path)| format!("/snap/{path}"))
    {
        let picture = flow.cms.get(&path).await.body;
        assert!(
            !picture.windows(4).any(|w| w == b"FAKE"),
            "the stranger's picture is shown"
        );
    }
    // Too long: refused by its head alone.
    old.send(b"POST / HTTP/1.1\r\nContent-Length: 1500001\r\n\r\n")
        .await;
    assert_eq!(old.expect().await.status, 413);
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeover_without_the_secret() {
    let mut flow = Flow::start(|_| {}).await;
    let plain = |token: Option<&str>| {
        let mut register = Register::new(HOLDER, AppType::EasyCamera, TerminalType::Linux);
        register.token = token.map(Into::into);
        register
    };
    let mut thief = stranger(&flow).await;
    for token in [None, Some(""), Some("the holder's key"), Some("x")] {
        let answer = thief.ask(&plain(token).to_envelope(1)).await;
        assert_eq!(code(&answer), 401, "{token:?}");
    }
    assert_eq!(code(&thief.login(HOLDER, "another key").await), 401);
    // A proof for a challenge that was not made here, and one that was sent back to its maker.
    let mut register = plain(None);
    register.auth = Some(login::ED1.into());
    register.client_nonce = Some("n".into());
    register.proof = Some("cHJvb2Y".into());
    register.nonce = Some("m".into());
    assert_eq!(code(&thief.ask(&register.to_envelope(2)).await), 401);
    // From a connection that is somebody else's.
    let mut old = from(&flow, [127, 0, 0, 67]).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    assert_eq!(
        code(&old.ask(&plain(Some(OLD_TOKEN)).to_envelope(3)).await),
        400
    );
    // A node's words without the join key.
    for kind in [
        MessageType::FreeStreamReq,
        MessageType::NodeReport,
        MessageType::NodeEvent,
    ] {
        let mut message = Envelope::request(kind, 4);
        message.body.set("Serial", HOLDER).set("Channel", "1");
        message
            .body
            .set("Protocol", "RTSP")
            .set("Path", format!("{HOLDER}/1"));
        let mut stranger = from(&flow, [127, 0, 0, 68]).await;
        assert_ne!(code(&stranger.ask(&message).await), 200, "{kind:?}");
    }
    flow.undisturbed().await;
    // Answers to questions that the CMS asked somebody else.
    let mut ack = Envelope::answer(
        MessageType::PushStreamAck,
        "1",
        easydarwin_core::protocol::ErrorNum::OK,
    );
    ack.body.set("Serial", HOLDER).set("Channel", "1");
    assert_eq!(code(&thief.ask(&ack).await), 401);
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_half_open_connections_by_the_thousand() {
    let mut flow = Flow::start(|c| {
        c.first_message = Duration::from_secs(2);
        c.node_lease = Duration::from_secs(2);
    })
    .await;
    let begins: [&[u8]; 6] = [
        b"",
        b"P",
        b"\x16\x03\x01",
        b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n{",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"HTTP/1.1 200 OK\r\n",
    ];
    let mut open = Vec::new();
    for n in 0..3000_u16 {
        // Half of them from one address, the others from many.
        let address = match n % 2 {
            0 => STRANGER,
            _ => Ipv4Addr::from_bits(0x7f01_0001 + u32::from(n / 4)),
        };
        let mut peer = from(&flow, address).await;
        let begin = begins[usize::from(n) % begins.len()];
        let _ = peer.stream.write_all(begin).await;
        open.push(peer);
    }
    flow.undisturbed().await;
    let mut old = from(&flow, [127, 0, 0, 67]).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    // All of them are gone when their time is over, without having to be told anything.
    for peer in &mut open {
        ended(peer).await;
    }
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_heads_without_end() {
    let flow = Flow::start(|_| {}).await;
    let headers = "X-A: b\r\n".repeat(20_000);
    let one_line = format!("X: {}\r\n", "y".repeat(70_000));
    let cookies = format!("Cookie: {}\r\n", "a=b; ".repeat(30_000));
    for start in [
        "POST / HTTP/1.1\r\n",
        "GET /api/v1/getdevicelist HTTP/1.1\r\n",
    ] {
        for bomb in [&headers, &one_line, &cookies] {
            let mut peer = stranger(&flow).await;
            let _ = peer
                .stream
                .write_all(format!("{start}{bomb}\r\n").as_bytes())
                .await;
            let answer = String::from_utf8_lossy(&ended(&mut peer).await).into_owned();
            // The end may overtake the answer when more is on its way.
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
                "{answer}"
            );
        }
    }
    for begin in [
        "POST / HTTP/1.1\r\nContent-Length: 104857600\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        "POST /api/v2/devices HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n",
        "POST /api/v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        "POST / HTTP/1.1\r\nX: ",
        "GET /",
        "HTTP/1.1 200 OK\r\nX: ",
        "",
    ] {
        let mut peer = stranger(&flow).await;
        let sent = pour(&mut peer, begin.as_bytes(), b'a').await;
        assert!(sent < HUGE / 2, "{sent} bytes were taken of {begin:?}");
    }
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_lengths_that_lie() {
    let mut flow = Flow::start(|_| {}).await;
    let nested = "{\"EasyDarwin\":".repeat(4_000);
    let deep = format!(
        "{{\"EasyDarwin\":{{\"Header\":{}1{}}}}}",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    for body in [
        "[".repeat(60_000),
        nested,
        deep,
        "{\"EasyDarwin\":{\"Header\":{\"MessageType\":\"MSG_DS_REGISTER_REQ\"},\"Body\":[]}}"
            .into(),
        "{\"EasyDarwin\":{\"Header\":null,\"Body\":null}}".into(),
        format!(
            "{{\"EasyDarwin\":{{\"Header\":{{\"CSeq\":\"{}\"}}}}}}",
            "9".repeat(50_000)
        ),
        "\u{0}".repeat(1000),
        "1e999999".into(),
    ] {
        let mut peer = stranger(&flow).await;
        peer.send(&post(&body)).await;
        let status = peer.expect().await.status;
        assert!([400, 501].contains(&status) || status == 200, "{status}");
    }
    for head in [
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 0x10",
        "Content-Length: 18446744073709551616",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length",
        "Content-Length: ",
    ] {
        for start in [
            "POST / HTTP/1.1",
            "HTTP/1.1 200 OK",
            "POST /api/v1/x HTTP/1.1\r\nHost: x",
        ] {
            let mut peer = stranger(&flow).await;
            peer.send(format!("{start}\r\n{head}\r\n\r\nhello").as_bytes())
                .await;
            let _ = peer.stream.shutdown().await;
            let answer = String::from_utf8_lossy(&ended(&mut peer).await).into_owned();
            let first = answer.lines().next().unwrap_or_default().to_owned();
            let refused = ["400", "413", "501"].iter().any(|s| first.contains(s));
            // Where no body is looked at, the call may be answered; what was sent as one is no
            // second message.
            let once = start.contains("/api/") && answer.matches("HTTP/1.1 ").count() == 1;
            assert!(
                refused || once || answer.is_empty(),
                "{start} {head}: {answer}"
            );
        }
    }
    // Shorter than its body: the rest is no message. Longer: it never comes.
    let mut short = stranger(&flow).await;
    short
        .send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}garbage\r\n\r\n")
        .await;
    assert_eq!(short.expect().await.status, 400);
    short.closed().await;
    let mut long = stranger(&flow).await;
    long.send(b"POST / HTTP/1.1\r\nContent-Length: 999\r\n\r\n{}")
        .await;
    long.stream.shutdown().await.unwrap();
    assert!(ended(&mut long).await.is_empty());
    flow.undisturbed().await;
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_by_brute_force() {
    let flow = Flow::start(|_| {}).await;
    let mut guesses = tokio::task::JoinSet::new();
    let addr = flow.cms.addr;
    for n in 0..8_u8 {
        guesses.spawn(async move {
            let mut taken = 0;
            for guess in 0..40 {
                let mut peer = Peer::connect_from(STRANGER.into(), addr).await;
                let token = format!("{n}{guess}");
                let mut register = Register::new(OLD, AppType::EasyCamera, TerminalType::Linux);
                register.token = Some(token);
                let message = register.to_envelope(1).to_request("x");
                let _ = peer.stream.write_all(&message).await;
                if let Some(answer) = peer.next().await {
                    assert_eq!(answer.error(), 401);
                    taken += 1;
                }
            }
            taken
        });
    }
    let taken: u32 = guesses.join_all().await.into_iter().sum();
    // Ten, and those that had been let in when the tenth was counted.
    assert!(
        (10..40).contains(&taken),
        "{taken} of 320 guesses were taken"
    );
    // The guessed one comes in at once, from an address of his own.
    let started = Instant::now();
    let mut old = from(&flow, [127, 0, 0, 67]).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    assert!(started.elapsed() < Duration::from_secs(1));
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locking_a_device_out() {
    let mut flow = Flow::start(|_| {}).await;
    // The old device lives beside the attacker, as behind one router.
    let home = [127, 0, 0, 90];
    let mut old = from(&flow, home).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    for n in 0..60_u8 {
        // For both serials, from its own address, from the holder's, and from many others.
        let address = match n % 3 {
            0 => home,
            1 => [127, 0, 0, 1],
            _ => [127, 0, 2, n],
        };
        let mut attacker = from(&flow, address).await;
        for serial in [OLD, HOLDER] {
            assert_eq!(code(&attacker.register(serial, "guess").await), 401);
        }
        assert_eq!(code(&attacker.login(HOLDER, "guess").await), 401);
    }
    // And holds as many connections as it gets.
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(from(&flow, home).await);
    }
    flow.undisturbed().await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    // Whoever was cut off comes back at once.
    drop(old);
    let started = Instant::now();
    let mut old = from(&flow, home).await;
    assert_eq!(code(&old.register(OLD, OLD_TOKEN).await), 200);
    assert!(started.elapsed() < Duration::from_secs(1));
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_of_strangers() {
    let mut flow = Flow::start(|_| {}).await;
    let host = flow.cms.addr;
    let browser = "User-Agent: Mozilla/5.0\r\n";
    let evil: [(&str, String); 6] = [
        (
            "another page's script",
            format!("Host: {host}\r\nOrigin: http://evil.example\r\n"),
        ),
        (
            "a sandboxed frame",
            format!("Host: {host}\r\nOrigin: null\r\n"),
        ),
        (
            "a browser that says so",
            format!("Host: {host}\r\nSec-Fetch-Site: cross-site\r\n"),
        ),
        (
            "another port",
            format!("Host: {host}\r\nSec-Fetch-Site: same-site\r\n"),
        ),
        // To addresses in the clear browsers say nothing of the site: a picture's request.
        (
            "a picture in a page",
            format!("Host: {host}\r\nReferer: http://evil.example/\r\n"),
        ),
        (
            "a name that leads here",
            "Host: evil.example:10000\r\n".to_owned(),
        ),
    ];
    for (what, headers) in &evil {
        for call in [
            format!("stopdevicestream?device={HOLDER}&channel=1&protocol=rtsp"),
            format!("freedevicestream?device={HOLDER}&channel=1"),
            format!("startdevicestream?device={HOLDER}&channel=1"),
            format!("ptzcontrol?device={HOLDER}&protocol=onvif&actiontype=single&command=down"),
            "restart".to_owned(),
            "setbaseconfig?x=y".to_owned(),
        ] {
            let head = format!("GET /api/v1/{call} HTTP/1.1\r\n{browser}{headers}\r\n");
            let status = trusted(&flow, &head).await.status;
            assert!([401, 403].contains(&status), "{what}: {call}: {status}");
        }
        // A form's post, whose type needs nobody's leave.
        let talk = Envelope::request(MessageType::TalkbackControlReq, 1).to_json();
        let head = format!(
            "POST / HTTP/1.1\r\n{browser}{headers}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{talk}",
            talk.len()
        );
        assert!(
            [401, 403].contains(&trusted(&flow, &head).await.error()),
            "{what}"
        );
    }
    // A link without any of that, as a page over HTTPS makes it.
    let call = format!("stopdevicestream?device={HOLDER}&channel=1&protocol=rtsp");
    let head = format!("GET /api/v1/{call} HTTP/1.1\r\n{browser}Host: {host}\r\n\r\n");
    assert_eq!(trusted(&flow, &head).await.status, 403);
    flow.undisturbed().await;
    // Our own page may.
    for headers in [
        format!("Host: {host}\r\nReferer: http://{host}/\r\n"),
        format!("Host: {host}\r\nSec-Fetch-Site: same-origin\r\n"),
        format!("Host: {host}\r\nOrigin: http://{host}\r\n"),
    ] {
        let call = format!("startdevicestream?device={HOLDER}&channel=1");
        let head = format!("GET /api/v1/{call} HTTP/1.1\r\n{browser}{headers}\r\n");
        assert_eq!(trusted(&flow, &head).await.error(), 200);
    }
    flow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_all_kinds() {
    let mut flow = Flow::start(|_| {}).await;
    let mut noise: u32 = 1;
    for n in 0..200_usize {
        let mut bytes: Vec<u8> = (0..n * 16)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()[0]
            })
            .collect();
        // Some begin like something.
        let begin: &[u8] = [
            &b""[..],
            b"\x16\x03\x01",
            b"POST / HTTP/1.1\r\n",
            b"GET ",
            b"\x00",
        ][n % 5];
        bytes.splice(..0, begin.iter().copied());
        let mut peer = from(&flow, [127, 0, 3, u8::try_from(n).unwrap()]).await;
        let _ = peer.stream.write_all(&bytes).await;
        let _ = peer.stream.shutdown().await;
        ended(&mut peer).await;
    }
    flow.undisturbed().await;
    flow.end().await;
}
