use std::borrow::Cow;
use std::time::SystemTime;

use easydarwin_core::protocol::ClockQuality;

/// What time it is, and how well that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    /// What sender reports say of this moment.
    pub time: SystemTime,
    /// What the description says of that.
    pub quality: ClockQuality,
}

/// What a description says of the clock behind the sender reports: in the words of RFC 7273, 4, and, as those
/// do not tell a clock with a battery from a CMS, in our own.
///
/// `mediaclk` is left out: RTP time is the encoder's and follows no clock that others could read.
pub(super) fn attributes(quality: ClockQuality) -> Vec<Cow<'static, str>> {
    let [source, own] = match quality {
        // Kept by NTP, from a server that traces back to UTC.
        ClockQuality::Ntp => ["ts-refclk:ntp=/traceable/", "x-clock-quality:ntp"],
        // A wall clock, and nothing to compare it with.
        ClockQuality::Rtc => ["ts-refclk:private", "x-clock-quality:rtc"],
        ClockQuality::Server => ["ts-refclk:private", "x-clock-quality:server"],
        // Good for what belongs together in this session only.
        _ => ["ts-refclk:local", "x-clock-quality:unset"],
    };
    vec![source.into(), own.into()]
}
