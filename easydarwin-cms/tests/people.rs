//! People and keys: what each may see and do, and that a change takes effect at once, also one
//! that another process made in the same store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::{FakeNode, PATIENCE, Reply, TestCms, code};
use easydarwin_cms::{Cms, CmsConfig, FirstRun, SqliteStore, hash_password};
use easydarwin_core::protocol::MessageType;
use easydarwin_core::protocol::login::DeviceKey;
use easydarwin_core::protocol::node::{Revoke, Revoked};
use easydarwin_core::registry::{
    Account, AccountChange, AccountStore as _, ApiKey, Author, Credential, DeviceChange,
    DevicePatch, DeviceStore as _, Rights, Secret, UnixMillis,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const PASSWORD: &str = "correct horse";

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store in a file, as another process than the CMS has it open.
struct Desk {
    store: Arc<SqliteStore>,
    place: Place,
}

/// The same and a CMS that runs on it.
struct Bench {
    cms: TestCms,
    desk: Desk,
}

impl std::ops::Deref for Bench {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

fn desk(name: &str) -> Desk {
    let place =
        std::env::temp_dir().join(format!("easydarwin-people-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    Desk {
        store: Arc::new(SqliteStore::open(&place.join("cms.db")).unwrap()),
        place: Place(place),
    }
}

fn by() -> Author {
    Author::new("cli:test", UnixMillis::system())
}

fn rights(grants: &[&str]) -> Rights {
    Rights::new(grants.iter().map(|text| text.parse().unwrap()).collect())
}

impl Desk {
    async fn open(self) -> Bench {
        let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
        config.refusal_delay = std::time::Duration::from_millis(20);
        let store = SqliteStore::open(self.store.path()).unwrap();
        let cms = Cms::builder(config)
            .store(Arc::new(store))
            .first_run(FirstRun::of(&self.place.0))
            .build()
            .await
            .unwrap();
        Bench {
            cms: TestCms::run(cms),
            desk: self,
        }
    }

    async fn device(&self, serial: &str, group: &str) {
        let patch = DevicePatch {
            group: Some(group.parse().unwrap()),
            ..DevicePatch::default()
        };
        let key = DeviceKey::new(serial, serial).verifier().clone();
        let credential = Credential::new("k", Secret::Key(key), by().at);
        let changes = vec![
            DeviceChange::Patch(serial.into(), patch),
            DeviceChange::PutCredential(serial.into(), credential),
        ];
        self.store.change(changes, &by()).await.unwrap();
    }

    async fn change(&self, change: AccountChange) {
        self.store
            .change_accounts(vec![change], &by())
            .await
            .unwrap();
    }

    async fn person(&self, name: &str, grants: &[&str]) {
        let mut account = Account::new(name, rights(grants), by().at);
        account.password = Some(hash_password(PASSWORD).unwrap());
        self.change(AccountChange::PutAccount(account)).await;
    }

    async fn key(&self, id: &str, grants: &[&str], owner: Option<&str>) {
        let mut key = ApiKey::new(id, Sha256::digest(id).into(), rights(grants), by().at);
        key.owner = owner.map(str::to_owned);
        self.change(AccountChange::PutKey(key)).await;
    }
}

impl Bench {
    async fn http(&self, method: &str, path: &str, head: &str, body: Option<Value>) -> Reply {
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{head}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.cms.addr,
            body.len()
        );
        let mut peer = self.cms.connect().await;
        peer.send(text.as_bytes()).await;
        peer.expect().await
    }

    async fn as_key(&self, key: &str, path: &str) -> Reply {
        let head = format!("Authorization: Bearer {key}\r\n");
        self.http("GET", path, &head, None).await
    }

    async fn login(&self, name: &str, password: &str) -> Reply {
        let body = json!({ "name": name, "password": password });
        self.http("POST", "/api/v2/login", "", Some(body)).await
    }

    /// Asks until the answer is as wanted: what another process changes is seen within a second.
    async fn until(&self, key: &str, path: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
        let asking = async {
            loop {
                let reply = self.as_key(key, path).await;
                if wanted(&reply) {
                    return reply;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .expect("the change takes effect")
    }
}

fn value(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

fn serials(reply: &Reply) -> Vec<String> {
    let devices = value(reply)["devices"].as_array().unwrap().clone();
    let serial = |d: &Value| d["serial"].as_str().unwrap().to_owned();
    devices.iter().map(serial).collect()
}

#[tokio::test]
async fn each_sees_and_does_what_his_groups_and_role_allow() {
    let desk = desk("rights");
    desk.device("n1", "north/gate").await;
    desk.device("s1", "south").await;
    desk.key("all", &["viewer"], None).await;
    desk.key("north", &["operator:north"], None).await;
    desk.key("none", &["admin:nowhere"], None).await;
    let b = desk.open().await;
    for serial in ["n1", "s1"] {
        let mut peer = b.cms.connect().await;
        assert_eq!(code(&peer.login(serial, serial).await), 200);
        // It stays: what ends its connection is not part of this test.
        tokio::spawn(async move {
            peer.closed().await;
        });
    }
    for (key, seen) in [
        ("all", &["n1", "s1"][..]),
        ("north", &["n1"]),
        ("none", &[]),
    ] {
        assert_eq!(
            serials(&b.as_key(key, "/api/v2/devices").await),
            seen,
            "{key}"
        );
        let list = b.as_key(key, "/api/v1/getdevicelist").await.envelope();
        let count = list.body.text("DeviceCount").unwrap();
        assert_eq!(count, seen.len().to_string(), "{key}");
    }
    // Who is not there stays listed, for those who ask.
    b.device("n2", "north").await;
    for (status, count) in [("online", "2"), ("offline", "1"), ("all", "3")] {
        let path = format!("/api/v1/getdevicelist?status={status}");
        let list = b.as_key("all", &path).await.envelope();
        assert_eq!(list.body.text("DeviceCount").unwrap(), count, "{status}");
    }
    let page = value(&b.as_key("all", "/api/v2/devices?limit=2").await);
    assert_eq!(page["devices"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let path = format!("/api/v2/devices?limit=2&cursor={next}");
    let page = b.as_key("all", &path).await;
    assert_eq!(serials(&page), ["s1"]);
    assert!(value(&page)["next"].is_null());
    let within = b.as_key("north", "/api/v2/devices?group=south").await;
    assert!(serials(&within).is_empty());
    let within = b.as_key("all", "/api/v2/devices?group=north&text=N1").await;
    assert_eq!(serials(&within), ["n1"]);
    assert_eq!(
        b.as_key("all", "/api/v2/devices?group=a//b").await.status,
        400
    );

    let ptz = |device: &str| {
        format!("/api/v1/ptzcontrol?device={device}&protocol=onvif&actiontype=single&command=up")
    };
    for (key, device, error) in [
        ("north", "n1", 200),
        // What one does not see does not exist.
        ("north", "s1", 603),
        ("none", "n1", 603),
        ("all", "n1", 403),
    ] {
        let reply = b.as_key(key, &ptz(device)).await;
        assert_eq!(reply.error(), error, "{key} {device}");
    }
    for (key, error) in [("north", 603), ("all", 200)] {
        let reply = b.as_key(key, "/api/v1/getdeviceinfo?device=s1").await;
        assert_eq!(reply.error(), error, "{key}");
    }
    // There is no node; a viewer gets as far as that, a stranger to the device does not.
    let start = "/api/v1/startdevicestream?device=s1&protocol=RTSP";
    assert_eq!(b.as_key("all", start).await.error(), 503);
    assert_eq!(b.as_key("north", start).await.error(), 603);
    // A device that moves to another group is seen by others.
    let patch = DevicePatch {
        group: Some("north".parse().unwrap()),
        ..DevicePatch::default()
    };
    b.store.patch("s1", patch, &by()).await.unwrap();
    let moved = |r: &Reply| r.envelope().body.text("DeviceCount").unwrap() == "2";
    b.until("north", "/api/v1/getdevicelist", moved).await;
    b.cms.stop().await;
}

#[tokio::test]
async fn who_logs_out_or_loses_a_key_hears_nothing_more_though_nothing_happens() {
    let desk = desk("listening");
    desk.person("anna", &["viewer"]).await;
    desk.key("script", &["viewer"], None).await;
    let b = desk.open().await;
    let token = value(&b.login("anna", PASSWORD).await)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut listeners = Vec::new();
    for key in [token.as_str(), "script"] {
        let mut peer = b.cms.connect().await;
        // Of this kind there is never an event.
        let request = format!(
            "GET /api/v2/events?kind=snapshot.none HTTP/1.1\r\nHost: {}\r\n\
             Authorization: Bearer {key}\r\n\r\n",
            b.cms.addr
        );
        peer.send(request.as_bytes()).await;
        peer.until("event: open").await;
        listeners.push(peer);
    }
    let head = format!("Authorization: Bearer {token}\r\n");
    let out = b.http("POST", "/api/v2/logout", &head, None).await;
    assert!((200..300).contains(&out.status), "{}", out.status);
    listeners[0].until("event: refused").await;
    b.change(AccountChange::RevokeKey {
        id: "script".into(),
        at: by().at,
    })
    .await;
    listeners[1].until("event: refused").await;
}

#[tokio::test]
async fn people_log_in_and_their_rights_end_with_the_account() {
    let desk = desk("login");
    desk.person("anna", &["viewer"]).await;
    desk.key("script", &["admin"], Some("anna")).await;
    let b = desk.open().await;
    let me = value(&b.as_key("script", "/api/v2/me").await);
    assert_eq!(me, json!({ "who": "key:script", "rights": ["viewer"] }));
    assert_eq!(b.login("anna", "wrong password").await.status, 401);
    assert_eq!(b.login("otto", PASSWORD).await.status, 401);
    let reply = b.login("anna", PASSWORD).await;
    assert_eq!(reply.status, 200);
    let token = value(&reply)["token"].as_str().unwrap().to_owned();
    let me = value(&b.as_key(&token, "/api/v2/me").await);
    assert_eq!(me, json!({ "who": "user:anna", "rights": ["viewer"] }));

    // The cookie counts for version 2 and for nothing whose GETs have effects.
    let cookie = reply.header("Set-Cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let head = format!("Cookie: a=b; {}\r\n", cookie.split(';').next().unwrap());
    let list = b.http("GET", "/api/v2/devices", &head, None).await;
    assert_eq!(list.status, 200);
    let old = b.http("GET", "/api/v1/getdevicelist", &head, None).await;
    assert_eq!(old.status, 401);
    let foreign = format!("{head}Origin: http://evil.example\r\n");
    let list = b.http("GET", "/api/v2/devices", &foreign, None).await;
    assert_eq!(list.status, 401);

    // A new password ends the other logins, not the own one.
    let other = value(&b.login("anna", PASSWORD).await)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let head = format!("Authorization: Bearer {token}\r\n");
    for (old, new, status) in [
        ("wrong password", "another horse", 403),
        (PASSWORD, "short", 400),
        (PASSWORD, "another horse", 200),
    ] {
        let body = json!({ "old": old, "new": new });
        let reply = b.http("POST", "/api/v2/password", &head, Some(body)).await;
        assert_eq!(reply.status, status, "{old} {new}");
    }
    assert_eq!(
        value(&b.as_key(&token, "/api/v2/me").await)["who"],
        "user:anna"
    );
    assert_eq!(b.as_key(&other, "/api/v2/me").await.status, 401);
    assert_eq!(b.login("anna", "another horse").await.status, 200);

    let mut off = b.store.accounts().await.unwrap().remove(0);
    off.enabled = false;
    b.change(AccountChange::PutAccount(off)).await;
    for key in [token.as_str(), "script"] {
        b.until(key, "/api/v2/me", |r| r.status == 401).await;
    }
    assert_eq!(b.login("anna", "another horse").await.status, 401);
    // Whatever was done is in the audit, and no secret.
    let audit = b.store.audit(0, 100).await.unwrap();
    let text = format!("{audit:?}");
    assert!(text.contains("user:anna") && text.contains("127.0.0.1"));
    for secret in ["argon2", "horse", &token] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn the_first_administrator_needs_the_secret_of_the_machine() {
    let b = desk("first").open().await;
    let first = FirstRun::of(&b.place.0);
    let secret = first.make().unwrap();
    let ask = async |secret: &str, password: &str| {
        let body = json!({ "secret": secret, "name": "root", "password": password });
        b.http("POST", "/api/v2/first-run", "", Some(body)).await
    };
    assert_eq!(ask("guess", PASSWORD).await.status, 403);
    assert_eq!(ask("", PASSWORD).await.status, 403);
    assert_eq!(ask(&secret, "short").await.status, 400);
    // A form of another page cannot send JSON.
    let head = "Content-Type: text/plain\r\n";
    let form = b.http("POST", "/api/v2/first-run", head, None).await;
    assert_eq!(form.status, 415);
    let reply = ask(&secret, PASSWORD).await;
    assert_eq!(reply.status, 200);
    let token = value(&reply)["token"].as_str().unwrap().to_owned();
    let me = value(&b.as_key(&token, "/api/v2/me").await);
    assert_eq!(me, json!({ "who": "user:root", "rights": ["admin"] }));
    assert_eq!(ask(&secret, PASSWORD).await.status, 403, "it counts once");
    assert!(!first.is_waiting());

    // After a day it opens nothing.
    let secret = first.make().unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(24 * 3600 + 1);
    let file = std::fs::File::options()
        .write(true)
        .open(first.path())
        .unwrap();
    file.set_modified(old).unwrap();
    assert_eq!(ask(&secret, PASSWORD).await.status, 403);
}

#[tokio::test]
async fn a_device_that_loses_its_right_loses_its_connection() {
    let b = desk("devices").open().await;
    for serial in ["off", "gone", "rotated", "replaced", "stays"] {
        b.device(serial, "").await;
    }
    let mut peers = Vec::new();
    for serial in ["off", "gone", "rotated", "replaced", "stays"] {
        let mut peer = b.cms.connect().await;
        assert_eq!(code(&peer.login(serial, serial).await), 200);
        peers.push(peer);
    }
    let off = DevicePatch {
        enabled: Some(false),
        ..DevicePatch::default()
    };
    b.store.patch("off", off, &by()).await.unwrap();
    b.store.remove("gone", &by()).await.unwrap();
    b.store
        .revoke_credential("rotated", "k", &by())
        .await
        .unwrap();
    let other = DeviceKey::new("another", "replaced").verifier().clone();
    let credential = Credential::new("k", Secret::Key(other), by().at);
    b.store
        .put_credential("replaced", credential, &by())
        .await
        .unwrap();
    let mut stays = peers.pop().unwrap();
    for mut peer in peers {
        tokio::time::timeout(PATIENCE, peer.closed())
            .await
            .expect("it is closed");
    }
    assert_eq!(code(&stays.register("stays", "").await), 200);
    let before = b.store.credentials("stays").await.unwrap();
    assert_eq!(before[0].last_used, None, "written down later");
    for (serial, key, error) in [
        ("off", "off", 403),
        ("gone", "gone", 401),
        ("rotated", "rotated", 401),
        ("replaced", "replaced", 401),
        ("replaced", "another", 200),
    ] {
        let ack = b.cms.connect().await.login(serial, key).await;
        assert_eq!(code(&ack), error, "{serial} {key}");
    }
    let Bench { cms, desk } = b;
    cms.stop().await;
    let after = desk.store.credentials("stays").await.unwrap();
    assert!(after[0].last_used.is_some(), "written down at the end");
}

#[tokio::test]
async fn a_node_learns_after_a_restart_what_was_taken_back_before_it() {
    let desk = desk("restart");
    for serial in ["off", "stays"] {
        desk.device(serial, "").await;
    }
    desk.key("lost", &["viewer"], None).await;
    desk.key("good", &["viewer"], None).await;
    // While no CMS runs.
    let off = DevicePatch {
        enabled: Some(false),
        ..DevicePatch::default()
    };
    desk.store.patch("off", off, &by()).await.unwrap();
    desk.change(AccountChange::RevokeKey {
        id: "lost".into(),
        at: by().at,
    })
    .await;
    let b = desk.open().await;
    let mut node = b.cms.connect().await;
    FakeNode::join_with(&mut node, "n1", b.cms.handle.join_key()).await;
    let message = node.expect().await.envelope();
    assert_eq!(message.kind(), Some(MessageType::NodeRevokeReq));
    let told = Revoke::from_envelope(&message).unwrap();
    let mut what: Vec<_> = told.revocations.into_iter().map(|r| r.what).collect();
    what.sort_by_key(|what| format!("{what:?}"));
    let expected = [
        Revoked::Device("off".into()),
        Revoked::Subject("key:lost".into()),
    ];
    assert_eq!(what, expected, "and nothing of the others");
}
