//! The primitives of the wake protocol; its model replaces them by loom's.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) use parking_lot::Mutex;
pub(super) use tokio::sync::Notify;
