//! What the device tells of itself, on its way to the CMS: few at a time, in order, and never so
//! many that they cost memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use easydarwin_core::protocol::{DeviceEvent, DeviceEventError};

/// Events that may wait; of more the oldest go.
const MAX_WAITING: usize = 32;
/// Events that may be sent at once.
const BURST: u32 = 10;
/// Time between two events, on average. A CMS takes more than that.
const PACE: Duration = Duration::from_secs(1);
/// Time between two healths; what comes meanwhile replaces what waits.
const HEALTH_PACE: Duration = Duration::from_secs(10);
/// How long a CMS may take for its answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventVerdict {
    /// It will be sent; while no CMS is there, it waits for one.
    Queued,
    /// It will be sent, but the oldest one that waited was dropped for it.
    DroppedOldest,
    /// The CMS takes no events. Dropped.
    NotSupported,
    /// It keeps not to its bounds. Dropped.
    Invalid(DeviceEventError),
    /// The camera's task does not come to it, or does not run. Dropped.
    Busy,
}

/// What became of a device's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventStats {
    /// The CMS took them.
    pub taken: u64,
    /// The CMS refused them.
    pub refused: u64,
    /// Dropped here: too many waited, no answer came, or the CMS takes none.
    pub dropped: u64,
    /// Healths that were replaced by newer ones before they were sent.
    pub replaced: u64,
}

#[derive(Debug)]
pub(super) struct Outbox {
    waiting: VecDeque<DeviceEvent>,
    health: Option<DeviceEvent>,
    sent: Option<Sent>,
    /// Number of the last event.
    number: u64,
    /// Dropped and not yet told.
    untold: u64,
    /// When as many as may be sent at once may be sent again.
    rested: Instant,
    health_at: Instant,
    stats: EventStats,
}

/// An event whose answer is not there yet.
#[derive(Debug)]
struct Sent {
    cseq: u32,
    until: Instant,
    event: DeviceEvent,
}

