use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The system's wall clock.
    pub fn system() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(millis(since))
    }

    /// This moment and a while.
    #[must_use]
    pub fn plus(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(millis(while_)))
    }

    /// How long ago `earlier` was; zero when it is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// In whole seconds.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The CMS's time as seen from here: an offset to the monotonic clock, so that neither a jump
/// of this machine's wall clock nor a wrong one makes tokens valid or invalid.
///
/// On the CMS itself it is its wall clock at start, going on monotonically.
#[derive(Debug)]
pub struct CmsClock {
    started: Instant,
    /// CMS time at `started`.
    base: AtomicU64,
}

impl CmsClock {
    /// A clock that shows the system's time until it is [set](Self::set).
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            base: AtomicU64::new(UnixMillis::system().0),
        }
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.base.load(Ordering::Relaxed)).plus(self.started.elapsed())
    }

    /// Takes over the CMS's time, as it came with its last message.
    pub fn set(&self, time: UnixMillis) {
        let elapsed = millis(self.started.elapsed());
        self.base
            .store(time.0.saturating_sub(elapsed), Ordering::Relaxed);
    }
}

impl Default for CmsClock {
    fn default() -> Self {
        Self::new()
    }
}
