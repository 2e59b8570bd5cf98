//! How well a device knows what time it is.

/// Where a device's wall clock comes from: `ClockQuality` of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ClockQuality {
    /// `unset`: nobody has told the device the time since it started.
    #[default]
    Unset,
    /// `server`: from `Time` of a CMS's answer; good to half a round trip.
    Server,
    /// `rtc`: from a clock with a battery, which drifts.
    Rtc,
    /// `ntp`: kept by NTP or PTP.
    Ntp,
}

impl ClockQuality {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Server => "server",
            Self::Rtc => "rtc",
            Self::Ntp => "ntp",
        }
    }

    /// Reads it in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let is = |quality: &Self| text.eq_ignore_ascii_case(quality.as_str());
        [Self::Unset, Self::Server, Self::Rtc, Self::Ntp]
            .into_iter()
            .find(is)
    }
}
