use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    Acquired, Cause, Lease, Presence, PresenceEntry, PresenceError, PresenceState, Transition,
    UnixMillis,
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
const HISTORY: usize = 8;

/// A [`Presence`] in this process's memory.
#[derive(Debug)]
pub struct MemoryPresence {
    timing: PresenceTiming,
    epoch: u32,
    counter: AtomicU32,
    limit: usize,
    table: Mutex<BTreeMap<Arc<str>, Entry>>,
}

#[derive(Debug)]
struct Entry {
    state: PresenceState,
    since: UnixMillis,
    last_seen: UnixMillis,
    generation: u64,
    /// When the state ends by itself.
    until: Option<UnixMillis>,
    media: bool,
    history: VecDeque<Transition>,
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
        (u64::from(self.epoch) << 32) | u64::from(count)
    }
}

impl Entry {
    fn new(now: UnixMillis) -> Self {
        Self {
            state: PresenceState::Offline,
            since: now,
            last_seen: now,
            generation: 0,
            until: None,
            media: false,
            history: VecDeque::new(),
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
        while self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(transition.clone());
        transition
    }

    fn view(&self, serial: &Arc<str>) -> PresenceEntry {
        PresenceEntry {
            serial: serial.clone(),
            state: self.state,
            since: self.since,
            last_seen: self.last_seen,
            generation: self.generation,
            history: self.history.iter().cloned().collect(),
        }
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn acquire(&self, serial: &str, now: UnixMillis) -> Result<Acquired, PresenceError> {
        let mut table = self.table.lock();
        let serial: Arc<str> = match table.get_key_value(serial) {
            Some((key, _)) => key.clone(),
            None if table.len() >= self.limit => {
                return Err(PresenceError::Full { limit: self.limit });
            }
            None => serial.into(),
        };
        // Taken under the lock: the higher generation is the one that entered later.
        let generation = self.generation();
        let entry = table
            .entry(serial.clone())
            .or_insert_with(|| Entry::new(now));
        let superseded = (entry.state == PresenceState::Online).then_some(entry.generation);
        entry.generation = generation;
        entry.last_seen = now;
        entry.until = Some(now.plus(self.timing.lease));
        let cause = match superseded {
            Some(_) => Cause::TakenOver,
            None => Cause::Registered,
        };
        entry.go(&serial, PresenceState::Online, cause, now);
        Ok(Acquired {
            lease: Lease::new(serial, generation),
            superseded,
        })
    }

    async fn renew(&self, lease: &Lease, now: UnixMillis) -> Result<(), PresenceError> {
        let mut table = self.table.lock();
        let entry = table
            .get_mut(&lease.serial)
            .filter(|e| e.generation == lease.generation)
            .ok_or(PresenceError::Superseded)?;
        entry.last_seen = now;
        entry.until = Some(now.plus(self.timing.lease));
        if entry.state != PresenceState::Online {
            entry.go(&lease.serial, PresenceState::Online, Cause::Registered, now);
        }
        Ok(())
    }

    async fn release(
        &self,
        lease: &Lease,
        cause: Cause,
        now: UnixMillis,
    ) -> Result<(), PresenceError> {
        let mut table = self.table.lock();
        let Some(entry) = table
            .get_mut(&lease.serial)
            .filter(|e| e.generation == lease.generation && e.state == PresenceState::Online)
        else {
            return Ok(());
        };
        let to = if entry.media {
            entry.until = None;
            PresenceState::MediaOnly
        } else {
            entry.until = Some(now.plus(self.timing.grace));
            PresenceState::Grace
        };
        entry.go(&lease.serial, to, cause, now);
        Ok(())
    }

    async fn media(&self, serial: &str, flows: bool, now: UnixMillis) -> Result<(), PresenceError> {
        let mut table = self.table.lock();
        let Some((serial, _)) = table.get_key_value(serial) else {
            return Ok(());
        };
        let serial = serial.clone();
        let Some(entry) = table.get_mut(&serial) else {
            return Ok(());
        };
        entry.media = flows;
        if flows {
            entry.last_seen = now;
        }
        match (entry.state, flows) {
            (PresenceState::Grace | PresenceState::Offline | PresenceState::Unknown, true) => {
                entry.until = None;
                entry.go(&serial, PresenceState::MediaOnly, Cause::MediaStarted, now);
            }
            (PresenceState::MediaOnly, false) => {
                entry.until = Some(now.plus(self.timing.grace));
                entry.go(&serial, PresenceState::Grace, Cause::MediaStopped, now);
            }
            _ => {}
        }
        Ok(())
    }

    async fn expect(&self, serial: &str, now: UnixMillis) -> Result<(), PresenceError> {
        let mut table = self.table.lock();
        if table.contains_key(serial) {
            return Ok(());
        }
        if table.len() >= self.limit {
            return Err(PresenceError::Full { limit: self.limit });
        }
        let serial: Arc<str> = serial.into();
        let mut entry = Entry::new(now);
        entry.until = Some(now.plus(self.timing.lease));
        // Not from Offline: that would be news.
        entry.state = PresenceState::Unknown;
        entry.go(&serial, PresenceState::Unknown, Cause::CmsStarted, now);
        table.insert(serial, entry);
        Ok(())
    }

    async fn entry(&self, serial: &str) -> Result<Option<PresenceEntry>, PresenceError> {
        let table = self.table.lock();
        Ok(table.get_key_value(serial).map(|(key, e)| e.view(key)))
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
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(_, e)| states.is_empty() || states.contains(&e.state))
            .take(limit)
            .map(|(serial, e)| e.view(serial))
            .collect())
    }

