//! One camera: what its threads and the vendor's share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use easydarwin_camera::control::{ClockQuality, DeviceEvent, EventVerdict, MAX_SNAPSHOT};
use easydarwin_camera::frames::{DropCause, FrameCounter, StreamCounts};
use easydarwin_camera::{CameraCommand, CameraHandle, SnapshotVerdict};
use easydarwin_core::protocol::ErrorNum;
use tokio::sync::Notify;

use crate::abi::*;
use crate::config::Settings;
use crate::event::{Event, EventQueue};
use crate::failure::Failure;
use crate::network::{self, Built};
use crate::system;
use crate::table::{Occupied, Place, TryCell};

/// Commands that may wait for the vendor's answer; the oldest is given up for another one, and then
/// answered by its time being over.
const COMMANDS: usize = 32;

// What the header allows is taken.
const _: () = assert!(EDC_MAX_SNAPSHOT as usize <= MAX_SNAPSHOT);

/// One camera.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) place: Place,
    pub(crate) settings: Settings,
    pub(crate) events: EventQueue,
    /// The event that the vendor looks at; who is inside waits for the next one.
    shown: TryCell<Event>,
    commands: Mutex<Commands>,
    closing: AtomicBool,
    /// Wakes the network's thread when `closing` was set.
    pub(crate) closed: Notify,
    faults: AtomicU32,
    tallies: Mutex<Vec<Tally>>,
    contact: Mutex<Contact>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Makes the network's thread panic.
    #[cfg(feature = "test-panic")]
    pub(crate) injected: Notify,
}

#[derive(Debug, Default)]
struct Commands {
    last: u64,
    waiting: VecDeque<(u64, CameraCommand)>,
}

/// The way to the camera that runs now, and what the next one has to know after a fault.
#[derive(Debug, Default)]
struct Contact {
    camera: Option<CameraHandle>,
    clock: Option<(SystemTime, ClockQuality, Instant)>,
}

/// Counters of a stream over all queues that it had.
#[derive(Debug)]
struct Tally {
    counter: FrameCounter,
    before: Vec<StreamCounts>,
}

impl Instance {
    /// Makes a camera and its threads.
    pub(crate) fn start(settings: Settings) -> Result<Place, Failure> {
        let place = Place::take()?;
        let started = Self::start_at(place, settings);
        if started.is_err() {
            place.clear();
        }
        started.map(|()| place)
    }

    fn start_at(place: Place, settings: Settings) -> Result<(), Failure> {
        let shown = TryCell::new();
        drop(shown.exchange(Some(Box::default())));
        let instance = Arc::new(Self {
            place,
            settings,
            events: EventQueue::new()?,
            shown,
            commands: Mutex::default(),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
            faults: AtomicU32::new(0),
            tallies: Mutex::default(),
            contact: Mutex::default(),
            threads: Mutex::default(),
            #[cfg(feature = "test-panic")]
            injected: Notify::new(),
        });
        let built = Built::new(&instance)?;
        place.open(Arc::clone(&instance));
        let spawned = instance.spawn(built);
        if spawned.is_err() {
            let closed = place.close();
            instance.stop();
            drop(closed);
        }
        spawned
    }

    fn spawn(self: &Arc<Self>, built: Built) -> Result<(), Failure> {
        let thread = &self.settings.thread;
        let instance = Arc::clone(self);
        let spawned = system::spawn(thread, move || network::run(&instance, built))
            .map_err(|error| Failure::system("network thread", &error))?;
        lock(&self.threads).push(spawned);
        if let Some(callback) = self.settings.on_event {
            let instance = Arc::clone(self);
            let spawned = system::spawn(thread, move || network::call_back(&instance, callback))
                .map_err(|error| Failure::system("callback thread", &error))?;
            lock(&self.threads).push(spawned);
        }
        Ok(())
    }

    /// Ends the camera that lives at `place`: pushes with TEARDOWN, threads joined, handles dead.
    pub(crate) fn destroy(place: Place) -> Result<(), Failure> {
        let instance = place.close()?;
        instance.stop();
        place.clear();
        Ok(())
    }

