use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The kernel's table is read at most so often, however many streams are asked about.
const REFRESH: Duration = Duration::from_secs(1);

/// Names a UDP socket of this process in the kernel's tables; see
/// [`Publisher::watch_socket`](crate::relay::Publisher::watch_socket).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId(u64);

impl SocketId {
    /// The identity of a socket; `None` where the system does not tell it (only Linux does).
    #[cfg(target_os = "linux")]
    pub fn of(socket: &impl std::os::fd::AsRawFd) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
        std::fs::metadata(link).ok().map(|data| Self(data.ino()))
    }

    /// The identity of a socket; `None` where the system does not tell it (only Linux does).
    #[cfg(not(target_os = "linux"))]
    pub fn of<T>(_socket: &T) -> Option<Self> {
        None
    }

    pub(in crate::relay) fn from_raw(inode: u64) -> Option<Self> {
        (inode > 0).then_some(Self(inode))
    }

    pub(in crate::relay) fn raw(self) -> u64 {
        self.0
    }
}

/// Datagrams that the kernel dropped because a socket's receive buffer was full, by socket.
///
/// No library reads the counter from the socket itself (`SO_RXQ_OVFL`) without unsafe code, so it
/// is taken from `/proc/net/udp` when somebody asks.
#[derive(Debug, Default)]
pub(in crate::relay) struct DropTable {
    read_at: Option<Instant>,
    drops: HashMap<u64, u64>,
}

impl DropTable {
    /// The count of a socket; `None` when it is not known, or younger than the table.
    pub(in crate::relay) fn of(&mut self, socket: SocketId, now: Instant) -> Option<u64> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < REFRESH;
        if !self.read_at.is_some_and(fresh) {
            self.read_at = Some(now);
            self.drops.clear();
            for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
                // Without IPv6 there is no second one, and elsewhere none at all.
                let text = std::fs::read_to_string(table).unwrap_or_default();
                self.drops.extend(entries(&text));
            }
        }
        self.drops.get(&socket.0).copied()
    }
}

/// Inode and drops of each socket of a table.
fn entries(text: &str) -> impl Iterator<Item = (u64, u64)> {
    text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let inode = fields.nth(9)?.parse().ok()?;
        // After the inode: references, address, drops.
        let drops = fields.nth(2)?.parse().ok()?;
        Some((inode, drops))
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    use super::*;

    #[test]
    fn the_table_of_a_kernel() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n  \
            123: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   102        0 16450 2 0000000000000000 7         \n\
            torn line\n  \
            456: 0100007F:9C40 00000000:0000 07 00000000:00033C00 00:00000000 00000000     0        0 99001 2 0000000000000000 1234567   \n";
        let found: Vec<_> = entries(text).collect();
        assert_eq!(found, [(16450, 7), (99001, 1_234_567)]);
    }

    #[test]
    fn what_overflows_a_socket_is_counted() {
        for ip in [
            Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::from(Ipv6Addr::LOCALHOST),
        ] {
            let receiver = UdpSocket::bind((ip, 0)).unwrap();
            socket2::SockRef::from(&receiver)
                .set_recv_buffer_size(4096)
                .unwrap();
            let id = SocketId::of(&receiver).unwrap();
            let now = Instant::now();
            let mut table = DropTable::default();
            assert_eq!(table.of(id, now), Some(0));
            let sender = UdpSocket::bind((ip, 0)).unwrap();
            for _ in 0..100 {
                let to = receiver.local_addr().unwrap();
                sender.send_to(&[0; 1000], to).unwrap();
            }
            assert_eq!(table.of(id, now), Some(0), "read once in a second");
            let drops = table.of(id, now + REFRESH).unwrap();
            assert!((50..100).contains(&drops), "{drops}");
            drop(receiver);
            assert_eq!(table.of(id, now + REFRESH * 2), None);
        }
    }
}
