//! Webhooks against real receivers: a small server in Python that checks the signature itself,
//! and that fails, refuses, is slow, or goes away when it is told to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, TestCms};
use easydarwin_cms::{Cms, CmsConfig, LegacyLevel, SqliteStore};
use easydarwin_core::registry::{Event, EventKind, EventLog as _, UnixMillis};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// `PUT /` sets how it behaves; each message is printed with what it was answered.
const RECEIVER: &str = r#"
import base64, hashlib, hmac, json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
how = {"status": 200, "delay": 0, "secret": "", "location": ""}
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def body(self): return self.rfile.read(int(self.headers["content-length"]))
    def answer(self, status):
        self.send_response(status)
        if how["location"]: self.send_header("location", how["location"])
        self.send_header("content-length", "0")
        self.end_headers()
    def do_PUT(self):
        how.update(json.loads(self.body()))
        self.answer(200)
    def do_POST(self):
        body, h, status = self.body(), self.headers, how["status"]
        signed = (h["webhook-id"] + "." + h["webhook-timestamp"] + ".").encode() + body
        key = base64.b64decode(how["secret"].removeprefix("whsec_"))
        mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        fresh = abs(time.time() - int(h["webhook-timestamp"])) < 60
        print(json.dumps({"status": status, "id": h["webhook-id"], "fresh": fresh,
            "signed": h["webhook-signature"] == "v1," + mac, "body": json.loads(body)}), flush=True)
        time.sleep(how["delay"])
        self.answer(status)
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Receiver {
    port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Receiver {
    async fn start(port: u16) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", RECEIVER, &port.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3: apt-get install python3");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("its port");
        Self {
            port: port.parse().unwrap(),
            lines,
            child,
        }
    }

    async fn behave(&self, how: &Value) {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let (status, _) = curl(&url, &["-X", "PUT", "-d", &how.to_string()]).await;
        assert_eq!(status, 200);
    }

    /// The next message; its signature was checked.
    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line());
        let line = line.await.expect("a message in time").unwrap();
        let message: Value = serde_json::from_str(&line.expect("it runs")).unwrap();
        assert_eq!(
            (&message["signed"], &message["fresh"]),
            (&true.into(), &true.into())
        );
        assert_eq!(message["body"]["type"], "easydarwin.events");
        message
    }

    /// The numbers of our events in messages that were taken, up to this one.
    async fn taken_up_to(&mut self, last: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        while taken.last() != Some(&last) {
            let message = self.next().await;
            if message["status"] == 200 {
                taken.extend(numbers(&message));
            }
        }
        taken
    }
}

fn numbers(message: &Value) -> Vec<u64> {
    let events = message["body"]["data"].as_array().unwrap();
    events
        .iter()
        .filter_map(|e| e["data"]["n"].as_u64())
        .collect()
}

async fn curl(url: &str, arguments: &[&str]) -> (u16, Value) {
    let output = Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}", url])
        .args(arguments)
        .output();
    let output = String::from_utf8(output.await.unwrap().stdout).unwrap();
    let (body, status) = output.rsplit_once('\n').unwrap();
    (
        status.parse().unwrap(),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Bench {
    cms: TestCms,
    store: Arc<SqliteStore>,
    place: Place,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let name = format!("easydarwin-webhooks-{}-{name}", std::process::id());
        let place = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&place).unwrap();
        Self::open(Place(place)).await
    }

    async fn open(place: Place) -> Self {
        let store = Arc::new(SqliteStore::open(&place.0.join("cms.db")).unwrap());
        let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
        config.webhook_retry = Duration::from_millis(50);
        config.webhook_timeout = Duration::from_millis(500);
        config.webhook_give_up = Duration::from_millis(300);
        let cms = Cms::builder(config)
            .legacy_client("127.0.0.0/8".parse().unwrap(), LegacyLevel::Control)
            .store(store.clone())
            .event_log(store.clone())
            .webhook_store(store.clone())
            .build()
            .await
            .unwrap();
        Self {
            cms: TestCms::run(cms),
            store,
            place,
        }
    }

    async fn restart(self) -> Self {
        self.cms.stop().await;
        drop(self.store);
        Self::open(self.place).await
    }

    async fn api(&self, path: &str, arguments: &[&str]) -> (u16, Value) {
        curl(
            &format!("http://{}/api/v2/{path}", self.cms.addr),
            arguments,
        )
        .await
    }

    async fn post(&self, wanted: &Value) -> (u16, Value) {
        let body = wanted.to_string();
        let json = "Content-Type: application/json";
        self.api("webhooks", &["-H", json, "-d", &body]).await
    }

    /// A webhook for our own events; its id.
    async fn hook(&self, receiver: &Receiver) -> String {
        let url = format!("http://127.0.0.1:{}/hook?a=b", receiver.port);
        let (status, made) = self.post(&json!({ "url": url, "kinds": ["test."] })).await;
        assert_eq!(status, 201, "{made}");
        receiver.behave(&json!({ "secret": made["secret"] })).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Events with these numbers.
    fn happen(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            self.cms.handle.emit(
                Event::new(EventKind::parse("test.event").unwrap(), UnixMillis(n))
                    .with(json!({ "n": n })),
            );
        }
    }
}

