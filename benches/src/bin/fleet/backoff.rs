//! Waits between tries, as the camera SDK has them: doubled upper bounds up to 15 s, of which a
//! random part is waited.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(15);
const FLOOR: Duration = Duration::from_millis(100);

/// Waits of one device.
#[derive(Debug)]
pub struct Backoff {
    random: Random,
    attempts: u32,
}

impl Backoff {
    /// Devices have different seeds.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            attempts: 0,
        }
    }

    /// The next wait.
    pub fn next(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.attempts.min(16)).min(CAP);
        self.attempts += 1;
        self.random.up_to(bound).max(FLOOR)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// SplitMix64: numbers that differ from seed to seed.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A part of `bound`.
    pub fn up_to(&mut self, bound: Duration) -> Duration {
        Duration::from_millis(self.draw() % (bound.as_millis() as u64).max(1))
    }
}
