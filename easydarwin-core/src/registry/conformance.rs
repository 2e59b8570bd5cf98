//! What every implementation of [`DeviceStore`] and [`AccountStore`] has to do. Implementors call
//! these from a test of their own, each with a function that makes an empty store.
//!
//! They panic where the store does something else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "these are tests"
)]

use super::{
    Account, AccountChange, AccountStore, ApiKey, Author, Changed, Credential, DeviceChange,
    DeviceChannel, DevicePatch, DeviceQuery, DeviceSaid, DeviceSort, DeviceStore, GroupPath,
    Rights, Secret, Seen, StoreError, UnixMillis, Used,
};

fn by(at: u64) -> Author {
    Author::new("user:test", UnixMillis(at)).from_address("127.0.0.1")
}

fn group(path: &str) -> GroupPath {
    GroupPath::parse(path).unwrap()
}

fn rights(grants: &[&str]) -> Rights {
    Rights::new(grants.iter().map(|text| text.parse().unwrap()).collect())
}

fn in_group(path: &str) -> DevicePatch {
    DevicePatch {
        group: Some(group(path)),
        ..DevicePatch::default()
    }
}

fn said(name: &str, app_type: &str) -> DeviceSaid {
    DeviceSaid {
        name: name.into(),
        tag: "dev".into(),
        app_type: app_type.into(),
        terminal_type: "ARM_Linux".into(),
        channels: vec![DeviceChannel {
            channel: 1,
            name: "Tür \"1\"".into(),
            online: true,
        }],
    }
}

async fn serials(store: &impl DeviceStore, query: &DeviceQuery) -> Vec<String> {
    let page = store.list(query).await.unwrap();
    page.items.into_iter().map(|d| d.serial).collect()
}

/// Everything about [`DeviceStore`].
pub async fn devices<S: DeviceStore + AccountStore, F: Future<Output = S>>(make: impl Fn() -> F) {
    changes_are_kept(&make().await).await;
    changes_are_all_or_none(&make().await).await;
    pages_cover_everything_once(&make().await).await;
    filters_and_groups_decide(&make().await).await;
    credentials_are_several(&make().await).await;
    changes_by_people_are_in_the_audit(&make().await).await;
    epochs_grow(&make().await).await;
}

/// Everything about [`AccountStore`].
pub async fn accounts<S: DeviceStore + AccountStore, F: Future<Output = S>>(make: impl Fn() -> F) {
    people_and_keys_are_kept(&make().await).await;
    groups_are_a_tree(&make().await).await;
}

