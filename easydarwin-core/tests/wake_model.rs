//! The wake protocol of the relay under every interleaving of threads that its memory order
//! allows: the very source file, with loom's primitives in place of the real ones.

#![cfg(feature = "server")]
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a source file of the library, compiled here; a test may stop at the first surprise"
)]

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// `parking_lot`'s: its `lock` returns no result.
    #[derive(Debug)]
    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    /// tokio's, for one waiter: a permit is kept for who waits next. No spurious wake-ups, which
    /// would hide a lost one.
    #[derive(Debug)]
    pub(super) struct Notify {
        permit: Mutex<bool>,
        given: loom::sync::Condvar,
    }

    impl Notify {
        pub(super) fn new() -> Self {
            Self {
                permit: Mutex::new(false),
                given: loom::sync::Condvar::new(),
            }
        }

        pub(super) fn notify_one(&self) {
            *self.permit.lock() = true;
            self.given.notify_one();
        }

        /// Blocks this thread of the model instead of suspending a task.
        pub(super) async fn notified(&self) {
            let mut permit = self.permit.lock();
            while !*permit {
                permit = self.given.wait(permit).unwrap();
            }
            *permit = false;
        }
    }
}

#[path = "../src/relay/wake.rs"]
mod wake;

use futures::FutureExt;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use sync::Mutex;
use wake::{Mark, Owner, ShardSet, WakeQueue};

/// One stream with readers on at most one shard. The ring is its head: a unit is lost when the
/// shard goes to sleep for ever with a `seen` below it, which loom reports as a deadlock.
struct Rig {
    ring: Mutex<u64>,
    shards: ShardSet,
    mark: Mark,
    queue: WakeQueue<()>,
}

/// The shard's only one: index 0.
const SHARD: usize = 0;

impl Rig {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ring: Mutex::new(0),
            shards: ShardSet::default(),
            mark: Mark::default(),
            queue: WakeQueue::new(),
        })
    }

    /// As `StreamInner::commit` does it.
    fn push(&self) {
        *self.ring.lock() += 1;
        for index in self.shards.iter() {
            assert_eq!(index, SHARD);
            self.queue.mark(&self.mark, || ());
        }
    }

    /// As `ShardTask::add` does it; returns what the first walk sees.
    fn join(&self) -> u64 {
        self.shards.join(SHARD);
        *self.ring.lock()
    }

    /// As `ShardTask::run` does it, until `wanted` units were seen; returns the passes over the
    /// readers that it took.
    fn serve(&self, mut seen: u64, wanted: u64) -> usize {
        let mut work = Vec::new();
        let mut passes = 0;
        while seen < wanted {
            self.queue.take(&mut work);
            if work.is_empty() {
                // A lost wake-up makes this wait for ever, which loom reports as a deadlock.
                self.queue.changed().now_or_never();
                continue;
            }
            assert_eq!(work.len(), 1, "a stream stands in the queue once");
            work.clear();
            self.mark.clear();
            seen = *self.ring.lock();
            passes += 1;
        }
        passes
    }
}

/// All interleavings with up to three switches away from a thread that could go on: without that
/// bound (`LOOM_MAX_PREEMPTIONS` sets another one) it takes minutes.
fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(body);
}

#[test]
fn no_unit_is_missed_by_readers_that_are_there() {
    model(|| {
        let rig = Rig::new();
        rig.shards.join(SHARD);
        let pusher = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                rig.push();
                rig.push();
            })
        };
        let passes = rig.serve(0, 2);
        assert!(passes <= 2, "at most one pass a push");
        pusher.join().unwrap();
    });
}

#[test]
fn no_unit_is_missed_when_two_push() {
    model(|| {
        let rig = Rig::new();
        rig.shards.join(SHARD);
        let pushers = [(); 2].map(|()| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.push())
        });
        rig.serve(0, 2);
        for pusher in pushers {
            pusher.join().unwrap();
        }
    });
}

#[test]
fn a_push_while_a_reader_joins_is_seen_or_wakes() {
    model(|| {
        let rig = Rig::new();
        let pusher = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                rig.push();
                rig.push();
            })
        };
        let seen = rig.join();
        rig.serve(seen, 2);
        pusher.join().unwrap();
    });
}

