//! Where everything durable is kept: devices and their secrets, people, keys, groups, the audit.
//!
//! One file of SQLite in write-ahead mode. One thread writes: whatever waits when it is free goes
//! into one transaction, so that a herd of registrations costs a few syncs, not one each; an
//! answer is given when its transaction is on the disk. Readers have connections of their own
//! and never wait for the writer.

mod sqlite;

pub use sqlite::{SqliteStore, StoreCheck};
