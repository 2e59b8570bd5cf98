use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
// Runs on the simulated time of tests.
use tokio::time::Instant;

/// What a question is remembered under. A hash, so that no credentials lie about.
pub(super) type Key = [u8; 32];

/// Hashes the parts of a question; where one ends counts, too.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hash.update(length.to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Answers with the time that they hold; the one that was not needed for longest goes when there
/// is no room.
struct Answers<V> {
    entries: LruCache<Key, (V, Instant)>,
    size: usize,
}

impl<V: Clone> Answers<V> {
    fn get(&mut self, key: &Key, now: Instant) -> Option<(V, Duration)> {
        let (answer, until) = self.entries.get(key)?;
        if *until <= now {
            self.entries.pop(key);
            return None;
        }
        Some((answer.clone(), *until - now))
    }

    fn insert(&mut self, key: Key, answer: V, until: Instant) {
        if self.size == 0 {
            return;
        }
        while self.entries.len() >= self.size && !self.entries.contains(&key) {
            self.entries.pop_lru();
        }
        self.entries.put(key, (answer, until));
    }
}

/// Asks somebody slow, and nobody else the same at the same time or while the answer holds.
pub(super) struct AskOnce<V>(Mutex<State<V>>);

struct State<V> {
    answers: Answers<V>,
    /// Questions that somebody is asking; the receiver says when there is an answer.
    asking: HashMap<Key, Shared<oneshot::Receiver<()>>>,
    /// Goes up with each flush, so that an answer to a question from before it is not kept.
    epoch: u64,
}

enum Step<V> {
    Known(V, Duration),
    Ask(oneshot::Sender<()>, u64),
    Wait(Shared<oneshot::Receiver<()>>),
}

/// Takes the question back when whoever asks goes away.
struct Asking<'a, V> {
    of: &'a AskOnce<V>,
    key: Key,
}

impl<V> Drop for Asking<'_, V> {
    fn drop(&mut self) {
        self.of.0.lock().asking.remove(&self.key);
    }
}

impl<V: Clone> AskOnce<V> {
    pub(super) fn new(size: usize) -> Self {
        Self(Mutex::new(State {
            answers: Answers {
                entries: LruCache::unbounded(),
                size,
            },
            asking: HashMap::new(),
            epoch: 0,
        }))
    }

    /// The answer and how long it still holds. `ask` tells both; zero: for this one time.
    pub(super) async fn get<F>(&self, key: Key, ask: impl Fn() -> F) -> (V, Duration)
    where
        F: Future<Output = (V, Duration)>,
    {
        loop {
            match self.step(key) {
                Step::Known(answer, holds) => return (answer, holds),
                Step::Ask(done, epoch) => {
                    let asking = Asking { of: self, key };
                    let (answer, holds) = ask().await;
                    self.keep(key, &answer, holds, epoch);
                    drop(asking);
                    // Nobody waiting is no error.
                    let _ = done.send(());
                    return (answer, holds);
                }
                Step::Wait(done) => {
                    // If whoever asked went away, somebody else has to.
                    if done.await.is_ok() {
                        return match self.known(&key) {
                            Some(known) => known,
                            // The answer was for that one request.
                            None => ask().await,
                        };
                    }
                }
            }
        }
    }

    pub(super) fn flush(&self) {
        let mut state = self.0.lock();
        state.answers.entries.clear();
        state.epoch = state.epoch.wrapping_add(1);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().answers.entries.len()
    }

    fn known(&self, key: &Key) -> Option<(V, Duration)> {
        self.0.lock().answers.get(key, Instant::now())
    }

    fn step(&self, key: Key) -> Step<V> {
        let mut state = self.0.lock();
        if let Some((answer, holds)) = state.answers.get(&key, Instant::now()) {
            return Step::Known(answer, holds);
        }
        if let Some(done) = state.asking.get(&key) {
            return Step::Wait(done.clone());
        }
        let (done, waits) = oneshot::channel();
        state.asking.insert(key, waits.shared());
        Step::Ask(done, state.epoch)
    }

    fn keep(&self, key: Key, answer: &V, holds: Duration, epoch: u64) {
        let mut state = self.0.lock();
        if !holds.is_zero() && state.epoch == epoch {
            let until = Instant::now() + holds;
            state.answers.insert(key, answer.clone(), until);
        }
    }
}

impl<V> fmt::Debug for AskOnce<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskOnce")
            .field("answers", &self.0.lock().answers.entries.len())
            .finish_non_exhaustive()
    }
}