#[test]
fn a_reader_that_comes_after_the_last_has_left_misses_nothing() {
    model(|| {
        let rig = Rig::new();
        rig.shards.join(SHARD);
        let pusher = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                rig.push();
                rig.push();
            })
        };
        // The group goes; what still stands in the queue is taken by the next one's shard.
        rig.shards.leave(SHARD);
        let seen = rig.join();
        rig.serve(seen, 2);
        pusher.join().unwrap();
    });
}

/// The queue's own memory order is enough: also without the ring's lock what was written before
/// the mark is seen.
#[test]
fn what_precedes_a_mark_is_seen() {
    model(|| {
        let rig = Rig::new();
        let value = Arc::new(AtomicU64::new(0));
        let pusher = {
            let (rig, value) = (Arc::clone(&rig), Arc::clone(&value));
            thread::spawn(move || {
                for _ in 0..2 {
                    value.fetch_add(1, Ordering::Relaxed);
                    rig.queue.mark(&rig.mark, || ());
                }
            })
        };
        let mut work = Vec::new();
        let mut seen = 0;
        while seen < 2 {
            rig.queue.changed().now_or_never();
            rig.queue.take(&mut work);
            for () in work.drain(..) {
                rig.mark.clear();
                seen = value.load(Ordering::Relaxed);
            }
        }
        pusher.join().unwrap();
    });
}

/// A reader that moves between two shards while units are pushed and then somebody stops it. Its
/// position travels with it.
struct Move {
    ring: Mutex<u64>,
    shards: ShardSet,
    marks: [Mark; 2],
    queues: [WakeQueue<Item>; 2],
    owner: Owner<usize>,
}

#[derive(Debug)]
enum Item {
    News,
    /// The reader with its position.
    Add(u64),
    /// The reader is to stop.
    Inbox,
    /// It has stopped on the other shard.
    Over,
}

impl Move {
    fn push(&self) {
        *self.ring.lock() += 1;
        for index in self.shards.iter() {
            self.queues[index].mark(&self.marks[index], || Item::News);
        }
    }

    /// As `ReaderHandle::stop` does it.
    fn stop(&self) {
        self.owner
            .with(|shard| self.queues[*shard].push(Item::Inbox));
    }

    /// Shard `index`, as `ShardTask::run` does it. `gives`: it hands its reader over after the
    /// first work.
    fn serve(&self, index: usize, mut reader: Option<u64>, gives: bool) {
        let mut work = Vec::new();
        loop {
            self.queues[index].take(&mut work);
            if work.is_empty() {
                self.queues[index].changed().now_or_never();
                continue;
            }
            for item in work.drain(..) {
                match item {
                    Item::News => {
                        self.marks[index].clear();
                        reader = reader.map(|_| *self.ring.lock());
                    }
                    Item::Add(seen) => {
                        self.shards.join(index);
                        let head = *self.ring.lock();
                        assert!(head >= seen, "nothing is seen twice");
                        reader = Some(head);
                    }
                    Item::Inbox if reader.is_some() => {
                        assert_eq!(reader, Some(2), "all that was pushed before");
                        self.queues[1 - index].push(Item::Over);
                        return;
                    }
                    // As `ShardTask::pass_on` does it.
                    Item::Inbox => self.owner.with(|owner| {
                        assert_ne!(*owner, index, "it is not here");
                        self.queues[*owner].push(Item::Inbox);
                    }),
                    Item::Over => return,
                }
            }
            if gives && let Some(seen) = reader.take() {
                // As `Shard::add` and `ShardTask::left` do it.
                self.owner.hand_over(1 - index, |shard| {
                    self.queues[*shard].push(Item::Add(seen));
                });
                self.shards.leave(index);
            }
        }
    }
}

#[test]
fn a_reader_that_moves_misses_nothing_and_is_found() {
    model(|| {
        let rig = Arc::new(Move {
            ring: Mutex::new(0),
            shards: ShardSet::default(),
            marks: Default::default(),
            queues: [WakeQueue::new(), WakeQueue::new()],
            owner: Owner::new(0),
        });
        rig.shards.join(0);
        let pusher = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                rig.push();
                rig.push();
                rig.stop();
            })
        };
        let home = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.serve(0, Some(0), true))
        };
        rig.serve(1, None, false);
        pusher.join().unwrap();
        home.join().unwrap();
    });
}
