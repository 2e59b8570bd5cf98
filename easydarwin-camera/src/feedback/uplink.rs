use std::time::Duration;

/// What the sender sees of its uplink at one moment. Counters are those of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uplink {
    /// Age of the oldest frame that waits in the ring; zero when none waits.
    pub queued: Duration,
    /// Bytes that wait in the ring.
    pub queued_bytes: usize,
    /// Bytes that the kernel took and has not sent.
    pub unsent: usize,
    /// Bytes that were sent and have not arrived, as far as the peer tells.
    pub in_flight: usize,
    /// Bytes that the kernel took since the connection began.
    pub sent_total: u64,
    /// Round trip time as the kernel measures it (`tcpi_rtt`), if it tells.
    pub rtt: Option<Duration>,
    /// Frames that were dropped because the uplink was too slow for them, since the connection
    /// began.
    pub drops: u64,
}

impl Uplink {
    /// Bytes that have arrived, as far as the peer tells.
    pub fn delivered(&self) -> u64 {
        self.sent_total.saturating_sub(self.in_kernel())
    }

    /// Bytes that the kernel holds, sent or not.
    pub(super) fn in_kernel(&self) -> u64 {
        let bytes = self.unsent.saturating_add(self.in_flight);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What the encoder should do from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Encode the selected stream with so many bits a second.
    Bitrate(u32),
    /// Send this stream; its bitrate follows as [`Bitrate`](Self::Bitrate).
    Stream(StreamChoice),
}

/// One of the two streams that cameras encode of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StreamChoice {
    /// The full picture.
    #[default]
    Main,
    /// The small one.
    Sub,
}
