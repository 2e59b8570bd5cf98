use std::time::Duration;

use async_trait::async_trait;
use easydarwin_core::registry::{
    EventBounds, LoggedEvent, MemoryEventLog, StreamLocation, StreamPath,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);

fn memory() -> Arc<MemoryEventLog> {
    Arc::new(MemoryEventLog::new(MemoryEventLog::DEFAULT_RETENTION).unwrap())
}

fn event(serial: &str) -> Event {
    Event::new(EventKind::DEVICE_ONLINE, NOW).device(serial)
}

async fn all(log: &dyn EventLog) -> Vec<Event> {
    let oldest = log.bounds().await.unwrap().oldest;
    let page = log.read(oldest, &EventFilter::all(), 10_000).await.unwrap();
    page.events.into_iter().map(|logged| logged.event).collect()
}

/// A log on a disk that is full for a while, and that counts its commits.
#[derive(Debug)]
struct Slow {
    log: MemoryEventLog,
    failing: std::sync::atomic::AtomicBool,
    commits: Mutex<Vec<usize>>,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            log: MemoryEventLog::new(MemoryEventLog::DEFAULT_RETENTION).unwrap(),
            failing: false.into(),
            commits: Mutex::default(),
        })
    }
}

#[async_trait]
impl EventLog for Slow {
    async fn append(&self, events: Vec<Event>) -> Result<EventCursor, EventLogError> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(EventLogError::Backend("the disk is full".into()));
        }
        self.commits.lock().push(events.len());
        self.log.append(events).await
    }

    async fn read(
        &self,
        after: EventCursor,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventPage, EventLogError> {
        self.log.read(after, filter, limit).await
    }

    async fn last(&self, kinds: &[EventKind]) -> Result<Option<LoggedEvent>, EventLogError> {
        self.log.last(kinds).await
    }

    async fn bounds(&self) -> Result<EventBounds, EventLogError> {
        self.log.bounds().await
    }

    async fn trim(&self, now: UnixMillis) -> Result<u64, EventLogError> {
        self.log.trim(now).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_written_in_few_commits_and_soon() {
    let log = Slow::new();
    let (events, writer) = Events::new(log.clone());
    let closing = CancellationToken::new();
    let task = tokio::spawn(writer.run(closing.clone()));
    let began = tokio::time::Instant::now();
    for n in 0..20_000 {
        events.emit(event(&format!("cam{n}")));
    }
    let mut reader = events.reader(log.bounds().await.unwrap().oldest, EventFilter::all());
    let first = reader.next(1).await.unwrap();
    assert_eq!(first.events[0].event.serial.as_deref(), Some("cam0"));
    assert!(began.elapsed() < Duration::from_millis(50));
    closing.cancel();
    task.await.unwrap();
    assert_eq!(log.bounds().await.unwrap().rows, 20_000);
    assert!(log.commits.lock().len() <= 2, "{:?}", log.commits);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_loses_events_and_says_how_many_once() {
    let log = Slow::new();
    let (events, writer) = Events::with_queue(log.clone(), 100);
    // Nobody writes yet: 100 fit.
    for n in 0..250 {
        events.emit(event(&format!("cam{n}")));
    }
    let closing = CancellationToken::new();
    let task = tokio::spawn(writer.run(closing.clone()));
    let mut reader = events.reader(log.bounds().await.unwrap().oldest, EventFilter::all());
    let page = reader.next(1000).await.unwrap();
    assert_eq!(page.events.len(), 101);
    let last = &page.events[100].event;
    assert_eq!(last.kind, EventKind::EVENT_DROPPED);
    assert_eq!(last.data["n"], 150);
    // It goes on afterwards, and says nothing more of it.
    events.emit(event("later"));
    let page = reader.next(1000).await.unwrap();
    assert_eq!(page.events.len(), 1);
    closing.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_written_when_it_can_be() {
    let log = Slow::new();
    log.failing.store(true, Ordering::Relaxed);
    let (events, writer) = Events::new(log.clone());
    let closing = CancellationToken::new();
    let task = tokio::spawn(writer.run(closing.clone()));
    events.emit(event("a"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    events.emit(event("b"));
    log.failing.store(false, Ordering::Relaxed);
    let mut reader = events.reader(log.bounds().await.unwrap().oldest, EventFilter::all());
    let mut serials = Vec::new();
    while serials.len() < 2 {
        let page = reader.next(10).await.unwrap();
        serials.extend(page.events.into_iter().filter_map(|e| e.event.serial));
    }
    assert_eq!((&*serials[0], &*serials[1]), ("a", "b"));
    closing.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn an_unclean_end_is_told_at_the_next_start() {
    let log = memory();
    // First start, clean end; start, killed; start.
    for (unclean, ends_well) in [(false, true), (false, false), (true, true), (false, true)] {
        let (events, writer) = Events::new(log.clone());
        events.started(NOW).await.unwrap();
        events.emit(event("cam"));
        if ends_well {
            events.stopped(NOW);
        }
        write_all(writer).await;
        let started = log.last(&[EventKind::CMS_STARTED]).await.unwrap().unwrap();
        assert_eq!(started.event.data["unclean"], unclean);
    }
    // A run so long that its start has left the log.
    let log = memory();
    log.append(vec![event("cam")]).await.unwrap();
    let (events, writer) = Events::new(log.clone());
    events.started(NOW).await.unwrap();
    write_all(writer).await;
    let started = log.last(&[EventKind::CMS_STARTED]).await.unwrap().unwrap();
    assert_eq!(started.event.data["unclean"], true);
}

/// Writes what waits, and ends.
async fn write_all(writer: Writer) {
    let closing = CancellationToken::new();
    closing.cancel();
    writer.run(closing).await;
}

fn stream(path: &str, generation: u64) -> StreamLocation {
    StreamLocation {
        path: StreamPath::parse(path).unwrap(),
        node: "n1".into(),
        generation,
        viewers: 0,
        ready: true,
    }
}

#[tokio::test]
async fn streams_start_once_and_end_once_over_restarts() {
    let log = memory();
    let run = async |what: &dyn Fn(&Events, &ToldStreams)| {
        let (events, writer) = Events::new(log.clone());
        let told = ToldStreams::default();
        told.recall(&*log).await.unwrap();
        what(&events, &told);
        write_all(writer).await;
    };
    run(&|events, told| {
        told.is_there(events, &stream("cam/1", 5), NOW);
        told.is_there(events, &stream("cam/1", 5), NOW);
        told.is_there(events, &stream("cam/2", 6), NOW);
        told.is_there(events, &stream("live/hall", 7), NOW);
        told.is_gone(events, &stream("cam/2", 6), "teardown", NOW);
        told.is_gone(events, &stream("cam/2", 6), "teardown", NOW);
        // The end of an old publisher is not that of a newer one.
        told.is_gone(events, &stream("cam/1", 4), "old", NOW);
    })
    .await;
    // After a restart the inventory brings back one, the other never comes.
    run(&|events, told| {
        told.is_there(events, &stream("cam/1", 5), NOW);
        told.settle(events, NOW);
        told.settle(events, NOW);
        told.is_there(events, &stream("cam/1", 9), NOW);
    })
    .await;
    let told: Vec<String> = all(&*log)
        .await
        .iter()
        .map(|e| {
            let path = e.data["path"].as_str().unwrap();
            let generation = e.data["generation"].as_str().unwrap();
            format!("{} {path} {generation} {}", e.kind, e.cause)
        })
        .collect();
    assert_eq!(
        told,
        [
            "stream.started cam/1 5 ",
            "stream.started cam/2 6 ",
            "stream.started live/hall 7 ",
            "stream.ended cam/2 6 teardown",
            "stream.ended live/hall 7 no media node had it after the CMS was started",
            "stream.ended cam/1 5 replaced by a newer publisher",
            "stream.started cam/1 9 ",
        ]
    );
    let first = &all(&*log).await[0];
    assert_eq!(
        (first.serial.as_deref(), first.channel),
        (Some("cam"), Some(1))
    );
}
