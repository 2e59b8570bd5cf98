//! Whom to dial next, and when.
//!
//! The candidates are the configured addresses, tried in turn, and behind them the place where a
//! CMS sent us. The address that last took us is tried first after a short outage. Each wait is
//! drawn from the back-off; an address that asked for time, or refused us, is left alone longer
//! while others are tried.

use std::time::{Duration, Instant};

use easydarwin_core::protocol::ErrorNum;

use super::{CmsAddress, DisconnectReason};
use crate::backoff::Backoff;

/// Longest wait that a CMS can ask for which has shown who it is.
const PROVEN_HOLD: Duration = Duration::from_secs(3600);
/// Longest wait that anybody can ask for: a CMS that has too many at the door cannot prove itself
/// to each of them, and whoever forges its answer gains no more than this.
const UNPROVEN_HOLD: Duration = Duration::from_secs(60);
/// Redirects that are followed one after the other.
const MAX_HOPS: u8 = 3;
/// Who was sent elsewhere asks at home again after about this time.
const HOME_AFTER: Duration = Duration::from_secs(3600);
/// Up to this much of [`HOME_AFTER`] is left out, so that not all come home in the same moment.
const HOME_SPREAD: Duration = Duration::from_secs(360);
/// Redirects are followed, and homes returned to, within this time, for the same reason.
const HOP: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(1);
/// Up to this much is waited beyond what a CMS asked for, which may have asked others for the same.
const HOLD_SPREAD: Duration = Duration::from_secs(15);
/// A registration that lasted this long makes the next wait a short one.
pub(super) const LASTING: Duration = Duration::from_secs(10);

/// Why the connection is no more, as far as it matters for the next one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    /// No connection, no answer, or no sense in it.
    Broken,
    /// It closed a registered connection that had lasted.
    Closed,
    /// It refused what would be refused again.
    Refused,
}

/// The candidates and what is known of them.
#[derive(Debug)]
pub(super) struct Dial {
    homes: Vec<Candidate>,
    elsewhere: Option<Elsewhere>,
    /// The candidate in use; at `homes.len()` stands `elsewhere`.
    turn: usize,
    /// The address of ours that last let us in, or sent us elsewhere.
    home: usize,
    backoff: Backoff,
}

#[derive(Debug)]
struct Candidate {
    address: CmsAddress,
    /// Not to be dialed earlier.
    held: Option<Instant>,
    refused_since: Option<Instant>,
}

/// Where a CMS sent us.
#[derive(Debug)]
struct Elsewhere {
    candidate: Candidate,
    /// Redirects from home to there.
    hops: u8,
    /// When to ask at home again.
    home_at: Instant,
}

impl Dial {
    pub(super) fn new(addresses: &[CmsAddress], seed: u64) -> Self {
        Self {
            homes: addresses.iter().cloned().map(Candidate::new).collect(),
            elsewhere: None,
            turn: 0,
            home: 0,
            backoff: Backoff::new(seed),
        }
    }

    /// The address in use, or to be dialed next.
    pub(super) fn address(&self) -> Option<&CmsAddress> {
        self.candidate(self.turn).map(|c| &c.address)
    }

