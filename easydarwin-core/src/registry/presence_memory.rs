use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    Acquired, Cause, LastKnown, Lease, Presence, PresenceEntry, PresenceError, PresenceState,
    Transition, UnixMillis,
};

/// How long what lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceTiming {
    /// A lease that nobody renews ends after this; three keep-alives of 30 s.
    pub lease: Duration,
    /// A device whose connection ended has this long to come back before it is offline.
    pub grace: Duration,
}

impl Default for PresenceTiming {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(90),
            grace: Duration::from_secs(15),
        }
    }
}

/// Transitions kept for each device.
const HISTORY: usize = 20;

/// A [`Presence`] in this process's memory.
#[derive(Debug)]
pub struct MemoryPresence {
    timing: PresenceTiming,
    epoch: u32,
    counter: AtomicU32,
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Arc<str>, Entry>,
    /// No state ends by itself before this. Nearly all sweeps have nothing to look at: leases are
    /// renewed long before their end, which only moves their ends away.
    earliest: UnixMillis,
}

impl Table {
    /// A state that is about to begin ends by itself then.
    fn ends_at(&mut self, until: UnixMillis) -> Option<UnixMillis> {
        self.earliest = self.earliest.min(until);
        Some(until)
    }
}

#[derive(Debug)]
struct Entry {
    state: PresenceState,
    since: UnixMillis,
    /// 0: never.
    last_seen: UnixMillis,
    generation: u64,
    /// When the state ends by itself.
    until: Option<UnixMillis>,
    media: bool,
    history: History,
}

/// The last transitions. There may be ten thousand devices, most of which have one or two: they
/// take 16 bytes each, and room is made for few at a time.
#[derive(Debug, Default)]
struct History(Vec<Packed>);

#[derive(Debug, Clone, Copy)]
struct Packed {
    at: UnixMillis,
    /// Lower half of the lease's generation, 0 if there is none.
    counter: u32,
    from: PresenceState,
    to: PresenceState,
    cause: Cause,
}

const _: () = assert!(size_of::<Packed>() == 16);

impl History {
    fn push(&mut self, packed: Packed) {
        let kept = &mut self.0;
        if kept.len() >= HISTORY {
            kept.remove(0);
        } else if kept.len() == kept.capacity() {
            kept.reserve_exact((kept.len() + 2).min(HISTORY - kept.len()));
        }
        kept.push(packed);
    }
}

impl MemoryPresence {
    /// Most devices by default.
    pub const DEFAULT_LIMIT: usize = 200_000;

    /// Nobody is there. `epoch` is [`DeviceStore::begin_epoch`](super::DeviceStore::begin_epoch)'s.
    pub fn new(epoch: u32, timing: PresenceTiming) -> Self {
        Self {
            timing,
            epoch,
            counter: AtomicU32::new(0),
            limit: Self::DEFAULT_LIMIT,
            table: Mutex::default(),
        }
    }

    /// At most this many devices.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    fn generation(&self) -> u64 {
        let count = self.counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        generation(self.epoch, count)
    }
}

fn generation(epoch: u32, counter: u32) -> u64 {
    (u64::from(epoch) << 32) | u64::from(counter)
}

impl Entry {
    fn new(now: UnixMillis) -> Self {
        Self {
            state: PresenceState::Offline,
            since: now,
            last_seen: UnixMillis(0),
            generation: 0,
            until: None,
            media: false,
            history: History::default(),
        }
    }

    fn go(
        &mut self,
        serial: &Arc<str>,
        to: PresenceState,
        cause: Cause,
        now: UnixMillis,
    ) -> Transition {
        let transition = Transition {
            serial: serial.clone(),
            from: self.state,
            to,
            cause,
            at: now,
            generation: self.generation,
        };
        if self.state != to {
            self.since = now;
        }
        self.state = to;
        self.history.push(Packed {
            at: now,
            counter: u32::try_from(self.generation & u64::from(u32::MAX)).unwrap_or_default(),
            from: transition.from,
            to,
            cause,
        });
        transition
    }

