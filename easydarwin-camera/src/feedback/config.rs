use std::time::Duration;

/// Bitrates that a stream of the encoder can be set to, in bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitrateRange {
    /// The least with which the picture is worth sending.
    pub min: u32,
    /// The most that is wanted.
    pub max: u32,
}

impl BitrateRange {
    /// The nearest value within the range; the lower end wins when they are crossed.
    pub(super) fn hold(self, bitrate: u64) -> u64 {
        bitrate.min(self.max.into()).max(self.min.into())
    }
}

/// Limits of a [`RateController`](super::RateController).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateConfig {
    /// Range of the main stream. Default: 256 kbit/s to 4 Mbit/s.
    pub main: BitrateRange,
    /// Range of the sub stream, if the encoder has one. Default: none, the choice stays at main.
    pub sub: Option<BitrateRange>,
    /// What the encoder is set to when it begins, in bits a second. Default: 2 Mbit/s.
    pub start: u32,
    /// What else goes over the uplink, such as sound, in bits a second; it is taken off what is
    /// advised. Default: 0.
    pub other: u32,
    /// Age at which the ring drops frames. Default: 1 s.
    pub max_latency: Duration,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            main: BitrateRange {
                min: 256_000,
                max: 4_000_000,
            },
            sub: None,
            start: 2_000_000,
            other: 0,
            max_latency: Duration::from_secs(1),
        }
    }
}

impl RateConfig {
    /// A queue that stands higher than this says that the uplink carries less than is sent.
    pub(super) fn high(&self) -> Duration {
        (self.max_latency / 4).clamp(Duration::from_millis(100), Duration::from_millis(300))
    }

    /// Below this the uplink has room.
    pub(super) fn low(&self) -> Duration {
        self.high() / 2
    }

    /// A queue that reaches this, if only for a moment, is about to lose frames.
    pub(super) fn severe(&self) -> Duration {
        self.max_latency * 7 / 10
    }
}
