//! What became of readers: counts by cause, the last of them, and the lines in the log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::counters::{ReaderShared, millis};
use super::{LeftReader, ReaderEnd, ReaderEnds};

/// Readers that left, kept for the API per stream.
const LAST: usize = 8;
/// Least time between two lines about one reader.
pub(super) const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Lines about readers that a hub writes in one [`LINES_SPAN`]: with a thousand stalled readers
/// the log must stay readable, and must not become the load.
const LINES: u32 = 20;
const LINES_SPAN: Duration = Duration::from_secs(10);

/// How a stream's readers ended.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    counts: ReaderEnds,
    last: VecDeque<(Instant, LeftReader)>,
}

impl Ends {
    pub(super) fn note(&self, reader: &ReaderShared, end: &ReaderEnd, at: Instant) {
        let left = LeftReader {
            cause: end.cause(),
            detail: end.to_string(),
            ago_ms: 0,
            reader: reader.info(at),
        };
        let mut state = self.0.lock();
        let count = match end {
            ReaderEnd::Stream(_) => &mut state.counts.stream,
            ReaderEnd::Stalled(_) => &mut state.counts.stalled,
            ReaderEnd::Io(_) => &mut state.counts.io,
            ReaderEnd::ControlOverflow => &mut state.counts.control_overflow,
            ReaderEnd::Stopped => &mut state.counts.stopped,
        };
        *count += 1;
        if state.last.len() == LAST {
            state.last.pop_front();
        }
        state.last.push_back((at, left));
    }

    /// The counts, and the last readers that left, newest first.
    pub(super) fn info(&self, now: Instant) -> (ReaderEnds, Vec<LeftReader>) {
        let state = self.0.lock();
        let last = state.last.iter().rev().map(|(at, left)| LeftReader {
            ago_ms: millis(now.saturating_duration_since(*at)),
            ..left.clone()
        });
        (state.counts, last.collect())
    }
}

/// Keeps a hub's lines about readers few.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<LineState>);

#[derive(Debug, Default)]
struct LineState {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Lines {
    /// Whether a line may be written now; with how many were left out since the last one.
    pub(super) fn allow(&self, at: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let fresh = state
            .since
            .is_none_or(|since| at.saturating_duration_since(since) >= LINES_SPAN);
        if fresh {
            state.since = Some(at);
            state.written = 0;
        }
        if state.written >= LINES {
            state.left_out += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_say_how_many_are_missing() {
        let lines = Lines::default();
        let start = Instant::now();
        let written = (0..100).filter(|_| lines.allow(start).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(lines.allow(start + LINES_SPAN), Some(80));
        assert_eq!(lines.allow(start + LINES_SPAN), Some(0));
    }
}
