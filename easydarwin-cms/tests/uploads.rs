//! Snapshots by HTTP PUT: what curl can do with a ticket, and what nobody can do without.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;
#[path = "common/embedder.rs"]
mod embedder;
#[path = "uploads/hostile.rs"]
mod hostile;
#[path = "uploads/live.rs"]
mod live;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use common::{Peer, TestCms, code, picture};
use easydarwin_core::protocol::{
    AppType, Envelope, Ext, MessageType, Register, SnapshotRequest, TerminalType, UploadAck,
    UploadRequest, UploadTicket,
};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Of a camera with many pixels.
const LARGE: usize = 500_000;

/// A device that can put, on its own connection.
struct Device {
    peer: Peer,
    serial: &'static str,
    cseq: u32,
}

impl Device {
    async fn register(cms: &TestCms, serial: &'static str, ext: &str) -> Self {
        cms.handle.provision_token(serial, "secret").await.unwrap();
        let mut peer = cms.connect().await;
        let mut register = Register::new(serial, AppType::EasyCamera, TerminalType::Linux);
        register.token = Some("secret".into());
        register.ext = Ext::parse(ext);
        assert_eq!(code(&peer.ask(&register.to_envelope(1)).await), 200);
        Self {
            peer,
            serial,
            cseq: 1,
        }
    }

    async fn new(cms: &TestCms, serial: &'static str) -> Self {
        Self::register(cms, serial, "snapshot-put").await
    }

    async fn asks(&mut self, serial: &str, channel: u32) -> UploadAck {
        self.cseq += 1;
        let serial = serial.to_owned();
        let request = UploadRequest { serial, channel };
        let answer = self.peer.ask(&request.to_envelope(self.cseq)).await;
        UploadAck::from_envelope(&answer).unwrap()
    }

    async fn ticket(&mut self, channel: u32) -> UploadTicket {
        let ack = self.asks(self.serial, channel).await;
        assert_eq!((ack.error.code(), ack.channel), (200, channel));
        ack.upload.unwrap()
    }
}

/// The newest picture as clients load it, by the URL in the list.
async fn loaded(cms: &TestCms, serial: &str) -> Option<Vec<u8>> {
    let info = cms.api(&format!("getdeviceinfo?device={serial}")).await;
    let url = info.body.non_empty("SnapURL")?;
    let path = url.find("/snap/").and_then(|at| url.get(at..)).unwrap();
    let reply = cms.get(path).await;
    assert_eq!(reply.header("Content-Type"), Some("image/jpeg"));
    Some(reply.body)
}

