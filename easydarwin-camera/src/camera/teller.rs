//! The way from the embedder's threads to the camera's task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use easydarwin_core::protocol::ErrorNum;
use tokio::sync::mpsc;

use super::builder::CHANNELS;
use crate::control::{ClockQuality, CommandId, DeviceEvent, EventVerdict, MAX_SNAPSHOT};
use crate::engine::CameraEngine;

/// What the camera's task has not seen yet. It comes to it between two packets.
const QUEUE: usize = 16;

/// What waits for the camera's task.
#[derive(Debug)]
enum Said {
    Event(DeviceEvent),
    /// There is something in [`Newest`].
    Look,
}

/// Of what only the newest counts, and of answers, what the task has not seen.
#[derive(Debug, Default)]
struct Newest {
    clock: Option<ClockReading>,
    /// At most one for each channel.
    snapshots: Vec<(u32, Bytes)>,
    /// Answers to commands: all of them count, and there are as many as commands were given out.
    replies: Vec<(CommandId, ErrorNum)>,
}

/// A moment of both clocks, and how good the one on the wall is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockReading {
    wall: SystemTime,
    quality: ClockQuality,
    at: Instant,
}

impl ClockReading {
    pub(super) fn now(wall: SystemTime, quality: ClockQuality) -> Self {
        let at = Instant::now();
        Self { wall, quality, at }
    }
}

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotVerdict {
    /// It will be sent, unless no CMS is there; one of the same channel that still waited is replaced. [`SnapshotSent`](crate::CameraEvent::SnapshotSent) tells when one
    /// has taken it.
    Queued,
    /// It is empty or larger than [`MAX_SNAPSHOT`]. Dropped.
    Size,
    /// There is no such channel, or the camera does not run any more. Dropped.
    Nowhere,
}

/// Tells a camera, and through it the CMS, what happens, from any thread. Never waits.
#[derive(Debug, Clone)]
pub struct CameraHandle {
    said: mpsc::Sender<Said>,
    /// Beside the queue: not lost when that is full.
    newest: Arc<Mutex<Newest>>,
    /// The CMS has said that it takes no events.
    deaf: Arc<AtomicBool>,
}

impl CameraHandle {
    /// Tells the CMS something, if it listens; it goes into its log of events, for everybody who may
    /// see the camera. What happens while no CMS is there waits for one, up to 32 of it; a health
    /// replaces the one before it. More than one a second, after ten at once, has to wait.
    pub fn send_event(&self, event: DeviceEvent) -> EventVerdict {
        if let Err(error) = event.check() {
            return EventVerdict::Invalid(error);
        }
        if self.deaf.load(Ordering::Relaxed) {
            return EventVerdict::NotSupported;
        }
        match self.said.try_send(Said::Event(event)) {
            Ok(()) => EventVerdict::Queued,
            Err(_) => EventVerdict::Busy,
        }
    }

    /// It is `wall` now, and so well is that known: sender reports, events and snapshots are dated by it from
    /// now on, and the CMS is told the quality. RTP time does not move.
    ///
    /// The system's own wall clock is never asked. Without this call a CMS sets the clock; after it with
    /// [`ClockQuality::Ntp`] none does any more. [`ClockQuality::Unset`] forgets the time.
    pub fn set_clock(&self, wall: SystemTime, quality: ClockQuality) {
        lock(&self.newest).clock = Some(ClockReading::now(wall, quality));
        self.look();
    }

    /// A JPEG of a channel (from 1) for the CMS, asked for by
    /// [`SnapshotWanted`](crate::CameraEvent::SnapshotWanted) or not.
    pub fn send_snapshot(&self, channel: u32, jpeg: Bytes) -> SnapshotVerdict {
        if jpeg.is_empty() || jpeg.len() > MAX_SNAPSHOT {
            return SnapshotVerdict::Size;
        }
        if !CHANNELS.contains(&channel) || self.said.is_closed() {
            return SnapshotVerdict::Nowhere;
        }
        let mut newest = lock(&self.newest);
        newest.snapshots.retain(|(other, _)| *other != channel);
        newest.snapshots.push((channel, jpeg));
        drop(newest);
        self.look();
        SnapshotVerdict::Queued
    }

    /// Answers a command.
    pub(super) fn reply(&self, id: CommandId, result: ErrorNum) {
        lock(&self.newest).replies.push((id, result));
        self.look();
    }

    fn look(&self) {
        // A task that is behind with so much will look, too.
        let _ = self.said.try_send(Said::Look);
    }
}

/// The camera's end.
#[derive(Debug)]
pub(super) struct Teller {
    handle: CameraHandle,
    waiting: mpsc::Receiver<Said>,
}

impl Default for Teller {
    fn default() -> Self {
        let (said, waiting) = mpsc::channel(QUEUE);
        let handle = CameraHandle {
            said,
            newest: Arc::default(),
            deaf: Arc::default(),
        };
        Self { handle, waiting }
    }
}