    fn stop(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.events.close();
        self.closed.notify_one();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // It may wait to start anew after a fault.
            thread.thread().unpark();
            // Panics do not get out of the threads.
            let _ = thread.join();
        }
    }

    /// Whether the camera is being destroyed.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// A stream has a new queue.
    pub(crate) fn counts_from(&self, stream: u8, counter: FrameCounter) {
        let mut tallies = lock(&self.tallies);
        match tallies.get_mut(usize::from(stream)) {
            Some(tally) => {
                let before = std::mem::replace(&mut tally.counter, counter);
                tally.before.push(before.read());
            }
            None => tallies.push(Tally {
                counter,
                before: Vec::new(),
            }),
        }
    }

    /// There is a new camera, which knows what the one before was told of the time.
    pub(crate) fn reached_by(&self, camera: CameraHandle) {
        let mut contact = lock(&self.contact);
        if let Some((wall, quality, at)) = contact.clock
            && let Some(wall) = wall.checked_add(at.elapsed())
        {
            camera.set_clock(wall, quality);
        }
        contact.camera = Some(camera);
    }

    /// The vendor knows what time it is.
    pub(crate) fn set_clock(&self, wall: SystemTime, quality: ClockQuality) {
        let mut contact = lock(&self.contact);
        contact.clock = Some((wall, quality, Instant::now()));
        if let Some(camera) = &contact.camera {
            camera.set_clock(wall, quality);
        }
    }

    /// The vendor has something to tell the CMS.
    pub(crate) fn send_event(&self, event: DeviceEvent) -> Result<(), Failure> {
        self.check_cms()?;
        let verdict = lock(&self.contact)
            .camera
            .as_ref()
            .map(|camera| camera.send_event(event));
        match verdict {
            Some(EventVerdict::Queued | EventVerdict::DroppedOldest) => Ok(()),
            Some(EventVerdict::Invalid(error)) => Err(Failure::invalid(error.to_string())),
            Some(EventVerdict::NotSupported) => {
                Err(Failure::unsupported("the CMS takes no events"))
            }
            _ => Err(EDC_ERR_AGAIN.into()),
        }
    }

    fn check_cms(&self) -> Result<(), Failure> {
        if self.settings.cms.is_empty() {
            return Err(Failure::unsupported("this camera has no CMS"));
        }
        Ok(())
    }

    /// The vendor has a picture for the CMS.
    pub(crate) fn send_snapshot(&self, channel: u32, jpeg: &[u8]) -> Result<(), Failure> {
        self.check_cms()?;
        let mut streams = self.settings.streams.iter();
        if !streams.any(|stream| stream.channel == channel) {
            return Err(Failure::invalid("no stream of this channel was added"));
        }
        if jpeg.is_empty() || jpeg.len() > EDC_MAX_SNAPSHOT as usize {
            return Err(Failure::invalid("a snapshot has 1 to 1000000 bytes"));
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(jpeg.len())
            .map_err(|_| Failure::from(EDC_ERR_NOMEM))?;
        copy.extend_from_slice(jpeg);
        let verdict = lock(&self.contact)
            .camera
            .as_ref()
            .map(|camera| camera.send_snapshot(channel, Bytes::from(copy)));
        match verdict {
            Some(SnapshotVerdict::Queued) => Ok(()),
            _ => Err(EDC_ERR_AGAIN.into()),
        }
    }

    /// The network's thread was caught in a fault. Returns how often that happened.
    pub(crate) fn count_fault(&self) -> u32 {
        self.faults
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    /// The handle of a channel's track; 0 when there is none.
    pub(crate) fn stream_of(&self, channel: u32, track: usize) -> edc_stream {
        let channels = self.settings.channels();
        let streams = channels.iter().find(|(of, _)| *of == channel);
        streams
            .and_then(|(_, streams)| streams.get(track))
            .map_or(0, |stream| self.place.stream(*stream).handle())
    }

    /// A command arrived; the vendor will answer it by number.
    pub(crate) fn command(&self, command: CameraCommand) -> u64 {
        let mut commands = lock(&self.commands);
        if commands.waiting.len() >= COMMANDS {
            commands.waiting.pop_front();
        }
        commands.last += 1;
        let number = commands.last;
        commands.waiting.push_back((number, command));
        number
    }

    /// The vendor's answer.
    pub(crate) fn reply(&self, number: u64, code: u16) -> Result<(), Failure> {
        let mut commands = lock(&self.commands);
        let found = commands.waiting.iter().position(|(of, _)| *of == number);
        let (_, command) = found
            .and_then(|at| commands.waiting.remove(at))
            .ok_or_else(|| Failure::from(EDC_ERR_NO_COMMAND))?;
        drop(commands);
        command.reply(ErrorNum::from_code(code));
        Ok(())
    }

    /// Waits for the next event and gives it to `look`. What the one before pointed to is gone.
    pub(crate) fn next_event<R>(
        &self,
        timeout: Option<Duration>,
        look: impl FnOnce(&edc_event) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let taken = self.shown.enter(|shown| {
            let shown = shown.ok_or_else(Failure::handle)?;
            *shown = self.events.next(timeout)?;
            look(&shown.view())
        });
        match taken {
            Ok(result) => result,
            Err(Occupied::Used | Occupied::Exchanged) => Err(EDC_ERR_BUSY.into()),
        }
    }

    /// Counters of a stream.
    pub(crate) fn stats(&self, stream: u8) -> Result<edc_stats, Failure> {
        let tallies = lock(&self.tallies);
        let tally = tallies
            .get(usize::from(stream))
            .ok_or_else(Failure::handle)?;
        let now = tally.counter.read();
        let sum = |of: &dyn Fn(&StreamCounts) -> u64| {
            tally.before.iter().chain([&now]).map(of).sum::<u64>()
        };
        let dropped = |cause| sum(&|counts: &StreamCounts| counts.dropped_by(cause));
        let missed = self.place.missed(stream);
        // What waited in a queue when it was lost.
        let stranded: u64 = tally.before.iter().map(StreamCounts::waiting).sum();
        Ok(edc_stats {
            size: u32::try_from(size_of::<edc_stats>()).unwrap_or(0),
            faults: self.faults.load(Ordering::Relaxed),
            pushed: sum(&|counts| counts.pushed) + missed,
            sent: sum(&|counts| counts.sent),
            dropped_not_wanted: dropped(DropCause::NotWanted),
            dropped_not_connected: dropped(DropCause::NotConnected),
            dropped_queue: dropped(DropCause::QueueFull),
            dropped_not_selected: dropped(DropCause::NotSelected),
            dropped_waits: dropped(DropCause::WaitKey),
            dropped_late: dropped(DropCause::Late),
            dropped_push_ended: dropped(DropCause::PushEnded),
            dropped_size: dropped(DropCause::Size),
            dropped_format: dropped(DropCause::Format),
            dropped_closed: dropped(DropCause::Closed) + missed + stranded,
            events_lost: self.events.lost(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks leaves what they guard whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
