//! The supervisor of one source, without sockets and clocks: when to connect, over what, how to
//! keep the session alive, when a connection is dead, how long to wait.

mod ended;
mod input;
mod output;
mod report;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::backoff::Backoff;
use super::conversation::{Conversation, Happened, Opening, StaleSession};
use super::info::SourceCounters;
use super::{
    Failure, FailureKind, PullConfig, PullTransport, Quirk, SourceMemory, SourceMode, SourceSpec,
};
use crate::rtsp::Redirects;
pub use output::{SourceOutput, SourceStep};

/// Supervises one source. After every input write [`take_output`](Self::take_output), then drain
/// [`poll_output`](Self::poll_output); the packet of a [`SourceStep::Media`] is to be published
/// after that.
#[derive(Debug)]
pub struct SourceEngine {
    spec: SourceSpec,
    config: PullConfig,
    memory: SourceMemory,
    random: fastrand::Rng,
    outputs: VecDeque<SourceOutput>,
    counters: SourceCounters,
    /// Somebody views the source, or waits for it.
    wanted: bool,
    /// When a source on demand is let go.
    release_at: Option<Instant>,
    phase: Phase,
    /// Numbers connections, so that late news of an earlier one is known for what it is.
    attempt: u64,
    /// The way from the source's URL over redirections.
    way: Redirects,
    ladder: Vec<PullTransport>,
    rung: usize,
    backoff: Backoff,
    denied: Backoff,
    /// A refused login is not tried again before, whoever asks.
    denied_until: Option<Instant>,
    stale: Option<Stale>,
    /// Media was lost and not had again since.
    lost: bool,
    stopping: bool,
    /// For the connection that is about to be closed: TEARDOWN, perhaps.
    last_bytes: Option<Bytes>,
}

#[derive(Debug)]
enum Phase {
    Stopped,
    Waiting { kind: FailureKind, until: Instant },
    Busy(Box<Busy>),
}

/// A connection, or the way to one.
#[derive(Debug)]
struct Busy {
    conversation: Conversation,
    /// When the connection has to stand.
    dial_until: Option<Instant>,
    then: Then,
}

/// What follows the end of a conversation that we end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// What its failure asks for.
    Decide,
    /// Nothing.
    Stop,
    /// A new one at once, with what was changed.
    Restart,
}

/// A session that the source may still hold.
#[derive(Debug)]
struct Stale {
    session: StaleSession,
    /// It was tried to end it, in vain.
    tried: bool,
    /// The source refused us, perhaps because of it.
    refused: bool,
}

impl SourceEngine {
    /// A supervisor that does nothing before [`start`](Self::start). `seed` makes its waits
    /// repeatable; sources should have different ones.
    pub fn new(spec: SourceSpec, config: PullConfig, memory: SourceMemory, seed: u64) -> Self {
        let way = Redirects::new(
            spec.url.client_url().clone(),
            spec.login(),
            config.redirects,
        );
        Self {
            ladder: spec.ladder(memory.transport),
            spec,
            config,
            memory,
            random: fastrand::Rng::with_seed(seed),
            outputs: VecDeque::new(),
            counters: SourceCounters::default(),
            wanted: false,
            release_at: None,
            phase: Phase::Stopped,
            attempt: 0,
            way,
            rung: 0,
            backoff: Backoff::default(),
            denied: Backoff::default(),
            denied_until: None,
            stale: None,
            lost: false,
            stopping: false,
            last_bytes: None,
        }
    }

    /// Begins, if the source is permanent or wanted.
    pub fn start(&mut self, now: Instant) {
        if self.is_due() && matches!(self.phase, Phase::Stopped) {
            self.begin(now);
        }
    }

