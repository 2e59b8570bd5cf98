//! The primitives of the ring and the bell; their model replaces them by loom's.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
