use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What time it is for the dates of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TlsClock {
    /// The system's clock. Authorities are judged by it; with pins no dates are looked at.
    #[default]
    System,
    /// This is the time now: it is known better than by the system. All certificates are judged by it, those of
    /// pins, too.
    Known(SystemTime),
    /// A device that may never have been told the time. With pins no dates are looked at; with authorities the
    /// system's clock is asked, unless it says that it is before 2020.
    Unset,
}

impl TlsClock {
    /// Whether somebody has set the system's clock: without a battery it begins in 1970, or where a
    /// filesystem was made.
    pub(super) fn system_is_set() -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.is_ok_and(|since| since >= YEAR_2020)
    }
}

const YEAR_2020: Duration = Duration::from_secs(1_577_836_800);
