//! The jitter buffer: a timeline of what is said, laid over the clock with some delay.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::TalkbackStats;
use super::window::Window;

/// What goes out at once, in ms: what the old cameras play.
pub(super) const FRAME: u64 = 20;
/// Least wait of a piece that came as fast as any, in ms.
pub(super) const MIN_DELAY: u64 = 60;
/// Most, in ms.
pub(super) const MAX_DELAY: u64 = 200;
/// What is later than that is old speech that nobody wants to hear, in ms.
pub(super) const MAX_AGE: u64 = 500;
/// On top of the greatest age seen, in ms.
const MARGIN: u64 = 20;
/// Frames made up in a row while nothing is there; then it is a pause.
const MAX_MADE_UP: u32 = 3;
/// A place that far back is a new beginning, in ms.
const RESTART: u64 = 5000;
/// Time between two frames left out because the delay has become too long for the jitter.
const SHRINK: Duration = Duration::from_secs(1);
/// Greatest place in the speech that is believed, in ms: 50 days.
const MAX_PTS: u64 = u32::MAX as u64;

/// A frame, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) at: u64,
    pub(super) ms: u64,
    pub(super) audio: Option<Bytes>,
}

#[derive(Debug)]
pub(super) struct JitterBuffer {
    epoch: Instant,
    bytes_per_ms: usize,
    /// By place in the speech, without overlaps.
    frames: VecDeque<(u64, u64, Bytes)>,
    /// Before this all is past.
    floor: u64,
    /// What is played next: the floor, but for the wait before the first frame.
    next: u64,
    /// When that is; `None` in a pause.
    due: Option<Instant>,
    /// End of the farthest piece.
    end: u64,
    window: Window,
    made_up: u32,
    shrunk: Instant,
    stats: TalkbackStats,
}

impl JitterBuffer {
    pub(super) fn new(bytes_per_ms: usize, now: Instant) -> Self {
        Self {
            epoch: now,
            bytes_per_ms: bytes_per_ms.max(1),
            frames: VecDeque::new(),
            floor: 0,
            next: 0,
            due: None,
            end: 0,
            window: Window::new(),
            made_up: 0,
            shrunk: now,
            stats: TalkbackStats::default(),
        }
    }

    pub(super) fn stats(&self) -> TalkbackStats {
        self.stats
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// When [`poll`](Self::poll) has something, if nothing comes meanwhile.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A piece with its place in the speech in ms; without one it follows the piece before.
    pub(super) fn push(&mut self, pts: Option<u64>, audio: Bytes, now: Instant) {
        self.stats.pieces += 1;
        let pts = pts.filter(|pts| *pts <= MAX_PTS).unwrap_or(self.end);
        if pts.saturating_add(RESTART) < self.end {
            self.restart();
        }
        let transit = signed(since(self.epoch, now)) - signed(pts);
        let age = self.window.age(transit, now);
        if age > signed(MAX_AGE) {
            self.stats.late += self.cut(pts, &audio).count() as u64;
            return;
        }
        self.window.used(age);
        let late = self.stats.late;
        self.keep(pts, &audio);
        let too_late = self.stats.late > late;
        let Some(&(first, ..)) = self.frames.front() else {
            return;
        };
        let delay = self.delay();
        match self.due {
            None => {
                self.next = first;
                self.due = Some(now + Duration::from_millis(delay));
            }
            Some(due) => {
                if first < self.next {
                    self.begin_earlier(self.next - first, due, now);
                }
                self.adjust(pts, age, delay, too_late, now);
            }
        }
    }

    /// What is to be played now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Frame> {
        let mut due = self.due.filter(|due| *due <= now)?;
        let behind = since(due, now);
        if behind > MAX_AGE {
            // Nobody asked for so long.
            self.stats.late += self.leave_out(behind);
            due = now;
        }
        let first = self.frames.front().map(|&(at, ..)| at);
        let frame = match first {
            Some(at) if at < self.next + FRAME => {
                let (at, ms, audio) = self.frames.pop_front()?;
                self.made_up = 0;
                self.stats.played += 1;
                self.floor = at + ms;
                Frame {
                    at,
                    ms,
                    audio: Some(audio),
                }
            }
            // What comes next is there, what comes now is not: it is lost.
            Some(_) => {
                self.floor = self.next + FRAME;
                self.missing()
            }
            None if self.made_up >= MAX_MADE_UP => {
                self.made_up = 0;
                self.due = None;
                return None;
            }
            // The speech stands still: what comes a little later is played all the same.
            None => {
                self.made_up += 1;
                self.floor = self.next;
                self.missing()
            }
        };
        self.next = self.floor;
        self.due = Some(due + Duration::from_millis(frame.ms));
        Some(frame)
    }

