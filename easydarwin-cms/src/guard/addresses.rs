//! Connections by address: those of strangers are limited, and where somebody rightful lives,
//! nobody is shut out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Source;

/// An address from which a right secret came counts as somebody's home for this long after he
/// left: he comes back from there.
const HOME: Duration = Duration::from_secs(24 * 3600);

/// A home may have this many times as many strangers as another address.
const HOME_FACTOR: u32 = 16;

/// Homes remembered without a connection. A new one is not remembered beyond.
const MAX_HOMES: usize = 65_536;

/// Too many strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowd;

#[derive(Debug)]
pub(super) struct Addresses {
    /// Connections of one address that have not proven who they are.
    limit: u32,
    table: Mutex<HashMap<Source, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    strangers: u32,
    residents: u32,
    /// When a right secret came last.
    proven: Option<Instant>,
}

impl Entry {
    fn is_home(&self, now: Instant) -> bool {
        self.residents > 0
            || self
                .proven
                .is_some_and(|at| now.saturating_duration_since(at) < HOME)
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.strangers == 0 && !self.is_home(now)
    }
}

impl Addresses {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            table: Mutex::default(),
        }
    }

    /// Counts a connection as a stranger's. Behind one address may live a whole site: each that
    /// has proven who he is makes room for one more that has not yet; and a stranger beside it
    /// must not keep it out when it comes back.
    pub(super) fn enter(self: &Arc<Self>, source: Source) -> Result<Visit, Crowd> {
        let mut table = self.table.lock();
        let entry = table.entry(source).or_default();
        if !self.has_room_in(entry) {
            return Err(Crowd);
        }
        entry.strangers = entry.strangers.saturating_add(1);
        Ok(Visit {
            addresses: self.clone(),
            source,
            standing: AtomicU8::new(STRANGER),
        })
    }

    /// Whether one more stranger would be taken.
    pub(super) fn has_room(&self, source: Source) -> bool {
        let table = self.table.lock();
        table
            .get(&source)
            .is_none_or(|entry| self.has_room_in(entry))
    }

    fn has_room_in(&self, entry: &Entry) -> bool {
        let limit = match entry.is_home(Instant::now()) {
            true => self.limit.saturating_mul(HOME_FACTOR),
            false => self.limit,
        };
        entry.strangers < limit.saturating_add(entry.residents)
    }

    /// Whether somebody rightful lives there.
    pub(super) fn is_home(&self, source: Source, now: Instant) -> bool {
        let table = self.table.lock();
        table.get(&source).is_some_and(|entry| entry.is_home(now))
    }

    /// A right secret came from there.
    pub(super) fn proven(&self, source: Source, now: Instant) {
        let mut table = self.table.lock();
        if table.len() < MAX_HOMES || table.contains_key(&source) {
            table.entry(source).or_default().proven = Some(now);
        }
    }

    pub(super) fn sweep(&self, now: Instant) {
        let mut table = self.table.lock();
        table.retain(|_, entry| !entry.is_idle(now));
        // After a herd from many addresses.
        if table.capacity() / 4 > table.len().max(1024) {
            table.shrink_to_fit();
        }
    }
}

const STRANGER: u8 = 0;
/// Comes from a network that the operator trusts; proves nothing for its address.
const TRUSTED: u8 = 1;
const RESIDENT: u8 = 2;

/// A connection as its address's count knows it.
#[derive(Debug)]
pub(crate) struct Visit {
    addresses: Arc<Addresses>,
    source: Source,
    standing: AtomicU8,
}

impl Visit {
    /// The connection has proven a secret.
    pub(crate) fn proven(&self) {
        self.becomes(RESIDENT);
    }

    /// The connection may do something because of where it comes from.
    pub(crate) fn trusted(&self) {
        self.becomes(TRUSTED);
    }

    fn becomes(&self, standing: u8) {
        let mut table = self.addresses.table.lock();
        // Changed under the table's lock alone.
        let before = self.standing.load(Ordering::Relaxed);
        if before >= standing {
            return;
        }
        self.standing.store(standing, Ordering::Relaxed);
        let entry = table.entry(self.source).or_default();
        if before == STRANGER {
            entry.strangers = entry.strangers.saturating_sub(1);
        }
        if standing == RESIDENT {
            entry.residents = entry.residents.saturating_add(1);
            entry.proven = Some(Instant::now());
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut table = self.addresses.table.lock();
        let homes = table.len();
        let Some(entry) = table.get_mut(&self.source) else {
            return;
        };
        let now = Instant::now();
        match *self.standing.get_mut() {
            STRANGER => entry.strangers = entry.strangers.saturating_sub(1),
            RESIDENT => {
                entry.residents = entry.residents.saturating_sub(1);
                entry.proven = Some(now);
            }
            _ => {}
        }
        let nobody = entry.strangers == 0 && entry.residents == 0;
        if entry.is_idle(now) || (nobody && homes > MAX_HOMES) {
            table.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn strangers_are_counted_and_residents_make_room() {
        let addresses = Arc::new(Addresses::new(2));
        let (site, other) = (source("10.0.0.1"), source("10.0.0.2"));
        let first = addresses.enter(site).unwrap();
        let _second = addresses.enter(site).unwrap();
        assert_eq!(addresses.enter(site).err(), Some(Crowd));
        let _elsewhere = addresses.enter(other).unwrap();
        // Who is trusted is counted no more; who proves himself makes room for others, too.
        first.trusted();
        let third = addresses.enter(site).unwrap();
        assert_eq!(addresses.enter(site).err(), Some(Crowd));
        third.proven();
        third.proven();
        let room = 2 * HOME_FACTOR + 1 - 1;
        let more: Vec<_> = (0..room).map(|_| addresses.enter(site).unwrap()).collect();
        assert_eq!(addresses.enter(site).err(), Some(Crowd));
        drop((third, more));
        assert!(addresses.enter(site).is_ok(), "it may come back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_home_is_remembered_and_nothing_else_is_kept() {
        let addresses = Arc::new(Addresses::new(2));
        let (home, other) = (source("10.0.0.1"), source("2001:db8::1"));
        let resident = addresses.enter(home).unwrap();
        resident.proven();
        drop(resident);
        drop(addresses.enter(other).unwrap());
        assert_eq!(addresses.table.lock().len(), 1);
        assert!(addresses.is_home(home, Instant::now()));
        tokio::time::advance(HOME - Duration::from_secs(1)).await;
        assert!(addresses.is_home(home, Instant::now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!addresses.is_home(home, Instant::now()));
        addresses.sweep(Instant::now());
        assert!(addresses.table.lock().is_empty());
    }
}
