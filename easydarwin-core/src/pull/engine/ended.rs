//! What follows the end of a connection.

use std::time::{Duration, Instant};

use super::{Phase, SourceEngine, SourceOutput, Stale, Then};
use crate::pull::{Failure, FailureKind, Quirk, SourceMemory, SourceMode};
use crate::rtsp::{KeepAlive, Method, Status};

/// What is known about the connection that ended.
struct Ending {
    /// How long media flowed.
    played: Option<Duration>,
    /// It had come as far as SETUP.
    was_setting_up: bool,
    session_timeout: Duration,
    /// Since when a keep-alive waited for its answer.
    unanswered: Option<Instant>,
    /// Where a redirection leads.
    location: Option<String>,
    then: Then,
}

impl SourceEngine {
    /// The connection is over: tidies up and decides what follows.
    pub(super) fn ended(&mut self, failure: Failure, now: Instant) {
        let Phase::Busy(busy) = std::mem::replace(&mut self.phase, Phase::Stopped) else {
            return;
        };
        let mut conversation = busy.conversation;
        self.last_bytes = conversation.take_output();
        self.outputs.push_back(SourceOutput::Close {
            attempt: self.attempt,
        });
        if conversation.is_announced() {
            // What was changed comes back at once: readers wait for it.
            let kind = match busy.then {
                Then::Restart => FailureKind::Ended,
                Then::Decide | Then::Stop => failure.kind(),
            };
            self.outputs.push_back(SourceOutput::Offline(kind));
        }
        let ending = Ending {
            played: conversation
                .playing_since()
                .filter(|_| conversation.has_media())
                .map(|since| now.saturating_duration_since(since)),
            was_setting_up: conversation.was_setting_up(),
            session_timeout: conversation.session_timeout(),
            unanswered: conversation.unanswered_keep_alive(),
            location: conversation.take_location(),
            then: busy.then,
        };
        self.left_behind(conversation.left_behind(now), &failure, now);
        self.release_at = None;
        match ending.then {
            Then::Restart if self.is_due() => self.begin(now),
            Then::Stop | Then::Restart => {
                // Wanted again while it was being let go.
                if self.wanted && self.is_due() {
                    self.begin(now);
                }
            }
            Then::Decide => self.decide(failure, &ending, now),
        }
        self.outputs.push_back(SourceOutput::Changed);
    }

    /// Notes a session that the source may still hold.
    fn left_behind(
        &mut self,
        session: Option<super::StaleSession>,
        failure: &Failure,
        now: Instant,
    ) {
        if let Some(session) = session {
            self.stale = Some(Stale {
                session,
                tried: false,
                refused: false,
            });
            return;
        }
        let Some(stale) = &mut self.stale else {
            return;
        };
        if stale.session.expires <= now {
            self.stale = None;
            return;
        }
        let teardown = matches!(
            failure,
            Failure::NoAnswer {
                method: Method::Teardown,
                ..
            }
        );
        stale.tried |= teardown || stale.refused || stale.session.clings;
    }

    fn decide(&mut self, failure: Failure, ending: &Ending, now: Instant) {
        if let Some(location) = &ending.location {
            match self.way.follow(location) {
                Ok(()) => {
                    self.counters.redirects += 1;
                    return self.dial(now);
                }
                Err(error) => return self.wait(error.into(), now),
            }
        }
        if let Some(played) = ending.played {
            self.lost = true;
            if played >= self.config.stable_after {
                self.backoff.reset();
            }
            self.learn_keep_alive(&failure, played, ending, now);
        } else {
            if self.is_held_by_stale(&failure) {
                return self.retry_stale(now);
            }
            if is_about_transport(&failure, ending) && self.rung + 1 < self.ladder.len() {
                self.rung += 1;
                self.failed(&failure);
                return self.dial(now);
            }
        }
        self.wait(failure, now);
    }

    /// Draws conclusions about keep-alives from how a session ended that had played.
    fn learn_keep_alive(
        &mut self,
        failure: &Failure,
        played: Duration,
        ending: &Ending,
        now: Instant,
    ) {
        if !matches!(
            failure.kind(),
            FailureKind::Ended | FailureKind::Silent | FailureKind::Unreachable
        ) {
            return;
        }
        let upon_keep_alive = *failure == Failure::Closed
            && ending.unanswered.is_some_and(|sent| {
                now.saturating_duration_since(sent) <= self.config.keep_alive_grace
            });
        let keep_alive = if upon_keep_alive {
            self.note(Quirk::KeepAliveCloses);
            self.memory.keep_alive.next()
        } else if self.memory.keep_alive != KeepAlive::GetParameter
            && played <= ending.session_timeout * 2
        {
            // As if nothing had been sent: perhaps the kinds above do better by now.
            self.note(Quirk::KeepAliveIgnored);
            KeepAlive::GetParameter
        } else {
            return;
        };
        self.remember(SourceMemory {
            keep_alive,
            ..self.memory
        });
    }

    /// Sources with room for one reader refuse us while they believe that we are still there.
    fn is_held_by_stale(&self, failure: &Failure) -> bool {
        let full = matches!(
            failure,
            Failure::Refused {
                status: Status::NOT_ENOUGH_BANDWIDTH | Status::UNAVAILABLE,
                ..
            }
        );
        full && self.stale.is_some()
    }

    /// Ends the earlier session, or waits until it has expired.
    fn retry_stale(&mut self, now: Instant) {
        let Some(stale) = &mut self.stale else {
            return;
        };
        if !stale.tried {
            stale.refused = true;
            return self.dial(now);
        }
        let patience = now + self.config.stale_patience;
        let until = stale.session.expires.min(patience);
        self.stale = None;
        self.note(Quirk::StaleWait);
        self.failed(&Failure::StaleSession);
        self.wait_until(FailureKind::StaleSession, until, now);
    }

    fn failed(&mut self, failure: &Failure) {
        let count = self.counters.failures.entry(failure.kind()).or_default();
        *count += 1;
        self.counters.last_error = Some(failure.to_string());
    }

    fn wait(&mut self, failure: Failure, now: Instant) {
        self.failed(&failure);
        let kind = failure.kind();
        let until = if kind.is_denied() {
            let until = now + self.denied.next(self.config.denied, &mut self.random);
            self.denied_until = Some(until);
            until
        } else {
            now + self.backoff.next(self.config.backoff, &mut self.random)
        };
        self.outputs
            .push_back(SourceOutput::Failed(failure, until.duration_since(now)));
        self.wait_until(kind, until, now);
    }

    fn wait_until(&mut self, kind: FailureKind, until: Instant, now: Instant) {
        let wanted = self.spec.mode == SourceMode::Permanent || self.wanted;
        self.phase = match wanted && !self.stopping {
            true => Phase::Waiting {
                kind,
                until: until.max(now),
            },
            false => Phase::Stopped,
        };
    }
}

/// Whether another transport may help.
fn is_about_transport(failure: &Failure, ending: &Ending) -> bool {
    match failure {
        Failure::NoMedia(_) => true,
        Failure::Refused { method, status, .. } => {
            let full = [Status::NOT_ENOUGH_BANDWIDTH, Status::UNAVAILABLE];
            *method == Method::Setup && !full.contains(status)
        }
        Failure::BadAnswer(_) | Failure::Closed | Failure::NoAnswer { .. } => ending.was_setting_up,
        _ => false,
    }
}
