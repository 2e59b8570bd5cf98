//! Whether the consumer of frames has to be woken.
//!
//! The consumer says that it is about to sleep, and then looks once more; the producer publishes,
//! and then asks whether the consumer sleeps. Both change the same variable on the way, so one
//! comes after the other and sees what it did; and a producer whose consumer is awake makes no
//! system call.

use super::sync::{AtomicU32, Ordering};

/// The consumer is at work and will look again before it sleeps.
const AWAKE: u32 = 0;
/// It sleeps until there is a frame.
const ASLEEP: u32 = 1;
/// It sleeps, and only what is urgent is worth waking it.
const DOZING: u32 = 2;

/// How the consumer wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// By every frame.
    Always,
    /// By what is urgent only.
    Urgent,
}

#[derive(Debug)]
pub(super) struct Bell(AtomicU32);

impl Bell {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(AWAKE))
    }

    /// The producer has published something. True: the consumer is to be woken, and nobody else
    /// does it.
    pub(super) fn ring(&self, urgent: bool) -> bool {
        // A write that changes nothing: it has its place among the consumer's.
        let state = self.0.fetch_or(0, Ordering::AcqRel);
        let needed = state == ASLEEP || (state == DOZING && urgent);
        needed && self.0.swap(AWAKE, Ordering::AcqRel) != AWAKE
    }

    /// The consumer is about to sleep. It has to look for frames once more after this call, and
    /// if there are some, call [`awake`](Self::awake).
    pub(super) fn sleep(&self, wake: Wake) {
        let state = match wake {
            Wake::Always => ASLEEP,
            Wake::Urgent => DOZING,
        };
        self.0.swap(state, Ordering::AcqRel);
    }

    /// The consumer is at work.
    pub(super) fn awake(&self) {
        // Not a plain store: it would cut what the next `sleep` sees off from what a producer did
        // before.
        self.0.swap(AWAKE, Ordering::AcqRel);
    }
}