    async fn sweep(&self, now: UnixMillis) -> Result<Vec<Transition>, PresenceError> {
        let mut table = self.table.lock();
        let mut changed = Vec::new();
        for (serial, entry) in table.iter_mut() {
            if entry.until.is_none_or(|until| now < until) {
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
        Ok(changed)
    }

    async fn next_generation(&self) -> Result<u64, PresenceError> {
        Ok(self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: UnixMillis = UnixMillis(1_000_000);

    fn after(seconds: u64) -> UnixMillis {
        T0.plus(Duration::from_secs(seconds))
    }

    fn presence() -> MemoryPresence {
        MemoryPresence::new(7, PresenceTiming::default())
    }

    async fn state(p: &MemoryPresence) -> PresenceState {
        p.entry("cam").await.unwrap().unwrap().state
    }

    #[tokio::test]
    async fn the_newcomer_supersedes_and_the_old_lease_is_worthless() {
        let p = presence();
        let old = p.acquire("cam", T0).await.unwrap();
        assert_eq!(old.superseded, None);
        let new = p.acquire("cam", after(1)).await.unwrap();
        assert_eq!(new.superseded, Some(old.lease.generation));
        assert!(new.lease.generation > old.lease.generation);
        assert_eq!(new.lease.generation >> 32, 7);
        assert_eq!(
            p.renew(&old.lease, after(2)).await,
            Err(PresenceError::Superseded)
        );
        p.release(&old.lease, Cause::ConnectionClosed, after(2))
            .await
            .unwrap();
        assert_eq!(state(&p).await, PresenceState::Online);
    }

    #[tokio::test]
    async fn generations_of_a_later_epoch_are_higher() {
        let before = presence().next_generation().await.unwrap();
        let later = MemoryPresence::new(8, PresenceTiming::default());
        assert!(later.next_generation().await.unwrap() > before);
    }

    #[tokio::test]
    async fn silence_ends_a_lease_and_life_renews_it() {
        let p = presence();
        let lease = p.acquire("cam", T0).await.unwrap().lease;
        assert!(p.sweep(after(89)).await.unwrap().is_empty());
        p.renew(&lease, after(89)).await.unwrap();
        assert!(p.sweep(after(178)).await.unwrap().is_empty());
        let changed = p.sweep(after(179)).await.unwrap();
        assert_eq!(changed.len(), 1);
        assert!(changed[0].is_event() && changed[0].cause == Cause::Silent);
        assert_eq!(state(&p).await, PresenceState::Offline);
    }

    #[tokio::test]
    async fn a_short_break_is_no_event() {
        let p = presence();
        let lease = p.acquire("cam", T0).await.unwrap().lease;
        p.release(&lease, Cause::ConnectionClosed, after(1))
            .await
            .unwrap();
        assert_eq!(state(&p).await, PresenceState::Grace);
        p.acquire("cam", after(5)).await.unwrap();
        assert!(p.sweep(after(20)).await.unwrap().is_empty());
        let entry = p.entry("cam").await.unwrap().unwrap();
        // The first one, from offline to online, is the only one to tell of.
        assert_eq!(entry.history.iter().filter(|t| t.is_event()).count(), 1);
    }

    #[tokio::test]
    async fn media_counts_as_life() {
        let p = presence();
        let lease = p.acquire("cam", T0).await.unwrap().lease;
        p.media("cam", true, after(1)).await.unwrap();
        p.release(&lease, Cause::ConnectionClosed, after(2))
            .await
            .unwrap();
        assert_eq!(state(&p).await, PresenceState::MediaOnly);
        assert!(p.sweep(after(500)).await.unwrap().is_empty());
        p.media("cam", false, after(500)).await.unwrap();
        assert_eq!(state(&p).await, PresenceState::Grace);
        assert_eq!(p.sweep(after(515)).await.unwrap().len(), 1);
        assert_eq!(state(&p).await, PresenceState::Offline);
    }

    #[tokio::test]
    async fn after_a_start_devices_are_unknown_and_come_back_without_noise() {
        let p = presence();
        p.expect("cam", T0).await.unwrap();
        p.expect("gone", T0).await.unwrap();
        p.acquire("cam", after(10)).await.unwrap();
        let history = p.entry("cam").await.unwrap().unwrap().history;
        assert!(history.iter().all(|t| !t.is_event()));
        let changed = p.sweep(after(90)).await.unwrap();
        assert_eq!(changed.len(), 1);
        assert_eq!(&*changed[0].serial, "gone");
    }

    #[tokio::test]
    async fn lists_go_on_after_a_serial_and_the_limit_holds() {
        let p = presence().with_limit(3);
        for serial in ["a", "b", "c"] {
            p.acquire(serial, T0).await.unwrap();
        }
        assert!(matches!(
            p.acquire("d", T0).await,
            Err(PresenceError::Full { .. })
        ));
        let page = p
            .list(&[PresenceState::Online], Some("a"), 1)
            .await
            .unwrap();
        assert_eq!(page.len(), 1);
        assert_eq!(&*page[0].serial, "b");
    }
}
