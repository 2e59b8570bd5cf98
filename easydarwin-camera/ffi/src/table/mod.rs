//! Handles and what they lead to: a fixed table of cameras and their streams.
//!
//! A handle is a place in the table and the generation of who lives there, so that the handle of a
//! destroyed camera never leads to the next one. Pushing finds its stream by two loads and a
//! compare-and-swap; only what may wait takes the lock of a camera.

mod cell;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use easydarwin_camera::frames::{Frame, FrameSender, Verdict};

pub(crate) use self::cell::{Occupied, TryCell};
use crate::abi::{EDC_ERR_BUSY, EDC_ERR_FULL, EDC_MAX_CAMERAS, EDC_MAX_STREAMS};
use crate::failure::Failure;
use crate::instance::Instance;

const CAMERAS: usize = EDC_MAX_CAMERAS as usize;
const STREAMS: usize = EDC_MAX_STREAMS as usize;
/// Bits 16 and up of a handle's lower half, so that a camera's handle is no stream's.
const CAMERA: u32 = 1 << 16;
const STREAM: u32 = 2 << 16;

static TABLE: [Slot; CAMERAS] = [const { Slot::new() }; CAMERAS];

/// A place for a camera.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Of the camera that lives here; 0 while nobody does, or while it is moved out.
    alive: AtomicU32,
    streams: [StreamSlot; STREAMS],
    tenant: Mutex<Tenant>,
}

/// A place for a stream's sender.
#[derive(Debug)]
struct StreamSlot {
    sender: TryCell<FrameSender>,
    /// Frames that came while there was no sender.
    missed: AtomicU64,
}

#[derive(Debug)]
struct Tenant {
    /// Of the last camera that lived here.
    generation: u32,
    taken: bool,
    instance: Option<Arc<Instance>>,
}

/// Which camera: its place and its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    slot: u8,
    generation: u32,
}

/// Which of a camera's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamPlace {
    pub(crate) place: Place,
    pub(crate) stream: u8,
}

impl Slot {
    const fn new() -> Self {
        Self {
            alive: AtomicU32::new(0),
            streams: [const {
                StreamSlot {
                    sender: TryCell::new(),
                    missed: AtomicU64::new(0),
                }
            }; STREAMS],
            tenant: Mutex::new(Tenant {
                generation: 0,
                taken: false,
                instance: None,
            }),
        }
    }

    fn tenant(&self) -> MutexGuard<'_, Tenant> {
        // Each change is one assignment: there is nothing half done to be afraid of.
        self.tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes a free place; nothing is found there before [`Place::open`].
    pub(crate) fn take() -> Result<Self, Failure> {
        for (number, slot) in (0u8..).zip(&TABLE) {
            let mut tenant = slot.tenant();
            if !tenant.taken {
                tenant.taken = true;
                tenant.generation = tenant.generation.wrapping_add(1).max(1);
                return Ok(Self {
                    slot: number,
                    generation: tenant.generation,
                });
            }
        }
        Err(EDC_ERR_FULL.into())
    }

    /// From now on the handles lead to this camera.
    pub(crate) fn open(self, instance: Arc<Instance>) {
        if let Ok(slot) = self.slot() {
            slot.tenant().instance = Some(instance);
            slot.alive.store(self.generation, Ordering::SeqCst);
        }
    }

    /// The camera's handle.
    pub(crate) fn handle(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(CAMERA | u32::from(self.slot))
    }

    /// Of a camera's handle.
    pub(crate) fn from_handle(handle: u64) -> Result<Self, Failure> {
        let (generation, low) = halves(handle);
        let slot = u8::try_from(low ^ CAMERA).map_err(|_| Failure::handle())?;
        if generation == 0 {
            return Err(Failure::handle());
        }
        Ok(Self { slot, generation })
    }

    /// A stream of this camera.
    pub(crate) fn stream(self, stream: u8) -> StreamPlace {
        StreamPlace {
            place: self,
            stream,
        }
    }

    /// The camera that lives here.
    pub(crate) fn find(self) -> Result<Arc<Instance>, Failure> {
        let tenant = self.slot()?.tenant();
        match &tenant.instance {
            Some(instance) if tenant.generation == self.generation => Ok(Arc::clone(instance)),
            _ => Err(Failure::handle()),
        }
    }

    /// From now on the handles lead nowhere. One caller gets the camera, and has to
    /// [`clear`](Self::clear) the place when it is gone.
    pub(crate) fn close(self) -> Result<Arc<Instance>, Failure> {
        let slot = self.slot()?;
        let mut tenant = slot.tenant();
        if tenant.generation != self.generation {
            return Err(Failure::handle());
        }
        let instance = tenant.instance.take().ok_or_else(Failure::handle)?;
        slot.alive.store(0, Ordering::SeqCst);
        Ok(instance)
    }

