//! What every [`EventLog`] has to pass. It panics with what does not hold.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use serde_json::json;

use super::{
    Event, EventCursor, EventFilter, EventKind, EventLog, EventLogError, EventPage, Retention,
    UnixMillis,
};

/// Runs everything; `make` gives an empty log each time.
pub async fn event_log<L: EventLog>(make: impl AsyncFn(Retention) -> L) {
    events_come_back_as_they_went_in(&make(Retention::default()).await).await;
    readers_go_on_where_they_were(&make(Retention::default()).await).await;
    filters_leave_out_and_move_on(&make(Retention::default()).await).await;
    the_last_of_a_kind(&make(Retention::default()).await).await;
    foreign_cursors_are_gone(
        &make(Retention::default()).await,
        &make(Retention::default()).await,
    )
    .await;
    the_number_is_bounded(&make).await;
    the_bytes_are_bounded(&make).await;
    the_age_is_bounded(&make).await;
    batches_of_many_writers_stay_whole(&make(Retention::default()).await).await;
}

fn event(n: u64) -> Event {
    Event::new(EventKind::DEVICE_ONLINE, UnixMillis(1_000 + n))
        .device(format!("cam-{}", n % 3))
        .with(json!({ "n": n }))
}

fn number(event: &Event) -> u64 {
    event.data["n"].as_u64().unwrap()
}

async fn start(log: &impl EventLog) -> EventCursor {
    log.bounds().await.unwrap().oldest
}

async fn read(log: &impl EventLog, after: EventCursor, limit: usize) -> EventPage {
    log.read(after, &EventFilter::all(), limit).await.unwrap()
}

/// Everything that passes the filter.
async fn read_all(log: &impl EventLog, filter: &EventFilter) -> Vec<Event> {
    let mut after = start(log).await;
    let mut all = Vec::new();
    loop {
        let page = log.read(after, filter, 7).await.unwrap();
        assert!(page.next >= after, "a page never goes back");
        all.extend(page.events.into_iter().map(|e| e.event));
        after = page.next;
        if !page.more {
            return all;
        }
    }
}

async fn events_come_back_as_they_went_in(log: &impl EventLog) {
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.oldest, bounds.rows), (bounds.newest, 0));
    let empty = read(log, bounds.oldest, 10).await;
    assert!(empty.events.is_empty() && !empty.more && empty.next == bounds.oldest);
    let own = EventKind::parse("access.login_failed").unwrap();
    let written = vec![
        Event::new(EventKind::STREAM_ENDED, UnixMillis(u64::from(u32::MAX) + 7))
            .device("cam\u{e9}")
            .channel(u32::MAX)
            .node("n'1\"")
            .because("closed\nby ? %s; drop table events; --")
            .with(json!({ "a": [1, 2.5, null, true], "text": "\u{1f4f7}\r\n" })),
        Event::new(own, UnixMillis(0)),
    ];
    let last = log.append(written.clone()).await.unwrap();
    let page = read(log, bounds.oldest, 10).await;
    let back: Vec<Event> = page.events.iter().map(|e| e.event.clone()).collect();
    assert_eq!(back, written);
    assert_eq!(page.events[1].id, last);
    assert_eq!((page.next, page.more), (last, false));
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.newest, bounds.rows), (last, 2));
    assert!(bounds.bytes > 0);
}

async fn readers_go_on_where_they_were(log: &impl EventLog) {
    let mut after = start(log).await;
    log.append((0..5).map(event).collect()).await.unwrap();
    log.append((5..9).map(event).collect()).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let page = read(log, after, 2).await;
        assert!(page.events.len() <= 2);
        for logged in page.events {
            assert!(logged.id > after, "ids grow");
            after = logged.id;
            seen.push(number(&logged.event));
        }
        assert_eq!(page.next, after);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..9).collect::<Vec<_>>());
    log.append(vec![event(9)]).await.unwrap();
    let page = read(log, after, 10).await;
    assert_eq!(page.events.len(), 1);
    assert_eq!(number(&page.events[0].event), 9);
    // A cursor as text is the same cursor.
    let again: EventCursor = after.to_string().parse().unwrap();
    assert_eq!(read(log, again, 10).await.events, page.events);
}

async fn filters_leave_out_and_move_on(log: &impl EventLog) {
    let mut events: Vec<Event> = (0..30).map(event).collect();
    events.push(Event::new(EventKind::NODE_LEFT, UnixMillis(5)).node("n1"));
    events.push(Event::new(EventKind::DEVICE_OFFLINE, UnixMillis(5)).device("cam-1"));
    let last = log.append(events).await.unwrap();
    let filter = |kinds: &[&str], serial: Option<&str>| EventFilter {
        kinds: kinds.iter().map(|k| (*k).to_owned()).collect(),
        serial: serial.map(str::to_owned),
    };
    for (filter, expected) in [
        (filter(&["node."], None), 1),
        (filter(&["device."], None), 31),
        (filter(&["device.offline", "node.left"], None), 2),
        (filter(&["device"], None), 0),
        (filter(&[], Some("cam-1")), 11),
        (filter(&["device.online"], Some("cam-1")), 10),
        (filter(&[], Some("cam-%")), 0),
    ] {
        assert_eq!(read_all(log, &filter).await.len(), expected, "{filter:?}");
    }
    // What does not pass is not looked at again.
    let none = filter(&["cms."], None);
    let page = log.read(start(log).await, &none, 5).await.unwrap();
    assert_eq!((page.events.len(), page.next), (0, last));
}

