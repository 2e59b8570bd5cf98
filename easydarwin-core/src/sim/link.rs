use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Random;
use super::network::Flight;

/// What a lost segment of a stream costs: it is sent again after this time (the least
/// retransmission time-out of Linux).
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// A segment is not lost more often than this in a row.
const MAX_RETRANSMISSIONS: u32 = 8;

/// How the path between two hosts behaves, the same in both directions. Streams feel delay,
/// bandwidth and cutting; a loss delays what follows. Datagrams feel everything but cutting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// From one end to the other. Default 1 ms.
    pub delay: Duration,
    /// Added at random, from 0 to this. Datagrams overtake each other by it. Default 0.
    pub jitter: Duration,
    /// Bits a second in each direction; `None`, the default, is no limit.
    pub bandwidth: Option<u64>,
    /// Lost, of a thousand. Default 0.
    pub loss: u16,
    /// Datagrams that come twice, of a thousand. Default 0.
    pub duplicates: u16,
    /// Datagrams that are held back, of a thousand. Default 0.
    pub late: u16,
    /// How long those are held back. Default 20 ms.
    pub late_by: Duration,
    /// Longest piece in which a stream's bytes come. Default 1460.
    pub segment: usize,
    /// Streams are cut at random places, into pieces of 1 to [`segment`](Self::segment) bytes.
    /// Default false.
    pub random_cuts: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            bandwidth: None,
            loss: 0,
            duplicates: 0,
            late: 0,
            late_by: Duration::from_millis(20),
            segment: 1460,
            random_cuts: false,
        }
    }
}

impl Link {
    /// A link with this delay and nothing odd.
    pub fn with_delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// The length of the next piece of a stream that has `left` bytes to send.
    pub(super) fn piece(&self, left: usize, random: &mut Random) -> usize {
        let most = self.segment.max(1).min(left);
        if self.random_cuts {
            1 + random.index(most)
        } else {
            most
        }
    }
}

/// A link as it stands.
#[derive(Debug)]
pub(super) struct LinkState {
    pub(super) link: Link,
    pub(super) up: bool,
    /// Until when each direction is busy with what was sent: from the lower address, to it.
    busy: [Option<Instant>; 2],
    /// Parts of streams that wait for the link to come up again.
    pub(super) held: Vec<Flight>,
}

impl LinkState {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            up: true,
            busy: [None; 2],
            held: Vec::new(),
        }
    }

    /// When something of `len` bytes that is sent now has come through, if nothing befalls it.
    pub(super) fn through(
        &mut self,
        (from, to): (IpAddr, IpAddr),
        len: usize,
        now: Instant,
        random: &mut Random,
    ) -> Instant {
        let [up, down] = &mut self.busy;
        let busy = if from <= to { up } else { down };
        let begin = busy.map_or(now, |until| until.max(now));
        let bits = u64::try_from(len).unwrap_or(u64::MAX).saturating_mul(8);
        let sending = self.link.bandwidth.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(bits.saturating_mul(1_000_000_000) / rate.max(1))
        });
        *busy = Some(begin + sending);
        begin + sending + self.link.delay + random.duration(self.link.jitter)
    }

    /// What losses cost a segment of a stream.
    pub(super) fn retransmissions(&self, random: &mut Random) -> Duration {
        let mut times = 0;
        while times < MAX_RETRANSMISSIONS && random.per_mille(self.link.loss) {
            times += 1;
        }
        RETRANSMISSION * times
    }
}

/// The key of the link between two hosts.
pub(super) fn pair(a: IpAddr, b: IpAddr) -> (IpAddr, IpAddr) {
    (a.min(b), a.max(b))
}
