use std::time::{Duration, Instant};

use super::unit::{Unit, Window, track_bit};

/// Which tracks a reader has, and what it may do when late. Fixed at its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// The selected tracks, as bits.
    pub(super) tracks: u32,
    /// Those of them that have key frames.
    pub(super) video: u32,
    /// The video track whose key frames are the starts.
    pub(super) primary: Option<usize>,
    pub(super) max_lag: Duration,
    pub(super) keep_audio: bool,
}

/// Where a reader is. Holds numbers only, never a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// Number of the next unit.
    pub(super) next: u64,
    pub(super) keys: Keys,
}

/// What a reader waits for, per video track.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keys {
    /// Video tracks (bits) of which nothing is sent until a key frame.
    pub(super) need: u32,
    /// Video tracks whose RASL pictures refer to what was not sent.
    leading: u32,
    /// Video before this number is passed over (audio is not).
    resume: u64,
    /// Units not sent for want of a key frame, so far.
    pub(super) held: u64,
}

/// Why a reader was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// Later than it may be; units passed over.
    Lag(u64),
    /// The ring had let its position go; units passed over.
    Overrun(u64),
}

impl Cursor {
    /// A reader that starts with unit `next` and a key frame of each video track.
    pub(super) fn new(next: u64, policy: &Policy) -> Self {
        Self {
            next,
            keys: Keys {
                need: policy.video,
                ..Keys::default()
            },
        }
    }

    /// Moves a reader that is too late to the newest key frame. Call at a unit boundary, or when
    /// the unit under way is gone.
    pub(super) fn catch_up(
        &mut self,
        policy: &Policy,
        window: &Window,
        now: Instant,
    ) -> Option<Skip> {
        let overrun = self.next < window.base;
        if !overrun {
            let late = window
                .unit(self.next)
                .is_some_and(|unit| now.saturating_duration_since(unit.arrival) > policy.max_lag);
            if !late {
                return None;
            }
        }
        let start = match policy.primary {
            Some(track) => window.starts.get(track).copied().flatten(),
            // Audio and data may start anywhere.
            None => Some(window.head),
        };
        let passed = self.next.max(self.keys.resume);
        match start.filter(|start| *start > passed || overrun) {
            Some(start) => Some(self.skip_to(start, overrun, policy, window)),
            // Late, but there is no newer key frame: going on is the best that can be done.
            None if !overrun => None,
            None => Some(self.skip_to(window.head, overrun, policy, window)),
        }
    }

    fn skip_to(&mut self, start: u64, overrun: bool, policy: &Policy, window: &Window) -> Skip {
        let from = self.next;
        if policy.keep_audio && policy.primary.is_some() {
            self.next = self.next.max(window.base);
            self.keys.resume = start;
        } else {
            self.next = start;
        }
        self.keys.need = policy.video;
        let passed = self.next.saturating_sub(from);
        if overrun {
            Skip::Overrun(passed)
        } else {
            Skip::Lag(passed)
        }
    }
}

impl Keys {
    /// Whether unit `number` goes to this reader; notes what follows from that for later ones.
    pub(super) fn admit(
        &mut self,
        policy: &Policy,
        keyless: u32,
        number: u64,
        unit: &Unit,
    ) -> bool {
        let bit = track_bit(unit.track);
        if policy.tracks & bit == 0 {
            return false;
        }
        if unit.flags.rtcp || policy.video & bit == 0 {
            return true;
        }
        if self.need & bit != 0 {
            if number < self.resume {
                self.held += 1;
                return false;
            }
            if unit.flags.key || keyless & bit != 0 {
                self.need &= !bit;
                self.leading |= bit;
                return true;
            }
            // Parameter sets are no picture: they do no harm, and the key frame may need them.
            if unit.flags.params_only {
                return true;
            }
            self.held += 1;
            return false;
        }
        if unit.flags.key {
            self.leading &= !bit;
        }
        if unit.flags.rasl && self.leading & bit != 0 {
            self.held += 1;
            return false;
        }
        true
    }
}
