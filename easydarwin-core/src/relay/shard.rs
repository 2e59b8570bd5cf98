use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::time::Sleep;

use super::ReaderEnd;
use super::counters::ReaderShared;
use super::group::{ReaderGroup, Scratch};
use super::hub::now;
use super::live::StreamInner;
use super::reader::Reader;
use super::wake::WakeQueue;

/// Time spent on readers before other tasks of the worker get their turn. Only time counts, not
/// readers: each yield makes the runtime wake another worker, which then takes the shard along to
/// another processor, away from what its readers have in the caches. With 1 ms a pass over 300
/// readers cost a third more.
pub(super) const TIME_PER_YIELD: Duration = Duration::from_millis(8);
/// How often blocked readers are looked at for having stalled too long.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Work {
    /// The ring of a stream has news (marked: at most once in the queue).
    Stream(Arc<StreamInner>),
    /// A reader comes.
    Add(Box<Reader>),
    /// Something is in a reader's inbox.
    Inbox {
        stream: u64,
        reader: Arc<ReaderShared>,
    },
}

/// The outside of a task that writes to readers of many streams.
#[derive(Debug)]
pub(super) struct Shard {
    index: usize,
    queue: WakeQueue<Work>,
    readers: AtomicUsize,
    /// Whether a task serves this shard. Readers are queued under this lock, so that a task that
    /// ends leaves none behind.
    running: Mutex<bool>,
}

impl Shard {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            queue: WakeQueue::new(),
            readers: AtomicUsize::new(0),
            running: Mutex::new(false),
        }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn load(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    pub(super) fn mark(&self, stream: &Arc<StreamInner>, mark: &super::wake::Mark) {
        self.queue.mark(mark, || Work::Stream(Arc::clone(stream)));
    }

    pub(super) fn tell(&self, stream: u64, reader: Arc<ReaderShared>) {
        self.queue.push(Work::Inbox { stream, reader });
    }

    /// Takes a reader over; must be called inside a tokio runtime.
    pub(super) fn add(self: &Arc<Self>, reader: Box<Reader>) {
        self.readers.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(reader.shared());
        // In this order everywhere: a task that is about to end looks at its readers' owners.
        let mut running = self.running.lock();
        let queue = |_: &Weak<Self>| self.queue.push(Work::Add(reader));
        shared.owner.hand_over(Arc::downgrade(self), queue);
        if !std::mem::replace(&mut *running, true) {
            tokio::spawn(ShardTask::new(Arc::clone(self)).run());
        }
    }
}

/// A reader whose socket takes bytes again.
type Unblocked = (u64, usize, u64);

struct ShardTask {
    shard: Arc<Shard>,
    groups: HashMap<u64, ReaderGroup, BuildHasherDefault<CountedIds>>,
    /// Groups with something to do; each at most once.
    ready: VecDeque<u64>,
    blocked: FuturesUnordered<BoxFuture<'static, Option<Unblocked>>>,
    work: Vec<Work>,
    scratch: Scratch,
    next_stall_check: Option<Instant>,
    next_pacing: Option<Instant>,
}

impl ShardTask {
    fn new(shard: Arc<Shard>) -> Self {
        Self {
            shard,
            groups: HashMap::default(),
            ready: VecDeque::new(),
            blocked: FuturesUnordered::new(),
            work: Vec::new(),
            scratch: Scratch::default(),
            next_stall_check: None,
            next_pacing: None,
        }
    }

    async fn run(mut self) {
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut armed: Option<Instant> = None;
        let mut since = now();
        loop {
            self.take_work();
            self.take_unblocked();
            if let Some(id) = self.ready.pop_front() {
                self.serve(id);
                let at = now();
                self.tick(at);
                if at.saturating_duration_since(since) >= TIME_PER_YIELD {
                    tokio::task::yield_now().await;
                    since = now();
                }
                continue;
            }
            if self.groups.is_empty() && self.may_leave() {
                return;
            }
            let due = [self.next_stall_check, self.next_pacing]
                .into_iter()
                .flatten()
                .min();
            arm(timer.as_mut(), &mut armed, due);
            tokio::select! {
                () = self.shard.queue.changed() => {}
                Some(unblocked) = self.blocked.next(), if !self.blocked.is_empty() => {
                    self.unblock(unblocked);
                }
                () = timer.as_mut(), if armed.is_some() => {
                    armed = None;
                    self.tick(now());
                }
            }
            since = now();
        }
    }

    /// Without readers the task ends; the next reader starts another.
    fn may_leave(&mut self) -> bool {
        let shard = Arc::clone(&self.shard);
        let mut running = shard.running.lock();
        self.take_work();
        let leave = self.groups.is_empty();
        *running = !leave;
        leave
    }

    fn take_work(&mut self) {
        let mut work = std::mem::take(&mut self.work);
        self.shard.queue.take(&mut work);
        for item in work.drain(..) {
            match item {
                Work::Stream(stream) => self.stream_changed(&stream),
                Work::Add(reader) => self.add(reader),
                Work::Inbox { stream, reader } => self.inbox(stream, &reader),
            }
        }
        self.work = work;
    }

    fn stream_changed(&mut self, stream: &Arc<StreamInner>) {
        // Before the ring is read: what comes after this queues the stream again.
        if let Some(shared) = stream.groups.get(self.shard.index) {
            shared.mark.clear();
        }
        if let Some(group) = self.groups.get_mut(&stream.id) {
            group.sweep();
            enqueue(&mut self.ready, stream.id, group);
        }
    }