async fn the_last_of_a_kind(log: &impl EventLog) {
    let kinds = [EventKind::CMS_STARTED, EventKind::CMS_STOPPED];
    assert_eq!(log.last(&kinds).await.unwrap(), None);
    let cms = |kind| Event::new(kind, UnixMillis(3));
    log.append(vec![
        cms(EventKind::CMS_STARTED),
        event(0),
        cms(EventKind::CMS_STOPPED),
        event(1),
    ])
    .await
    .unwrap();
    let last = log.last(&kinds).await.unwrap().unwrap();
    assert_eq!(last.event.kind, EventKind::CMS_STOPPED);
    assert_eq!(read(log, last.id, 5).await.events.len(), 1);
    let started = log.last(&kinds[..1]).await.unwrap().unwrap();
    assert!(started.id < last.id);
}

async fn foreign_cursors_are_gone(log: &impl EventLog, other: &impl EventLog) {
    log.append((0..3).map(event).collect()).await.unwrap();
    other.append((0..3).map(event).collect()).await.unwrap();
    let bounds = log.bounds().await.unwrap();
    let ahead = EventCursor::new(bounds.newest.log(), bounds.newest.sequence() + 1);
    for cursor in [other.bounds().await.unwrap().newest, ahead] {
        let gone = log.read(cursor, &EventFilter::all(), 5).await;
        let oldest = bounds.oldest;
        assert_eq!(gone.unwrap_err(), EventLogError::Gone { oldest });
    }
}

async fn the_number_is_bounded<L: EventLog>(make: &impl AsyncFn(Retention) -> L) {
    let log = make(Retention {
        rows: 100,
        ..Retention::default()
    })
    .await;
    let begin = start(&log).await;
    for n in 0..50 {
        log.append((n * 5..n * 5 + 5).map(event).collect())
            .await
            .unwrap();
        let rows = log.bounds().await.unwrap().rows;
        assert!((1..=100).contains(&rows), "{rows} rows");
    }
    let bounds = log.bounds().await.unwrap();
    let gone = log.read(begin, &EventFilter::all(), 5).await.unwrap_err();
    let EventLogError::Gone { oldest } = gone else {
        panic!("{gone}");
    };
    assert_eq!(oldest, bounds.oldest);
    // What is left is the newest, without a gap.
    let left: Vec<u64> = read_all(&log, &EventFilter::all())
        .await
        .iter()
        .map(number)
        .collect();
    assert_eq!(left, (250 - bounds.rows..250).collect::<Vec<_>>());
    // One batch that is larger than all bounds is taken, its end is kept.
    log.append((0..1000).map(event).collect()).await.unwrap();
    let left = read_all(&log, &EventFilter::all()).await;
    assert!((1..=100).contains(&left.len()));
    assert_eq!(left.last().map(number), Some(999));
}

async fn the_bytes_are_bounded<L: EventLog>(make: &impl AsyncFn(Retention) -> L) {
    let most = 20_000;
    let log = make(Retention {
        bytes: most,
        ..Retention::default()
    })
    .await;
    let large = |n: u64| event(n).because("x".repeat(1000));
    for n in 0..100 {
        log.append(vec![large(n)]).await.unwrap();
        assert!(log.bounds().await.unwrap().bytes <= most);
    }
    let rows = log.bounds().await.unwrap().rows;
    assert!((5..=20).contains(&rows), "{rows} rows of 1000 bytes");
    // The newest stays, whatever its size.
    log.append(vec![event(0).because("x".repeat(30_000))])
        .await
        .unwrap();
    assert_eq!(log.bounds().await.unwrap().rows, 1);
}

async fn the_age_is_bounded<L: EventLog>(make: &impl AsyncFn(Retention) -> L) {
    let log = make(Retention {
        age: Duration::from_secs(10),
        ..Retention::default()
    })
    .await;
    let begin = start(&log).await;
    let at = |seconds: u64| {
        Event::new(EventKind::NODE_JOINED, UnixMillis(seconds * 1000)).with(json!({ "n": seconds }))
    };
    log.append((1..=20).map(at).collect()).await.unwrap();
    assert_eq!(log.trim(UnixMillis(5_000)).await.unwrap(), 0);
    assert_eq!(log.trim(UnixMillis(20_000)).await.unwrap(), 9);
    let left = read_all(&log, &EventFilter::all()).await;
    assert_eq!(left.first().map(number), Some(10));
    assert!(log.read(begin, &EventFilter::all(), 5).await.is_err());
    assert_eq!(log.trim(UnixMillis(1_000_000)).await.unwrap(), 10);
    // Without the newest, the next one could not be known to be behind it.
    let bounds = log.bounds().await.unwrap();
    assert_eq!(bounds.rows, 1);
    let next = log.append(vec![at(30)]).await.unwrap();
    assert!(next > bounds.newest);
}

async fn batches_of_many_writers_stay_whole(log: &impl EventLog) {
    let batch = |writer: u64| (0..20).map(|n| event(writer * 100 + n)).collect();
    let writes = (0..8).map(|writer| log.append(batch(writer)));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    let all: Vec<u64> = read_all(log, &EventFilter::all())
        .await
        .iter()
        .map(number)
        .collect();
    assert_eq!(all.len(), 160);
    for batch in all.chunks(20) {
        let first = batch[0];
        assert_eq!(batch, (first..first + 20).collect::<Vec<_>>());
    }
}