    /// Empties the place, also after a [`take`](Self::take) that came to nothing. Waits for
    /// pushes in flight.
    pub(crate) fn clear(self) {
        for stream in 0..EDC_MAX_STREAMS {
            self.set_sender(u8::try_from(stream).unwrap_or(u8::MAX), None);
        }
        if let Ok(slot) = self.slot() {
            for stream in &slot.streams {
                stream.missed.store(0, Ordering::Relaxed);
            }
            slot.tenant().taken = false;
        }
    }

    /// Puts a sender where [`StreamPlace::push`] finds it. Waits for a push in flight.
    pub(crate) fn set_sender(self, stream: u8, sender: Option<Box<FrameSender>>) {
        if let Ok(slot) = self.slot()
            && let Some(stream) = slot.streams.get(usize::from(stream))
        {
            drop(stream.sender.exchange(sender));
        }
    }

    /// Frames that came to this stream while there was no sender.
    pub(crate) fn missed(self, stream: u8) -> u64 {
        self.slot()
            .ok()
            .and_then(|slot| slot.streams.get(usize::from(stream)))
            .map_or(0, |stream| stream.missed.load(Ordering::Relaxed))
    }

    fn slot(self) -> Result<&'static Slot, Failure> {
        TABLE
            .get(usize::from(self.slot))
            .ok_or_else(Failure::handle)
    }
}

impl StreamPlace {
    /// The stream's handle.
    pub(crate) fn handle(self) -> u64 {
        let low = STREAM | u32::from(self.stream) << 8 | u32::from(self.place.slot);
        u64::from(self.place.generation) << 32 | u64::from(low)
    }

    /// Of a stream's handle.
    pub(crate) fn from_handle(handle: u64) -> Result<Self, Failure> {
        let (generation, low) = halves(handle);
        let numbers = u16::try_from(low ^ STREAM).map_err(|_| Failure::handle())?;
        let [stream, slot] = numbers.to_be_bytes();
        if generation == 0 {
            return Err(Failure::handle());
        }
        Ok(Self {
            place: Place { slot, generation },
            stream,
        })
    }

    /// Gives a frame to the stream's sender; never waits. The verdict is `None` while there is no sender.
    ///
    /// # Errors
    /// When there is no such stream, or another thread pushes into it.
    pub(crate) fn push(self, frame: &Frame<'_>) -> Result<Option<Verdict>, Failure> {
        let slot = self.place.slot()?;
        let stream = slot
            .streams
            .get(usize::from(self.stream))
            .ok_or_else(Failure::handle)?;
        let alive = || slot.alive.load(Ordering::SeqCst) == self.place.generation;
        // Before, so that a stale handle does not disturb who lives here now; and again inside,
        // where `clear` waits for it.
        if !alive() {
            return Err(Failure::handle());
        }
        let verdict = match stream.sender.enter(|sender| {
            if alive() {
                Ok(sender.map(|sender| sender.push(frame)))
            } else {
                Err(Failure::handle())
            }
        }) {
            Ok(result) => result?,
            Err(Occupied::Exchanged) => None,
            Err(Occupied::Used) => return Err(EDC_ERR_BUSY.into()),
        };
        if verdict.is_none() {
            stream.missed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(verdict)
    }
}

fn halves(handle: u64) -> (u32, u32) {
    let low = u32::try_from(handle & u64::from(u32::MAX)).unwrap_or(0);
    (u32::try_from(handle >> 32).unwrap_or(0), low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_lead_back_to_their_place_and_not_to_another_kind() {
        let place = Place {
            slot: 63,
            generation: 0xffff_fff0,
        };
        assert_eq!(Place::from_handle(place.handle()).unwrap(), place);
        let stream = place.stream(7);
        assert_eq!(StreamPlace::from_handle(stream.handle()).unwrap(), stream);
        assert!(Place::from_handle(stream.handle()).is_err());
        assert!(StreamPlace::from_handle(place.handle()).is_err());
        let nothing = Frame {
            parts: &[],
            pts_us: 0,
            key: false,
        };
        for handle in [0, 1, u64::MAX, place.handle() & 0xffff_ffff] {
            assert!(Place::from_handle(handle).and_then(Place::find).is_err());
            assert!(
                StreamPlace::from_handle(handle)
                    .and_then(|stream| stream.push(&nothing))
                    .is_err()
            );
        }
    }

    #[test]
    fn a_place_that_is_taken_again_has_other_handles() {
        let first = Place::take().unwrap();
        let handle = first.handle();
        first.clear();
        let again: Vec<Place> = (0..3).map(|_| Place::take().unwrap()).collect();
        assert!(again.iter().all(|place| place.handle() != handle));
        assert!(first.find().is_err());
        for place in again {
            place.clear();
        }
    }
}
