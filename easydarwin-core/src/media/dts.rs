use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Largest reorder depth: the decoded picture buffer of H.264 and H.265.
const MAX_DEPTH: usize = 16;

/// Decode time of one picture, see [`DtsEstimator::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeTime {
    /// Decode time in the ticks of the presentation times; never above the picture's own
    /// presentation time and strictly growing, unless `discontinuity` is set.
    pub dts: i64,
    /// The reorder depth was too small and has grown, or presentation times jumped back: decode
    /// times start anew here.
    pub discontinuity: bool,
}

/// Decode times for muxers from presentation times in decoding order (RTP carries only the latter).
///
/// With a reorder depth D the decode time of picture n is the (n-D)-th smallest presentation time
/// so far; the first D pictures are put before the key frame at one frame time each.
#[derive(Debug, Clone)]
pub struct DtsEstimator {
    depth: usize,
    frame_ticks: i64,
    /// Presentation times that have not yet served as decode times; at most `depth` + 1.
    waiting: BinaryHeap<Reverse<i64>>,
    /// Presentation time of the key frame, until `depth` pictures have come.
    first: Option<i64>,
    last: Option<i64>,
}

impl DtsEstimator {
    /// `depth`: `max_num_reorder_frames` of the stream, see
    /// [`Track::reorder_depth`](super::Track::reorder_depth). `frame_ticks`: a guess of the time
    /// of a frame, used only for the first pictures.
    pub fn new(depth: usize, frame_ticks: i64) -> Self {
        Self {
            depth: depth.min(MAX_DEPTH),
            frame_ticks: frame_ticks.max(1),
            waiting: BinaryHeap::with_capacity(MAX_DEPTH + 1),
            first: None,
            last: None,
        }
    }

    /// The decode time of the next picture in decoding order.
    pub fn push(&mut self, pts: i64) -> DecodeTime {
        let before = self.waiting.len();
        let first = *self.first.get_or_insert(pts);
        self.waiting.push(Reverse(pts));
        let estimate = if before < self.depth {
            first.saturating_sub(self.frame_ticks.saturating_mul(signed(self.depth - before)))
        } else {
            self.waiting.pop().map_or(pts, |Reverse(smallest)| smallest)
        };
        // Two pictures of one presentation time still need two decode times.
        let dts = self
            .last
            .map_or(estimate, |last| estimate.max(last.saturating_add(1)));
        if dts <= pts {
            self.last = Some(dts);
            return DecodeTime {
                dts,
                discontinuity: false,
            };
        }
        let reordered =
            dts.saturating_sub(pts) <= self.frame_ticks.saturating_mul(2 * signed(MAX_DEPTH));
        if reordered && self.depth < MAX_DEPTH {
            self.grow(pts, estimate, before)
        } else {
            self.restart(pts)
        }
    }

    /// Forgets all pictures; the next one is a key frame after a discontinuity.
    pub fn reset(&mut self) {
        self.waiting.clear();
        self.first = None;
        self.last = None;
    }

    /// The reorder depth, grown ones included.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// One picture more may wait: the smallest time serves the next picture, and this one gets
    /// the frame time before.
    fn grow(&mut self, pts: i64, estimate: i64, before: usize) -> DecodeTime {
        if before >= self.depth {
            self.waiting.push(Reverse(estimate));
        }
        while self.waiting.len() <= self.depth {
            // Still in the first pictures: as if the missing ones had come before this one.
            let Reverse(smallest) = self.waiting.peek().copied().unwrap_or(Reverse(pts));
            let earlier = smallest.saturating_sub(self.frame_ticks);
            self.waiting.push(Reverse(earlier));
        }
        self.depth += 1;
        let Reverse(smallest) = self.waiting.peek().copied().unwrap_or(Reverse(pts));
        let dts = smallest.saturating_sub(self.frame_ticks);
        self.last = Some(dts);
        DecodeTime {
            dts,
            discontinuity: true,
        }
    }

    fn restart(&mut self, pts: i64) -> DecodeTime {
        self.reset();
        let start = self.push_first(pts);
        DecodeTime {
            dts: start,
            discontinuity: true,
        }
    }

    fn push_first(&mut self, pts: i64) -> i64 {
        self.first = Some(pts);
        if self.depth > 0 {
            self.waiting.push(Reverse(pts));
        }
        let dts = pts.saturating_sub(self.frame_ticks.saturating_mul(signed(self.depth)));
        self.last = Some(dts);
        dts
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pushes all and checks what [`DecodeTime`] promises; returns depth and discontinuities.
    fn run(depth: usize, pts: &[i64]) -> (Vec<i64>, usize) {
        let mut estimator = DtsEstimator::new(depth, 10);
        let mut last = i64::MIN;
        let mut jumps = 0;
        let times = pts
            .iter()
            .map(|&pts| {
                let time = estimator.push(pts);
                assert!(time.dts <= pts, "{} > {pts}", time.dts);
                assert!(time.dts > last || time.discontinuity);
                jumps += usize::from(time.discontinuity);
                last = time.dts;
                time.dts
            })
            .collect();
        (times, jumps)
    }

    #[test]
    fn without_reordering_both_times_are_the_same() {
        assert_eq!(run(0, &[0, 10, 20]), (vec![0, 10, 20], 0));
    }

    #[test]
    fn two_b_frames() {
        // I P B B P B B in decoding order, depth 1 (B is no reference).
        let (times, jumps) = run(1, &[0, 30, 10, 20, 60, 40, 50]);
        assert_eq!(times, [-10, 0, 10, 20, 30, 40, 50]);
        assert_eq!(jumps, 0);
        // A pyramid: I P B b b.
        let (times, jumps) = run(2, &[0, 40, 20, 10, 30, 80, 60, 50, 70]);
        assert_eq!(times, [-20, -10, 0, 10, 20, 30, 40, 50, 60]);
        assert_eq!(jumps, 0);
    }

    #[test]
    fn a_depth_that_is_too_small_grows_once() {
        let (_, jumps) = run(0, &[0, 30, 10, 20, 60, 40, 50, 90, 70, 80]);
        assert_eq!(jumps, 1);
    }

    #[test]
    fn two_pictures_of_one_time_get_two_decode_times() {
        let (times, _) = run(1, &[0, 10, 10, 20]);
        assert_eq!(times, [-10, 0, 10, 20 - 9]);
    }

    #[test]
    fn a_jump_back_starts_anew_without_growing() {
        let mut estimator = DtsEstimator::new(1, 10);
        estimator.push(1_000_000);
        estimator.push(1_000_010);
        let time = estimator.push(0);
        assert!(time.discontinuity);
        assert_eq!((time.dts, estimator.depth()), (-10, 1));
    }

    proptest! {
        #[test]
        fn promises_hold_for_any_times(
            depth in 0_usize..20,
            pts in proptest::collection::vec(-1000_i64..1000, 0..200),
        ) {
            run(depth, &pts);
        }

        #[test]
        fn extreme_times_never_panic(pts in proptest::collection::vec(any::<i64>(), 0..50)) {
            let mut estimator = DtsEstimator::new(2, 3000);
            for pts in pts {
                estimator.push(pts);
            }
        }
    }
}
