//! Streams on request as operations: joined, followed, given back; and what is counted of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::time::Duration;

use common::{FakeNode, PATIENCE, Peer, TestCms, code};
use easydarwin_core::protocol::node::{Close, Demand, NodeStream, Report, StreamChange};
use easydarwin_core::protocol::{ErrorNum, MessageType, PushAck, PushRequest};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const KEY: &str = "the camera's key";
const STREAM: &str = "/api/v2/streams/cam/1";

struct Bench {
    cms: TestCms,
    node: FakeNode,
    camera: Peer,
}

async fn bench() -> Bench {
    let cms = TestCms::start(|config| {
        config.push_ack = Duration::from_millis(400);
        config.first_picture = Duration::from_secs(10);
    })
    .await;
    cms.handle.provision_key("cam", KEY).await.unwrap();
    let node = FakeNode::join(&cms, "n1").await;
    let mut camera = cms.connect().await;
    assert_eq!(code(&camera.login("cam", KEY).await), 200);
    Bench { cms, node, camera }
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Bench {
    /// One request with the key of the CMS: a caller of his own, other than this network's.
    async fn with_key(&self, method: &str, path: &str) -> Answer {
        let head = format!("Authorization: Bearer {}\r\n", self.cms.handle.api_key());
        self.ask(method, path, &head).await
    }

    /// One request of a client of this network.
    async fn without_key(&self, method: &str, path: &str) -> Answer {
        self.ask(method, path, "").await
    }

    async fn ask(&self, method: &str, path: &str, head: &str) -> Answer {
        let mut socket = self.send(method, path, head).await;
        let mut text = String::new();
        let all = socket.read_to_string(&mut text);
        tokio::time::timeout(PATIENCE, all).await.unwrap().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head: head.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())),
        }
    }

    async fn send(&self, method: &str, path: &str, head: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.cms.addr).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{head}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    /// The events of an operation, as `(id, event, data)`.
    async fn events(&self, id: &str, head: &str) -> Events {
        let path = format!("/api/v2/operations/{id}/events");
        Events(BufReader::new(self.send("GET", &path, head).await))
    }

    /// Takes the push request and agrees to it.
    async fn accept(&mut self) -> u64 {
        let message = self.camera.expect().await.envelope();
        let push = PushRequest::from_envelope(&message).unwrap();
        let ack = PushAck::answer(&push, ErrorNum::OK).to_envelope(&message.cseq());
        self.camera.send_message(&ack).await;
        push.generation.unwrap()
    }

    async fn stopped(&mut self) {
        let message = self.camera.expect().await.envelope();
        assert_eq!(message.kind(), Some(MessageType::StopStreamReq));
    }
}

struct Events(BufReader<TcpStream>);

impl Events {
    /// `None` when the answer is over.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        tokio::time::timeout(PATIENCE, self.read())
            .await
            .expect("an event in time")
    }

    async fn read(&mut self) -> Option<(String, String, Value)> {
        let (mut id, mut event) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap() == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(text) = line.strip_prefix("event: ") {
                event = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id, event, serde_json::from_str(text).unwrap()));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_is_followed_through_its_stages_and_has_urls_when_it_is_ready() {
    let mut b = bench().await;
    let asked = b.with_key("POST", STREAM).await;
    assert_eq!(
        (asked.status, &asked.body["state"]),
        (202, &"requested".into())
    );
    let id = asked.body["id"].as_str().unwrap().to_owned();
    assert!(asked.head.contains(&format!("/api/v2/operations/{id}")));
    // Whoever asks as well is told of the same one, and the device is asked once.
    let other = b.without_key("POST", STREAM).await;
    assert_eq!(
        (other.status, other.body["id"].as_str().unwrap()),
        (202, &*id)
    );

    let mut events = b.events(&id, "").await;
    assert_eq!(events.next().await.unwrap().1, "requested");
    let generation = b.accept().await;
    assert_eq!(events.next().await.unwrap().1, "accepted");
    let now = b.with_key("GET", &format!("/api/v2/operations/{id}")).await;
    assert_eq!(now.body["state"], "accepted");
    let left =
        now.body["deadline"].as_u64().unwrap() - now.body["steps"][1]["at"].as_u64().unwrap();
    assert_eq!(left, 10_000, "as long as the first picture may take");
    b.node.tell(StreamChange::Published, "cam/1", generation);
    assert_eq!(events.next().await.unwrap().1, "publishing");
    b.node.tell(StreamChange::Ready, "cam/1", generation);
    let (last, event, data) = events.next().await.unwrap();
    assert_eq!((&*last, &*event), ("3", "ready"));
    let url = data["urls"]["rtsp"].as_str().unwrap();
    assert!(
        url.starts_with("rtsp://127.0.0.2:11554/cam/1?token="),
        "{url}"
    );
    let url = data["urls"]["rtsps"].as_str().unwrap();
    assert!(
        url.starts_with("rtsps://127.0.0.2:11322/cam/1?token="),
        "{url}"
    );
    assert_eq!(events.next().await, None);

    // Who lost the connection goes on after what he has.
    let mut again = b.events(&id, "Last-Event-ID: 1\r\n").await;
    assert_eq!(again.next().await.unwrap().1, "publishing");
    assert_eq!(again.next().await.unwrap().1, "ready");
    assert_eq!(again.next().await, None);

    let live = b.with_key("POST", STREAM).await;
    assert_eq!((live.status, &live.body["state"]), (200, &"ready".into()));
    assert!(live.body["urls"]["hls"].is_string());

    // The second one says what the first one said, and is answered without being read.
    for _ in 0..2 {
        assert_eq!(code(&b.camera.register("cam", "").await), 200);
    }
    // Each stage was measured, and nothing names a device.
    let metrics = b.with_key("GET", "/metrics").await;
    let text = metrics.body.as_str().unwrap();
    for line in [
        "easydarwin_cms_operations_total{stage=\"ready\",result=\"ready\"} 1",
        "easydarwin_cms_operation_seconds_count{stage=\"accepted\"} 1",
        "easydarwin_cms_operation_seconds_count{stage=\"publishing\"} 1",
        "easydarwin_cms_operation_seconds_count{stage=\"ready\"} 1",
        "easydarwin_cms_operation_seconds_count{stage=\"total\"} 1",
        "easydarwin_cms_registers_total{result=\"ok\"} 1",
        "easydarwin_cms_devices{state=\"online\"} 1",
        "easydarwin_cms_nodes 1",
        "easydarwin_cms_keep_alives_total 2",
        "easydarwin_cms_streams 1",
        "easydarwin_cms_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("\"cam") && text.ends_with("# EOF\n"));
    b.cms.stop().await;
}

