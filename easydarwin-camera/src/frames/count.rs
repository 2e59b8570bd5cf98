use super::sync::{AtomicU64, Ordering};

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropCause {
    /// Nobody wants the stream.
    NotWanted,
    /// The stream is wanted, but the media server is not reached yet.
    NotConnected,
    /// The ring is full: the uplink is slower than the encoder.
    QueueFull,
    /// The other one of main and sub stream is sent.
    NotSelected,
    /// It follows a dropped frame and cannot be decoded without it.
    WaitKey,
    /// It waited in the ring for longer than the latency allows.
    Late,
    /// It waited in the ring when the push ended.
    PushEnded,
    /// It is larger than half the ring, or empty.
    Size,
    /// The payload format cannot carry it.
    Format,
    /// The camera is gone.
    Closed,
}

impl DropCause {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NotWanted,
        Self::NotConnected,
        Self::QueueFull,
        Self::NotSelected,
        Self::WaitKey,
        Self::Late,
        Self::PushEnded,
        Self::Size,
        Self::Format,
        Self::Closed,
    ];

    fn index(self) -> usize {
        Self::ALL.iter().position(|c| *c == self).unwrap_or(0)
    }
}

/// What became of the frames of a stream. Every pushed frame is sent, dropped, or waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StreamCounts {
    /// Frames given to [`FrameSender::push`](super::FrameSender::push).
    pub pushed: u64,
    /// Frames handed to the network.
    pub sent: u64,
    dropped: [u64; DropCause::ALL.len()],
}

impl StreamCounts {
    /// Frames dropped by this cause.
    pub fn dropped_by(&self, cause: DropCause) -> u64 {
        self.dropped.get(cause.index()).copied().unwrap_or(0)
    }

    /// Frames dropped by any cause.
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Frames that wait in the ring.
    pub fn waiting(&self) -> u64 {
        self.pushed.saturating_sub(self.sent + self.dropped())
    }
}

/// The counters behind [`StreamCounts`].
#[derive(Debug)]
pub(super) struct Counters {
    pushed: AtomicU64,
    sent: AtomicU64,
    dropped: [AtomicU64; DropCause::ALL.len()],
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            pushed: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dropped: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(super) fn pushed(&self) {
        self.pushed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, cause: DropCause, frames: u64) {
        if let Some(counter) = self.dropped.get(cause.index()) {
            counter.fetch_add(frames, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> StreamCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // What became of frames before how many there were: none is seen that was not pushed.
        let dropped = std::array::from_fn(|at| self.dropped.get(at).map_or(0, load));
        let sent = load(&self.sent);
        StreamCounts {
            pushed: load(&self.pushed),
            sent,
            dropped,
        }
    }
}
