//! Who tries secrets, or lets the browsers of others try.

use std::time::{Duration, Instant};

use easydarwin_core::protocol::{AppType, Envelope, MessageType, Register, TerminalType};
use tokio::io::AsyncWriteExt as _;

use crate::common::{Peer, code};
use crate::flow::{Flow, HOLDER, OLD, OLD_TOKEN};
use crate::{STRANGER, from, trusted};

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
