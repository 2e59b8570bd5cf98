use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::info::ForwardCounters;
use super::{ForwardConfig, ForwardInfo, ForwardMode, ForwardSpec};
use crate::pull::{Backoff, Failure, FailureKind, LinkState};

/// Supervises one forward, without sockets and clocks. After every input drain
/// [`poll_output`](Self::poll_output).
#[derive(Debug)]
pub struct ForwardEngine {
    spec: ForwardSpec,
    config: ForwardConfig,
    random: fastrand::Rng,
    outputs: VecDeque<ForwardOutput>,
    counters: ForwardCounters,
    phase: Phase,
    live: bool,
    attempt: u64,
    backoff: Backoff,
    denied: Backoff,
    /// A connection was lost and not had again since.
    lost: bool,
    stopping: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// There is no stream to push.
    Idle,
    Waiting {
        kind: FailureKind,
        until: Instant,
    },
    Connecting,
    Pushing {
        since: Instant,
    },
}

/// What is to be done for a forward.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum ForwardOutput {
    /// Ask for the stream as a viewer would, and tell `ended` if it cannot be had.
    Demand,
    /// Connect and push; tell `connected` and `ended`.
    Connect {
        /// To answer with.
        attempt: u64,
    },
    /// End the connection, with TEARDOWN.
    Disconnect,
    /// It failed and will be tried again after this time.
    Failed(Failure, Duration),
    /// State or counters changed.
    Changed,
}

impl ForwardEngine {
    /// A supervisor that does nothing before its stream is live, or
    /// [`start`](Self::start). `seed` makes its waits repeatable.
    pub fn new(spec: ForwardSpec, config: ForwardConfig, seed: u64) -> Self {
        Self {
            spec,
            config,
            random: fastrand::Rng::with_seed(seed),
            outputs: VecDeque::new(),
            counters: ForwardCounters::default(),
            phase: Phase::Idle,
            live: false,
            attempt: 0,
            backoff: Backoff::default(),
            denied: Backoff::default(),
            lost: false,
            stopping: false,
        }
    }

    /// Begins; a permanent one asks for its stream.
    pub fn start(&mut self) {
        self.begin();
    }

    /// Whether somebody publishes the stream.
    pub fn set_live(&mut self, live: bool) {
        if self.live == live {
            return;
        }
        self.live = live;
        match (live, self.phase) {
            (true, Phase::Idle) => self.begin(),
            (false, Phase::Connecting | Phase::Pushing { .. }) => {
                self.phase = Phase::Idle;
                self.lost = false;
                self.outputs.push_back(ForwardOutput::Disconnect);
                self.begin();
            }
            // Nothing to push, nothing to wait for.
            (false, Phase::Waiting { .. }) if self.spec.mode == ForwardMode::Live => {
                self.phase = Phase::Idle;
                self.outputs.push_back(ForwardOutput::Changed);
            }
            _ => {}
        }
    }

    /// The other server takes media.
    pub fn connected(&mut self, attempt: u64, now: Instant) {
        if attempt != self.attempt || !matches!(self.phase, Phase::Connecting) {
            return;
        }
        self.phase = Phase::Pushing { since: now };
        self.counters.connects += 1;
        if std::mem::take(&mut self.lost) {
            self.counters.reconnects += 1;
        }
        self.denied.reset();
        self.outputs.push_back(ForwardOutput::Changed);
    }

    /// There is no connection (any more), or the stream cannot be had.
    pub fn ended(&mut self, attempt: u64, failure: Failure, now: Instant) {
        if attempt != self.attempt || matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        if let Phase::Pushing { since } = self.phase {
            self.lost = true;
            if now.saturating_duration_since(since) >= self.config.stable_after {
                self.backoff.reset();
            }
        }
        let kind = failure.kind();
        *self.counters.failures.entry(kind).or_default() += 1;
        self.counters.last_error = Some(failure.to_string());
        let wait = if kind.is_denied() {
            self.denied.next(self.config.denied, &mut self.random)
        } else {
            self.backoff.next(self.config.backoff, &mut self.random)
        };
        self.phase = Phase::Waiting {
            kind,
            until: now + wait,
        };
        self.outputs.push_back(ForwardOutput::Failed(failure, wait));
        self.outputs.push_back(ForwardOutput::Changed);
    }

