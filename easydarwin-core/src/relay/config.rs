use std::time::Duration;

use super::Start;

/// Limits and times of a [`Hub`](super::Hub). `Default` suits a server of a few hundred cameras.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Tasks that write to readers, 1 to 64. Default: one per processor.
    pub shards: usize,
    /// Most bytes that one stream's ring keeps. A cap, not a target: what no reader and no
    /// newcomer needs is let go. Default 8 MiB.
    pub stream_bytes: usize,
    /// Most bytes that all rings together keep; above it each stream is held to an equal share.
    /// Default 1 GiB.
    pub total_bytes: usize,
    /// Most tracks of one stream, at most 32. Default 8.
    pub tracks: usize,
    /// Most streams of this hub. Default 10 000.
    pub streams: usize,
    /// Age up to which units are kept although nobody needs them. Default 2 s.
    pub keep: Duration,
    /// An open unit older than this is sent although its picture is not complete. Default 10 ms.
    pub merge: Duration,
    /// A cached picture group older than this is no instant start; the reader waits for the next
    /// key frame. Default 5 s.
    pub start_age: Duration,
    /// Where readers over RTSP, WebSocket and HTTP start that do not say it. Default
    /// [`Start::Key`].
    pub start: Start,
    /// How late a reader may be before it is moved to the newest key frame. Default 4 s.
    pub max_lag: Duration,
    /// A reader whose socket takes nothing for this long is ended. Default 15 s.
    pub stall_timeout: Duration,
    /// A publisher may only be replaced once it was silent for this long (or by the same
    /// device). Default 2 s.
    pub takeover_silence: Duration,
    /// Least time between two takeovers of one stream. Default 10 s.
    pub takeover_interval: Duration,
    /// How long readers wait for a publisher that went away. Default 0: the stream ends at once.
    pub offline_grace: Duration,
    /// Interval of the stream's own sender reports. Default 5 s.
    pub report_interval: Duration,
    /// A pass over a stream's readers that takes longer makes further readers go to other
    /// shards; if passes go on to take longer, some of those that are there follow. Default 10 ms: less
    /// is not seen, and a second worker that is woken for each picture costs a third more CPU.
    pub spread_after: Duration,
    /// Events kept for a subscriber that is slow to take them. Default 1024.
    pub event_backlog: usize,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            stream_bytes: 8 << 20,
            total_bytes: 1 << 30,
            tracks: 8,
            streams: 10_000,
            keep: Duration::from_secs(2),
            merge: Duration::from_millis(10),
            start_age: Duration::from_secs(5),
            start: Start::Key,
            max_lag: Duration::from_secs(4),
            stall_timeout: Duration::from_secs(15),
            takeover_silence: Duration::from_secs(2),
            takeover_interval: Duration::from_secs(10),
            offline_grace: Duration::ZERO,
            report_interval: Duration::from_secs(5),
            spread_after: Duration::from_millis(10),
            event_backlog: 1024,
        }
    }
}
