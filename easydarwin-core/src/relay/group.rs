use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::{AbortHandle, BoxFuture};

use super::ReaderEnd;
use super::hub::now;
use super::live::StreamInner;
use super::reader::Reader;
use super::shard::TIME_PER_YIELD;
use super::spread::PassTime;
use super::unit::{UnitSource, Window};
use super::writer::{Item, Turn};

/// Readers of one turn.
const BATCH: usize = 64;
/// Readers between two looks at the clock.
const CLOCK_EVERY: usize = 8;
/// How often the oldest cursor is looked for while readers are blocked.
const OLDEST_INTERVAL: Duration = Duration::from_millis(50);

/// Memory that turns share.
#[derive(Default)]
pub(super) struct Scratch {
    window: Window,
    plan: Vec<Item>,
    batch: Vec<usize>,
    /// Readers that were blocked in the turn: slot, id, and what to wait for.
    pub(super) parked: Vec<(usize, u64, BoxFuture<'static, ()>)>,
}

/// One stream's readers on one shard.
pub(super) struct ReaderGroup {
    stream: Arc<StreamInner>,
    shard: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Readers with something to do whatever the ring says.
    woken: VecDeque<usize>,
    /// Slots of the pass over all readers that are still to come, and where it goes on. The next
    /// pass starts where this one ends, so that nobody is always the last.
    left_in_sweep: usize,
    at: usize,
    sweep_time: Duration,
    pass_time: PassTime,
    /// Readers that are more than this shard has time for.
    surplus: usize,
    parked: usize,
    paced: usize,
    /// When the first of the paced ones goes on.
    next_paced: Option<Instant>,
    left: usize,
    next_oldest: Option<Instant>,
    /// Stands in the shard's queue.
    pub(super) queued: bool,
}

#[derive(Default)]
struct Slot {
    reader: Option<Box<Reader>>,
    state: SlotState,
}

#[derive(Default)]
enum SlotState {
    #[default]
    Active,
    /// Waits for its socket.
    Parked(AbortHandle),
    /// More may be sent to it then.
    Paced(Instant),
}

impl ReaderGroup {
    pub(super) fn new(stream: Arc<StreamInner>, shard: usize) -> Self {
        Self {
            stream,
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            woken: VecDeque::new(),
            left_in_sweep: 0,
            at: 0,
            sweep_time: Duration::ZERO,
            pass_time: PassTime::default(),
            surplus: 0,
            parked: 0,
            paced: 0,
            next_paced: None,
            left: 0,
            next_oldest: None,
            queued: false,
        }
    }

    pub(super) fn stream(&self) -> &StreamInner {
        &self.stream
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(super) fn any_parked(&self) -> bool {
        self.parked > 0
    }

    /// When [`unpace`](Self::unpace) is due.
    pub(super) fn next_paced(&self) -> Option<Instant> {
        self.next_paced
    }

    pub(super) fn has_work(&self) -> bool {
        self.left_in_sweep > 0 || !self.woken.is_empty()
    }

    /// Readers that left since the last call.
    pub(super) fn take_left(&mut self) -> usize {
        std::mem::take(&mut self.left)
    }

    pub(super) fn add(&mut self, reader: Box<Reader>) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
        };
        if let Some(place) = self.slots.get_mut(slot) {
            place.reader = Some(reader);
            place.state = SlotState::Active;
        }
        self.woken.push_back(slot);
    }

    /// All readers are to be served.
    pub(super) fn sweep(&mut self) {
        self.left_in_sweep = self.slots.len();
    }

    /// One reader is to be served although it may be parked: its inbox has something.
    pub(super) fn wake(&mut self, slot: usize) {
        if self.slots.get(slot).is_some_and(Slot::is_active) {
            self.woken.push_back(slot);
        }
    }

