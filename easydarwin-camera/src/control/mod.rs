//! The conversation with the CMS without sockets and clocks.
//!
//! The shell gives bytes and time in and takes bytes and events out. After every call that takes
//! `now` it drains [`poll_event`](ControlEngine::poll_event) and
//! [`take_output`](ControlEngine::take_output), then waits for the socket or for
//! [`poll_timeout`](ControlEngine::poll_timeout), whichever is first.
//!
//! Pushes outlive the connection: a CMS that is restarted finds the streams still running.

mod config;
mod event;
mod login;
mod request;

pub use config::{ControlConfig, Credential};
pub use event::{Command, CommandId, ControlEvent, DisconnectReason, PushTarget};

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use easydarwin_core::protocol::login::NONCE_LEN;
use easydarwin_core::protocol::{
    Envelope, FrameLimits, MessageReader, MessageType, Snapshot, SnapshotAck,
};

use self::login::Exchange;
use self::request::Pending;
use crate::backoff::Backoff;
use crate::civil::Civil;

/// What a message of the CMS may measure; they are all small.
const LIMITS: FrameLimits = FrameLimits {
    head: 16 * 1024,
    body: 256 * 1024,
};
/// Largest snapshot in bytes: as base64 it still fits what a CMS takes.
pub const MAX_SNAPSHOT: usize = 1_000_000;
/// Bytes that may wait for the socket: some snapshots. More means a CMS that does not read.
const MAX_OUTPUT: usize = 4 << 20;
/// A registration that lasted this long makes the next wait a short one.
const LASTING: Duration = Duration::from_secs(10);
/// What a CMS may ask for as time between registers.
const KEEP_ALIVE_RANGE: std::ops::RangeInclusive<u64> = 1..=60;

const USER_AGENT: &str = concat!("EasyDarwinCamera/", env!("CARGO_PKG_VERSION"));

/// The device's end of the control connection.
#[derive(Debug)]
pub struct ControlEngine {
    config: ControlConfig,
    phase: Phase,
    backoff: Backoff,
    reader: MessageReader,
    output: VecDeque<Bytes>,
    output_len: usize,
    events: VecDeque<ControlEvent>,
    cseq: u32,
    /// When the last byte came.
    heard: Instant,
    pending: BTreeMap<CommandId, Pending>,
    next_command: u64,
    /// The CMS's clock: its time at a moment of ours.
    clock: Option<(Instant, SystemTime)>,
    next_snapshots: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Waits for the next try.
    Offline { until: Instant },
    /// The shell connects.
    Dialing,
    /// Logs in.
    Login {
        exchange: Exchange,
        deadline: Instant,
    },
    /// Registered.
    Online {
        since: Instant,
        keep_alive: Duration,
        next_register: Instant,
    },
}

impl ControlEngine {
    /// An engine that wants to connect at once.
    pub fn new(config: ControlConfig, now: Instant) -> Self {
        Self {
            backoff: Backoff::new(config.seed),
            config,
            phase: Phase::Offline { until: now },
            reader: MessageReader::new(LIMITS),
            output: VecDeque::new(),
            output_len: 0,
            events: VecDeque::new(),
            cseq: 0,
            heard: now,
            pending: BTreeMap::new(),
            next_command: 0,
            clock: None,
            next_snapshots: None,
        }
    }

    /// The connection that was asked for is there. `random` must come from a generator fit for
    /// secrets.
    pub fn connected(&mut self, random: [u8; NONCE_LEN], now: Instant) {
        self.heard = now;
        self.reader = MessageReader::new(LIMITS);
        self.clear_output();
        let (exchange, register) = Exchange::begin(&self.config, random);
        self.phase = Phase::Login {
            exchange,
            deadline: now + self.config.login_timeout,
        };
        let cseq = self.next_cseq();
        self.send(&register.to_envelope(cseq));
    }

    /// The connection could not be made, or has ended.
    pub fn disconnected(&mut self, now: Instant) {
        if let Phase::Online { since, .. } = self.phase
            && now.saturating_duration_since(since) >= LASTING
        {
            self.backoff.reset();
        }
        if !matches!(self.phase, Phase::Offline { .. }) {
            self.phase = Phase::Offline {
                until: now + self.backoff.next(now),
            };
        }
        self.pending.clear();
        self.clear_output();
    }

