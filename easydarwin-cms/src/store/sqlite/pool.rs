//! One thread that writes, and a few connections that read.

use std::path::{Path, PathBuf};
use std::thread;

use easydarwin_core::registry::StoreError;
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{connect, failed};

/// Changes that may wait for the writer; who comes after them waits to be let in.
const MAX_WAITING: usize = 1024;

/// Most changes in one transaction.
const MAX_BATCH: usize = 256;

/// Reads at the same time.
const MAX_READERS: usize = 4;

/// A change that waits for the writer.
trait Work: Send {
    /// Does it; whether it succeeded.
    fn run(&mut self, connection: &Connection) -> bool;
    /// The transaction is on the disk, or failed.
    fn done(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Call<F, T> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work for Call<F, T>
where
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let result = work(connection);
        let succeeded = result.is_ok();
        self.result = Some(result);
        succeeded
    }

    fn done(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (committed, self.result) {
            // What a change failed at counts more than what became of the others.
            (_, Some(Err(error))) | (Err(error), _) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), None) => Err(StoreError::Backend("the change was not made".into())),
        };
        // Who asked may have given up.
        let _ = self.answer.send(result);
    }
}

/// The way to the thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(mut connection: Connection) -> Result<Self, StoreError> {
        let (queue, mut waiting) = mpsc::channel::<Box<dyn Work>>(MAX_WAITING);
        let thread = thread::Builder::new()
            .name("cms-store".into())
            .spawn(move || {
                while let Some(first) = waiting.blocking_recv() {
                    let mut batch = vec![first];
                    while batch.len() < MAX_BATCH
                        && let Ok(next) = waiting.try_recv()
                    {
                        batch.push(next);
                    }
                    write(&mut connection, batch);
                }
                let _ = connection.execute_batch("PRAGMA optimize");
            })
            .map_err(|e| StoreError::Backend(format!("no thread for the store: {e}")))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Makes a change, all or nothing, and answers when it is on the disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Backend("the store was closed".into());
        let (answer, result) = oneshot::channel();
        let call = Call {
            work: Some(work),
            result: None,
            answer,
        };
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(Box::new(call)).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    /// What waits is still written.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(connection: &mut Connection, mut batch: Vec<Box<dyn Work>>) {
    let committed = in_transaction(connection, &mut batch);
    if let Err(error) = &committed {
        tracing::error!(%error, changes = batch.len(), "the store could not be written");
    }
    for work in batch {
        work.done(committed.clone());
    }
}

fn in_transaction(
    connection: &mut Connection,
    batch: &mut [Box<dyn Work>],
) -> Result<(), StoreError> {
    let mut transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    for work in batch {
        one(&mut transaction, work.as_mut()).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// One that fails leaves no trace, and the others go on.
fn one(transaction: &mut Transaction<'_>, work: &mut dyn Work) -> rusqlite::Result<()> {
    let savepoint = transaction.savepoint()?;
    if work.run(&savepoint) {
        savepoint.commit()
    } else {
        // Rolled back when dropped.
        savepoint.finish()
    }
}

/// Connections for reading, opened when they are first needed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    free: std::sync::Arc<Mutex<Vec<Connection>>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            free: std::sync::Arc::default(),
            permits: Semaphore::new(MAX_READERS),
        }
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = |_| StoreError::Backend("the store was closed".into());
        let _permit = self.permits.acquire().await.map_err(gone)?;
        let (free, path) = (self.free.clone(), self.path.clone());
        let read = tokio::task::spawn_blocking(move || {
            let found = free.lock().pop();
            let connection = match found {
                Some(connection) => connection,
                None => connect(&path)?,
            };
            let result = work(&connection).map_err(failed);
            free.lock().push(connection);
            result
        });
        read.await
            .map_err(|e| StoreError::Backend(format!("a read failed: {e}")))?
    }
}
