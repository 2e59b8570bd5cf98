use std::time::{Duration, Instant};

use bytes::Bytes;

/// Limits of a [`ReorderBuffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReorderConfig {
    /// Packets that are held at most while one is missing.
    pub window: usize,
    /// How long a missing packet is waited for.
    pub max_wait: Duration,
}

impl Default for ReorderConfig {
    fn default() -> Self {
        Self {
            window: 64,
            max_wait: Duration::from_millis(100),
        }
    }
}

/// A packet in its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The packet as it was pushed.
    pub packet: Bytes,
    /// When it arrived.
    pub arrival: Instant,
    /// Packets before it that were given up.
    pub lost_before: u32,
}

/// Puts packets of one source into order, within a bounded window and time.
#[derive(Debug)]
pub struct ReorderBuffer {
    config: ReorderConfig,
}

impl ReorderBuffer {
    /// An empty buffer.
    pub fn new(config: ReorderConfig) -> Self {
        Self { config }
    }

    /// Takes a packet; repeated and too late ones are dropped. Call [`pop`](Self::pop) until it
    /// returns `None` afterwards.
    pub fn push(&mut self, _sequence: u16, _packet: Bytes, _now: Instant) {
        todo!("{:?}", self.config)
    }

    /// The next packet in order, or the next after a gap that has been waited for long enough.
    pub fn pop(&mut self, _now: Instant) -> Option<Released> {
        todo!()
    }

    /// When [`pop`](Self::pop) has to be called again although nothing is pushed.
    pub fn deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// Packets dropped because they came too late or twice.
    pub fn dropped(&self) -> u64 {
        todo!()
    }
}