    /// Whether somebody views the source or waits for it.
    pub fn set_wanted(&mut self, wanted: bool, now: Instant) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        self.release_at = None;
        if wanted {
            self.start(now);
        } else if self.spec.mode == SourceMode::OnDemand {
            match self.phase {
                Phase::Busy(_) => self.release_at = Some(now + self.config.idle_grace),
                Phase::Waiting { .. } => self.phase = Phase::Stopped,
                Phase::Stopped => {}
            }
        }
    }

    /// Changes the source: it is connected to anew, at once. What was learned about it is kept
    /// as long as it is the same host.
    pub fn update(&mut self, spec: SourceSpec, now: Instant) {
        let (old, new) = (self.spec.url.client_url(), spec.url.client_url());
        if old.host() != new.host() {
            self.memory = SourceMemory::default();
            self.stale = None;
        }
        self.spec = spec;
        self.backoff.reset();
        self.denied.reset();
        self.denied_until = None;
        match &mut self.phase {
            Phase::Busy(busy) => {
                busy.then = Then::Restart;
                busy.conversation.leave(Failure::Stopped, now);
                self.drain(now);
            }
            Phase::Waiting { .. } | Phase::Stopped => {
                self.phase = Phase::Stopped;
                self.start(now);
            }
        }
    }

    /// Ends for good: takes leave of the source. Done when [`is_stopped`](Self::is_stopped).
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        match &mut self.phase {
            Phase::Busy(busy) => {
                busy.then = Then::Stop;
                busy.conversation.leave(Failure::Stopped, now);
                self.drain(now);
            }
            Phase::Waiting { .. } | Phase::Stopped => self.phase = Phase::Stopped,
        }
    }

    /// Nothing is going on.
    pub fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    /// The connection of [`SourceOutput::Connect`] stands.
    /// `secure`: nobody on the way can read along, so Basic may be answered.
    pub fn connected(&mut self, attempt: u64, secure: bool, now: Instant) {
        if let Some(busy) = self.busy(attempt) {
            busy.dial_until = None;
            busy.conversation.connected(secure, now);
            self.drain(now);
        }
    }

    /// There is no connection.
    pub fn connect_failed(&mut self, attempt: u64, reason: &str, now: Instant) {
        if self.busy(attempt).is_some() {
            self.ended(Failure::Unreachable(reason.to_owned()), now);
        }
    }

    /// The connection was closed, or broke.
    pub fn closed(&mut self, attempt: u64, now: Instant) {
        if let Some(busy) = self.busy(attempt) {
            busy.conversation.closed();
            self.drain(now);
        }
    }

    /// The stream could not be published here.
    pub fn publish_refused(&mut self, reason: &str, now: Instant) {
        if let Phase::Busy(busy) = &mut self.phase {
            busy.conversation
                .leave(Failure::PathTaken(reason.to_owned()), now);
            self.drain(now);
        }
    }

    /// What is to be done.
    pub fn poll_output(&mut self) -> Option<SourceOutput> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Stopped => None,
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Busy(busy) => earlier(busy.dial_until, busy.conversation.poll_timeout()),
        };
        earlier(own, self.release_at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.release_at = None;
            if let Phase::Busy(busy) = &mut self.phase {
                busy.then = Then::Stop;
                busy.conversation.leave(Failure::Stopped, now);
            }
            self.drain(now);
        }
        match &mut self.phase {
            Phase::Stopped => {}
            Phase::Waiting { until, .. } => {
                if *until <= now {
                    self.begin(now);
                }
            }
            Phase::Busy(busy) => {
                if busy.dial_until.is_some_and(|until| until <= now) {
                    let after = self.config.connect_timeout.as_secs();
                    let slow = format!("no connection within {after} s");
                    return self.ended(Failure::Unreachable(slow), now);
                }
                busy.conversation.handle_timeout(now);
                self.drain(now);
            }
        }
    }

    fn is_due(&self) -> bool {
        !self.stopping && (self.wanted || self.spec.mode == SourceMode::Permanent)
    }

    fn busy(&mut self, attempt: u64) -> Option<&mut Busy> {
        match &mut self.phase {
            Phase::Busy(busy) if self.attempt == attempt => Some(busy),
            _ => None,
        }
    }

    fn count(&mut self, rtcp: bool, len: usize) {
        if !rtcp {
            self.counters.packets += 1;
            self.counters.bytes += u64::try_from(len).unwrap_or(0);
        }
    }

    /// A new round: from the source's URL, with the transport that worked last.
    fn begin(&mut self, now: Instant) {
        if let Some(until) = self.denied_until.filter(|until| *until > now) {
            let kind = FailureKind::Unauthorized;
            self.phase = Phase::Waiting { kind, until };
            return self.outputs.push_back(SourceOutput::Changed);
        }
        self.way = Redirects::new(
            self.spec.url.client_url().clone(),
            self.spec.login(),
            self.config.redirects,
        );
        self.ladder = self.spec.ladder(self.memory.transport);
        self.rung = 0;
        self.dial(now);
    }

    fn dial(&mut self, now: Instant) {
        self.attempt += 1;
        self.counters.attempts += 1;
        let rung = self.ladder.get(self.rung).copied();
        let transport = rung.unwrap_or(PullTransport::Tcp);
        let stale = self
            .stale
            .as_ref()
            .filter(|stale| !stale.tried && (stale.session.clings || stale.refused))
            .map(|stale| stale.session.clone());
        let opening = Opening {
            url: self.way.url(),
            login: self.way.login().clone(),
            transport,
            plain_basic: self.spec.plain_basic,
            keep_alive: self.memory.keep_alive,
            stale,
            random: self.random.u64(..),
        };
        let conversation = Conversation::new(opening, &self.config);
        self.outputs.push_back(SourceOutput::Connect {
            attempt: self.attempt,
            url: self.way.url().clone(),
            tunnel: transport == PullTransport::Tunnel,
        });
        self.phase = Phase::Busy(Box::new(Busy {
            conversation,
            dial_until: Some(now + self.config.connect_timeout),
            then: Then::Decide,
        }));
        self.outputs.push_back(SourceOutput::Changed);
    }

    fn remember(&mut self, memory: SourceMemory) {
        if self.memory != memory {
            self.memory = memory;
            self.outputs.push_back(SourceOutput::Remember(memory));
        }
    }

    fn note(&mut self, quirk: Quirk) {
        *self.counters.quirks.entry(quirk).or_default() += 1;
        self.outputs.push_back(SourceOutput::Quirk(quirk));
    }

    /// Passes on what the conversation has to say.
    fn drain(&mut self, now: Instant) {
        while let Phase::Busy(busy) = &mut self.phase {
            let Some(happened) = busy.conversation.poll_happened() else {
                let learned = busy.conversation.keep_alive();
                if learned != self.memory.keep_alive {
                    self.note(Quirk::KeepAliveRefused);
                    self.remember(SourceMemory {
                        keep_alive: learned,
                        ..self.memory
                    });
                }
                return;
            };
            match happened {
                Happened::Bind { track } => {
                    self.outputs.push_back(SourceOutput::Bind { socket: track });
                }
                Happened::Peer {
                    track,
                    source,
                    ports,
                } => self.outputs.push_back(SourceOutput::Peer {
                    socket: track,
                    source,
                    ports,
                }),
                Happened::Report { track, packet } => {
                    let socket = busy.conversation.socket_of(track);
                    let report = SourceOutput::Report { socket, packet };
                    self.outputs.push_back(report);
                }
                Happened::Publish(description) => {
                    self.outputs.push_back(SourceOutput::Publish(description));
                }
                Happened::Playing => self.playing(),
                Happened::Quirk(quirk) => self.note(quirk),
                Happened::Over(failure) => self.ended(failure, now),
            }
        }
    }

    fn playing(&mut self) {
        let Phase::Busy(busy) = &self.phase else {
            return;
        };
        let transport = Some(busy.conversation.transport());
        self.counters.connects += 1;
        if std::mem::take(&mut self.lost) {
            self.counters.reconnects += 1;
        }
        self.denied.reset();
        self.stale = None;
        self.remember(SourceMemory {
            transport,
            ..self.memory
        });
        self.outputs.push_back(SourceOutput::Changed);
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
