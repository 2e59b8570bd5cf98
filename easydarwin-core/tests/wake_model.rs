//! The wake protocol of the relay under every interleaving of threads that its memory order
//! allows: the very source file, with loom's primitives in place of the real ones.

#![cfg(feature = "server")]
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used)]

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};

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

    #[derive(Debug)]
    pub(super) struct Notify(loom::sync::Notify);

    impl Notify {
        pub(super) fn new() -> Self {
            Self(loom::sync::Notify::new())
        }

        pub(super) fn notify_one(&self) {
            self.0.notify();
        }

        /// Blocks this thread of the model instead of suspending a task.
        pub(super) async fn notified(&self) {
            self.0.wait();
        }
    }
}

#[path = "../src/relay/wake.rs"]
mod wake;

use futures::FutureExt;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use wake::{Mark, WakeQueue};

struct Shared {
    queue: WakeQueue<()>,
    mark: Mark,
    /// What has been pushed into the ring.
    ring: AtomicU32,
}

/// A shard that sleeps whenever it has nothing to do sees all that is pushed.
#[test]
fn no_push_is_lost() {
    const PUSHES: u32 = 2;
    loom::model(|| {
        let shared = Arc::new(Shared {
            queue: WakeQueue::new(),
            mark: Mark::default(),
            ring: AtomicU32::new(0),
        });
        let pusher = {
            let shared = Arc::clone(&shared);
            loom::thread::spawn(move || {
                for _ in 0..PUSHES {
                    shared.ring.fetch_add(1, Ordering::Relaxed);
                    shared.queue.mark(&shared.mark, || ());
                }
            })
        };
        let mut work = Vec::new();
        let mut seen = 0;
        while seen < PUSHES {
            // A lost wake-up makes this wait for ever, which loom reports as a deadlock.
            shared.queue.changed().now_or_never();
            shared.queue.take(&mut work);
            for () in work.drain(..) {
                shared.mark.clear();
                seen = shared.ring.load(Ordering::Relaxed);
            }
        }
        pusher.join().unwrap();
    });
}
