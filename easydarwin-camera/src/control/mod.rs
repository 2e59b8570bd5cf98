//! The conversation with the CMS without sockets and clocks.
//!
//! The shell gives bytes and time in and takes bytes and events out. After every call that takes
//! `now` it drains [`poll_event`](ControlEngine::poll_event) and
//! [`take_output`](ControlEngine::take_output), then waits for the socket or for
//! [`poll_timeout`](ControlEngine::poll_timeout), whichever is first.
//!
//! Pushes outlive the connection: a CMS that is restarted finds the streams still running.

mod address;
mod clock;
mod config;
mod dial;
mod ending;
mod event;
mod kinds;
mod login;
mod outbox;
mod put;
mod request;
mod talkback;
mod tell;
mod upload;

pub use address::CmsAddress;
pub use config::{ControlConfig, Credential};
pub use easydarwin_core::protocol::{DeviceEvent, DeviceEventError, EventLevel, Setting};
pub use event::{Command, CommandId, ControlEvent, DisconnectReason, PushTarget};
pub use kinds::{CommandKind, CommandKinds};
pub use outbox::{EventStats, EventVerdict};
pub use put::{Upload, UploadError};
pub use talkback::{TalkbackCodec, TalkbackFrame, TalkbackStats};
pub use upload::MAX_SNAPSHOT;

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
pub use easydarwin_core::protocol::ClockQuality;
use easydarwin_core::protocol::login::NONCE_LEN;
use easydarwin_core::protocol::{
    Envelope, Extension, FrameLimits, MessageReader, MessageType, RegisterAck, SnapshotAck,
};

pub(crate) use self::clock::WallClock;
use self::dial::Dial;
use self::login::Exchange;
use self::outbox::Outbox;
use self::request::Pending;
use self::talkback::Talk;
use self::upload::Uploads;

/// What a message of the CMS may measure; they are all small.
const LIMITS: FrameLimits = FrameLimits {
    head: 16 * 1024,
    body: 256 * 1024,
};
/// Bytes that may wait for the socket: some snapshots. More means a CMS that does not read.
const MAX_OUTPUT: usize = 4 << 20;
/// What a CMS may ask for as time between registers.
const KEEP_ALIVE_RANGE: std::ops::RangeInclusive<u64> = 1..=60;

/// The device's end of the control connection.
#[derive(Debug)]
pub struct ControlEngine {
    config: ControlConfig,
    phase: Phase,
    dial: Dial,
    reader: MessageReader,
    output: VecDeque<Bytes>,
    /// Pictures: they wait until there is nothing else, so that an answer waits for one of them
    /// at most.
    pictures: VecDeque<Bytes>,
    /// Of both.
    output_len: usize,
    events: VecDeque<ControlEvent>,
    cseq: u32,
    /// When the last byte came.
    heard: Instant,
    pending: Vec<(CommandId, Pending)>,
    next_command: u64,
    clock: WallClock,
    /// Its CSeq, and when it was sent.
    last_register: Option<(u32, Instant)>,
    next_snapshots: Option<Instant>,
    /// When a picture was last asked for.
    picture_asked: Option<Instant>,
    talk: Option<Talk>,
    outbox: Outbox,
    uploads: Uploads,
    /// Whether the CMS takes events, once one has said so.
    takes_events: Option<bool>,
}

#[derive(Debug)]
enum Phase {
    /// Waits for the next try.
    Offline { until: Instant },
    /// The shell connects.
    Dialing { deadline: Instant },
    /// Logs in.
    Login {
        exchange: Exchange,
        deadline: Instant,
    },
    /// Registered.
    Online {
        since: Instant,
        /// The CMS has shown who it is, with a proof or through TLS.
        trusted: bool,
        keep_alive: Duration,
        next_register: Instant,
    },
}

impl ControlEngine {
    /// An engine that wants to connect at once.
    pub fn new(config: ControlConfig, now: Instant) -> Self {
        Self {
            dial: Dial::new(&config.addresses, config.seed),
            config,
            phase: Phase::Offline { until: now },
            reader: MessageReader::new(LIMITS),
            output: VecDeque::new(),
            pictures: VecDeque::new(),
            output_len: 0,
            events: VecDeque::new(),
            cseq: 0,
            heard: now,
            pending: Vec::new(),
            next_command: 0,
            clock: WallClock::default(),
            last_register: None,
            next_snapshots: None,
            picture_asked: None,
            talk: None,
            outbox: Outbox::new(now),
            uploads: Uploads::default(),
            takes_events: None,
        }
    }

    /// The connection that was asked for is there, and with TLS its certificate is right. `random`
    /// must come from a generator fit for secrets.
    pub fn connected(&mut self, random: [u8; NONCE_LEN], now: Instant) {
        if !matches!(self.phase, Phase::Dialing { .. }) {
            return;
        }
        self.heard = now;
        self.reader = MessageReader::new(LIMITS);
        self.clear_output();
        let exchange = self.hello(random, now);
        self.phase = Phase::Login {
            exchange,
            deadline: now + self.config.login_timeout,
        };
    }

