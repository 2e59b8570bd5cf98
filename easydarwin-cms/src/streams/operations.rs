//! All operations: one at a time for each stream, shared by all who ask; the last that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::StreamRef;
use easydarwin_core::registry::{StreamPath, UnixMillis};
use parking_lot::Mutex;
use thiserror::Error;

use super::operation::{Operation, carry_out};
use super::progress::{Ready, StartError};
use super::start;
use crate::state::State;

/// Most operations that run.
const MAX_RUNNING: usize = 10_000;
/// Operations that have ended can be looked at for so long, and so many of them.
const KEPT: Duration = Duration::from_secs(600);
const MAX_KEPT: usize = 4096;
/// Idempotency keys remembered for one operation; who comes with another one joins it all the same
/// while it runs.
const MAX_KEYS: usize = 64;

/// Why there is no operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum BeginError {
    #[error("this Idempotency-Key was used for another stream")]
    KeyUsed,
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Who asks, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    /// Whose interest it is.
    pub(crate) who: &'a str,
    /// The same again is the same operation.
    pub(crate) key: Option<&'a str>,
    /// Where the stream is wanted, if that matters.
    pub(crate) node: Option<&'a str>,
}

/// Operations that run, and those that have ended lately.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<StreamRef, Arc<Operation>>,
    by_id: HashMap<String, Arc<Operation>>,
    by_key: HashMap<(String, String), Arc<Operation>>,
    ended: VecDeque<(UnixMillis, Arc<Operation>)>,
}

impl Operations {
    /// Makes a stream live, or waits for whoever is at it already.
    pub(crate) async fn start(
        &self,
        state: &Arc<State>,
        stream: &StreamRef,
        wish: Wish<'_>,
    ) -> Result<Ready, StartError> {
        if let Some(ready) = start::already_live(state, stream).await? {
            return Ok(ready);
        }
        match self.begin(state, stream, wish) {
            Ok(operation) => operation.outcome().await,
            Err(BeginError::Start(error)) => Err(error),
            Err(error @ BeginError::KeyUsed) => Err(StartError::Internal(error.to_string())),
        }
    }

    /// The operation that brings this stream: the one that is under way, or a new one.
    pub(crate) fn begin(
        &self,
        state: &Arc<State>,
        stream: &StreamRef,
        wish: Wish<'_>,
    ) -> Result<Arc<Operation>, BeginError> {
        let mut table = self.table.lock();
        let now = state.now();
        table.forget(now);
        let key = wish.key.map(|key| (wish.who.to_owned(), key.to_owned()));
        if let Some(known) = key.as_ref().and_then(|key| table.by_key.get(key)) {
            return match known.stream == *stream {
                true => Ok(known.clone()),
                false => Err(BeginError::KeyUsed),
            };
        }
        let under_way = table.running.get(stream).cloned();
        let operation = match under_way {
            Some(operation) if !operation.cancel.is_cancelled() => operation,
            // One that is being cancelled ends first: one at a time for each stream.
            cancelled => {
                if table.running.len() >= MAX_RUNNING {
                    return Err(StartError::TooMany.into());
                }
                let operation = Arc::new(Operation::new(stream.clone(), now)?);
                table.running.insert(stream.clone(), operation.clone());
                table.by_id.insert(operation.id.clone(), operation.clone());
                let node = wish.node.map(str::to_owned);
                state.spawn(carry_out(state.clone(), operation.clone(), node, cancelled));
                operation
            }
        };
        operation.interests.lock().insert(wish.who.to_owned());
        if let Some(key) = key {
            let mut keys = operation.keys.lock();
            if keys.len() < MAX_KEYS {
                keys.push(key.clone());
                table.by_key.insert(key, operation.clone());
            }
        }
        Ok(operation)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Operation>> {
        self.table.lock().by_id.get(id).cloned()
    }

    /// Whether somebody is at this stream.
    pub(crate) fn is_running(&self, stream: &StreamRef) -> bool {
        self.table.lock().running.contains_key(stream)
    }

    pub(crate) fn running(&self) -> usize {
        self.table.lock().running.len()
    }

    /// Somebody does not want it any more. With the last interest the work ends.
    pub(crate) fn withdraw(&self, operation: &Operation, who: &str) {
        let _table = self.table.lock();
        let mut interests = operation.interests.lock();
        if interests.remove(who) && interests.is_empty() {
            operation.cancel.cancel();
        }
    }

    /// The same for whatever brings this stream. `who`: `None` for all of them.
    pub(crate) fn withdraw_from(&self, stream: &StreamRef, who: Option<&str>) {
        let running = self.table.lock().running.get(stream).cloned();
        match (running, who) {
            (Some(operation), Some(who)) => self.withdraw(&operation, who),
            (Some(operation), None) => operation.cancel.cancel(),
            (None, _) => {}
        }
    }

    pub(super) fn finished(&self, operation: &Arc<Operation>, now: UnixMillis) {
        let mut table = self.table.lock();
        // A newer one may have taken its place while it was being cancelled.
        if table
            .running
            .get(&operation.stream)
            .is_some_and(|own| Arc::ptr_eq(own, operation))
        {
            table.running.remove(&operation.stream);
        }
        table.ended.push_back((now, operation.clone()));
        table.forget(now);
    }

    /// Something about this stream has changed at a node.
    pub(crate) fn changed(&self, path: &StreamPath) {
        if let Some(operation) = self.of(path) {
            operation.changed.notify_one();
        }
    }

    /// A publisher of this stream has ended.
    pub(crate) fn ended(&self, path: &StreamPath, generation: u64, reason: &str) {
        if let Some(operation) = self.of(path) {
            *operation.ended.lock() = Some((generation, reason.to_owned()));
            operation.changed.notify_one();
        }
    }

    fn of(&self, path: &StreamPath) -> Option<Arc<Operation>> {
        let (serial, channel) = path.as_device()?;
        let table = self.table.lock();
        table.running.get(&StreamRef::new(serial, channel)).cloned()
    }
}

impl Table {
    fn forget(&mut self, now: UnixMillis) {
        while let Some((at, operation)) = self.ended.front() {
            if self.ended.len() <= MAX_KEPT && now.since(*at) < KEPT {
                return;
            }
            self.by_id.remove(&operation.id);
            for key in operation.keys.lock().drain(..) {
                self.by_key.remove(&key);
            }
            self.ended.pop_front();
        }
    }
}