impl Teller {
    /// The embedder knew the time before the camera ran.
    pub(super) fn read_clock(&self, reading: ClockReading) {
        lock(&self.handle.newest).clock = Some(reading);
    }

    pub(super) fn handle(&self) -> CameraHandle {
        self.handle.clone()
    }

    /// A CMS has let us in, and takes events or not.
    pub(super) fn registered(&self, takes_events: Option<bool>) {
        let deaf = takes_events == Some(false);
        self.handle.deaf.store(deaf, Ordering::Relaxed);
    }

    /// Ready if there was something to tell.
    pub(super) fn poll(
        &mut self,
        engine: &mut CameraEngine,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut ready = Poll::Pending;
        while let Poll::Ready(Some(said)) = self.waiting.poll_recv(cx) {
            ready = Poll::Ready(());
            // The clock first: it dates what follows.
            self.look(engine, now);
            if let Said::Event(event) = said
                && let Some(control) = engine.control()
            {
                let verdict = control.send_event(event, now);
                tracing::debug!(?verdict, "an event for the CMS");
            }
        }
        self.look(engine, now);
        ready
    }

    /// Takes what does not wait in the queue.
    pub(super) fn look(&self, engine: &mut CameraEngine, now: Instant) {
        let newest = std::mem::take(&mut *lock(&self.handle.newest));
        if let Some(reading) = newest.clock {
            engine.set_clock(reading.wall, reading.quality, reading.at);
        }
        for (channel, jpeg) in newest.snapshots {
            send_snapshot(engine, channel, &jpeg, now);
        }
        if let Some(control) = engine.control() {
            for (id, result) in newest.replies {
                control.reply(id, result);
            }
        }
    }
}

/// Gives the CMS a picture.
pub(super) fn send_snapshot(engine: &mut CameraEngine, channel: u32, jpeg: &[u8], now: Instant) {
    if let Some(control) = engine.control()
        && !control.snapshot(channel, jpeg, now)
    {
        tracing::warn!(channel, size = jpeg.len(), "snapshot not sent");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is whole after any step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::control::{ControlConfig, ControlEngine, Credential};

    const NOON: Duration = Duration::from_secs(1_795_386_123);

    fn poll(teller: &mut Teller, engine: &mut CameraEngine) -> Poll<()> {
        teller.poll(
            engine,
            Instant::now(),
            &mut Context::from_waker(Waker::noop()),
        )
    }

    #[test]
    fn the_clock_is_set_whatever_else_waits() {
        let now = Instant::now();
        let config = ControlConfig::new("camera", Credential::Token("t".into()));
        let control = ControlEngine::new(config, now);
        let mut engine = CameraEngine::new(Some(control), Vec::new(), now);
        let mut teller = Teller::default();
        let handle = teller.handle();
        let event = DeviceEvent::new("door");
        for _ in 0..QUEUE {
            assert_eq!(handle.send_event(event.clone()), EventVerdict::Queued);
        }
        assert_eq!(handle.send_event(event), EventVerdict::Busy);
        let before = Instant::now();
        handle.set_clock(UNIX_EPOCH + NOON, ClockQuality::Rtc);
        let after = Instant::now();
        assert!(poll(&mut teller, &mut engine).is_ready());
        let control = engine.control().unwrap();
        assert_eq!(control.clock_quality(), ClockQuality::Rtc);
        // Counted from the call on, not from when the task came to it.
        let told = |at| control.wall_clock(at).unwrap();
        assert!(told(before) <= UNIX_EPOCH + NOON && told(after) >= UNIX_EPOCH + NOON);
        assert!(poll(&mut teller, &mut engine).is_pending());
        handle.set_clock(UNIX_EPOCH + NOON, ClockQuality::Ntp);
        assert!(poll(&mut teller, &mut engine).is_ready());
        let control = engine.control().unwrap();
        assert_eq!(control.clock_quality(), ClockQuality::Ntp);
    }

    #[test]
    fn of_each_channel_one_picture_waits() {
        let teller = Teller::default();
        let handle = teller.handle();
        let jpeg = |size: usize| Bytes::from(vec![0xff; size]);
        for size in [0, MAX_SNAPSHOT + 1] {
            assert_eq!(handle.send_snapshot(1, jpeg(size)), SnapshotVerdict::Size);
        }
        assert_eq!(handle.send_snapshot(65, jpeg(1)), SnapshotVerdict::Nowhere);
        for size in 1..=2 * QUEUE {
            let channel = if size % 2 == 0 { 1 } else { 2 };
            let verdict = handle.send_snapshot(channel, jpeg(size));
            assert_eq!(verdict, SnapshotVerdict::Queued);
        }
        let waiting: Vec<_> = lock(&handle.newest)
            .snapshots
            .iter()
            .map(|(channel, jpeg)| (*channel, jpeg.len()))
            .collect();
        assert_eq!(waiting, [(2, 2 * QUEUE - 1), (1, 2 * QUEUE)]);
        drop(teller);
        assert_eq!(handle.send_snapshot(1, jpeg(1)), SnapshotVerdict::Nowhere);
    }
}