#[tokio::test]
async fn events_come_signed_in_order_and_over_restarts() {
    let bench = Bench::new("order").await;
    let mut receiver = Receiver::start(0).await;
    bench.hook(&receiver).await;
    bench.happen(0..250);
    assert_eq!(
        receiver.taken_up_to(249).await,
        (0..250).collect::<Vec<_>>()
    );
    let bench = bench.restart().await;
    bench.happen(250..260);
    // Where it was: nothing was left out. What it had not heard to be taken comes again.
    let taken = receiver.taken_up_to(259).await;
    assert_eq!(taken.first(), Some(&250), "{taken:?}");
    assert_eq!(taken, (250..260).collect::<Vec<_>>());
}

#[tokio::test]
async fn bad_receivers_lose_nothing_and_hold_up_nobody() {
    let bench = Bench::new("bad").await;
    let (mut failing, mut slow, mut gone, mut good) = (
        Receiver::start(0).await,
        Receiver::start(0).await,
        Receiver::start(0).await,
        Receiver::start(0).await,
    );
    let mut hooks = Vec::new();
    for receiver in [&failing, &slow, &gone, &good] {
        hooks.push(bench.hook(receiver).await);
    }
    let (_, made) = bench.api("webhooks", &[]).await;
    assert!(
        !made.to_string().contains("whsec_"),
        "no secret is shown again"
    );
    failing.behave(&json!({ "status": 503 })).await;
    slow.behave(&json!({ "delay": 20 })).await;
    gone.child.kill().await.unwrap();
    bench.happen(0..10);
    assert_eq!(good.taken_up_to(9).await, (0..10).collect::<Vec<_>>());
    // The same message again, until it is taken.
    let first = failing.next().await;
    let again = failing.next().await;
    assert_eq!(first["status"], 503);
    assert_eq!(
        (&again["id"], &again["body"]),
        (&first["id"], &first["body"])
    );
    assert_eq!(slow.next().await["id"], slow.next().await["id"]);
    bench.happen(10..20);
    assert_eq!(good.taken_up_to(19).await, (10..20).collect::<Vec<_>>());
    let (_, list) = bench.api("webhooks", &[]).await;
    let of = |id: &String| {
        let all = list["webhooks"].as_array().unwrap();
        all.iter().find(|w| w["id"] == **id).unwrap()
    };
    assert!(of(&hooks[0])["error"].as_str().unwrap().contains("503"));
    assert!(of(&hooks[1])["failing"].as_u64().is_some());
    assert_eq!(of(&hooks[3])["failing"], Value::Null);
    assert!(of(&hooks[3])["delivered"].as_u64().is_some());
    // All of them get well.
    failing.behave(&json!({ "status": 200 })).await;
    slow.behave(&json!({ "delay": 0 })).await;
    let secret = bench.store_secret(&hooks[2]).await;
    let mut back = Receiver::start(gone.port).await;
    back.behave(&json!({ "secret": secret })).await;
    bench.happen(20..21);
    for receiver in [&mut failing, &mut slow, &mut back] {
        let mut taken = receiver.taken_up_to(20).await;
        // In order; at least once, and told apart by their ids.
        taken.dedup();
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted, (0..21).collect::<Vec<_>>());
    }
}

