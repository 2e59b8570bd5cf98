//! What happens is told: in order, once, also to those who come back, and not to strangers.
//! Listened to with curl, so that somebody else's HTTP is on the other end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::{FakeNode, PATIENCE, TestCms, code};
use easydarwin_cms::{Cms, CmsConfig, LegacyLevel};
use easydarwin_core::protocol::node::StreamChange;
use easydarwin_core::registry::{
    AccountChange, ApiKey, Author, DevicePatch, EventLog, GroupPath, MemoryEventLog, MemoryStore,
    Retention, Rights, UnixMillis,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A `curl -N` that listens.
struct Listener {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

#[derive(Debug)]
struct Told {
    id: String,
    event: String,
    data: Value,
}

impl Told {
    fn kind(&self) -> &str {
        self.data["kind"].as_str().unwrap_or_default()
    }
}

impl Listener {
    fn open(cms: &TestCms, query: &str, headers: &[&str]) -> Self {
        let url = format!("http://{}/api/v2/events{query}", cms.addr);
        let mut curl = Command::new("curl");
        curl.args(["-sN", &url])
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        for header in headers {
            curl.args(["-H", header]);
        }
        let mut child = curl.spawn().expect("curl: apt-get install curl");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            lines,
            _child: child,
        }
    }

    /// The next message; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Told> {
        let read = async {
            let mut told = Told {
                id: String::new(),
                event: String::new(),
                data: Value::Null,
            };
            while let Some(line) = self.lines.next_line().await.unwrap() {
                match line.split_once(": ") {
                    Some(("id", id)) => told.id = id.into(),
                    Some(("event", event)) => told.event = event.into(),
                    Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                    _ if line.is_empty() && !told.event.is_empty() => return Some(told),
                    // Comments; and what is no stream of events at all.
                    _ => {}
                }
            }
            None
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an event in time")
    }

    /// The next event of this kind, past all others.
    async fn until(&mut self, kind: &str) -> Told {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if told.kind() == kind {
                return told;
            }
        }
    }
}

/// One request with curl: status and JSON.
async fn curl(cms: &TestCms, path: &str, arguments: &[&str]) -> (u16, Value) {
    let url = format!("http://{}/api/v2/{path}", cms.addr);
    let output = Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}", &url])
        .args(arguments)
        .output();
    let output = String::from_utf8(output.await.unwrap().stdout).unwrap();
    let (body, status) = output.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    (status.parse().unwrap(), body)
}

async fn cms() -> TestCms {
    let cms = TestCms::start(|c| c.grace = Duration::from_millis(200)).await;
    cms.handle.provision_token("old", "123456").await.unwrap();
    cms
}

