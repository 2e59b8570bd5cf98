//! Whether the consumer of frames has to be woken.
//!
//! The consumer says that it is about to sleep, and then looks once more; the producer publishes,
//! and then asks whether the consumer sleeps. Both change the same variable on the way, so one
//! comes after the other and sees what it did; and a producer whose consumer is awake makes no
//! system call.
//!
//! A consumer that knows when the next frame is about to come naps: it wakes by itself then, and
//! nobody makes a system call for that frame. Only a frame that comes much earlier wakes it.

use super::sync::{AtomicU32, Ordering};

/// The consumer is at work and will look again before it sleeps.
const AWAKE: u32 = 0;
/// It sleeps until there is a frame.
const ASLEEP: u32 = 1;
/// It sleeps, and only what is urgent is worth waking it.
const DOZING: u32 = 2;
/// It wakes by itself at the moment in the upper bits.
const NAPPING: u32 = 3;
/// Bits of these, and of the moment.
const STATE: u32 = 2;
const MOMENT: u32 = u32::BITS - STATE;
/// Microseconds of one step of the moment, as a power of two: 256.
const STEP: u32 = 8;
/// A frame that comes more steps earlier than the consumer wakes is worth waking it: a quarter to half a millisecond.
const EARLY: u32 = 1;

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

    /// The producer has published something, at a moment in microseconds. True: the consumer is to be woken,
    /// and nobody else does it.
    pub(super) fn ring(&self, urgent: bool, now_us: u64) -> bool {
        // A write that changes nothing: it has its place among the consumer's.
        let state = self.0.fetch_or(0, Ordering::AcqRel);
        let needed = match state & NAPPING {
            AWAKE => false,
            ASLEEP => true,
            DOZING => urgent,
            _ => {
                let left = (state >> STATE).wrapping_sub(moment(now_us)) << STATE >> STATE;
                // Beyond half of what can be told, it is past.
                left > EARLY && left < 1 << (MOMENT - 1)
            }
        };
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

    /// The consumer is about to sleep, and wakes by itself at this moment in microseconds, within a day. It has to
    /// look once more as after [`sleep`](Self::sleep), and again when it has woken.
    pub(super) fn nap(&self, until_us: u64) {
        let state = moment(until_us) << STATE | NAPPING;
        self.0.swap(state, Ordering::AcqRel);
    }

    /// The consumer is at work.
    pub(super) fn awake(&self) {
        // Not a plain store: it would cut what the next `sleep` sees off from what a producer did
        // before.
        self.0.swap(AWAKE, Ordering::AcqRel);
    }
}

/// As many bits of a moment as there is room for.
fn moment(us: u64) -> u32 {
    let steps = us >> STEP & ((1 << MOMENT) - 1);
    u32::try_from(steps).unwrap_or(0)
}
