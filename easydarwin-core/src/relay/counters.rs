use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::cursor::{Policy, Skip};
use super::ends::{LINE_INTERVAL, Lines};
use super::live::StreamInner;
use super::shard::Shard;
use super::wake::Owner;
use super::{ReaderEnd, ReaderInfo, StoppedReader};
use crate::kernel::send_queue;
use crate::registry::StreamPath;
use crate::rtp::rtcp::ReportBlock;

/// Answers that may wait for one reader, in bytes.
pub(super) const MAX_CONTROL: usize = 64 * 1024;

/// A counter with one writer: no locked instruction on the way of a packet.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        let value = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a reader's task, its handle and the API share.
#[derive(Debug)]
pub(super) struct ReaderShared {
    pub(super) id: u64,
    pub(super) label: Arc<str>,
    path: StreamPath,
    lines: Arc<Lines>,
    pub(super) viewer: bool,
    pub(super) started: Instant,
    transport: &'static str,
    /// Not kept open by whoever wants to know about it.
    connection: Weak<TcpStream>,
    policy: Policy,
    /// Nobody's until it is started.
    pub(super) owner: Owner<Weak<Shard>>,
    pub(super) counters: ReaderCounters,
    pub(super) inbox: Mutex<Inbox>,
    /// Something is in the inbox.
    pub(super) pending: AtomicBool,
    pub(super) ended: watch::Sender<Option<ReaderEnd>>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) control: VecDeque<Bytes>,
    pub(super) control_len: usize,
    pub(super) overflow: bool,
    pub(super) stop: Option<oneshot::Sender<StoppedReader>>,
    /// The stop is a pause: the peer is not told that anything is over.
    pub(super) pause: bool,
    /// The handle is gone: nobody waits for the sink.
    pub(super) abandoned: bool,
}

/// All written by the one task that serves the reader.
#[derive(Debug, Default)]
pub(super) struct ReaderCounters {
    pub(super) packets: Counter,
    pub(super) bytes: Counter,
    pub(super) units: Counter,
    pub(super) skips_lag: Counter,
    pub(super) skips_overrun: Counter,
    pub(super) skipped_units: Counter,
    pub(super) held_units: Counter,
    pub(super) truncated: Counter,
    pub(super) blocked: Counter,
    /// Arrival of the oldest unit not wholly handed over, in ms after `started`, plus 1; 0: none.
    late_since: Counter,
    /// Last sign of life, in ms after `started`. Also written by the task that reads reports.
    life: AtomicU64,
    /// Datagrams that the kernel refused.
    pub(super) send_errors: Counter,
    /// The last line in the log about it, in ms after `started`, plus 1; 0: none.
    last_line: Counter,
    rr_fraction: AtomicU32,
    rr_lost: AtomicU64,
    rr_jitter: AtomicU32,
}

