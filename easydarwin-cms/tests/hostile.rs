//! Everything that is known to have been done to CMSes of this kind, beside a camera whose stream
//! is watched. Each abuse gets nowhere, and the stream misses no packet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "hostile/bytes.rs"]
mod bytes;
mod common;
#[path = "hostile/devices.rs"]
mod devices;
#[path = "hostile/flow.rs"]
mod flow;
#[path = "hostile/guesses.rs"]
mod guesses;

use std::net::{IpAddr, Ipv4Addr};

use common::{PATIENCE, Peer, Reply};
use flow::Flow;
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
