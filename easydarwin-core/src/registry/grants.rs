use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::{StreamPath, UnixMillis};
use crate::protocol::node::Revoked;

/// What the CMS told a node to expect: publishers that cannot bring a token, by their address.
///
/// It also keeps the highest generation granted for each stream, so that a publisher of an
/// older one is turned away although its token is still in time.
#[derive(Debug, Default)]
pub struct GrantTable {
    streams: Mutex<HashMap<StreamPath, Grants>>,
}

#[derive(Debug)]
struct Grants {
    generation: u64,
    address: Option<(IpAddr, UnixMillis)>,
    touched: UnixMillis,
}

/// Most streams for which something is kept.
const MAX_STREAMS: usize = 65_536;
/// Longer than any token lives; after that nothing older than the floor can come.
const FLOOR_KEPT: Duration = Duration::from_secs(3600);

impl GrantTable {
    /// Nothing is granted.
    pub fn new() -> Self {
        Self::default()
    }

    /// The CMS grants a push of this generation. With an address the first publisher from there
    /// is let in, once, until `ttl` is over; without one a token has to be brought. A lower
    /// generation than the known one changes nothing.
    pub fn grant(
        &self,
        path: StreamPath,
        generation: u64,
        source: Option<IpAddr>,
        ttl: Duration,
        now: UnixMillis,
    ) {
        let mut streams = self.streams.lock();
        if streams.len() >= MAX_STREAMS {
            streams.retain(|_, g| now.since(g.touched) < FLOOR_KEPT);
            if streams.len() >= MAX_STREAMS && !streams.contains_key(&path) {
                return;
            }
        }
        let grants = streams.entry(path).or_insert(Grants {
            generation,
            address: None,
            touched: now,
        });
        if generation < grants.generation {
            return;
        }
        *grants = Grants {
            generation,
            address: source.map(|ip| (ip.to_canonical(), now.plus(ttl))),
            touched: now,
        };
    }

    /// Uses the grant for this address up; its generation.
    pub fn take(&self, path: &StreamPath, source: IpAddr, now: UnixMillis) -> Option<u64> {
        let mut streams = self.streams.lock();
        let grants = streams.get_mut(path)?;
        let fits = grants
            .address
            .is_some_and(|(ip, until)| ip == source.to_canonical() && now < until);
        if !fits {
            return None;
        }
        grants.address = None;
        Some(grants.generation)
    }

    /// Forgets the addresses from which publishers were to come whose right is taken back.
    pub fn withdraw(&self, what: &Revoked) {
        let is_meant = |path: &StreamPath| match what {
            Revoked::Subject(serial) | Revoked::Device(serial) => {
                path.as_device().is_some_and(|(own, _)| own == serial)
            }
            Revoked::Path(text) => StreamPath::parse(text).is_ok_and(|own| own == *path),
        };
        let mut streams = self.streams.lock();
        for (_, grants) in streams.iter_mut().filter(|(path, _)| is_meant(path)) {
            grants.address = None;
        }
    }

    /// Whether a publisher of this generation is not behind what was granted last.
    pub fn is_current(&self, path: &StreamPath, generation: u64) -> bool {
        let streams = self.streams.lock();
        streams
            .get(path)
            .is_none_or(|grants| generation >= grants.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_lets_one_in_from_one_address_in_time() {
        let table = GrantTable::new();
        let path = StreamPath::parse("cam/1").unwrap();
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let ttl = Duration::from_secs(30);
        table.grant(path.clone(), 5, Some(a), ttl, UnixMillis(0));
        assert_eq!(table.take(&path, b, UnixMillis(1)), None);
        assert_eq!(table.take(&path, a, UnixMillis(30_000)), None);
        assert_eq!(table.take(&path, a, UnixMillis(29_999)), Some(5));
        assert_eq!(table.take(&path, a, UnixMillis(29_999)), None);

        table.grant(path.clone(), 4, Some(b), ttl, UnixMillis(0));
        assert_eq!(table.take(&path, b, UnixMillis(1)), None);
        assert!(table.is_current(&path, 5) && !table.is_current(&path, 4));

        table.grant(path.clone(), 6, Some(a), ttl, UnixMillis(0));
        table.withdraw(&Revoked::Path("cam/2".into()));
        assert_eq!(table.take(&path, a, UnixMillis(1)), Some(6));
        table.grant(path.clone(), 7, Some(a), ttl, UnixMillis(0));
        table.withdraw(&Revoked::Device("cam".into()));
        assert_eq!(table.take(&path, a, UnixMillis(1)), None);
    }
}