    /// Bytes from the CMS.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        if matches!(self.phase, Phase::Offline { .. } | Phase::Dialing { .. }) {
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
                    self.break_off(DisconnectReason::Framing(error.to_string()), now);
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
        self.speak(now);
        self.tell(now);
        self.expire_upload(now);
        match self.phase {
            Phase::Offline { until } if now >= until => self.connect(now),
            Phase::Dialing { deadline } if now >= deadline => {
                self.break_off(DisconnectReason::ConnectTimeout, now);
            }
            Phase::Login { deadline, .. } if now >= deadline => {
                self.break_off(DisconnectReason::LoginTimeout, now);
            }
            Phase::Online { .. } if now >= self.heard + self.config.silence => {
                self.break_off(DisconnectReason::Silence, now);
            }
            Phase::Online { .. } if self.dial.home_at().is_some_and(|at| now >= at) => {
                self.go_home(now);
            }
            Phase::Online {
                ref mut next_register,
                keep_alive,
                ..
            } if now >= *next_register => {
                *next_register = now + keep_alive;
                self.keep_alive(now);
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

    /// When [`timeout`](Self::timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Offline { until } => self.dial.address().map(|_| until),
            Phase::Dialing { deadline } | Phase::Login { deadline, .. } => Some(deadline),
            Phase::Online { next_register, .. } => {
                let silence = self.heard + self.config.silence;
                let others = self.next_snapshots.into_iter().chain(self.dial.home_at());
                others.chain([next_register, silence]).min()
            }
        };
        let commands = self.pending.iter().map(|(_, pending)| pending.deadline);
        let talk = self.talk.as_ref().map(Talk::due);
        let events = self.outbox.due().filter(|_| self.is_registered());
        let others = phase.into_iter().chain(talk).chain(events);
        let others = others.chain(self.uploads.due());
        others.chain(commands).min()
    }

    /// The next thing to do or to know.
    pub fn poll_event(&mut self) -> Option<ControlEvent> {
        self.events.pop_front()
    }

    /// The next bytes for the CMS.
    pub fn take_output(&mut self) -> Option<Bytes> {
        let bytes = self
            .output
            .pop_front()
            .or_else(|| self.pictures.pop_front())?;
        self.output_len = self.output_len.saturating_sub(bytes.len());
        Some(bytes)
    }

    /// What time it is, once a CMS or [`set_clock`](Self::set_clock) has told it. The system's own
    /// wall clock, which may never have been set, is not asked.
    pub fn wall_clock(&self, now: Instant) -> Option<SystemTime> {
        self.clock.at(now)
    }

    /// How good [`wall_clock`](Self::wall_clock) is; the CMS is told with each register.
    pub fn clock_quality(&self) -> ClockQuality {
        self.clock.quality()
    }

    /// Whether the time comes from the embedder, or from a CMS that has shown who it is. Dates of
    /// certificates are to be judged by no other.
    pub fn clock_is_trusted(&self) -> bool {
        self.clock.is_trusted()
    }

    /// The embedder knows what time it is at `now`, for example from NTP. A clock with the quality
    /// `Ntp` is not set by a CMS any more; `Unset` forgets the time.
    ///
    /// Only what is said from then on is dated anew; nothing that runs by `now` moves.
    pub fn set_clock(&mut self, wall: SystemTime, quality: ClockQuality, now: Instant) {
        self.clock.set(wall, quality, now);
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
            Some(MessageType::DeviceEventAck) => self.told(message, now),
            Some(MessageType::UploadAck) => self.upload_ack(message, now),
            // Requests count only from a CMS that has let us in.
            Some(kind) if matches!(self.phase, Phase::Online { .. }) => {
                self.request(kind, message, now);
            }
            _ => {}
        }
        if self.output_len > MAX_OUTPUT {
            self.break_off(DisconnectReason::OutputFull, now);
        }
    }

    fn connect(&mut self, now: Instant) {
        let Some(address) = self.dial.address().cloned() else {
            return;
        };
        self.phase = Phase::Dialing {
            deadline: now + self.config.connect_timeout,
        };
        let attempt = self.dial.attempts();
        self.events
            .push_back(ControlEvent::Connect { address, attempt });
    }

    fn registered(&mut self, ack: &RegisterAck, proven: bool, now: Instant) {
        self.dial.registered(now);
        let keep_alive = ack
            .keep_alive_s
            .filter(|seconds| KEEP_ALIVE_RANGE.contains(seconds))
            .map_or(self.config.keep_alive, Duration::from_secs);
        self.phase = Phase::Online {
            since: now,
            trusted: proven || self.is_secure(),
            keep_alive,
            next_register: now + keep_alive,
        };
        self.listens(ack.ext.has(Extension::Event), now);
        self.offers_uploads(ack.ext.has(Extension::SnapshotPut));
        // A CMS that was restarted has no pictures, so each login begins with one.
        self.next_snapshots = Some(now);
        self.events.push_back(ControlEvent::Registered {
            proven,
            generation: ack.generation,
        });
    }

    /// Whether the connection goes through TLS.
    fn is_secure(&self) -> bool {
        self.dial.address().is_some_and(CmsAddress::is_tls)
    }

    fn send(&mut self, message: &Envelope) {
        let bytes = message.to_request(crate::USER_AGENT);
        self.output_len += bytes.len();
        self.output.push_back(bytes);
    }

    fn clear_output(&mut self) {
        self.output.clear();
        self.pictures.clear();
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