async fn changes_are_kept(store: &impl DeviceStore) {
    assert_eq!(store.get("a").await.unwrap(), None);
    let patch = DevicePatch {
        label: Some("Gate ☂".into()),
        tags: Some(vec!["x".into(), "y,z".into()]),
        group: Some(group("north/gate")),
        enabled: Some(false),
    };
    let first = store.patch("a", patch.clone(), &by(5)).await;
    assert_eq!(first, Ok(Changed::Added));
    assert_eq!(store.patch("a", patch, &by(6)).await, Ok(Changed::Same));
    let change = DeviceChange::Said("a".into(), said("own name", "EasyCamera"));
    let done = store.change(vec![change.clone(), change], &by(7)).await;
    assert_eq!(done, Ok(vec![Changed::Changed, Changed::Same]));
    let device = store.get("a").await.unwrap().unwrap();
    assert_eq!(device.said, said("own name", "EasyCamera"));
    assert_eq!((device.name(), device.enabled), ("Gate ☂", false));
    assert_eq!(device.tags, ["x", "y,z"]);
    assert_eq!(
        (device.group, device.created),
        (group("north/gate"), UnixMillis(5))
    );
    assert_eq!((device.last_seen, &*device.last_cause), (None, ""));
    let seen = |serial: &str, at| Seen {
        serial: serial.into(),
        at: UnixMillis(at),
        cause: "silent".into(),
    };
    store
        .seen(vec![seen("a", 9), seen("nobody", 9)])
        .await
        .unwrap();
    let device = store.get("a").await.unwrap().unwrap();
    assert_eq!(device.last_seen, Some(UnixMillis(9)));
    assert_eq!(device.last_cause, "silent");
    assert_eq!(store.count().await.unwrap(), 1);
    store.remove("a", &by(8)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
    let again = store.remove("a", &by(8)).await;
    assert_eq!(again, Err(StoreError::NotFound("a".into())));
}

async fn changes_are_all_or_none(store: &(impl DeviceStore + AccountStore)) {
    let changes = vec![
        DeviceChange::Patch("a".into(), in_group("g")),
        DeviceChange::Remove("nobody".into()),
    ];
    let failed = store.change(changes, &by(1)).await;
    assert_eq!(failed, Err(StoreError::NotFound("nobody".into())));
    assert_eq!(store.count().await.unwrap(), 0);
    assert_eq!(store.audit_end().await.unwrap(), 0);
    assert!(store.groups().await.unwrap().is_empty());
    let changes = (0..1000)
        .map(|i| DeviceChange::Patch(format!("d{i}"), DevicePatch::default()))
        .collect();
    let done = store.change(changes, &by(1)).await.unwrap();
    assert!(done.iter().all(|d| *d == Changed::Added));
    assert_eq!(store.count().await.unwrap(), 1000);
}

async fn pages_cover_everything_once(store: &impl DeviceStore) {
    for i in 0..25_u64 {
        let serial = format!("s{:03}", (i * 7) % 25);
        let name = said(&format!("Ä{}", i % 3), "EasyCamera");
        let change = DeviceChange::Said(serial, name);
        store.change(vec![change], &by(1000 - i)).await.unwrap();
    }
    for sort in [DeviceSort::Serial, DeviceSort::Name, DeviceSort::Created] {
        let mut orders = Vec::new();
        for descending in [false, true] {
            let mut query = DeviceQuery {
                sort,
                descending,
                limit: 4,
                ..DeviceQuery::default()
            };
            let mut seen = Vec::new();
            loop {
                let page = store.list(&query).await.unwrap();
                assert!(page.items.len() <= 4);
                seen.extend(page.items.into_iter().map(|d| d.serial));
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => break,
                }
            }
            let mut unique = seen.clone();
            unique.sort();
            unique.dedup();
            assert_eq!((seen.len(), unique.len()), (25, 25), "{sort:?}");
            orders.push(seen);
        }
        orders[1].reverse();
        assert_eq!(orders[0], orders[1], "{sort:?}");
    }
    let query = DeviceQuery {
        cursor: Some("!".into()),
        ..DeviceQuery::default()
    };
    assert!(matches!(store.list(&query).await, Err(StoreError::Cursor)));
}

async fn filters_and_groups_decide(store: &impl DeviceStore) {
    for (serial, path, name, kind) in [
        ("a", "", "100%", "EasyCamera"),
        ("b", "north", "Ärger", "EasyNVR"),
        ("c", "north/gate", "Tor_1", "EasyCamera"),
        ("d", "northern", "Tor x1", "EasyCamera"),
    ] {
        let changes = vec![
            DeviceChange::Patch(serial.into(), in_group(path)),
            DeviceChange::Said(serial.into(), said(name, kind)),
        ];
        store.change(changes, &by(1)).await.unwrap();
    }
    let patch = DevicePatch {
        tags: Some(vec!["west".into()]),
        ..DevicePatch::default()
    };
    store.patch("d", patch, &by(1)).await.unwrap();
    let all = DeviceQuery::default();
    let text = |text: &str| DeviceQuery {
        text: Some(text.into()),
        ..DeviceQuery::default()
    };
    let within = |groups: &[&str]| DeviceQuery {
        groups: Some(groups.iter().map(|g| group(g)).collect()),
        ..DeviceQuery::default()
    };
    let tagged = |tag: &str| DeviceQuery {
        tag: Some(tag.into()),
        ..DeviceQuery::default()
    };
    let kind = DeviceQuery {
        app_types: vec!["easynvr".into()],
        terminal_types: vec!["arm_linux".into(), "other".into()],
        ..DeviceQuery::default()
    };
    for (query, expected) in [
        (all, &["a", "b", "c", "d"][..]),
        (text("%"), &["a"]),
        (text("tor_"), &["c"]),
        (text("äRG"), &["b"]),
        (text("WEST"), &["d"]),
        (within(&["north"]), &["b", "c"]),
        (within(&["north/gate", "northern"]), &["c", "d"]),
        (within(&[""]), &["a", "b", "c", "d"]),
        (within(&[]), &[]),
        (tagged("west"), &["d"]),
        (tagged("dev"), &["a", "b", "c", "d"]),
        (tagged("de"), &[]),
        (kind, &["b"]),
    ] {
        assert_eq!(serials(store, &query).await, expected, "{query:?}");
    }
}