/// A file that is gone with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("cms-uploads-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Status of `curl -T FILE`.
async fn curl(cms: SocketAddr, ticket: &UploadTicket, file: &File, more: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--max-time", "20"])
        .args(["--write-out", "%{http_code}", "--upload-file"])
        .arg(&file.0)
        .args([
            "--header",
            &format!("Authorization: Bearer {}", ticket.ticket),
        ])
        .args(more)
        .arg(format!("http://{cms}{}", ticket.path))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("curl (scripts/peers installs it)");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn curl_puts_a_picture_with_a_ticket() {
    let cms = TestCms::start(|_| {}).await;
    let mut device = Device::new(&cms, "cam").await;
    let (first, second) = (picture(LARGE), picture(100));
    let file = File::new("first", &first);
    let ticket = device.ticket(1).await;
    assert_eq!(ticket.path, "/snap/cam/1");
    assert_eq!(ticket.ttl_s, 60);
    assert_eq!(curl(cms.addr, &ticket, &file, &[]).await, "201");
    assert_eq!(loaded(&cms, "cam").await.unwrap(), first);
    let ticket = device.ticket(1).await;
    let kind = ["--header", "Content-Type: image/jpeg"];
    let file = File::new("second", &second);
    assert_eq!(curl(cms.addr, &ticket, &file, &kind).await, "204");
    assert_eq!(loaded(&cms, "cam").await.unwrap(), second);
    // Used up; in chunks; no picture by its name.
    assert_eq!(curl(cms.addr, &ticket, &file, &kind).await, "401");
    let ticket = device.ticket(1).await;
    let chunks = ["--header", "Transfer-Encoding: chunked"];
    assert_eq!(curl(cms.addr, &ticket, &file, &chunks).await, "411");
    let kind = ["--header", "Content-Type: image/png"];
    assert_eq!(curl(cms.addr, &ticket, &file, &kind).await, "415");
    // Larger than what curl sends without asking whether it may.
    let file = File::new("large", &picture(1_500_001));
    assert_eq!(curl(cms.addr, &ticket, &file, &[]).await, "413");
    let file = File::new("largest", &picture(1_500_000));
    assert_eq!(curl(cms.addr, &ticket, &file, &[]).await, "204");

    let mut client = cms.connect().await;
    let key = cms.handle.api_key();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n");
    client.send(request.as_bytes()).await;
    let metrics = String::from_utf8(client.expect().await.body).unwrap();
    for line in [
        "easydarwin_cms_snapshots_total{result=\"ok\"} 3",
        "easydarwin_cms_snapshots_total{result=\"refused\"} 4",
        "easydarwin_cms_refused_total{cause=\"wrong_key\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    cms.stop().await;
}

/// Signing is what costs in a list of many devices.
#[tokio::test]
async fn the_next_picture_is_loaded_by_the_same_right() {
    let cms = TestCms::start(|_| {}).await;
    let mut device = Device::new(&cms, "cam").await;
    let mut rights = Vec::new();
    for length in [100, 200] {
        let ticket = device.ticket(1).await;
        assert!(Put::all(&cms, &ticket, &picture(length)).await.0 < 300);
        let info = cms.api("getdeviceinfo?device=cam").await;
        let url = info.body.non_empty("SnapURL").unwrap();
        let (right, _) = url.rsplit_once('/').unwrap();
        rights.push(right.to_owned());
        assert_eq!(loaded(&cms, "cam").await.unwrap().len(), length);
    }
    assert_eq!(rights[0], rights[1]);
    cms.stop().await;
}

#[tokio::test]
async fn a_device_that_can_put_is_asked_with_a_ticket() {
    let cms = TestCms::start(|_| {}).await;
    for (serial, ext, has_ticket) in [
        ("puts", "snapshot,snapshot-put", true),
        ("posts", "snapshot", false),
    ] {
        let mut device = Device::register(&cms, serial, ext).await;
        let mut client = cms.connect().await;
        let head = format!(
            "POST /api/v2/devices/{serial}/snapshot?channel=3 HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\n\r\n",
            cms.handle.api_key()
        );
        client.send(head.as_bytes()).await;
        let request: Envelope = device.peer.expect().await.envelope();
        assert_eq!(request.kind(), Some(MessageType::SnapshotReq));
        let request = SnapshotRequest::from_envelope(&request).unwrap();
        assert_eq!(request.upload.is_some(), has_ticket, "{serial}");
        if let Some(ticket) = request.upload {
            let file = File::new("asked", &picture(1000));
            assert_eq!(curl(cms.addr, &ticket, &file, &[]).await, "201");
        }
    }
    cms.stop().await;
}

#[tokio::test]
async fn tickets_are_for_registered_devices_and_their_own_serial() {
    let cms = TestCms::start(|_| {}).await;
    let stranger = cms.connect().await;
    let mut stranger = Device {
        peer: stranger,
        serial: "cam",
        cseq: 0,
    };
    let ack = stranger.asks("cam", 1).await;
    assert_eq!((ack.error.code(), ack.upload), (401, None));
    let mut device = Device::new(&cms, "cam").await;
    let ack = device.asks("other", 1).await;
    assert_eq!((ack.error.code(), ack.upload), (403, None));
    cms.stop().await;
}

/// A connection that puts, or tries to.
struct Put(Peer);

impl Put {
    async fn head(cms: &TestCms, ticket: &UploadTicket, length: usize, more: &str) -> Self {
        let mut peer = cms.connect().await;
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: image/jpeg\r\n\
             Content-Length: {length}\r\n{more}\r\n",
            ticket.path, ticket.ticket
        );
        peer.send(head.as_bytes()).await;
        Self(peer)
    }

    /// Sends so much of a body that should be [`LARGE`], when the CMS is about to take it.
    async fn part(cms: &TestCms, ticket: &UploadTicket, part: &[u8]) -> Self {
        let mut put = Self::head(cms, ticket, LARGE, "Expect: 100-continue\r\n").await;
        assert_eq!(put.0.expect().await.status, 100);
        put.0.send(part).await;
        put
    }

    async fn all(cms: &TestCms, ticket: &UploadTicket, body: &[u8]) -> (u16, String) {
        let mut put = Self::head(cms, ticket, body.len(), "").await;
        // Who is refused need not have sent all.
        let _ = put.0.stream.write_all(body).await;
        put.answer().await
    }

    /// Status, and what is wrong.
    async fn answer(&mut self) -> (u16, String) {
        let reply = self.0.expect().await;
        if reply.status < 300 {
            assert!(reply.body.is_empty());
            return (reply.status, String::new());
        }
        let error: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let retries = matches!(reply.status, 429 | 503);
        assert_eq!(reply.header("Retry-After").is_some(), retries);
        assert_eq!(
            reply.header("Www-Authenticate"),
            (reply.status == 401).then_some("Bearer")
        );
        (reply.status, error["error"].as_str().unwrap().to_owned())
    }
}