    /// Bytes from the CMS.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        if matches!(self.phase, Phase::Offline { .. } | Phase::Dialing) {
            return;
        }
        self.heard = now;
        self.reader.push(bytes);
        loop {
            match self.reader.next_message() {
                Ok(Some(message)) => match message.envelope() {
                    Ok(envelope) => self.message(&envelope, now),
                    // Not worth the connection: a newer CMS may send what we do not know.
                    Err(error) => tracing::debug!(%error, "message from the CMS ignored"),
                },
                Ok(None) => return,
                Err(error) => {
                    self.give_up(DisconnectReason::Framing(error.to_string()), now);
                    return;
                }
            }
            if matches!(self.phase, Phase::Offline { .. }) {
                return;
            }
        }
    }

    /// Time has come to [`poll_timeout`](Self::poll_timeout), or passed.
    pub fn timeout(&mut self, now: Instant) {
        self.expire_commands(now);
        match self.phase {
            Phase::Offline { until } if now >= until => {
                self.phase = Phase::Dialing;
                self.events.push_back(ControlEvent::Connect {
                    attempt: self.backoff.attempts(),
                });
            }
            Phase::Login { deadline, .. } if now >= deadline => {
                self.give_up(DisconnectReason::LoginTimeout, now);
            }
            Phase::Online { .. } if now >= self.heard + self.config.silence => {
                self.give_up(DisconnectReason::Silence, now);
            }
            Phase::Online {
                ref mut next_register,
                keep_alive,
                ..
            } if now >= *next_register => {
                *next_register = now + keep_alive;
                let register = login::keep_alive(&self.config);
                let cseq = self.next_cseq();
                self.send(&register.to_envelope(cseq));
            }
            _ => {}
        }
        if matches!(self.phase, Phase::Online { .. })
            && self.next_snapshots.is_some_and(|at| now >= at)
        {
            self.next_snapshots = Some(now + self.config.snapshot_interval);
            let channels = self.config.channels.iter();
            let wanted = channels.map(|&channel| ControlEvent::TakeSnapshot { channel });
            self.events.extend(wanted);
        }
    }

    /// When [`timeout`](Self::timeout) is to be called; `None` while the shell connects.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Offline { until } => Some(until),
            Phase::Dialing => None,
            Phase::Login { deadline, .. } => Some(deadline),
            Phase::Online { next_register, .. } => {
                let snapshots = self.next_snapshots.unwrap_or(next_register);
                let silence = self.heard + self.config.silence;
                Some(next_register.min(silence).min(snapshots))
            }
        };
        let commands = self.pending.values().map(|pending| pending.deadline);
        phase.into_iter().chain(commands).min()
    }

    /// The next thing to do or to know.
    pub fn poll_event(&mut self) -> Option<ControlEvent> {
        self.events.pop_front()
    }

    /// The next bytes for the CMS.
    pub fn take_output(&mut self) -> Option<Bytes> {
        let bytes = self.output.pop_front()?;
        self.output_len = self.output_len.saturating_sub(bytes.len());
        Some(bytes)
    }

    /// A JPEG of a channel for the CMS; false when it was not sent, because it is larger than
    /// [`MAX_SNAPSHOT`] or nobody is there.
    pub fn snapshot(&mut self, channel: u32, jpeg: &[u8], now: Instant) -> bool {
        if !matches!(self.phase, Phase::Online { .. }) || jpeg.len() > MAX_SNAPSHOT {
            return false;
        }
        let image = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, jpeg);
        let mut snapshot = Snapshot::jpeg(self.config.serial.as_str(), channel, image);
        if let Some(wall) = self.wall_clock(now) {
            let at = Civil::of(wall);
            snapshot.time = (at.date() + &at.time()).replace(['-', ':'], "");
        }
        let cseq = self.next_cseq();
        self.send(&snapshot.to_envelope(cseq));
        true
    }

    /// The CMS's time at this moment, once a login has told it. The device's own clock may never
    /// have been set.
    pub fn wall_clock(&self, now: Instant) -> Option<SystemTime> {
        let (then, wall) = self.clock?;
        wall.checked_add(now.saturating_duration_since(then))
    }

    /// Whether the CMS holds this device's registration.
    pub fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Online { .. })
    }

    fn message(&mut self, message: &Envelope, now: Instant) {
        match message.kind() {
            Some(MessageType::RegisterAck) => self.register_ack(message, now),
            Some(MessageType::PostSnapAck) => {
                if let Ok(ack) = SnapshotAck::from_envelope(message) {
                    self.events.push_back(ControlEvent::SnapshotAnswered {
                        channel: ack.channel,
                        error: ack.error,
                    });
                }
            }
            // Requests count only from a CMS that has let us in.
            Some(kind) if matches!(self.phase, Phase::Online { .. }) => {
                self.request(kind, message, now);
            }
            _ => {}
        }
        if self.output_len > MAX_OUTPUT {
            self.give_up(DisconnectReason::OutputFull, now);
        }
    }

    fn registered(&mut self, accepted: &login::Accepted, now: Instant) {
        if let Some(time) = accepted.time_ms
            && let Some(wall) = UNIX_EPOCH.checked_add(Duration::from_millis(time))
        {
            self.clock = Some((now, wall));
        }
        let keep_alive = accepted
            .keep_alive_s
            .filter(|seconds| KEEP_ALIVE_RANGE.contains(seconds))
            .map_or(self.config.keep_alive, Duration::from_secs);
        self.phase = Phase::Online {
            since: now,
            keep_alive,
            next_register: now + keep_alive,
        };
        // A CMS that was restarted has no pictures, so each login begins with one.
        self.next_snapshots = Some(now);
        self.events.push_back(ControlEvent::Registered {
            proven: accepted.proven,
            generation: accepted.generation,
        });
    }

    fn give_up(&mut self, reason: DisconnectReason, now: Instant) {
        self.disconnected(now);
        self.events.push_back(ControlEvent::Disconnect(reason));
    }

    fn send(&mut self, message: &Envelope) {
        let bytes = message.to_request(USER_AGENT);
        self.output_len += bytes.len();
        self.output.push_back(bytes);
    }

    fn clear_output(&mut self) {
        self.output.clear();
        self.output_len = 0;
    }

    /// Numbers below the CMS's own range, which ends at 100 000.
    fn next_cseq(&mut self) -> u32 {
        self.cseq = self.cseq % 99_999 + 1;
        self.cseq
    }
}

#[cfg(test)]
mod tests;