#[tokio::test]
async fn work_ends_with_the_last_interest_and_not_before() {
    let mut b = bench().await;
    let asked = b.with_key("POST", STREAM).await;
    let id = asked.body["id"].as_str().unwrap().to_owned();
    b.without_key("POST", STREAM).await;
    b.accept().await;
    let one = format!("/api/v2/operations/{id}");
    let given_back = b.with_key("DELETE", &one).await;
    assert_eq!(given_back.status, 200);
    assert_ne!(given_back.body["state"], "failed");
    // Once more, and he has none to give back.
    b.with_key("DELETE", &one).await;
    assert_eq!(b.with_key("GET", &one).await.body["state"], "accepted");

    let mut events = b.events(&id, "Last-Event-ID: 1\r\n").await;
    assert_eq!(b.without_key("DELETE", STREAM).await.status, 200);
    let (_, event, data) = events.next().await.unwrap();
    assert_eq!(
        (&*event, &data["error"]["stage"]),
        ("failed", &"cancelled".into())
    );
    b.stopped().await;
    // Who wants it now begins anew.
    let anew = b.with_key("POST", STREAM).await;
    assert_eq!(anew.status, 202);
    assert_ne!(anew.body["id"], *id);
    let generation = b.accept().await;
    b.node.tell(StreamChange::Ready, "cam/1", generation);
    let mut events = b.events(anew.body["id"].as_str().unwrap(), "").await;
    while let Some((_, event, _)) = events.next().await {
        assert_ne!(event, "failed");
    }
}

#[tokio::test]
async fn a_viewer_at_a_node_is_an_interest_as_well() {
    let mut b = bench().await;
    let demand = Demand {
        path: "cam/1".into(),
    };
    b.node.send(demand.to_envelope(5));
    let generation = b.accept().await;
    b.with_key("POST", STREAM).await;
    b.with_key("DELETE", STREAM).await;
    b.without_key("GET", "/api/v1/stopdevicestream?device=cam")
        .await;
    b.node.tell(StreamChange::Ready, "cam/1", generation);
    let ack = b.node.asked(MessageType::NodeDemandAck).await;
    assert_eq!(code(&ack), 200);
}

