//! Bytes that no peer of good will sends, and too many of them.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::common::code;
use crate::flow::{Flow, OLD, OLD_TOKEN};
use crate::{HUGE, STRANGER, ended, from, post, pour, stranger};

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
