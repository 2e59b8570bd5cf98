//! Counts and delays of one measuring window.

use std::time::Duration;

/// Delays in buckets of at most 3 % width, from 1 µs to over an hour; memory does not grow.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

const STEPS: u64 = 32;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; (STEPS * 33) as usize],
            count: 0,
        }
    }
}

impl Histogram {
    /// Adds one delay.
    pub fn add(&mut self, delay: Duration) {
        let index = bucket(delay.as_micros() as u64).min(self.buckets.len() - 1);
        self.buckets[index] += 1;
        self.count += 1;
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
    }

    /// How many delays there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The delay below which `share` (0 to 1) of all lie, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper_bound(index as u64) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let exponent = us.ilog2() - STEPS.ilog2();
    (u64::from(exponent) * STEPS + (us >> exponent)) as usize
}

fn upper_bound(index: u64) -> u64 {
    if index < 2 * STEPS {
        return index;
    }
    let exponent = index / STEPS - 1;
    ((index % STEPS + STEPS) << exponent) + (1 << exponent) - 1
}

/// The median of some figures.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_the_bucket_width() {
        let mut histogram = Histogram::default();
        for us in 1..=100_000 {
            histogram.add(Duration::from_micros(us));
        }
        for share in [0.01, 0.5, 0.99, 0.999] {
            let exact = share * 100.0;
            let got = histogram.quantile_ms(share);
            assert!(
                (got / exact - 1.0).abs() < 0.04,
                "{share}: {got} for {exact}"
            );
        }
    }

    #[test]
    fn buckets_do_not_overlap() {
        let mut last = 0;
        for us in 0..1_000_000 {
            let index = bucket(us);
            assert!(index == last || index == last + 1, "{us}");
            assert!(us <= upper_bound(index as u64));
            last = index;
        }
    }
}
