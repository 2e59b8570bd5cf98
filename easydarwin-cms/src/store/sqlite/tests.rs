use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use easydarwin_core::registry::{
    AccountStore as _, Author, Changed, DeviceChange, DevicePatch, DeviceQuery, DeviceStore as _,
    Event, EventCursor, EventFilter, EventKind, EventLog as _, Retention, StoreError, UnixMillis,
    conformance, event_conformance,
};
use rusqlite::Connection;

use super::{SqliteStore, migrate};

/// A directory of its own for each store, gone with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("easydarwin-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("cms.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn by() -> Author {
    Author::new("cli:test", UnixMillis(5))
}

fn adding(serials: impl IntoIterator<Item = String>) -> Vec<DeviceChange> {
    let patch = |serial| DeviceChange::Patch(serial, DevicePatch::default());
    serials.into_iter().map(patch).collect()
}

#[tokio::test]
async fn does_what_every_store_does() {
    let places = std::cell::RefCell::new(Vec::new());
    let make = || {
        let place = Place::new();
        let store = SqliteStore::open(&place.file()).unwrap();
        places.borrow_mut().push(place);
        async { store }
    };
    conformance::devices(&make).await;
    conformance::accounts(&make).await;
}

#[tokio::test]
async fn its_event_log_does_what_every_log_does() {
    let places = std::cell::RefCell::new(Vec::new());
    event_conformance::event_log(async |retention| {
        let place = Place::new();
        let store = SqliteStore::open(&place.file()).unwrap();
        places.borrow_mut().push(place);
        store.with_retention(retention)
    })
    .await;
}

#[tokio::test]
async fn its_webhooks_are_what_all_are() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file()).unwrap();
    let log = store.bounds().await.unwrap().newest.log();
    crate::webhooks::conformance(&store, log).await;
}

#[test]
fn the_ends_of_the_event_log_are_found_without_looking_at_all_of_it() {
    let place = Place::new();
    let mut store = Connection::open(place.file()).unwrap();
    migrate::migrate(&mut store).unwrap();
    let mut plan = store
        .prepare(&format!("EXPLAIN QUERY PLAN {}", super::events::ENDS))
        .unwrap();
    let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap();
    let steps: Vec<String> = steps.map(|step| step.unwrap()).collect();
    assert!(
        steps.iter().any(|step| step.starts_with("SEARCH events")),
        "{steps:?}"
    );
    assert!(
        !steps.iter().any(|step| step.starts_with("SCAN events")),
        "{steps:?}"
    );
}

#[tokio::test]
async fn a_copy_has_a_log_of_its_own() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file()).unwrap();
    let event = || vec![Event::new(EventKind::NODE_LEFT, UnixMillis(1))];
    store.append(event()).await.unwrap();
    let copy = place.0.join("copy.db");
    store.backup(&copy, |_, _| {}).unwrap();
    // What comes after the copy is none of its business.
    let later = store.append(event()).await.unwrap();
    let copy = SqliteStore::open(&copy).unwrap();
    assert_eq!(copy.bounds().await.unwrap().rows, 1);
    copy.append(event()).await.unwrap();
    assert!(copy.read(later, &EventFilter::all(), 9).await.is_err());
}

#[tokio::test]
async fn cursors_and_bounds_of_the_event_log_survive() {
    let place = Place::new();
    let open = || {
        let store = SqliteStore::open(&place.file()).unwrap();
        store.with_retention(Retention {
            rows: 5,
            ..Retention::default()
        })
    };
    let events = |n: u64| {
        (0..n)
            .map(|i| Event::new(EventKind::NODE_LEFT, UnixMillis(i)))
            .collect()
    };
    let store = open();
    let begin = store.append(events(2)).await.unwrap();
    let before = store.append(events(5)).await.unwrap();
    let bounds = store.bounds().await.unwrap();
    drop(store);
    let store = open();
    assert_eq!(store.bounds().await.unwrap(), bounds);
    let all = EventFilter::all();
    assert_eq!(store.read(begin, &all, 9).await.unwrap().events.len(), 5);
    let after = store.append(events(1)).await.unwrap();
    assert_eq!(after, EventCursor::new(before.log(), 8));
    assert!(store.read(begin, &all, 9).await.is_err());
    // What is counted is what is there.
    let counted = store.bounds().await.unwrap().bytes;
    let there: i64 = Connection::open(place.file())
        .unwrap()
        .query_row(
            "SELECT sum(64 + length(kind) + length(serial) + length(data)) FROM events",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(i64::try_from(counted).unwrap(), there);
}

#[tokio::test]
async fn the_limit_holds() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file()).unwrap().with_limit(2);
    let three = adding(["a", "b", "c"].map(String::from));
    assert_eq!(
        store.change(three, &by()).await,
        Err(StoreError::Full { limit: 2 })
    );
    assert_eq!(store.count().await, Ok(0));
}

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file()).unwrap();
    let first = store.begin_epoch().await.unwrap();
    store.change(adding(["a".into()]), &by()).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&place.file()).unwrap();
    assert!(store.begin_epoch().await.unwrap() > first);
    assert!(store.get("a").await.unwrap().is_some());
    let check = store.check().await.unwrap();
    assert_eq!((check.schema, check.devices), (migrate::newest(), 1));
    assert!(check.faults.is_empty(), "{:?}", check.faults);
}