    pub(super) fn find(&self, id: u64) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.reader.as_ref().is_some_and(|reader| reader.id() == id))
    }

    pub(super) fn wants_stop(&self, slot: usize) -> bool {
        self.slots
            .get(slot)
            .and_then(|slot| slot.reader.as_ref())
            .is_some_and(|reader| reader.wants_stop())
    }

    /// Ends a reader because its inbox says so.
    pub(super) fn stop(&mut self, slot: usize) {
        if let Some(reader) = self.remove(slot) {
            reader.stop();
        }
    }

    pub(super) fn set_parked(&mut self, slot: usize, handle: AbortHandle) {
        match self.slots.get_mut(slot) {
            Some(place) if place.reader.is_some() => {
                place.state = SlotState::Parked(handle);
                self.parked += 1;
            }
            _ => handle.abort(),
        }
    }

    /// A parked reader's socket takes bytes again; false if it is another reader by now.
    pub(super) fn unpark(&mut self, slot: usize, id: u64) -> bool {
        let Some(place) = self.slots.get_mut(slot) else {
            return false;
        };
        let same = place
            .reader
            .as_ref()
            .is_some_and(|reader| reader.id() == id);
        if !same || !matches!(place.state, SlotState::Parked(_)) {
            return false;
        }
        place.state = SlotState::Active;
        self.parked -= 1;
        self.woken.push_back(slot);
        true
    }

    /// Those whose time has come go on; true if there are any.
    pub(super) fn unpace(&mut self, at: Instant) -> bool {
        if self.next_paced.is_none_or(|due| at < due) {
            return false;
        }
        self.next_paced = None;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let SlotState::Paced(due) = slot.state else {
                continue;
            };
            if due <= at {
                slot.state = SlotState::Active;
                self.paced -= 1;
                self.woken.push_back(index);
            } else {
                self.next_paced = Some(self.next_paced.map_or(due, |next| next.min(due)));
            }
        }
        !self.woken.is_empty()
    }

    /// Serves some readers.
    pub(super) fn turn(&mut self, scratch: &mut Scratch) {
        let started = now();
        scratch.batch.clear();
        while scratch.batch.len() < BATCH
            && let Some(slot) = self.woken.pop_front()
        {
            scratch.batch.push(slot);
        }
        let sweeping = self.left_in_sweep > 0;
        while scratch.batch.len() < BATCH && self.left_in_sweep > 0 {
            self.left_in_sweep -= 1;
            if self.at >= self.slots.len() {
                self.at = 0;
            }
            if self.slots.get(self.at).is_some_and(Slot::is_active) {
                scratch.batch.push(self.at);
            }
            self.at += 1;
        }
        let oldest = scratch
            .batch
            .iter()
            .filter_map(|slot| Some(self.slots.get(*slot)?.reader.as_ref()?.position()))
            .min();
        let Some(oldest) = oldest else {
            self.hold_back(started, false);
            return;
        };
        self.stream.window(oldest, &mut scratch.window);
        let mut at = started;
        let mut served = 0;
        let mut batch = std::mem::take(&mut scratch.batch);
        let mut rest = batch.drain(..);
        for slot in rest.by_ref() {
            self.serve(slot, scratch, at);
            served += 1;
            if served % CLOCK_EVERY == 0 {
                at = now();
                if at.saturating_duration_since(started) >= TIME_PER_YIELD {
                    break;
                }
            }
        }
        for slot in rest.rev() {
            self.woken.push_front(slot);
        }
        scratch.batch = batch;
        scratch.window.release();
        if sweeping {
            self.measure(now().saturating_duration_since(started));
        }
        self.hold_back(at, !scratch.parked.is_empty());
    }

    fn serve(&mut self, slot: usize, scratch: &mut Scratch, at: Instant) {
        let Some(place) = self.slots.get_mut(slot) else {
            return;
        };
        if !place.is_active() {
            return;
        }
        let Some(reader) = place.reader.as_mut() else {
            return;
        };
        match reader.turn(&scratch.window, at, &mut scratch.plan) {
            Turn::Idle => {}
            Turn::More => self.woken.push_back(slot),
            Turn::Blocked => scratch.parked.push((slot, reader.id(), reader.park())),
            Turn::Paced(due) => {
                place.state = SlotState::Paced(due);
                self.paced += 1;
                self.next_paced = Some(self.next_paced.map_or(due, |next| next.min(due)));
            }
            Turn::Ended(end) => {
                if let Some(reader) = self.remove(slot) {
                    reader.ended(end);
                }
            }
        }
    }

    /// Readers that should go elsewhere, as of the last pass.
    pub(super) fn take_surplus(&mut self) -> usize {
        std::mem::take(&mut self.surplus)
    }

    /// Gives up to `count` readers away, of those that have all that there is; returns how many.
    pub(super) fn release(&mut self, count: usize, mut to: impl FnMut(Box<Reader>)) -> usize {
        let mut released = 0;
        for slot in (0..self.slots.len()).rev() {
            if released >= count {
                break;
            }
            let goes = self.slots.get(slot).is_some_and(|place| {
                let reader = place.reader.as_ref();
                place.is_active() && reader.is_some_and(|reader| reader.is_current())
            });
            if goes && let Some(reader) = self.remove(slot) {
                to(reader);
                released += 1;
            }
        }
        released
    }

    /// Notes how long a pass took; above the limit newcomers, and then others, go to other
    /// shards.
    fn measure(&mut self, spent: Duration) {
        self.sweep_time += spent;
        if self.left_in_sweep > 0 {
            return;
        }
        let time = std::mem::take(&mut self.sweep_time);
        let limit = self.stream.hub.config.spread_after;
        if time > limit {
            self.stream.spread.store(true, Ordering::Relaxed);
        }
        let readers = self.slots.len() - self.free.len();
        self.surplus = self.pass_time.surplus(time, readers, limit);
    }

    /// Tells the ring which units late readers still need.
    fn hold_back(&mut self, at: Instant, parking: bool) {
        let Some(shared) = self.stream.groups.get(self.shard) else {
            return;
        };
        let late = self.parked > 0 || self.paced > 0 || parking || !self.woken.is_empty();
        if !late {
            shared.oldest.store(u64::MAX, Ordering::Relaxed);
            return;
        }
        if self.next_oldest.is_some_and(|due| at < due) {
            return;
        }
        self.next_oldest = Some(at + OLDEST_INTERVAL);
        let readers = self.slots.iter().filter_map(|slot| slot.reader.as_ref());
        let oldest = readers.filter_map(|reader| reader.holds_back(at)).min();
        shared
            .oldest
            .store(oldest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Ends readers whose sockets took nothing for too long; true if there were any.
    pub(super) fn end_stalled(&mut self, at: Instant) -> bool {
        if self.parked == 0 {
            return false;
        }
        let stalled: Vec<usize> = (0..self.slots.len())
            .filter(|slot| {
                self.slots.get(*slot).is_some_and(|slot| {
                    !slot.is_active() && slot.reader.as_ref().is_some_and(|r| r.is_stalled(at))
                })
            })
            .collect();
        for slot in &stalled {
            if let Some(reader) = self.remove(*slot) {
                reader.stalled();
            }
        }
        !stalled.is_empty()
    }

    pub(super) fn end_all(&mut self, end: &ReaderEnd) {
        for slot in 0..self.slots.len() {
            if let Some(reader) = self.remove(slot) {
                reader.ended(end.clone());
            }
        }
    }

    fn remove(&mut self, slot: usize) -> Option<Box<Reader>> {
        let place = self.slots.get_mut(slot)?;
        let reader = place.reader.take()?;
        match std::mem::take(&mut place.state) {
            SlotState::Active => {}
            SlotState::Parked(handle) => {
                // Else the wait would keep the socket open.
                handle.abort();
                self.parked -= 1;
            }
            SlotState::Paced(_) => self.paced -= 1,
        }
        self.free.push(slot);
        self.left += 1;
        Some(reader)
    }
}

impl Slot {
    fn is_active(&self) -> bool {
        self.reader.is_some() && matches!(self.state, SlotState::Active)
    }
}