async fn credentials_are_several(store: &impl DeviceStore) {
    let token = |byte| Secret::Token([byte; 32]);
    let credential = |id: &str, byte| Credential::new(id, token(byte), UnixMillis(1));
    let unknown = store.put_credential("s", credential("a", 1), &by(1)).await;
    assert_eq!(unknown, Err(StoreError::NotFound("s".into())));
    store
        .patch("s", DevicePatch::default(), &by(1))
        .await
        .unwrap();
    for (id, byte, changed) in [
        ("a", 1, Changed::Added),
        ("b", 1, Changed::Added),
        ("a", 1, Changed::Same),
        ("a", 2, Changed::Changed),
    ] {
        let done = store
            .put_credential("s", credential(id, byte), &by(2))
            .await;
        assert_eq!(done, Ok(changed));
    }
    let key = crate::protocol::login::DeviceKey::new("key", "s");
    let by_key = Credential::new("k", Secret::Key(key.verifier().clone()), UnixMillis(3));
    let cert = Credential::new("c", Secret::Cert("urn:x".into()), UnixMillis(3));
    for credential in [by_key.clone(), cert.clone()] {
        store.put_credential("s", credential, &by(3)).await.unwrap();
    }
    store.revoke_credential("s", "a", &by(9)).await.unwrap();
    let used = |serial: &str, id: &str| Used {
        serial: serial.into(),
        id: id.into(),
        at: UnixMillis(12),
    };
    let all = vec![used("s", "b"), used("s", "z"), used("nobody", "b")];
    store.used(all).await.unwrap();
    let mut all = store.credentials("s").await.unwrap();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let mut revoked = credential("a", 2);
    revoked.revoked = Some(UnixMillis(9));
    let mut b = credential("b", 1);
    b.last_used = Some(UnixMillis(12));
    assert_eq!(all, [revoked, b, cert, by_key]);
    let unknown = store.revoke_credential("s", "z", &by(9)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    store.remove("s", &by(10)).await.unwrap();
    assert!(store.credentials("s").await.unwrap().is_empty());
    // Made anew, it has none of its old ones.
    store
        .patch("s", DevicePatch::default(), &by(11))
        .await
        .unwrap();
    assert!(store.credentials("s").await.unwrap().is_empty());
}

async fn changes_by_people_are_in_the_audit(store: &(impl DeviceStore + AccountStore)) {
    assert_eq!(store.audit_end().await.unwrap(), 0);
    let credential = Credential::new("k", Secret::Token([7; 32]), UnixMillis(1));
    let changes = vec![
        DeviceChange::Patch("a".into(), in_group("g")),
        DeviceChange::Patch("a".into(), in_group("g")),
        DeviceChange::Said("a".into(), said("x", "EasyCamera")),
        DeviceChange::PutCredential("a".into(), credential.clone()),
        DeviceChange::PutCredential("a".into(), credential),
        DeviceChange::RevokeCredential("a".into(), "k".into()),
        DeviceChange::Remove("a".into()),
    ];
    store.change(changes, &by(42)).await.unwrap();
    let entries = store.audit(0, 100).await.unwrap();
    let actions: Vec<_> = entries.iter().map(|e| e.action.as_str()).collect();
    let expected = [
        "device.put",
        "credential.put",
        "credential.revoke",
        "device.remove",
    ];
    assert_eq!(actions, expected);
    assert!(entries.iter().all(|e| e.author == by(42)));
    assert!(entries.iter().all(|e| e.subject == "a"));
    assert!(entries.windows(2).all(|e| e[0].id < e[1].id));
    let last = entries[3].id;
    assert_eq!(store.audit_end().await.unwrap(), last);
    assert_eq!(store.audit(entries[0].id, 2).await.unwrap(), entries[1..3]);
    assert!(store.audit(last, 10).await.unwrap().is_empty());
}

async fn epochs_grow(store: &impl DeviceStore) {
    let first = store.begin_epoch().await.unwrap();
    assert!(store.begin_epoch().await.unwrap() > first);
}

async fn people_and_keys_are_kept(store: &impl AccountStore) {
    let mut anna = Account::new("anna", rights(&["viewer", "admin:north"]), UnixMillis(1));
    anna.password = Some("$argon2id$…".into());
    let mut key = ApiKey::new("k1", [1; 32], rights(&["operator"]), UnixMillis(2));
    key.owner = Some("anna".into());
    key.name = "script".into();
    key.expires = Some(UnixMillis(100));
    let other = ApiKey::new("k2", [2; 32], Rights::NONE, UnixMillis(2));
    let changes = vec![
        AccountChange::PutAccount(anna.clone()),
        AccountChange::PutKey(key.clone()),
        AccountChange::PutKey(other.clone()),
        AccountChange::SetPolicy {
            name: "adopt-until".into(),
            value: "7".into(),
        },
    ];
    store.change_accounts(changes, &by(3)).await.unwrap();
    assert_eq!(store.accounts().await.unwrap(), [anna.clone()]);
    assert_eq!(store.keys().await.unwrap(), [key.clone(), other.clone()]);
    let policy = store.policy().await.unwrap();
    assert_eq!(policy, [("adopt-until".to_owned(), "7".to_owned())]);

    anna.enabled = false;
    anna.rights = rights(&["viewer"]);
    key.revoked = Some(UnixMillis(7));
    let changes = vec![
        AccountChange::PutAccount(anna.clone()),
        AccountChange::RevokeKey {
            id: "k1".into(),
            at: UnixMillis(7),
        },
    ];
    store.change_accounts(changes, &by(7)).await.unwrap();
    assert_eq!(store.accounts().await.unwrap(), [anna]);
    assert_eq!(store.keys().await.unwrap(), [key, other.clone()]);

    // All or none.
    let changes = vec![
        AccountChange::RemoveAccount("anna".into()),
        AccountChange::RemoveAccount("nobody".into()),
    ];
    let failed = store.change_accounts(changes, &by(8)).await;
    assert_eq!(failed, Err(StoreError::NotFound("nobody".into())));
    assert_eq!(store.accounts().await.unwrap().len(), 1);
    // The keys of a person go along.
    let remove = vec![AccountChange::RemoveAccount("anna".into())];
    store.change_accounts(remove, &by(9)).await.unwrap();
    assert!(store.accounts().await.unwrap().is_empty());
    assert_eq!(store.keys().await.unwrap(), [other]);
    let entries = store.audit(0, 100).await.unwrap();
    let secret = entries.iter().any(|e| e.detail.contains("argon2"));
    assert!(!secret, "an audit entry holds a password's hash");
    assert_eq!(entries.last().unwrap().action, "account.remove");
}

async fn groups_are_a_tree(store: &(impl DeviceStore + AccountStore)) {
    let change = async |change| store.change_accounts(vec![change], &by(1)).await;
    change(AccountChange::AddGroup(group("a/b/c")))
        .await
        .unwrap();
    store.patch("d", in_group("a/b"), &by(1)).await.unwrap();
    let anna = Account::new("anna", rights(&["viewer:a/b"]), UnixMillis(1));
    change(AccountChange::PutAccount(anna)).await.unwrap();
    let paths = async || -> Vec<String> {
        let groups = store.groups().await.unwrap();
        groups.iter().map(ToString::to_string).collect()
    };
    assert_eq!(paths().await, ["a", "a/b", "a/b/c"]);
    let remove = |path: &str| AccountChange::RemoveGroup(group(path));
    let used = change(remove("a/b")).await;
    assert!(matches!(used, Err(StoreError::InUse(_))), "{used:?}");
    let into_itself = AccountChange::MoveGroup {
        from: group("a"),
        to: group("a/x"),
    };
    assert!(matches!(
        change(into_itself).await,
        Err(StoreError::InUse(_))
    ));
    let moving = AccountChange::MoveGroup {
        from: group("a/b"),
        to: group("z/y"),
    };
    change(moving.clone()).await.unwrap();
    assert_eq!(paths().await, ["a", "z", "z/y", "z/y/c"]);
    assert_eq!(store.get("d").await.unwrap().unwrap().group, group("z/y"));
    let anna = store.accounts().await.unwrap().remove(0);
    assert_eq!(anna.rights, rights(&["viewer:z/y"]));
    assert!(matches!(change(moving).await, Err(StoreError::NotFound(_))));
    for path in ["z/y/c", "a"] {
        change(remove(path)).await.unwrap();
    }
    assert_eq!(paths().await, ["z", "z/y"]);
    let gone = change(remove("a")).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
}