    /// Whether the address in use is one that a CMS named.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.turn >= self.homes.len()
    }

    /// Tries since the last success.
    pub(super) fn attempts(&self) -> u32 {
        self.backoff.attempts()
    }

    /// When to leave a place that we were sent to.
    pub(super) fn home_at(&self) -> Option<Instant> {
        let elsewhere = self.elsewhere.as_ref().filter(|_| self.is_elsewhere())?;
        let held = self.candidate(self.home).and_then(|c| c.held);
        Some(held.map_or(elsewhere.home_at, |held| held.max(elsewhere.home_at)))
    }

    /// The address in use took us.
    pub(super) fn registered(&mut self, now: Instant) {
        if self.is_elsewhere() {
            let stay = self.stay();
            if let Some(elsewhere) = &mut self.elsewhere {
                elsewhere.candidate.free();
                // Home was asked, or could not be.
                if elsewhere.home_at <= now {
                    elsewhere.home_at = now + stay;
                }
            }
        } else {
            self.elsewhere = None;
            self.home = self.turn;
            if let Some(candidate) = self.homes.get_mut(self.turn) {
                candidate.free();
            }
        }
    }

    /// A registration has lasted.
    pub(super) fn lasted(&mut self) {
        self.backoff.reset();
    }

    /// What a CMS that asks for this time gets of it.
    pub(super) fn granted(retry_after: Duration, proven: bool) -> Duration {
        retry_after.min(if proven { PROVEN_HOLD } else { UNPROVEN_HOLD })
    }

    /// The connection is no more, and the address in use asked for the time `hold`. Returns when
    /// to dial the next one.
    pub(super) fn failed(&mut self, failure: Failure, hold: Duration, now: Instant) -> Instant {
        let at = now + self.backoff.next(now);
        let held = self.hold(failure, hold, now);
        self.set_held(held);
        let first = match failure {
            Failure::Closed => self.turn,
            Failure::Broken | Failure::Refused => self.after(self.turn),
        };
        if matches!(failure, Failure::Refused) && self.is_elsewhere() {
            self.elsewhere = None;
        }
        let in_turn = || {
            std::iter::successors(Some(first), |&turn| Some(self.after(turn)))
                .take(self.candidates().count())
        };
        let held = |&turn: &usize| self.candidate(turn).and_then(|c| c.held);
        let free = |turn: &usize| held(turn).is_none_or(|until| until <= at);
        let next = in_turn().find(free).or_else(|| in_turn().min_by_key(held));
        let until = next.as_ref().and_then(held);
        self.turn = next.unwrap_or(first);
        until.map_or(at, |until| until.max(at))
    }

    /// Who follows in turn. The place that a home sent us to stands behind that home, so that all
    /// are tried before one is tried again.
    fn after(&self, turn: usize) -> usize {
        if turn == self.home && self.elsewhere.is_some() {
            return self.homes.len();
        }
        let of_home = if turn == self.homes.len() {
            self.home
        } else {
            turn
        };
        (of_home + 1) % self.homes.len().max(1)
    }

    /// Until when the address in use is to be left alone.
    fn hold(&mut self, failure: Failure, hold: Duration, now: Instant) -> Option<Instant> {
        let asked =
            (!hold.is_zero()).then(|| now + hold + self.backoff.spread(hold.min(HOLD_SPREAD)));
        if !matches!(failure, Failure::Refused) {
            return asked;
        }
        let candidate = self.candidate_mut(self.turn)?;
        let since = *candidate.refused_since.get_or_insert(now);
        asked.max(Some(now + self.backoff.refused(since, now)))
    }

    /// A CMS that is to be believed sends us to `to`. Returns when to dial, or `None` if we stay.
    pub(super) fn redirected(&mut self, to: &str, now: Instant) -> Option<Instant> {
        let here = self.address()?;
        let address = here.redirected(to).filter(|address| address != here)?;
        let hops = match &self.elsewhere {
            Some(elsewhere) if self.is_elsewhere() => elsewhere.hops,
            _ => 0,
        };
        let known = self.candidates().find(|known| known.address == address);
        let held = known.and_then(|known| known.held);
        // Who asked for time gets it, also when others send us there.
        if hops >= MAX_HOPS || held.is_some_and(|until| now < until) {
            return None;
        }
        if !self.is_elsewhere() {
            self.home = self.turn;
        }
        self.elsewhere = Some(Elsewhere {
            candidate: Candidate::new(address),
            hops: hops + 1,
            home_at: now + self.stay(),
        });
        self.turn = self.homes.len();
        Some(self.hop(now))
    }

    /// It is time to ask at home again. Returns when to dial.
    pub(super) fn go_home(&mut self, now: Instant) -> Instant {
        self.turn = self.home;
        self.hop(now)
    }

    fn hop(&mut self, now: Instant) -> Instant {
        now + self.backoff.spread(HOP.end).max(HOP.start)
    }

    fn stay(&mut self) -> Duration {
        HOME_AFTER.saturating_sub(self.backoff.spread(HOME_SPREAD))
    }

    /// Leaves the address in use alone, by whichever way it is known.
    fn set_held(&mut self, held: Option<Instant>) {
        let Some(address) = self.address().cloned() else {
            return;
        };
        let elsewhere = self.elsewhere.as_mut().map(|e| &mut e.candidate);
        let all = self.homes.iter_mut().chain(elsewhere);
        for candidate in all.filter(|candidate| candidate.address == address) {
            candidate.held = held;
        }
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let elsewhere = self.elsewhere.as_ref().map(|e| &e.candidate);
        self.homes.iter().chain(elsewhere)
    }

    fn candidate(&self, turn: usize) -> Option<&Candidate> {
        self.candidates().nth(turn)
    }

    fn candidate_mut(&mut self, turn: usize) -> Option<&mut Candidate> {
        let elsewhere = self.elsewhere.as_mut().map(|e| &mut e.candidate);
        self.homes.get_mut(turn).or(elsewhere)
    }
}

impl Candidate {
    fn new(address: CmsAddress) -> Self {
        Self {
            address,
            held: None,
            refused_since: None,
        }
    }

    /// It let us in.
    fn free(&mut self) {
        self.held = None;
        self.refused_since = None;
    }
}

/// Refusals that only a person can change: wrong secret, unknown or disabled serial.
fn is_final(error: ErrorNum) -> bool {
    const FINAL: [ErrorNum; 5] = [
        ErrorNum::BAD_REQUEST,
        ErrorNum::UNAUTHORIZED,
        ErrorNum::FORBIDDEN,
        ErrorNum::NOT_FOUND,
        ErrorNum::DEVICE_NOT_FOUND,
    ];
    FINAL.contains(&error)
}

impl Failure {
    /// What is to be made of this reason for giving a connection up.
    pub(super) fn of(reason: &DisconnectReason) -> Self {
        match reason {
            DisconnectReason::ServerProof | DisconnectReason::Unproven => Self::Refused,
            DisconnectReason::Refused(error) if is_final(*error) => Self::Refused,
            _ => Self::Broken,
        }
    }
}