    /// Changes where it goes: at once.
    pub fn update(&mut self, spec: ForwardSpec) {
        self.spec = spec;
        self.backoff.reset();
        self.denied.reset();
        if matches!(self.phase, Phase::Connecting | Phase::Pushing { .. }) {
            self.outputs.push_back(ForwardOutput::Disconnect);
        }
        self.phase = Phase::Idle;
        self.begin();
    }

    /// Ends for good.
    pub fn stop(&mut self) {
        self.stopping = true;
        if matches!(self.phase, Phase::Connecting | Phase::Pushing { .. }) {
            self.outputs.push_back(ForwardOutput::Disconnect);
        }
        self.phase = Phase::Idle;
        self.outputs.push_back(ForwardOutput::Changed);
    }

    /// What is to be done.
    pub fn poll_output(&mut self) -> Option<ForwardOutput> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Waiting { until, .. } = self.phase
            && until <= now
        {
            self.phase = Phase::Idle;
            self.begin();
        }
    }

    /// The forward as it was given.
    pub fn spec(&self) -> &ForwardSpec {
        &self.spec
    }

    /// The connection that was asked for last.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// State and counters, without secrets.
    pub fn info(&self, now: Instant) -> ForwardInfo {
        let (state, reason, next) = match self.phase {
            Phase::Idle => (LinkState::Stopped, None, None),
            Phase::Connecting => (LinkState::Connecting, None, None),
            Phase::Pushing { .. } => (LinkState::Playing, None, None),
            Phase::Waiting { kind, until } => {
                let left = until.saturating_duration_since(now).as_millis();
                let left = u64::try_from(left).unwrap_or(u64::MAX);
                (LinkState::Waiting, Some(kind), Some(left))
            }
        };
        ForwardInfo {
            path: self.spec.path.as_str().to_owned(),
            url: self.spec.url.to_string(),
            mode: self.spec.mode,
            state,
            reason,
            next_attempt_ms: next,
            reader: None,
            counters: self.counters.clone(),
        }
    }

    fn begin(&mut self) {
        if self.stopping {
            return;
        }
        if self.live {
            self.attempt += 1;
            self.counters.attempts += 1;
            self.phase = Phase::Connecting;
            let attempt = self.attempt;
            self.outputs.push_back(ForwardOutput::Connect { attempt });
        } else if self.spec.mode == ForwardMode::Permanent {
            self.outputs.push_back(ForwardOutput::Demand);
        }
        self.outputs.push_back(ForwardOutput::Changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::StreamPath;
    use crate::rtsp::LoginError;

    fn engine(mode: ForwardMode) -> ForwardEngine {
        let path = StreamPath::parse("cam/1").unwrap();
        let mut spec = ForwardSpec::new(path, "rtsp://u:hush@other/cam/1".parse().unwrap());
        spec.mode = mode;
        ForwardEngine::new(spec, ForwardConfig::default(), 3)
    }

    fn drain(engine: &mut ForwardEngine) -> Vec<ForwardOutput> {
        let all = std::iter::from_fn(|| engine.poll_output());
        all.filter(|output| *output != ForwardOutput::Changed)
            .collect()
    }

    #[test]
    fn follows_the_life_of_its_stream() {
        let now = Instant::now();
        let mut engine = engine(ForwardMode::Live);
        engine.start();
        assert_eq!(drain(&mut engine), []);
        engine.set_live(true);
        assert_eq!(drain(&mut engine), [ForwardOutput::Connect { attempt: 1 }]);
        engine.connected(1, now);
        assert_eq!(engine.info(now).state, LinkState::Playing);
        engine.set_live(false);
        assert_eq!(drain(&mut engine), [ForwardOutput::Disconnect]);
        assert_eq!(engine.info(now).state, LinkState::Stopped);
        engine.set_live(true);
        drain(&mut engine);
        // News of the connection before change nothing.
        engine.ended(1, Failure::Closed, now);
        engine.connected(2, now);
        let counters = engine.info(now).counters;
        assert_eq!((counters.connects, counters.reconnects), (2, 0));
        assert!(counters.failures.is_empty());
    }

    #[test]
    fn a_day_of_a_server_that_is_away_half_of_each_hour() {
        let start = Instant::now();
        let mut now = start;
        let mut engine = engine(ForwardMode::Live);
        engine.set_live(true);
        let hour = |now: Instant| now.duration_since(start).as_secs() / 3600;
        let up = |now: Instant| now.duration_since(start).as_secs() % 3600 < 1800;
        let mut failures = 0;
        while hour(now) < 24 {
            for output in drain(&mut engine) {
                match output {
                    ForwardOutput::Connect { attempt } if up(now) => engine.connected(attempt, now),
                    ForwardOutput::Connect { attempt } => {
                        engine.ended(attempt, Failure::Unreachable("refused".into()), now);
                    }
                    ForwardOutput::Failed(_, wait) => {
                        failures += 1;
                        assert!(wait <= Duration::from_secs(30), "{wait:?}");
                    }
                    other => panic!("{other:?}"),
                }
            }
            now = engine
                .poll_timeout()
                .unwrap_or(now + Duration::from_secs(1));
            if !up(now) && engine.info(now).state == LinkState::Playing {
                engine.ended(engine.attempt(), Failure::Closed, now);
            }
            engine.handle_timeout(now);
        }
        let counters = engine.info(now).counters;
        assert_eq!((counters.connects, counters.reconnects), (24, 23));
        assert_eq!(counters.failures[&FailureKind::Ended], 24);
        // Half an hour of 15 to 30 s each time.
        assert!((24 * 60..=24 * 125).contains(&failures), "{failures}");
        assert_eq!(
            counters.attempts,
            counters.failures.values().sum::<u64>() + 1
        );
    }

    #[test]
    fn a_permanent_one_asks_for_its_stream() {
        let now = Instant::now();
        let mut engine = engine(ForwardMode::Permanent);
        engine.start();
        assert_eq!(drain(&mut engine), [ForwardOutput::Demand]);
        engine.ended(engine.attempt(), Failure::NotFound, now);
        drain(&mut engine);
        let due = engine.poll_timeout().unwrap();
        engine.handle_timeout(due);
        assert_eq!(drain(&mut engine), [ForwardOutput::Demand]);
        engine.set_live(true);
        assert_eq!(drain(&mut engine), [ForwardOutput::Connect { attempt: 1 }]);
        engine.set_live(false);
        assert_eq!(
            drain(&mut engine),
            [ForwardOutput::Disconnect, ForwardOutput::Demand]
        );
    }

    #[test]
    fn a_refused_login_waits_long_and_shows_no_secret() {
        let now = Instant::now();
        let mut engine = engine(ForwardMode::Live);
        engine.set_live(true);
        engine.ended(1, Failure::Login(LoginError::Password), now);
        let wait = engine.poll_timeout().unwrap() - now;
        assert!(wait >= Duration::from_secs(30) && wait <= Duration::from_secs(60));
        assert!(!format!("{engine:?} {:?}", engine.info(now)).contains("hush"));
        engine.set_live(false);
        assert_eq!(engine.poll_timeout(), None);
        engine.set_live(true);
        drain(&mut engine);
        engine.update(engine.spec().clone());
        assert_eq!(
            drain(&mut engine),
            [
                ForwardOutput::Disconnect,
                ForwardOutput::Connect { attempt: 3 }
            ]
        );
        engine.stop();
        assert_eq!(drain(&mut engine), [ForwardOutput::Disconnect]);
    }
}