impl Bench {
    async fn store_secret(&self, id: &str) -> String {
        use easydarwin_cms::WebhookStore as _;
        let hooks = self.store.webhooks().await.unwrap();
        hooks.into_iter().find(|w| w.id == id).unwrap().secret
    }
}

#[tokio::test]
async fn what_is_refused_for_long_is_put_aside_and_the_next_gets_its_turn() {
    let bench = Bench::new("refused").await;
    let (mut receiver, mut other) = (Receiver::start(0).await, Receiver::start(0).await);
    let id = bench.hook(&receiver).await;
    let to_other = format!("http://127.0.0.1:{}/", other.port);
    // A redirection is not followed: it is a refusal like others.
    receiver
        .behave(&json!({ "status": 302, "location": to_other }))
        .await;
    bench.happen(0..3);
    let refused = receiver.next().await;
    let letters = format!("webhooks/{id}/dead-letters");
    let letter = tokio::time::timeout(PATIENCE, async {
        loop {
            let (_, found) = bench.api(&letters, &[]).await;
            if let Some(letter) = found["deadLetters"].as_array().unwrap().first() {
                return letter.clone();
            }
        }
    });
    let letter = letter.await.expect("a dead letter");
    assert!(letter["reason"].as_str().unwrap().contains("302"));
    let body: Value = serde_json::from_str(letter["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, refused["body"]);
    receiver
        .behave(&json!({ "status": 200, "location": "" }))
        .await;
    bench.happen(3..4);
    assert_eq!(receiver.taken_up_to(3).await.last(), Some(&3));
    let failing = tokio::time::timeout(PATIENCE, async {
        loop {
            let kinds = [EventKind::WEBHOOK_FAILING];
            if let Some(told) = bench.store.last(&kinds).await.unwrap() {
                return told.event;
            }
        }
    });
    let failing = failing.await.expect("webhook.failing");
    assert_eq!(failing.data["webhook"], *id);
    assert!(failing.cause.contains("302"));
    bench.hook(&other).await;
    bench.happen(4..5);
    assert_eq!(numbers(&other.next().await), [4], "nothing came before");
}

#[tokio::test]
async fn who_may_not_and_what_must_not_be() {
    let bench = Bench::new("rights").await;
    let receiver = Receiver::start(0).await;
    for url in ["http://169.254.169.254/", "ftp://a/", "http://u:p@a/", "x"] {
        let (status, error) = bench.post(&json!({ "url": url })).await;
        assert_eq!(status, 400, "{url} {error}");
    }
    for wanted in [
        json!({ "url": "http://a/", "kinds": ["A b"] }),
        json!({ "url": "http://a/", "serial": "../x" }),
        json!({ "url": "http://a/", "after": "x" }),
        json!({ "url": "http://a/", "secret": "mine" }),
    ] {
        assert_eq!(bench.post(&wanted).await.0, 400, "{wanted}");
    }
    let old = json!({ "url": "http://a/", "after": "00000000-1" });
    assert_eq!(bench.post(&old).await.0, 410);
    let foreign = ["-H", "Origin: http://evil.example"];
    assert_eq!(bench.api("webhooks", &foreign).await.0, 401);
    // A form of another page is no JSON.
    assert_eq!(
        bench
            .api("webhooks", &["-d", "{\"url\":\"http://a/\"}"])
            .await
            .0,
        415
    );
    let id = bench.hook(&receiver).await;
    let path = format!("webhooks/{id}");
    assert_eq!(bench.api(&path, &["-X", "DELETE"]).await.0, 200);
    assert_eq!(bench.api(&path, &["-X", "DELETE"]).await.0, 404);
    let (_, none) = bench.api("webhooks", &[]).await;
    assert_eq!(none["webhooks"], json!([]));

    let reader = Cms::builder(CmsConfig::new("127.0.0.1:0".parse().unwrap()))
        .legacy_client("127.0.0.0/8".parse().unwrap(), LegacyLevel::Read)
        .build()
        .await
        .unwrap();
    let reader = TestCms::run(reader);
    let url = format!("http://{}/api/v2/webhooks", reader.addr);
    assert_eq!(curl(&url, &[]).await.0, 403);
}
