//! How a connection ends, and what follows.

use std::time::{Duration, Instant};

use super::dial::{Failure, LASTING};
use super::{ControlEngine, ControlEvent, DisconnectReason, Phase};

impl ControlEngine {
    /// The connection could not be made, or has ended. A name that is not resolved counts as one
    /// that could not be made: the next address is tried.
    pub fn disconnected(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Offline { .. }) {
            return;
        }
        let failure = if self.lasted(now) {
            Failure::Closed
        } else {
            Failure::Broken
        };
        self.end(failure, Duration::ZERO, now);
    }

    /// Gives the connection up for something that no answer asked for.
    pub(super) fn break_off(&mut self, reason: DisconnectReason, now: Instant) {
        self.give_up(reason, Duration::ZERO, now);
    }

    /// Gives the connection up; its address was granted the time `hold`.
    pub(super) fn give_up(&mut self, reason: DisconnectReason, hold: Duration, now: Instant) {
        let failure = Failure::of(&reason);
        let refused = matches!(failure, Failure::Refused)
            .then(|| self.dial.address().cloned())
            .flatten();
        let until = self.end(failure, hold, now);
        self.events
            .push_back(ControlEvent::Disconnect(reason.clone()));
        if let Some(address) = refused {
            self.events.push_back(ControlEvent::LoginRefused {
                address,
                reason,
                retry_in: until.saturating_duration_since(now),
            });
        }
    }

    /// Goes where a CMS sent us.
    pub(super) fn leave_for(&mut self, until: Instant) {
        if let Some(address) = self.dial.address() {
            let reason = DisconnectReason::Redirected(address.clone());
            self.events.push_back(ControlEvent::Disconnect(reason));
        }
        self.offline(until);
    }

    /// Leaves the place that we were sent to.
    pub(super) fn go_home(&mut self, now: Instant) {
        if self.lasted(now) {
            self.dial.lasted();
        }
        let until = self.dial.go_home(now);
        self.events
            .push_back(ControlEvent::Disconnect(DisconnectReason::GoingHome));
        self.offline(until);
    }

    fn end(&mut self, failure: Failure, hold: Duration, now: Instant) -> Instant {
        if self.lasted(now) {
            self.dial.lasted();
        }
        let until = self.dial.failed(failure, hold, now);
        self.offline(until);
        until
    }

    fn offline(&mut self, until: Instant) {
        self.phase = Phase::Offline { until };
        self.pending.clear();
        self.clear_output();
        self.talk_ends();
        self.outbox.disconnected();
        self.end_uploads();
    }

    fn lasted(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Online { since, .. } => now.saturating_duration_since(since) >= LASTING,
            _ => false,
        }
    }
}
