use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// What one server admits; every number protects something that others share.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// RTSP connections in total; further ones are closed at once.
    pub connections: usize,
    /// RTSP connections from one address (many cameras may share one behind a NAT).
    pub connections_per_address: usize,
    /// HTTP tunnels whose second half has not come yet; further ones are refused.
    pub waiting_tunnels: usize,
    /// How long a peer may take to read an answer.
    pub write: Duration,
    /// How long a viewer waits for a stream that has to be started.
    pub demand: Duration,
    /// How long connections may take to end once the server shuts down.
    pub shutdown: Duration,
    /// Receive buffer of each UDP publisher's socket, in bytes, that is asked of the kernel; on
    /// Linux it gives no more than `net.core.rmem_max`. The default of 1 MiB holds a key frame of
    /// 400 packets.
    pub udp_receive_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 5_000,
            waiting_tunnels: 256,
            write: Duration::from_secs(10),
            demand: Duration::from_secs(10),
            shutdown: Duration::from_secs(5),
            udp_receive_buffer: 1 << 20,
        }
    }
}

/// Counts connections, in total and by address.
#[derive(Debug)]
pub(crate) struct Admission {
    total: usize,
    per_address: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
    count: AtomicUsize,
}

/// The right to hold one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Admission {
    pub(crate) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_address,
            open: Mutex::new(HashMap::new()),
            count: AtomicUsize::new(0),
        })
    }

    /// `None` when this connection would be one too many.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let mut open = self.open.lock();
        if self.count.load(Ordering::Relaxed) >= self.total {
            return None;
        }
        let here = open.entry(ip).or_insert(0);
        if *here >= self.per_address {
            return None;
        }
        *here = here.saturating_add(1);
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(Admitted {
            admission: self.clone(),
            ip,
        })
    }

    /// Connections that are open now.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        if let Some(here) = open.get_mut(&self.ip) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                open.remove(&self.ip);
            }
        }
        self.admission.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_are_given_back() {
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let two: IpAddr = "192.0.2.2".parse().unwrap();
        let admission = Admission::new(3, 2);
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(one).unwrap();
        assert!(admission.admit(one).is_none(), "limit of one address");
        let _third = admission.admit(two).unwrap();
        assert!(admission.admit(two).is_none(), "limit of the total");
        drop(first);
        assert_eq!(admission.count(), 2);
        let _again = admission.admit(two).unwrap();
    }
}
