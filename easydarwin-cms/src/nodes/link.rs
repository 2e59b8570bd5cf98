//! The way to a joined node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::protocol::{Envelope, ErrorNum};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::conn::Link;

/// Requests to one node that may wait for their answers.
const MAX_WAITING: usize = 4096;

/// Why a node did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NodeError {
    #[error("the media node did not answer in time")]
    Silent,
    #[error("the media node's connection ended")]
    Gone,
    #[error("too many requests wait for this media node")]
    Busy,
}

/// A joined node's connection.
#[derive(Debug)]
pub(crate) struct NodeLink {
    pub(crate) id: String,
    pub(crate) link: Arc<Link>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u32,
    answers: HashMap<u32, oneshot::Sender<ErrorNum>>,
    closed: bool,
}

impl NodeLink {
    pub(crate) fn new(id: String, link: Arc<Link>) -> Self {
        Self {
            id,
            link,
            waiting: Mutex::default(),
        }
    }

    /// Sends a request and waits for the node's result.
    pub(crate) async fn ask(
        &self,
        within: Duration,
        make: impl FnOnce(u32) -> Envelope,
    ) -> Result<ErrorNum, NodeError> {
        let (tx, rx) = oneshot::channel();
        let cseq = {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(NodeError::Gone);
            }
            if waiting.answers.len() >= MAX_WAITING {
                return Err(NodeError::Busy);
            }
            waiting.last = waiting.last.wrapping_add(1);
            let cseq = waiting.last;
            waiting.answers.insert(cseq, tx);
            cseq
        };
        let result = match self.link.send(&make(cseq)) {
            Err(_) => Err(NodeError::Gone),
            Ok(()) => match tokio::time::timeout(within, rx).await {
                Err(_) => Err(NodeError::Silent),
                Ok(Err(_)) => Err(NodeError::Gone),
                Ok(Ok(error)) => Ok(error),
            },
        };
        self.waiting.lock().answers.remove(&cseq);
        result
    }

    pub(crate) fn answered(&self, message: &Envelope) {
        let Some(cseq) = message.cseq_number() else {
            return;
        };
        if let Some(tx) = self.waiting.lock().answers.remove(&cseq) {
            // Who asked may have given up at this moment.
            let _ = tx.send(message.error().unwrap_or(ErrorNum::INTERNAL));
        }
    }

    pub(crate) fn ended(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.answers.clear();
    }
}

/// Joined nodes by id.
#[derive(Debug, Default)]
pub(crate) struct NodeLinks {
    table: RwLock<BTreeMap<String, Arc<NodeLink>>>,
}

impl NodeLinks {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<NodeLink>> {
        self.table.read().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<NodeLink>> {
        self.table.read().values().cloned().collect()
    }

    /// Enters a node; the one of the same id that it replaces.
    pub(crate) fn enter(&self, node: Arc<NodeLink>) -> Option<Arc<NodeLink>> {
        self.table.write().insert(node.id.clone(), node)
    }

    /// Removes this very connection; `false` if a newer one has taken its place.
    pub(crate) fn leave(&self, node: &NodeLink) -> bool {
        let mut table = self.table.write();
        let own = table
            .get(&node.id)
            .is_some_and(|n| n.link.id == node.link.id);
        if own {
            table.remove(&node.id);
        }
        own
    }
}
