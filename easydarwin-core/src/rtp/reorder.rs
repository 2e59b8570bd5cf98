use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::SequenceUnwrapper;

/// A packet this far from the expected one belongs to a restarted source.
const RESTART_DISTANCE: i64 = 3000;

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
    unwrapper: SequenceUnwrapper,
    /// Number of the packet that is next in turn.
    expected: Option<i64>,
    held: BTreeMap<i64, (Bytes, Instant)>,
    dropped: u64,
}

impl ReorderBuffer {
    /// An empty buffer.
    pub fn new(config: ReorderConfig) -> Self {
        Self {
            config,
            unwrapper: SequenceUnwrapper::new(),
            expected: None,
            held: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// Takes a packet; repeated and too late ones are dropped. Call [`pop`](Self::pop) until it
    /// returns `None` afterwards.
    pub fn push(&mut self, sequence: u16, packet: Bytes, now: Instant) {
        let mut number = self.unwrapper.unwrap(sequence);
        let expected = *self.expected.get_or_insert(number);
        if (number - expected).abs() > RESTART_DISTANCE {
            // What is held of the old numbering can never be completed.
            self.dropped += u64::try_from(self.held.len()).unwrap_or(0);
            self.held.clear();
            self.unwrapper = SequenceUnwrapper::new();
            number = self.unwrapper.unwrap(sequence);
            self.expected = Some(number);
        } else if number < expected || self.held.contains_key(&number) {
            self.dropped += 1;
            return;
        }
        self.held.insert(number, (packet, now));
    }

    /// Whether a packet is the next in turn while none is held; then it counts as released, and need
    /// not be [pushed](Self::push).
    pub fn pass(&mut self, sequence: u16) -> bool {
        if !self.held.is_empty() {
            return false;
        }
        let next = self.expected.map(|expected| {
            let [low, high, ..] = expected.to_le_bytes();
            u16::from_le_bytes([low, high])
        });
        if next.is_some_and(|next| next != sequence) {
            return false;
        }
        let number = self.unwrapper.unwrap(sequence);
        self.expected = Some(number + 1);
        true
    }

    /// The next packet in order, or the next after a gap that has been waited for long enough.
    pub fn pop(&mut self, now: Instant) -> Option<Released> {
        let expected = self.expected?;
        let entry = self.held.first_entry()?;
        let number = *entry.key();
        if number > expected {
            let waited = now.saturating_duration_since(entry.get().1);
            let overdue = waited >= self.config.max_wait;
            if !overdue && self.held.len() <= self.config.window {
                return None;
            }
        }
        let (number, (packet, arrival)) = self.held.pop_first()?;
        self.expected = Some(number + 1);
        Some(Released {
            packet,
            arrival,
            lost_before: u32::try_from(number - expected).unwrap_or(0),
        })
    }

    /// When [`pop`](Self::pop) has to be called again although nothing is pushed.
    pub fn deadline(&self) -> Option<Instant> {
        let (_, (_, arrival)) = self.held.first_key_value()?;
        Some(*arrival + self.config.max_wait)
    }

    /// Packets dropped because they came too late or twice.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(n: u16) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    fn drain(buffer: &mut ReorderBuffer, now: Instant) -> Vec<(u16, u32)> {
        std::iter::from_fn(|| buffer.pop(now))
            .map(|r| {
                (
                    u16::from_be_bytes([r.packet[0], r.packet[1]]),
                    r.lost_before,
                )
            })
            .collect()
    }

    #[test]
    fn swapped_packets_come_out_in_order() {
        let now = Instant::now();
        let mut buffer = ReorderBuffer::new(ReorderConfig::default());
        for n in [65_534, 0, 65_535, 1, 1, 65_534] {
            buffer.push(n, packet(n), now);
        }
        let out = drain(&mut buffer, now);
        assert_eq!(out, [(65_534, 0), (65_535, 0), (0, 0), (1, 0)]);
        assert_eq!(buffer.dropped(), 2);
        assert_eq!(buffer.deadline(), None);
    }

    #[test]
    fn what_is_in_turn_passes_until_something_is_held() {
        let now = Instant::now();
        let mut buffer = ReorderBuffer::new(ReorderConfig::default());
        for n in [65_534, 65_535, 0] {
            assert!(buffer.pass(n));
        }
        assert!(!buffer.pass(0), "twice");
        assert!(!buffer.pass(2), "too early");
        buffer.push(2, packet(2), now);
        assert!(!buffer.pass(1), "2 has to follow it");
        buffer.push(1, packet(1), now);
        assert_eq!(drain(&mut buffer, now), [(1, 0), (2, 0)]);
        assert!(buffer.pass(3));
    }

    #[test]
    fn a_missing_packet_is_given_up_after_the_wait() {
        let now = Instant::now();
        let mut buffer = ReorderBuffer::new(ReorderConfig::default());
        buffer.push(1, packet(1), now);
        assert_eq!(drain(&mut buffer, now), [(1, 0)]);
        buffer.push(4, packet(4), now);
        assert_eq!(drain(&mut buffer, now), []);
        let deadline = buffer.deadline().unwrap();
        assert_eq!(drain(&mut buffer, deadline), [(4, 2)]);
        buffer.push(3, packet(3), deadline);
        assert_eq!(drain(&mut buffer, deadline), []);
        assert_eq!(buffer.dropped(), 1);
    }

    #[test]
    fn a_full_window_gives_the_missing_packet_up_at_once() {
        let now = Instant::now();
        let config = ReorderConfig {
            window: 3,
            ..ReorderConfig::default()
        };
        let mut buffer = ReorderBuffer::new(config);
        buffer.push(0, packet(0), now);
        assert_eq!(drain(&mut buffer, now), [(0, 0)]);
        for n in 2..5 {
            buffer.push(n, packet(n), now);
            assert_eq!(drain(&mut buffer, now), []);
        }
        buffer.push(5, packet(5), now);
        assert_eq!(drain(&mut buffer, now), [(2, 1), (3, 0), (4, 0), (5, 0)]);
    }

    #[test]
    fn a_restarted_source_goes_on_at_once() {
        let now = Instant::now();
        let mut buffer = ReorderBuffer::new(ReorderConfig::default());
        buffer.push(10, packet(10), now);
        assert_eq!(drain(&mut buffer, now), [(10, 0)]);
        buffer.push(30_000, packet(30_000), now);
        assert_eq!(drain(&mut buffer, now), [(30_000, 0)]);
    }

    proptest! {
        #[test]
        fn never_holds_more_than_the_window(sequences in proptest::collection::vec(any::<u16>(), 0..400)) {
            let now = Instant::now();
            let config = ReorderConfig { window: 8, ..ReorderConfig::default() };
            let mut buffer = ReorderBuffer::new(config);
            for n in sequences {
                buffer.push(n, packet(n), now);
                drain(&mut buffer, now);
                prop_assert!(buffer.held.len() <= 8);
            }
        }
    }
}