    fn view(&self, serial: &Arc<str>, epoch: u32) -> PresenceEntry {
        let unpacked = |packed: &Packed| Transition {
            serial: serial.clone(),
            from: packed.from,
            to: packed.to,
            cause: packed.cause,
            at: packed.at,
            generation: match packed.counter {
                0 => 0,
                counter => generation(epoch, counter),
            },
        };
        PresenceEntry {
            serial: serial.clone(),
            state: self.state,
            since: self.since,
            last_seen: (self.last_seen.0 > 0).then_some(self.last_seen),
            generation: self.generation,
            history: self.history.0.iter().map(unpacked).collect(),
        }
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn acquire(&self, serial: &str, now: UnixMillis) -> Result<Acquired, PresenceError> {
        let mut table = self.table.lock();
        let serial: Arc<str> = match table.entries.get_key_value(serial) {
            Some((key, _)) => key.clone(),
            None if table.entries.len() >= self.limit => {
                return Err(PresenceError::Full { limit: self.limit });
            }
            None => serial.into(),
        };
        // Taken under the lock: the higher generation is the one that entered later.
        let generation = self.generation();
        let until = table.ends_at(now.plus(self.timing.lease));
        let entry = table
            .entries
            .entry(serial.clone())
            .or_insert_with(|| Entry::new(now));
        let superseded = (entry.state == PresenceState::Online).then_some(entry.generation);
        entry.generation = generation;
        entry.last_seen = now;
        entry.until = until;
        let cause = match superseded {
            Some(_) => Cause::TakenOver,
            None => Cause::Registered,
        };
        let transition = entry.go(&serial, PresenceState::Online, cause, now);
        Ok(Acquired {
            lease: Lease::new(serial, generation),
            superseded,
            transition,
        })
    }

    async fn renew(
        &self,
        lease: &Lease,
        now: UnixMillis,
    ) -> Result<Option<Transition>, PresenceError> {
        let mut table = self.table.lock();
        let until = table.ends_at(now.plus(self.timing.lease));
        let entry = table
            .entries
            .get_mut(&lease.serial)
            .filter(|e| e.generation == lease.generation)
            .ok_or(PresenceError::Superseded)?;
        entry.last_seen = now;
        entry.until = until;
        Ok((entry.state != PresenceState::Online)
            .then(|| entry.go(&lease.serial, PresenceState::Online, Cause::Registered, now)))
    }

    async fn release(
        &self,
        lease: &Lease,
        cause: Cause,
        now: UnixMillis,
    ) -> Result<(), PresenceError> {
        let mut table = self.table.lock();
        let until = table.ends_at(now.plus(self.timing.grace));
        let Some(entry) = table
            .entries
            .get_mut(&lease.serial)
            .filter(|e| e.generation == lease.generation && e.state == PresenceState::Online)
        else {
            return Ok(());
        };
        let to = if entry.media {
            entry.until = None;
            PresenceState::MediaOnly
        } else {
            entry.until = until;
            PresenceState::Grace
        };
        entry.go(&lease.serial, to, cause, now);
        Ok(())
    }

    async fn media(
        &self,
        serial: &str,
        flows: bool,
        now: UnixMillis,
    ) -> Result<Option<Transition>, PresenceError> {
        let mut table = self.table.lock();
        let Some((serial, _)) = table.entries.get_key_value(serial) else {
            return Ok(None);
        };
        let serial = serial.clone();
        let until = table.ends_at(now.plus(self.timing.grace));
        let Some(entry) = table.entries.get_mut(&serial) else {
            return Ok(None);
        };
        entry.media = flows;
        if flows {
            entry.last_seen = now;
        }
        Ok(match (entry.state, flows) {
            (PresenceState::Grace | PresenceState::Offline | PresenceState::Unknown, true) => {
                entry.until = None;
                Some(entry.go(&serial, PresenceState::MediaOnly, Cause::MediaStarted, now))
            }
            (PresenceState::MediaOnly, false) => {
                entry.until = until;
                Some(entry.go(&serial, PresenceState::Grace, Cause::MediaStopped, now))
            }
            _ => None,
        })
    }

    async fn expect(
        &self,
        serial: &str,
        known: LastKnown,
        now: UnixMillis,
    ) -> Result<(), PresenceError> {
        let mut table = self.table.lock();
        if table.entries.contains_key(serial) {
            return Ok(());
        }
        if table.entries.len() >= self.limit {
            return Err(PresenceError::Full { limit: self.limit });
        }
        let serial: Arc<str> = serial.into();
        let mut entry = Entry::new(now);
        match known {
            LastKnown::There { at } => {
                entry.last_seen = at.unwrap_or_default();
                entry.until = table.ends_at(now.plus(self.timing.lease));
                // Not from Offline: that would be news.
                entry.state = PresenceState::Unknown;
                entry.go(&serial, PresenceState::Unknown, Cause::CmsStarted, now);
            }
            LastKnown::Gone { at, cause } => {
                (entry.since, entry.last_seen) = (at, at);
                entry.go(&serial, PresenceState::Offline, cause, at);
            }
            LastKnown::Never => {}
        }
        table.entries.insert(serial, entry);
        Ok(())
    }

    async fn entry(&self, serial: &str) -> Result<Option<PresenceEntry>, PresenceError> {
        let table = self.table.lock();
        Ok(table
            .entries
            .get_key_value(serial)
            .map(|(key, e)| e.view(key, self.epoch)))
    }

    async fn list(
        &self,
        states: &[PresenceState],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PresenceEntry>, PresenceError> {
        let table = self.table.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(table
            .entries
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(_, e)| states.is_empty() || states.contains(&e.state))
            .take(limit)
            .map(|(serial, e)| e.view(serial, self.epoch))
            .collect())
    }

    async fn sweep(&self, now: UnixMillis) -> Result<Vec<Transition>, PresenceError> {
        let mut table = self.table.lock();
        let mut changed = Vec::new();
        if now < table.earliest {
            return Ok(changed);
        }
        let mut earliest = UnixMillis(u64::MAX);
        for (serial, entry) in &mut table.entries {
            if let Some(until) = entry.until.filter(|until| now < *until) {
                earliest = earliest.min(until);
                continue;
            }
            if entry.until.is_none() {
                continue;
            }
            let (to, cause) = match entry.state {
                PresenceState::Online if entry.media => (PresenceState::MediaOnly, Cause::Silent),
                PresenceState::Online => (PresenceState::Offline, Cause::Silent),
                _ => (PresenceState::Offline, Cause::GraceEnded),
            };
            entry.until = None;
            changed.push(entry.go(serial, to, cause, now));
        }
        table.earliest = earliest;
        Ok(changed)
    }

    async fn next_generation(&self) -> Result<u64, PresenceError> {
        Ok(self.generation())
    }
}

#[cfg(test)]
mod tests;
