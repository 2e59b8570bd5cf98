//! How a push wakes the shards that have readers of the stream, without a lock or a wake-up per
//! packet, and without ever losing one.
//!
//! A pusher first puts its units into the ring, then marks. A shard takes a mark off *before* it
//! reads the ring. So either the shard sees the units, or the mark is set again. In the same way
//! a shard that gets a stream's first reader joins the stream's set before it reads the ring.
//!
//! `tests/wake_model.rs` compiles this file with loom's primitives and goes through the
//! interleavings.

use super::sync::{AtomicBool, AtomicU64, Mutex, Notify, Ordering};

/// The shards that have readers of a stream; up to 64.
#[derive(Debug, Default)]
pub(super) struct ShardSet(AtomicU64);

impl ShardSet {
    /// Call before the first look at the ring: a push then either is seen or marks this shard.
    pub(super) fn join(&self, shard: usize) {
        self.0.fetch_or(bit(shard), Ordering::AcqRel);
    }

    /// The last reader is gone.
    pub(super) fn leave(&self, shard: usize) {
        self.0.fetch_and(!bit(shard), Ordering::AcqRel);
    }

    /// The shards of this moment. To wake them, call after the change is visible in the ring.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.0.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            left &= left.checked_sub(1)?;
            usize::try_from(lowest).ok()
        })
    }
}

fn bit(shard: usize) -> u64 {
    u32::try_from(shard)
        .ok()
        .and_then(|shift| 1_u64.checked_shl(shift))
        .unwrap_or(0)
}

/// Set while an item stands in a [`WakeQueue`].
#[derive(Debug, Default)]
pub(super) struct Mark(AtomicBool);

/// What a shard has to look at.
#[derive(Debug)]
pub(super) struct WakeQueue<T> {
    items: Mutex<Vec<T>>,
    notify: Notify,
}

impl<T> WakeQueue<T> {
    pub(super) fn new() -> Self {
        Self {
            items: Mutex::new(Vec::new()),
            notify: Notify::new(),
        }
    }

    /// Queues the item unless it is queued already. Call after the change is visible.
    pub(super) fn mark(&self, mark: &Mark, item: impl FnOnce() -> T) {
        if !mark.0.swap(true, Ordering::AcqRel) {
            self.push(item());
        }
    }

    /// Queues an item that has no mark.
    pub(super) fn push(&self, item: T) {
        self.items.lock().push(item);
        self.notify.notify_one();
    }

    /// Takes all items. Each one's mark has to be cleared before what it stands for is read.
    pub(super) fn take(&self, into: &mut Vec<T>) {
        into.append(&mut self.items.lock());
    }

    /// Resolves once something was queued since the last call; one waiter at a time.
    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }
}

/// The shard that serves a reader at this moment. What is queued for the reader under its lock
/// comes after the reader itself there; a shard that finds something for a reader which has moved
/// on passes it on in the same way.
#[derive(Debug)]
pub(super) struct Owner<S>(Mutex<S>);

impl<S> Owner<S> {
    pub(super) fn new(shard: S) -> Self {
        Self(Mutex::new(shard))
    }

    /// Queues something where the reader is.
    pub(super) fn with<T>(&self, queue: impl FnOnce(&S) -> T) -> T {
        queue(&self.0.lock())
    }

    /// The reader goes to another shard: `give` queues it there.
    pub(super) fn hand_over(&self, to: S, give: impl FnOnce(&S)) {
        let mut owner = self.0.lock();
        *owner = to;
        give(&owner);
    }
}

impl Mark {
    /// The item was taken: from now on changes queue it again.
    pub(super) fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