#[tokio::test]
async fn two_processes_share_a_store_and_notice_each_other() {
    let place = Place::new();
    let running = SqliteStore::open(&place.file()).unwrap();
    let command = SqliteStore::open(&place.file()).unwrap();
    let before = running.audit_end().await.unwrap();
    command.change(adding(["a".into()]), &by()).await.unwrap();
    assert!(running.audit_end().await.unwrap() > before);
    assert_eq!(running.audit(before, 9).await.unwrap()[0].subject, "a");
    // Both at once, and none is lost.
    let (one, two) = (Arc::new(running), Arc::new(command));
    let mut all = tokio::task::JoinSet::new();
    for i in 0..200 {
        let store = if i % 2 == 0 { &one } else { &two }.clone();
        all.spawn(async move { store.change(adding([format!("d{i}")]), &by()).await });
    }
    for done in all.join_all().await {
        assert_eq!(done, Ok(vec![Changed::Added]));
    }
    assert_eq!(one.count().await, Ok(201));
}

#[tokio::test]
async fn a_failed_change_takes_no_other_one_along() {
    let place = Place::new();
    let store = Arc::new(SqliteStore::open(&place.file()).unwrap());
    let mut all = tokio::task::JoinSet::new();
    for i in 0..100 {
        let store = store.clone();
        all.spawn(async move {
            let mut changes = adding([format!("d{i}")]);
            if i % 2 == 0 {
                changes.push(DeviceChange::Remove("nobody".into()));
            }
            store.change(changes, &by()).await.is_ok()
        });
    }
    let kept = all.join_all().await.into_iter().filter(|ok| *ok).count();
    assert_eq!(kept, 50);
    assert_eq!(store.count().await, Ok(50));
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_opened_and_keeps_everything() {
    let place = Place::new();
    {
        let mut old = Connection::open(place.file()).unwrap();
        migrate::migrate_to(&mut old, 1).unwrap();
        old.execute_batch(
            "INSERT INTO groups VALUES ('north');
             INSERT INTO devices (serial, group_path, created, name) VALUES ('a', 'north', 7, 'Tor');
             INSERT INTO credentials (serial, id, kind, secret, created)
                 VALUES ('a', 'k', 'token', zeroblob(32), 7);
             INSERT INTO accounts VALUES ('anna', NULL, 1, 7);
             INSERT INTO grants VALUES ('account', 'anna', 0, 'viewer', 'north');
             INSERT INTO audit VALUES (3, 7, 'system', '', 'device.put', 'a', '');",
        )
        .unwrap();
    }
    let store = SqliteStore::open(&place.file()).unwrap();
    let check = store.check().await.unwrap();
    assert_eq!((check.schema, check.devices, check.accounts), (2, 1, 1));
    assert!(check.faults.is_empty());
    let device = store.get("a").await.unwrap().unwrap();
    assert_eq!((device.name(), device.group.as_str()), ("Tor", "north"));
    assert_eq!(store.credentials("a").await.unwrap().len(), 1);
    assert_eq!(store.accounts().await.unwrap()[0].rights.grants().len(), 1);
    assert_eq!(store.audit_end().await, Ok(3));
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let place = Place::new();
    drop(SqliteStore::open(&place.file()).unwrap());
    let newer = Connection::open(place.file()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let found = SqliteStore::open(&place.file()).unwrap_err();
    assert_eq!(
        found,
        StoreError::Newer {
            found: 99,
            known: 2
        }
    );
    assert!(found.to_string().contains("99"));

    let other = place.0.join("other.db");
    let strange = Connection::open(&other).unwrap();
    strange.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(strange);
    let refused = SqliteStore::open(&other);
    assert!(matches!(refused, Err(StoreError::Backend(_))));
    let text = place.0.join("text.db");
    std::fs::write(
        &text,
        "this is no database, only a text of some length\n".repeat(99),
    )
    .unwrap();
    assert!(matches!(
        SqliteStore::open(&text),
        Err(StoreError::Backend(_))
    ));
}

#[tokio::test]
async fn a_copy_made_in_mid_writing_is_whole() {
    let place = Place::new();
    let store = Arc::new(SqliteStore::open(&place.file()).unwrap());
    let some = (0..2000).map(|i| format!("a{i}"));
    store.change(adding(some), &by()).await.unwrap();
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for i in 0..200 {
                store
                    .change(adding([format!("b{i}")]), &by())
                    .await
                    .unwrap();
            }
        })
    };
    let copy = place.0.join("copy.db");
    let (from, to) = (store.clone(), copy.clone());
    let steps = tokio::task::spawn_blocking(move || {
        let mut steps = 0;
        from.backup(&to, |_, _| steps += 1).map(|()| steps)
    });
    assert!(steps.await.unwrap().unwrap() > 0);
    writing.await.unwrap();
    assert_eq!(SqliteStore::check_copy(&copy), Ok(2));
    let restored = SqliteStore::open(&copy).unwrap();
    let page = restored.list(&DeviceQuery::default()).await.unwrap();
    assert!(page.items.len() >= 2000);
    let again = store.backup(&copy, |_, _| {});
    assert!(matches!(again, Err(StoreError::InUse(_))));
    // A copy that was damaged on its way is found out.
    let mut bytes = std::fs::read(&copy).unwrap();
    let end = bytes.len() - 3000;
    bytes[8192..end].fill(0x5a);
    std::fs::write(&copy, bytes).unwrap();
    assert!(SqliteStore::check_copy(&copy).is_err());
}
