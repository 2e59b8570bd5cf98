use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::registry::StreamPath;

/// A stream that stays without viewers is reported again after this while: the first report may
/// have met a CMS that was busy with something else.
const REPEAT: Duration = Duration::from_secs(20);

/// Watches for streams that nobody views.
#[derive(Debug)]
pub(super) struct IdleWatch {
    after: Duration,
    idle: HashMap<StreamPath, Idle>,
}

#[derive(Debug)]
struct Idle {
    generation: u64,
    due: Instant,
}

impl IdleWatch {
    pub(super) fn new(after: Duration) -> Self {
        Self {
            after,
            idle: HashMap::new(),
        }
    }

    /// Somebody came: the time starts anew when he leaves.
    pub(super) fn viewed(&mut self, path: &StreamPath) {
        self.idle.remove(path);
    }

    /// Looks at all streams; returns those that are to be reported now.
    pub(super) fn look(
        &mut self,
        streams: impl IntoIterator<Item = (StreamPath, u64, usize)>,
        now: Instant,
    ) -> Vec<(StreamPath, u64)> {
        let mut before = std::mem::take(&mut self.idle);
        let mut report = Vec::new();
        for (path, generation, viewers) in streams {
            if viewers > 0 {
                continue;
            }
            let mut idle = before
                .remove(&path)
                .filter(|idle| idle.generation == generation)
                .unwrap_or(Idle {
                    generation,
                    due: now + self.after,
                });
            if idle.due <= now {
                idle.due = now + REPEAT;
                report.push((path.clone(), generation));
            }
            self.idle.insert(path, idle);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_without_viewers_counts() {
        let path = StreamPath::parse("cam/1").unwrap();
        let stream = |generation, viewers| [(path.clone(), generation, viewers)];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = IdleWatch::new(Duration::from_secs(15));
        assert!(watch.look(stream(1, 0), at(0)).is_empty());
        assert!(watch.look(stream(1, 0), at(14)).is_empty());
        assert_eq!(watch.look(stream(1, 0), at(15)).len(), 1);
        assert!(watch.look(stream(1, 0), at(16)).is_empty(), "not each time");
        assert_eq!(watch.look(stream(1, 0), at(35)).len(), 1, "but again");
        watch.viewed(&path);
        assert!(watch.look(stream(1, 0), at(55)).is_empty(), "came and left");
        assert!(watch.look(stream(1, 1), at(70)).is_empty(), "viewed");
        assert!(watch.look(stream(1, 0), at(71)).is_empty());
        assert!(watch.look(stream(2, 0), at(90)).is_empty(), "new publisher");
        assert_eq!(watch.look(stream(2, 0), at(105)).len(), 1);
    }
}