#[tokio::test]
async fn an_idempotency_key_names_one_operation_also_when_it_is_over() {
    let mut b = bench().await;
    let key = "Idempotency-Key: first-try\r\n";
    let first = b.ask("POST", STREAM, key).await;
    let id = first.body["id"].as_str().unwrap().to_owned();
    // The camera says nothing.
    let mut events = b.events(&id, "").await;
    while events.next().await.is_some() {}
    b.camera.expect().await;
    let again = b.ask("POST", STREAM, key).await;
    assert_eq!((again.status, &again.body["id"]), (202, &first.body["id"]));
    assert_eq!(again.body["error"]["stage"], "push");
    assert_eq!(again.body["error"]["code"], 408);
    let other = b.ask("POST", "/api/v2/streams/cam/2", key).await;
    assert_eq!(other.status, 422);
    // Somebody else's key of the same name is another one.
    let his = b.with_key("POST", STREAM).await;
    assert_ne!(his.body["id"], first.body["id"]);
    let bad = format!("Idempotency-Key: {}\r\n", "x".repeat(256));
    assert_eq!(b.ask("POST", STREAM, &bad).await.status, 400);
}

#[tokio::test]
async fn stopping_is_decided_at_the_node_and_force_needs_a_right() {
    let mut b = bench().await;
    b.with_key("POST", STREAM).await;
    let generation = b.accept().await;
    b.node.tell(StreamChange::Ready, "cam/1", generation);
    loop {
        // An interest of one is no order for all: the node is asked whether nobody watches.
        if b.with_key("POST", STREAM).await.status == 200 {
            break;
        }
    }
    let close = async {
        let request = b.node.asked(MessageType::NodeCloseReq).await;
        Close::from_envelope(&request).unwrap()
    };
    let head = format!("Authorization: Bearer {}\r\n", b.cms.handle.api_key());
    let addr = b.cms.addr;
    let delete = |path: &'static str| {
        let head = head.clone();
        async move {
            let mut socket = TcpStream::connect(addr).await.unwrap();
            let request = format!(
                "DELETE {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{head}\r\n"
            );
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            socket.read_to_string(&mut text).await.unwrap();
            text
        }
    };
    let (close, _) = tokio::join!(close, delete(STREAM));
    assert_eq!(close, Close::new("cam/1", generation, true));
    b.stopped().await;
    let close = async {
        let request = b.node.asked(MessageType::NodeCloseReq).await;
        Close::from_envelope(&request).unwrap()
    };
    let (close, _) = tokio::join!(close, delete("/api/v2/streams/cam/1?force=true"));
    assert_eq!(close, Close::new("cam/1", generation, false));
    b.stopped().await;
}

#[tokio::test]
async fn what_there_is_not_is_not_found_and_strangers_get_nothing() {
    let b = bench().await;
    for path in [
        "/api/v2/operations/0123",
        "/api/v2/operations/0123/events",
        "/api/v2/streams/cam/1",
        "/api/v2/streams",
    ] {
        assert_eq!(b.with_key("GET", path).await.status, 404, "{path}");
    }
    for path in ["/api/v2/streams/..%2f/1", "/api/v2/streams/cam/x"] {
        assert_eq!(b.with_key("POST", path).await.status, 404, "{path}");
    }
    let wrong = "Authorization: Bearer not-the-key\r\n";
    for (method, path) in [
        ("POST", STREAM),
        ("DELETE", STREAM),
        ("GET", "/metrics"),
        ("GET", "/api/v2/nodes"),
        ("GET", "/api/v2/operations/0123"),
    ] {
        let answer = b.ask(method, path, wrong).await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    let ready = b.without_key("GET", "/readyz").await;
    assert_eq!((ready.status, &ready.body["ready"]), (200, &true.into()));
}

#[tokio::test]
async fn nodes_are_listed_with_their_load_and_how_wrong_their_clocks_are() {
    let b = bench().await;
    let mut report = Report::default();
    (report.load_permille, report.streams, report.viewers) = (120, 1, 3);
    let now = easydarwin_core::registry::UnixMillis::system().0;
    report.clock_ms = Some(now + 7_000);
    report.inventory = Some(vec![NodeStream::new("cam/1", 1)]);
    let mut node = b.node;
    node.send(report.to_envelope(9));
    node.asked(MessageType::NodeReportAck).await;
    let b = Bench { node, ..b };
    let answer = b.with_key("GET", "/api/v2/nodes").await;
    let node = &answer.body["nodes"][0];
    assert_eq!((&node["id"], &node["viewers"]), (&"n1".into(), &3.into()));
    assert_eq!(node["endpoints"][0]["rtsp"], 11554);
    assert_eq!(node["endpoints"][0]["rtsps"], 11322);
    let skew = node["skew_ms"].as_i64().unwrap();
    assert!((6_000..8_000).contains(&skew), "{skew}");
    assert_eq!(node["clock_is_off"], true);
    assert!(node["since"].as_u64().unwrap() >= now - 60_000);
    let metrics = b.with_key("GET", "/metrics").await;
    let text = metrics.body.as_str().unwrap();
    assert!(text.contains("easydarwin_cms_nodes_skewed 1"), "{text}");
    assert!(text.contains("easydarwin_cms_viewers 3"));
}