    fn missing(&mut self) -> Frame {
        self.stats.concealed += 1;
        Frame {
            at: self.next,
            ms: FRAME,
            audio: None,
        }
    }

    /// Cuts a piece into frames.
    fn cut<'a>(
        &self,
        pts: u64,
        audio: &'a Bytes,
    ) -> impl Iterator<Item = (u64, u64, Bytes)> + use<'a> {
        let per_ms = self.bytes_per_ms;
        let size = per_ms * usize::try_from(FRAME).unwrap_or(1);
        let places = (0..audio.len()).step_by(size);
        places.zip(0..).map(move |(begin, number)| {
            let part = audio.slice(begin..audio.len().min(begin + size));
            let ms = part.len().div_ceil(per_ms) as u64;
            (pts + number * FRAME, ms, part)
        })
    }

    fn keep(&mut self, pts: u64, audio: &Bytes) {
        for (at, ms, part) in self.cut(pts, audio) {
            self.end = self.end.max(at + ms);
            // Most come behind all others.
            let before = self.frames.iter().rposition(|&(other, ..)| other <= at);
            let place = before.map_or(0, |place| place + 1);
            let before = before.and_then(|place| self.frames.get(place));
            let overlaps = before.is_some_and(|&(other, ms, _)| other + ms > at)
                || self
                    .frames
                    .get(place)
                    .is_some_and(|&(other, ..)| other < at + ms);
            if at < self.floor {
                self.stats.late += 1;
            } else if overlaps {
                self.stats.duplicate += 1;
            } else {
                self.frames.insert(place, (at, ms, part));
            }
        }
    }

    /// A piece that came as fast as any waits that long, so that the slow ones are there in time.
    fn delay(&self) -> u64 {
        let oldest = u64::try_from(self.window.oldest()).unwrap_or(0);
        (oldest + MARGIN).clamp(MIN_DELAY, MAX_DELAY)
    }

    /// Makes the wait of a piece that comes as fast as any what it should be. What is too long is
    /// left out at once, what is longer than the jitter needs bit by bit. When a piece came too late
    /// because others overtook it, the speech stops until the next such piece will be in time.
    fn adjust(&mut self, pts: u64, age: i64, delay: u64, too_late: bool, now: Instant) {
        let Some(due) = self.due else {
            return;
        };
        let until_due = signed(since(now, due)) - signed(since(due, now));
        let wait = until_due + signed(pts) - signed(self.next) + age;
        let wait = u64::try_from(wait).unwrap_or(0);
        if wait > MAX_DELAY {
            self.stats.skipped += self.leave_out(wait - delay);
        } else if wait > delay + FRAME && now.saturating_duration_since(self.shrunk) >= SHRINK {
            self.shrunk = now;
            self.stats.skipped += self.leave_out(FRAME);
        } else if too_late && wait < delay {
            self.due = Some(due + Duration::from_millis(delay - wait));
        }
    }

    /// Before the first frame was played one came that belongs before it: as far as there is time,
    /// it is played.
    fn begin_earlier(&mut self, ms: u64, due: Instant, now: Instant) {
        let earlier = ms.min(since(now, due));
        self.next -= earlier;
        self.due = due.checked_sub(Duration::from_millis(earlier));
        self.stats.late += self.drop_before_next();
    }

    /// The speech goes on that much farther, at the same moment. How many frames are lost by it.
    fn leave_out(&mut self, ms: u64) -> u64 {
        self.next = self.next.saturating_add(ms);
        self.floor = self.next;
        self.drop_before_next()
    }

    /// Frames whose time is over; how many there were.
    fn drop_before_next(&mut self) -> u64 {
        let before = self.frames.len();
        let next = self.next;
        self.frames.retain(|&(at, ..)| at >= next);
        (before - self.frames.len()) as u64
    }

    fn restart(&mut self) {
        self.frames.clear();
        (self.floor, self.next, self.end) = (0, 0, 0);
        self.due = None;
        self.made_up = 0;
        self.window = Window::new();
    }
}

/// Milliseconds from `a` to `b`, 0 if it is the other way round.
fn since(a: Instant, b: Instant) -> u64 {
    u64::try_from(b.saturating_duration_since(a).as_millis()).unwrap_or(u64::MAX)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
