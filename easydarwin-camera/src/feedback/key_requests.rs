use std::time::{Duration, Instant};

/// Shortest time between two requests: a key frame is many times as large as another, on an
/// uplink that may be why it was asked for.
const DISTANCE: Duration = Duration::from_secs(1);

/// Many wishes for a key frame, at most one request a second to the encoder.
#[derive(Debug, Clone, Default)]
pub struct KeyRequests {
    wanted: bool,
    asked: Option<Instant>,
}

impl KeyRequests {
    /// Nothing is wanted.
    pub fn new() -> Self {
        Self::default()
    }

    /// A key frame is wanted: a reader came, a frame was lost.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// The encoder gave a key frame; what was wanted before is fulfilled.
    pub fn key_frame(&mut self) {
        self.wanted = false;
    }

    /// When [`poll`](Self::poll) will say yes; `None` when nothing is wanted.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.wanted
            .then(|| self.asked.map_or(now, |asked| (asked + DISTANCE).max(now)))
    }

    /// Whether the encoder is to be asked now. It is asked again after a second if no key frame
    /// came and one is wanted by then.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.deadline(now).is_some_and(|at| at <= now);
        if due {
            self.wanted = false;
            self.asked = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_second_wish_waits_and_a_key_frame_fulfils_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut requests = KeyRequests::new();
        assert!(!requests.poll(at(0)));
        assert_eq!(requests.deadline(at(0)), None);
        requests.want();
        requests.want();
        assert_eq!(requests.deadline(at(5)), Some(at(5)));
        assert!(requests.poll(at(5)));
        assert!(!requests.poll(at(6)));
        requests.want();
        assert_eq!(requests.deadline(at(7)), Some(at(1005)));
        assert!(!requests.poll(at(1004)));
        assert!(requests.poll(at(1005)));
        requests.want();
        requests.key_frame();
        assert!(!requests.poll(at(5000)));
    }

    proptest! {
        /// Whatever happens: never two requests within a second, and no wish is forgotten.
        #[test]
        fn requests_keep_their_distance(steps in prop::collection::vec((0_u64..600, 0..3), 0..200)) {
            let mut requests = KeyRequests::new();
            let mut now = Instant::now();
            let mut open: Option<Instant> = None;
            let mut asked: Option<Instant> = None;
            for (ms, what) in steps {
                now += Duration::from_millis(ms);
                match what {
                    0 => {
                        requests.want();
                        open.get_or_insert(now);
                    }
                    1 => {
                        requests.key_frame();
                        open = None;
                    }
                    _ => {
                        let free = asked.is_none_or(|at| now >= at + DISTANCE);
                        prop_assert_eq!(requests.poll(now), open.is_some() && free);
                        if open.is_some() && free {
                            asked = Some(now);
                            open = None;
                        }
                    }
                }
            }
        }
    }
}