    fn add(&mut self, reader: Box<Reader>) {
        let stream = Arc::clone(&reader.stream);
        let index = self.shard.index;
        // First this, then a look at the ring (`group.add` queues it): a push in between either
        // is seen by that look or marks this shard.
        stream.shards.join(index);
        let group = self
            .groups
            .entry(stream.id)
            .or_insert_with(|| ReaderGroup::new(Arc::clone(&stream), index));
        group.add(reader);
        enqueue(&mut self.ready, stream.id, group);
    }

    fn inbox(&mut self, stream: u64, reader: &Arc<ReaderShared>) {
        let group = self.groups.get_mut(&stream);
        let found = group.and_then(|group| Some((group.find(reader.id)?, group)));
        let Some((slot, group)) = found else {
            return self.pass_on(stream, reader);
        };
        if group.wants_stop(slot) {
            group.stop(slot);
            self.left(stream);
        } else if let Some(group) = self.groups.get_mut(&stream) {
            group.wake(slot);
            enqueue(&mut self.ready, stream, group);
        }
    }

    /// The reader went to another shard before this was seen, or it has ended.
    fn pass_on(&self, stream: u64, reader: &Arc<ReaderShared>) {
        reader.owner.with(|owner| {
            if let Some(owner) = owner.upgrade()
                && owner.index != self.shard.index
            {
                owner.tell(stream, Arc::clone(reader));
            }
        });
    }

    /// Readers for whom this shard has no time go to the one with the fewest, but no more than
    /// make both equal: so they do not come back.
    fn hand_over(&mut self, id: u64, surplus: usize) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let hub = Arc::clone(&group.stream().hub);
        let Some(target) = hub.least_loaded() else {
            return;
        };
        let more = self.shard.load().saturating_sub(target.load());
        let readers = group.release(surplus.min(more / 2), |reader| target.add(reader));
        tracing::debug!(
            path = %group.stream().path,
            readers,
            from = self.shard.index,
            to = target.index,
            "readers move to another shard"
        );
    }

    fn take_unblocked(&mut self) {
        while !self.blocked.is_empty()
            && let Some(Some(unblocked)) = self.blocked.next().now_or_never()
        {
            self.unblock(unblocked);
        }
    }

    fn unblock(&mut self, unblocked: Option<Unblocked>) {
        let Some((stream, slot, reader)) = unblocked else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&stream)
            && group.unpark(slot, reader)
        {
            enqueue(&mut self.ready, stream, group);
        }
    }

    /// One turn of one group.
    fn serve(&mut self, id: u64) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.queued = false;
        group.turn(&mut self.scratch);
        if group.has_work() {
            enqueue(&mut self.ready, id, group);
        }
        if let Some(due) = group.next_paced() {
            self.next_pacing = Some(self.next_pacing.map_or(due, |next| next.min(due)));
        }
        for (slot, reader, park) in self.scratch.parked.drain(..) {
            let (handle, registration) = AbortHandle::new_pair();
            group.set_parked(slot, handle);
            let wait = Abortable::new(park, registration);
            self.blocked.push(Box::pin(async move {
                wait.await.ok().map(|()| (id, slot, reader))
            }));
            if self.next_stall_check.is_none() {
                self.next_stall_check = Some(now() + STALL_CHECK);
            }
        }
        let surplus = group.take_surplus();
        if surplus > 0 {
            self.hand_over(id, surplus);
        }
        self.left(id);
    }

    /// Accounts for readers that left a group.
    fn left(&mut self, id: u64) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let left = group.take_left();
        if left > 0 {
            self.shard.readers.fetch_sub(left, Ordering::Relaxed);
        }
        if group.is_empty() {
            group.stream().shards.leave(self.shard.index);
            self.groups.remove(&id);
        }
    }

    fn tick(&mut self, at: Instant) {
        if self.next_pacing.is_some_and(|due| at >= due) {
            self.next_pacing = None;
            for (id, group) in &mut self.groups {
                if group.unpace(at) {
                    enqueue(&mut self.ready, *id, group);
                }
                let next = [self.next_pacing, group.next_paced()];
                self.next_pacing = next.into_iter().flatten().min();
            }
        }
        if self.next_stall_check.is_some_and(|due| at >= due) {
            self.next_stall_check = None;
            let mut changed = Vec::new();
            for (id, group) in &mut self.groups {
                if group.end_stalled(at) {
                    changed.push(*id);
                }
                if group.any_parked() {
                    self.next_stall_check = Some(at + STALL_CHECK);
                }
            }
            for id in changed {
                self.left(id);
            }
        }
    }
}

/// Hashes the identifiers of streams. They are counted by us: nobody can make them collide, and
/// neighbours are spread by one multiplication.
#[derive(Debug, Default)]
struct CountedIds(u64);

impl Hasher for CountedIds {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The golden ratio (Knuth, multiplicative hashing).
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The runtime is going away with readers on it: tell their handles.
impl Drop for ShardTask {
    fn drop(&mut self) {
        for group in self.groups.values_mut() {
            group.end_all(&ReaderEnd::Stopped);
        }
    }
}

fn enqueue(ready: &mut VecDeque<u64>, id: u64, group: &mut ReaderGroup) {
    if !group.queued {
        group.queued = true;
        ready.push_back(id);
    }
}

fn arm(timer: Pin<&mut Sleep>, armed: &mut Option<Instant>, due: Option<Instant>) {
    if *armed == due {
        return;
    }
    if let Some(due) = due {
        timer.reset(due.into());
    }
    *armed = due;
}
