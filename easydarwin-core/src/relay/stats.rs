use serde::Serialize;

use crate::media::Repairs;

/// Sums of a hub.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct HubInfo {
    /// Live streams.
    pub streams: usize,
    /// Readers and taps.
    pub readers: usize,
    /// Viewers, HLS sessions included.
    pub viewers: usize,
    /// Bytes of all chunks that rings hold.
    pub kept_bytes: u64,
    /// Faults of peers that were repaired: of all publishers and, at a server, of all requests.
    pub repairs: Repairs,
}

/// A stream as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its path.
    pub path: String,
    /// Generation of the publisher.
    pub generation: u64,
    /// Who publishes, in words.
    pub publisher: String,
    /// A publisher is there.
    pub online: bool,
    /// A key frame came.
    pub ready: bool,
    /// Milliseconds since it was first published.
    pub age_ms: u64,
    /// Milliseconds since the last packet.
    pub silent_ms: u64,
    /// Its tracks.
    pub tracks: Vec<TrackInfo>,
    /// Viewers now.
    pub viewers: usize,
    /// Readers and taps now.
    pub readers: Vec<ReaderInfo>,
    /// Readers and taps that ended, by cause.
    pub ended: ReaderEnds,
    /// The last few of them, newest first, with their counters.
    pub left: Vec<LeftReader>,
    /// Units pushed.
    pub units: u64,
    /// Payload and headers that came, in bytes.
    pub bytes: u64,
    /// Smoothed bits per second.
    pub bitrate: u64,
    /// Bytes of the chunks that the ring holds.
    pub kept_bytes: u64,
    /// Units that the ring holds.
    pub kept_units: usize,
    /// Packets for which no track was found or that were no RTP.
    pub invalid: u64,
    /// Sum of the tracks' [`kernel_drops`](TrackInfo::kernel_drops).
    pub kernel_drops: Option<u64>,
    /// Times that the last key frame fell to the cap: no instant start until the next one.
    pub group_over_cap: u64,
    /// Publishers that continued the stream.
    pub takeovers: u32,
    /// Faults of the present publisher that were repaired.
    pub repairs: Repairs,
}

/// Readers that ended, by cause; see [`ReaderEnd`](super::ReaderEnd).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReaderEnds {
    /// The stream ended.
    pub stream: u64,
    /// The peer took nothing for too long.
    pub stalled: u64,
    /// Writing to the peer failed: it went away.
    pub io: u64,
    /// Too many answers waited for a peer that does not read.
    pub control_overflow: u64,
    /// It was stopped: PAUSE, TEARDOWN, a closed connection or a dropped handle.
    pub stopped: u64,
}

/// A reader that ended.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LeftReader {
    /// The name of the count in [`ReaderEnds`].
    pub cause: &'static str,
    /// The cause in words.
    pub detail: String,
    /// Milliseconds since then.
    pub ago_ms: u64,
    /// Its counters at the end.
    pub reader: ReaderInfo,
}

/// A track as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TrackInfo {
    /// `video`, `audio` or `application`.
    pub kind: &'static str,
    /// Encoding name.
    pub encoding: String,
    /// Packets that came.
    pub packets: u64,
    /// Packets that were missing by their sequence numbers.
    pub lost: u64,
    /// Packets held back until a key frame: of a new publisher, or after what a filter dropped.
    pub held_back: u64,
    /// Packets that a filter dropped.
    pub filtered: u64,
    /// Key frames.
    pub key_frames: u64,
    /// Greatest packet that readers got, in bytes, RTP header included.
    pub max_packet: usize,
    /// Packets of the publisher that were too long for a datagram and were cut into several.
    pub repacketized: u64,
    /// Datagrams that the kernel dropped because the receive buffer of the present publisher's
    /// socket was full; `None` for publishers over TCP and where the system does not tell.
    pub kernel_drops: Option<u64>,
}

/// A reader as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ReaderInfo {
    /// Number within the hub.
    pub id: u64,
    /// Peer or purpose.
    pub label: String,
    /// `tcp`, `udp` or `tap`.
    pub transport: &'static str,
    /// Counts as a viewer.
    pub viewer: bool,
    /// Milliseconds since it started.
    pub age_ms: u64,
    /// How late it may be before it is moved to the newest key frame, in ms.
    pub max_lag_ms: u64,
    /// It gets the sound between when pictures are skipped.
    pub keep_audio: bool,
    /// Number of the task that writes to it (not taps).
    pub shard: Option<usize>,
    /// Packets wholly handed over.
    pub packets: u64,
    /// Bytes handed over.
    pub bytes: u64,
    /// Units wholly handed over.
    pub units: u64,
    /// How late it is: age of the oldest unit not wholly handed over, in ms; 0 when it has all.
    pub lag_ms: u64,
    /// Skips to a key frame because it was later than `max_lag`.
    pub skips_lag: u64,
    /// Skips to a key frame because the ring had let its position go.
    pub skips_overrun: u64,
    /// Units passed over by skips.
    pub skipped_units: u64,
    /// Units not sent because a key frame was waited for.
    pub held_units: u64,
    /// Units of which the end was dropped (at most one per skip).
    pub truncated: u64,
    /// Times that the socket took nothing.
    pub blocked: u64,
    /// Bytes that the kernel holds of what was written: sent but not acknowledged, or not sent
    /// (TCP, on Linux). They are on their way whatever is skipped.
    pub kernel_bytes: Option<u64>,
    /// Those of them that were not sent yet (TCP, on Linux).
    pub kernel_unsent_bytes: Option<u64>,
    /// Datagrams that the kernel refused (UDP).
    pub send_errors: u64,
    /// Fraction lost of the peer's last receiver report, in 1/256 (UDP).
    pub rr_fraction_lost: u8,
    /// Packets lost by the peer's receiver reports (UDP).
    pub rr_lost: i64,
    /// Jitter of the peer's last receiver report, in clock ticks (UDP).
    pub rr_jitter: u32,
}