impl ReaderShared {
    pub(super) fn new(
        stream: &StreamInner,
        label: Arc<str>,
        viewer: bool,
        transport: &'static str,
        connection: Weak<TcpStream>,
        policy: Policy,
        now: Instant,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: stream.hub.next_id(),
            label,
            path: stream.path.clone(),
            lines: Arc::clone(&stream.hub.lines),
            viewer,
            started: now,
            transport,
            connection,
            policy,
            owner: Owner::new(Weak::new()),
            counters: ReaderCounters::default(),
            inbox: Mutex::default(),
            pending: AtomicBool::new(false),
            ended: watch::Sender::new(None),
        })
    }

    /// Counts a skip, and says so once in a while.
    pub(super) fn on_skip(&self, skip: Skip, at: Instant) {
        let (cause, units) = match skip {
            Skip::Lag(units) => {
                self.counters.skips_lag.add(1);
                ("later than max_lag", units)
            }
            Skip::Overrun(units) => {
                self.counters.skips_overrun.add(1);
                ("later than what the stream's memory keeps", units)
            }
        };
        self.counters.skipped_units.add(units);
        let since = millis(at.saturating_duration_since(self.started)) + 1;
        let last = self.counters.last_line.value();
        if last > 0 && since.saturating_sub(last) < millis(LINE_INTERVAL) {
            return;
        }
        self.counters.last_line.set(since);
        let Some(left_out) = self.lines.allow(at) else {
            return;
        };
        let skips = self.counters.skips_lag.value() + self.counters.skips_overrun.value();
        tracing::warn!(
            path = %self.path,
            reader = self.id,
            label = %self.label,
            transport = self.transport,
            cause,
            units,
            skips,
            left_out,
            "reader was moved to the newest key frame; {}",
            self.advice()
        );
    }

    /// Says why it ended, loudly if somebody could do better.
    pub(super) fn log_end(&self, end: &ReaderEnd, at: Instant) {
        let advice = match end {
            ReaderEnd::Stalled(_) => self.advice(),
            ReaderEnd::ControlOverflow => "it sends requests but does not read the answers",
            ReaderEnd::Stream(_) | ReaderEnd::Io(_) | ReaderEnd::Stopped => "",
        };
        let left_out = match advice {
            "" => None,
            _ => self.lines.allow(at),
        };
        match left_out {
            Some(left_out) => tracing::warn!(
                path = %self.path,
                reader = self.id,
                label = %self.label,
                transport = self.transport,
                cause = end.cause(),
                left_out,
                "reader was ended: {end}; {advice}"
            ),
            None => tracing::debug!(
                path = %self.path,
                reader = self.id,
                label = %self.label,
                transport = self.transport,
                %end,
                "reader ended"
            ),
        }
    }

    /// What whoever reads the log can do about a reader that is too slow.
    fn advice(&self) -> &'static str {
        match self.transport {
            "tap" => {
                "its consumer takes units too slowly: do the work elsewhere, or take fewer tracks"
            }
            _ => {
                "its network or player is too slow: use a stream of a lower bit rate, or raise max-lag"
            }
        }
    }

    /// The oldest unit that is not wholly handed over came at `arrival`.
    pub(super) fn late(&self, arrival: Option<Instant>) {
        let value = arrival.map_or(0, |at| {
            millis(at.saturating_duration_since(self.started)) + 1
        });
        self.counters.late_since.set(value);
    }

    pub(super) fn life(&self, now: Instant) {
        let value = millis(now.saturating_duration_since(self.started));
        self.counters.life.store(value, Ordering::Relaxed);
    }

    /// What the peer reports of one track.
    pub(super) fn on_report(&self, block: &ReportBlock) {
        let counters = &self.counters;
        let fraction = u32::from(block.fraction_lost);
        counters.rr_fraction.store(fraction, Ordering::Relaxed);
        let lost = i64::from(block.cumulative_lost).cast_unsigned();
        counters.rr_lost.store(lost, Ordering::Relaxed);
        counters.rr_jitter.store(block.jitter, Ordering::Relaxed);
    }

    pub(super) fn last_life(&self) -> Instant {
        let millis = self.counters.life.load(Ordering::Relaxed);
        self.started + std::time::Duration::from_millis(millis)
    }

    pub(super) fn info(&self, now: Instant) -> ReaderInfo {
        let counters = &self.counters;
        let age_ms = millis(now.saturating_duration_since(self.started));
        let late_since = counters.late_since.value();
        let connection = self.connection.upgrade();
        let kernel = connection.and_then(|connection| send_queue(&connection));
        ReaderInfo {
            id: self.id,
            label: self.label.to_string(),
            transport: self.transport,
            viewer: self.viewer,
            age_ms,
            max_lag_ms: millis(self.policy.max_lag),
            keep_audio: self.policy.keep_audio,
            shard: self.owner.with(|shard| Some(shard.upgrade()?.index())),
            packets: counters.packets.value(),
            bytes: counters.bytes.value(),
            units: counters.units.value(),
            lag_ms: match late_since {
                0 => 0,
                since => age_ms.saturating_sub(since - 1),
            },
            skips_lag: counters.skips_lag.value(),
            skips_overrun: counters.skips_overrun.value(),
            skipped_units: counters.skipped_units.value(),
            held_units: counters.held_units.value(),
            truncated: counters.truncated.value(),
            blocked: counters.blocked.value(),
            kernel_bytes: kernel.map(|queue| queue.unacknowledged),
            kernel_unsent_bytes: kernel.and_then(|queue| queue.unsent),
            send_errors: counters.send_errors.value(),
            rr_fraction_lost: u8::try_from(counters.rr_fraction.load(Ordering::Relaxed))
                .unwrap_or(u8::MAX),
            rr_lost: counters.rr_lost.load(Ordering::Relaxed).cast_signed(),
            rr_jitter: counters.rr_jitter.load(Ordering::Relaxed),
        }
    }
}

pub(super) fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl ReaderShared {
    /// Tells the shard that has it that something is in the inbox.
    pub(super) fn tell(self: &Arc<Self>, stream: u64) {
        self.owner.with(|shard| {
            if let Some(shard) = shard.upgrade() {
                shard.tell(stream, Arc::clone(self));
            }
        });
    }

    /// Appends the next answer that waits; false when there is none.
    pub(super) fn take_control(&self, into: &mut bytes::BytesMut) -> bool {
        if !self.pending.load(Ordering::Acquire) {
            return false;
        }
        let mut inbox = self.inbox.lock();
        let Some(bytes) = inbox.control.pop_front() else {
            self.pending.store(false, Ordering::Release);
            return false;
        };
        inbox.control_len = inbox.control_len.saturating_sub(bytes.len());
        into.extend_from_slice(&bytes);
        true
    }
}