impl Outbox {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            health: None,
            sent: None,
            number: 0,
            untold: 0,
            rested: now,
            health_at: now,
            stats: EventStats::default(),
        }
    }

    pub(super) fn stats(&self) -> EventStats {
        self.stats
    }

    pub(super) fn push(&mut self, mut event: DeviceEvent) -> EventVerdict {
        self.number += 1;
        event.number = self.number;
        if event.health {
            self.stats.replaced += u64::from(self.health.replace(event).is_some());
            return EventVerdict::Queued;
        }
        self.waiting.push_back(event);
        if self.waiting.len() <= MAX_WAITING {
            return EventVerdict::Queued;
        }
        self.waiting.pop_front();
        self.dropped(1);
        EventVerdict::DroppedOldest
    }

    /// What may be sent now. It is to be [`sent`](Self::sent).
    pub(super) fn next(&mut self, now: Instant) -> Option<DeviceEvent> {
        if self.sent.is_some() || self.due().is_none_or(|due| due > now) {
            return None;
        }
        let mut event = match self.waiting.pop_front() {
            Some(event) => {
                self.rested = self.rested.max(now) + PACE;
                event
            }
            None => {
                self.health_at = now + HEALTH_PACE;
                self.health.take()?
            }
        };
        event.dropped = self.untold;
        Some(event)
    }

    pub(super) fn sent(&mut self, event: DeviceEvent, cseq: u32, now: Instant) {
        let until = now + ANSWER;
        self.sent = Some(Sent { cseq, until, event });
    }

    /// The CMS has answered.
    pub(super) fn answered(&mut self, cseq: Option<u32>, taken: bool) {
        let Some(sent) = self.sent.take_if(|sent| Some(sent.cseq) == cseq) else {
            return;
        };
        if taken {
            self.stats.taken += 1;
            self.untold -= sent.event.dropped.min(self.untold);
        } else {
            self.stats.refused += 1;
        }
    }

    /// An answer that has not come by now does not come.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.sent.take_if(|sent| sent.until <= now).is_some() {
            self.dropped(1);
        }
    }

    /// The connection has ended. What was not answered is sent once more.
    pub(super) fn disconnected(&mut self) {
        let Some(Sent { event, .. }) = self.sent.take() else {
            return;
        };
        if event.health {
            if self.health.is_some() {
                self.stats.replaced += 1;
            } else {
                self.health = Some(event);
            }
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_front(event);
        } else {
            self.dropped(1);
        }
    }

    /// The CMS takes none.
    pub(super) fn clear(&mut self) {
        let health = usize::from(self.health.take().is_some());
        let all = self.waiting.len() + health;
        self.waiting.clear();
        self.dropped(all as u64);
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        if let Some(sent) = &self.sent {
            return Some(sent.until);
        }
        if self.waiting.is_empty() {
            return self.health.as_ref().map(|_| self.health_at);
        }
        let ahead = PACE * (BURST - 1);
        Some(self.rested.checked_sub(ahead).unwrap_or(self.rested))
    }

    fn dropped(&mut self, count: u64) {
        self.untold += count;
        self.stats.dropped += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> DeviceEvent {
        DeviceEvent::new(name)
    }

    #[test]
    fn the_oldest_go_and_the_next_one_tells_how_many() {
        let now = Instant::now();
        let mut outbox = Outbox::new(now);
        let verdicts = (0..40).map(|n| outbox.push(event(&format!("e{n}"))));
        let dropped = verdicts.filter(|v| *v == EventVerdict::DroppedOldest);
        assert_eq!(dropped.count(), 8);
        let first = outbox.next(now).unwrap();
        assert_eq!((first.name.as_str(), first.number), ("e8", 9));
        assert_eq!(first.dropped, 8);
        outbox.sent(first, 5, now);
        assert_eq!(outbox.next(now), None, "one at a time");
        outbox.answered(Some(4), true);
        assert_eq!(outbox.next(now), None, "another one's answer");
        outbox.answered(Some(5), true);
        assert_eq!(outbox.next(now).unwrap().dropped, 0, "told once");
    }

    #[test]
    fn a_burst_is_followed_by_one_each_second() {
        let mut now = Instant::now();
        let begin = now;
        let mut outbox = Outbox::new(now);
        for n in 0..30 {
            outbox.push(event(&format!("e{n}")));
        }
        let mut times = Vec::new();
        while let Some(due) = outbox.due() {
            now = now.max(due);
            let event = outbox.next(now).unwrap();
            outbox.sent(event, 1, now);
            outbox.answered(Some(1), true);
            times.push((now - begin).as_secs());
        }
        assert_eq!(times[..11], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(*times.last().unwrap(), 20);
    }

    #[test]
    fn only_the_newest_health_is_sent_and_behind_what_happened() {
        let now = Instant::now();
        let mut outbox = Outbox::new(now);
        for celsius in ["40", "41", "42"] {
            outbox.push(DeviceEvent::health(Default::default()).with("celsius", celsius));
        }
        outbox.push(event("door"));
        let first = outbox.next(now).unwrap();
        assert_eq!(first.name, "door");
        outbox.sent(first, 1, now);
        outbox.answered(Some(1), false);
        let health = outbox.next(now).unwrap();
        assert_eq!(health.data.text_or_empty("celsius"), "42");
        outbox.sent(health, 2, now);
        outbox.answered(Some(2), true);
        outbox.push(DeviceEvent::health(Default::default()));
        assert_eq!(outbox.next(now), None, "not so often");
        assert_eq!(outbox.due(), Some(now + HEALTH_PACE));
        let stats = outbox.stats();
        assert_eq!((stats.taken, stats.refused, stats.replaced), (1, 1, 2));
    }

    #[test]
    fn what_was_not_answered_is_sent_again_with_its_number_on_the_next_connection() {
        let now = Instant::now();
        let mut outbox = Outbox::new(now);
        outbox.push(event("a"));
        outbox.push(event("b"));
        let first = outbox.next(now).unwrap();
        outbox.sent(first.clone(), 1, now);
        outbox.disconnected();
        assert_eq!(outbox.next(now), Some(first.clone()));
        outbox.sent(first, 2, now);
        outbox.expire(now + ANSWER);
        assert_eq!(
            outbox.next(now + ANSWER).unwrap().dropped,
            1,
            "nobody answered"
        );
        outbox.clear();
        assert_eq!(outbox.due(), None);
    }
}