#[tokio::test]
async fn a_device_that_comes_and_goes_is_told_and_explained() {
    let cms = cms().await;
    let mut all = Listener::open(&cms, "?after=oldest", &[]);
    let mut online = Listener::open(&cms, "?kind=device.online&serial=old", &[]);
    assert_eq!(online.next().await.unwrap().event, "open");
    let (_, before) = curl(&cms, "devices/old/presence", &[]).await;
    assert_eq!(before["why"], "It has never registered.");
    let mut peer = cms.connect().await;
    assert_eq!(code(&peer.register("old", "123456").await), 200);
    let there = all.until("device.online").await;
    assert_eq!(there.data["serial"], "old");
    assert_eq!(there.data["cause"], "registered");
    drop(peer);
    let gone = all.until("device.offline").await;
    let why = "It left (connection closed) and did not come back in time.";
    assert_eq!(gone.data["cause"], why);
    assert!(gone.data["at"].as_u64() >= there.data["at"].as_u64());
    let (status, presence) = curl(&cms, "devices/old/presence", &[]).await;
    assert_eq!((status, &presence["state"]), (200, &"offline".into()));
    assert_eq!(presence["why"], why);
    assert!(presence["lastSeen"].as_u64().is_some());
    let steps: Vec<&str> = presence["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["to"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["online", "grace", "offline"]);
    // It comes back: news again. The other listener heard only that.
    let mut peer = cms.connect().await;
    assert_eq!(code(&peer.register("old", "123456").await), 200);
    let back = all.until("device.online").await;
    assert_eq!(online.until("device.online").await.id, there.id);
    assert_eq!(online.until("device.online").await.id, back.id);
    assert_eq!(curl(&cms, "devices/nobody/presence", &[]).await.0, 404);
    // The list has it, too.
    let (_, list) = curl(&cms, "devices", &[]).await;
    assert_eq!(list["devices"][0]["why"], "It registered and keeps alive.");
    cms.stop().await;
    assert!(all.next().await.is_none(), "the shutdown ends the stream");
}

#[tokio::test]
async fn a_short_break_is_no_news_and_a_takeover_neither() {
    let cms = TestCms::start(|_| {}).await;
    cms.handle.provision_token("old", "123456").await.unwrap();
    let mut all = Listener::open(&cms, "?after=oldest&kind=device.", &[]);
    let mut first = cms.connect().await;
    first.register("old", "123456").await;
    let mut second = cms.connect().await;
    second.register("old", "123456").await;
    first.closed().await;
    drop(second);
    let mut third = cms.connect().await;
    third.register("old", "123456").await;
    cms.handle.provision_token("end", "1").await.unwrap();
    let mut end = cms.connect().await;
    end.register("end", "1").await;
    assert_eq!(all.until("device.online").await.data["serial"], "old");
    assert_eq!(all.until("device.online").await.data["serial"], "end");
    let (_, presence) = curl(&cms, "devices/old/presence", &[]).await;
    let causes: Vec<&str> = presence["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["cause"].as_str().unwrap())
        .collect();
    assert_eq!(
        causes[..2],
        ["registered", "registered again on another connection"]
    );
    assert_eq!(causes.last(), Some(&"registered"));
}

#[tokio::test]
async fn who_comes_again_goes_on_where_he_was() {
    let cms = cms().await;
    let mut peer = cms.connect().await;
    peer.register("old", "123456").await;
    let mut all = Listener::open(&cms, "?after=oldest", &[]);
    let seen = all.until("device.online").await;
    drop(all);
    drop(peer);
    let header = format!("Last-Event-ID: {}", seen.id);
    // The header counts more than the URL of the first time.
    let mut again = Listener::open(&cms, "?after=oldest", &[&header]);
    let open = again.next().await.unwrap();
    assert_eq!((&*open.event, &open.id), ("open", &seen.id));
    let next = again.next().await.unwrap();
    assert_eq!(next.kind(), "device.offline");
    // And as pages.
    let json = ["-H", "Accept: application/json"];
    let (status, page) = curl(&cms, "events?limit=1", &json).await;
    assert_eq!((status, &page["more"]), (200, &true.into()));
    assert_eq!(page["events"][0]["kind"], "cms.started");
    assert_eq!(page["events"][0]["data"]["unclean"], false);
    let after = format!("events?after={}", next.id);
    let (_, page) = curl(&cms, &after, &json).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 0);
    for bad in ["after=x", "kind=..", "serial=../x", "limit=x&after=oldest"] {
        let (status, error) = curl(&cms, &format!("events?{bad}"), &json).await;
        assert_eq!(status, 400, "{bad} {error}");
    }
}

#[tokio::test]
async fn what_has_left_the_log_is_said_to_be_gone() {
    let retention = Retention {
        rows: 3,
        ..Retention::default()
    };
    let log = Arc::new(MemoryEventLog::new(retention).unwrap());
    let oldest = log.bounds().await.unwrap().oldest;
    let cms = Cms::builder(CmsConfig::new("127.0.0.1:0".parse().unwrap()))
        .legacy_client("127.0.0.0/8".parse().unwrap(), LegacyLevel::Read)
        .event_log(log.clone())
        .build()
        .await
        .unwrap();
    let cms = TestCms::run(cms);
    let mut all = Listener::open(&cms, "?after=oldest", &[]);
    for n in 0..5 {
        let serial = format!("cam{n}");
        cms.handle.provision_token(&serial, "x").await.unwrap();
        cms.connect().await.register(&serial, "x").await;
        while all.until("device.online").await.data["serial"] != *serial {}
    }
    let (status, gone) = curl(&cms, &format!("events?after={oldest}"), &[]).await;
    assert_eq!(status, 410);
    let left = gone["oldest"].as_str().unwrap();
    let (status, page) = curl(
        &cms,
        &format!("events?after={left}"),
        &["-H", "Accept: application/json"],
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(page["events"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_ticket_opens_the_stream_once_and_not_for_foreign_pages() {
    let config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
    let cms = TestCms::run(Cms::builder(config).build().await.unwrap());
    assert_eq!(curl(&cms, "events", &[]).await.0, 401);
    assert_eq!(curl(&cms, "devices/x/presence", &[]).await.0, 401);
    assert_eq!(curl(&cms, "tickets", &["-X", "POST"]).await.0, 401);
    let key = format!("Authorization: Bearer {}", cms.handle.api_key());
    let ticket = async || {
        let (status, answer) = curl(&cms, "tickets", &["-X", "POST", "-H", &key]).await;
        assert_eq!(status, 201);
        answer["ticket"].as_str().unwrap().to_owned()
    };
    let query = format!("?ticket={}", ticket().await);
    let mut listener = Listener::open(&cms, &query, &[]);
    assert_eq!(listener.next().await.unwrap().event, "open");
    assert_eq!(curl(&cms, &format!("events{query}"), &[]).await.0, 401);
    let query = format!("events?ticket={}", ticket().await);
    let foreign = ["-H", "Origin: http://evil.example"];
    assert_eq!(curl(&cms, &query, &foreign).await.0, 403);
    assert_eq!(
        curl(&cms, &query, &["-H", "Sec-Fetch-Site: cross-site"])
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn who_sees_a_group_hears_of_its_devices_only_and_of_nothing_once_the_key_is_gone() {
    let config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
    let cms = TestCms::run(Cms::builder(config).build().await.unwrap());
    let by = Author::new("cli:test", UnixMillis(7));
    let rights = Rights::new(vec!["viewer:north".parse().unwrap()]);
    let key = ApiKey::new("k", Sha256::digest("north-key").into(), rights, by.at);
    let accounts = cms.handle.accounts();
    let put = AccountChange::PutKey(key.clone());
    accounts.change_accounts(vec![put], &by).await.unwrap();
    let devices = cms.handle.devices();
    for (serial, group) in [("n1", "north"), ("s1", "south"), ("n2", "north")] {
        let patch = DevicePatch {
            group: Some(GroupPath::parse(group).unwrap()),
            ..DevicePatch::default()
        };
        devices.patch(serial, patch, &by).await.unwrap();
        cms.handle.provision_token(serial, "x").await.unwrap();
    }
    let admin = format!("X-API-Key: {}", cms.handle.api_key());
    let mut all = Listener::open(&cms, "", &[&admin]);
    assert_eq!(all.next().await.unwrap().event, "open");
    let viewer = "X-API-Key: north-key";
    let known = async || curl(&cms, "devices/n1/presence", &["-H", viewer]).await.0 == 200;
    while !known().await {}
    assert_eq!(
        curl(&cms, "devices/s1/presence", &["-H", viewer]).await.0,
        404
    );
    let mut north = Listener::open(&cms, "", &[viewer]);
    assert_eq!(north.next().await.unwrap().event, "open");
    let mut peers = Vec::new();
    for serial in ["n1", "s1", "n2"] {
        let mut peer = cms.connect().await;
        peer.register(serial, "x").await;
        peers.push(peer);
        assert_eq!(all.until("device.online").await.data["serial"], serial);
    }
    assert_eq!(north.until("device.online").await.data["serial"], "n1");
    assert_eq!(north.until("device.online").await.data["serial"], "n2");
    // What an operator does is told, and the key is worth nothing any more.
    let revoke = AccountChange::RevokeKey {
        id: "k".into(),
        at: by.at,
    };
    accounts.change_accounts(vec![revoke], &by).await.unwrap();
    while known().await {}
    devices.remove("n2", &by).await.unwrap();
    let removed = all.until("device.removed").await.data;
    assert_eq!(
        (&removed["serial"], &removed["data"]["by"]),
        (&"n2".into(), &"cli:test".into())
    );
    let mut last = String::new();
    while let Some(told) = north.next().await {
        assert_ne!(told.event, "event", "{told:?}");
        last = told.event;
    }
    assert_eq!(last, "refused");
}

#[tokio::test]
async fn streams_and_nodes_are_told_once() {
    let cms = cms().await;
    let mut all = Listener::open(&cms, "?after=oldest", &[]);
    let node = FakeNode::join(&cms, "n1").await;
    assert_eq!(all.until("node.joined").await.data["node"], "n1");
    node.tell(StreamChange::Published, "old/2", 7);
    node.tell(StreamChange::Ready, "old/2", 7);
    let started = all.until("stream.started").await.data;
    assert_eq!(
        (&started["serial"], &started["channel"]),
        (&"old".into(), &2.into())
    );
    assert_eq!(started["data"]["generation"], "7");
    node.tell(StreamChange::Ended, "old/2", 7);
    assert_eq!(all.until("stream.ended").await.data["serial"], "old");
    node.tell(StreamChange::Ready, "live/hall", 8);
    let started = all.until("stream.started").await.data;
    assert_eq!(started["data"]["path"], "live/hall");
    assert!(started.get("serial").is_none());
    node.die().await;
    assert_eq!(all.until("node.left").await.data["node"], "n1");
    let ended = all.until("stream.ended").await.data;
    assert_eq!(ended["cause"], "its media node is gone");
    // What does not come is told with its stage.
    assert_ne!(
        cms.api("startdevicestream?device=old&channel=1")
            .await
            .error()
            .unwrap()
            .code(),
        200
    );
    let failed = all.until("stream.failed").await.data;
    assert_eq!(failed["data"]["stage"], "device");
}

#[tokio::test]
async fn after_a_restart_only_those_who_stay_away_are_missed() {
    let log = Arc::new(MemoryEventLog::new(MemoryEventLog::DEFAULT_RETENTION).unwrap());
    let store = Arc::new(MemoryStore::new());
    let start = async || {
        let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
        config.idle = Duration::from_secs(2);
        config.grace = Duration::from_millis(200);
        let cms = Cms::builder(config)
            .legacy_client("127.0.0.0/8".parse().unwrap(), LegacyLevel::Read)
            .store(store.clone())
            .event_log(log.clone())
            .build()
            .await
            .unwrap();
        TestCms::run(cms)
    };
    let cms = start().await;
    for serial in ["stays", "leaves", "was-gone", "never-came"] {
        cms.handle.provision_token(serial, "x").await.unwrap();
    }
    let mut all = Listener::open(&cms, "?after=oldest&kind=device.", &[]);
    let mut peers = Vec::new();
    for serial in ["stays", "leaves", "was-gone"] {
        let mut peer = cms.connect().await;
        peer.register(serial, "x").await;
        peers.push(peer);
        all.until("device.online").await;
    }
    drop(peers.pop());
    let gone = all.until("device.offline").await;
    assert_eq!(gone.data["serial"], "was-gone");
    cms.stop().await;
    drop(peers);

    let cms = start().await;
    let header = format!("Last-Event-ID: {}", gone.id);
    let mut all = Listener::open(&cms, "", &[&header]);
    let mut peer = cms.connect().await;
    peer.register("stays", "x").await;
    let mut told = Vec::new();
    while told.len() < 3 {
        let next = all.next().await.unwrap();
        if next.event == "event" {
            told.push(format!(
                "{} {}",
                next.kind(),
                next.data["serial"].as_str().unwrap_or("")
            ));
        }
    }
    assert_eq!(
        told,
        ["cms.stopped ", "cms.started ", "device.offline leaves"]
    );
    let (_, presence) = curl(&cms, "devices/was-gone/presence", &[]).await;
    assert_eq!(presence["state"], "offline");
    assert_eq!(
        presence["why"],
        "It was gone before the CMS was started: did not come back."
    );
    assert!(presence["lastSeen"].as_u64() <= gone.data["at"].as_u64());
    let (_, presence) = curl(&cms, "devices/never-came/presence", &[]).await;
    assert_eq!(presence["why"], "It has never registered.");
    cms.stop().await;
    // Ended on purpose each time.
    let filter = easydarwin_core::registry::EventFilter::all();
    let oldest = log.bounds().await.unwrap().oldest;
    let events = log.read(oldest, &filter, 100).await.unwrap().events;
    let started = events
        .iter()
        .filter(|e| e.event.kind.as_str() == "cms.started");
    assert!(started.clone().count() == 2);
    assert!(
        started
            .into_iter()
            .all(|e| e.event.data["unclean"] == false)
    );
    assert_eq!(events.last().unwrap().event.kind.as_str(), "cms.stopped");
}
