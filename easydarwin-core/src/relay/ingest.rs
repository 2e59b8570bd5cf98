mod large;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Verdict;
use super::chunks::{ChunkWriter, OTHER_CHUNK, VIDEO_CHUNK};
use super::clock::{FrameTicks, TrackClock, WallClock, system_time, ticks};
use super::faults::{Noted, Unmarked};
use super::ring::TrackEnd;
use super::stream::{TrackCounters, TrackIdentity};
use super::udp::MAX_DATAGRAM;
use super::unit::{FRAME_HEADER, Unit, UnitFlags};
use crate::media::{Codec, MediaKind, Repair, Track};
use crate::registry::StreamPath;
use crate::rtp::{
    Inspector, MIN_HEADER_LEN, PacketInfo, Reception, Repacketizer, RtpPacket, TimestampUnwrapper,
};

/// An open unit of this size is sent on although its picture is not complete.
const BIG_UNIT: usize = 32 * 1024;
/// A publisher's clock that is off by more than this has jumped.
const CLOCK_JUMP: Duration = Duration::from_secs(10);
/// A video track that shows no key frame for so long has none (intra refresh): readers need not
/// wait for one. Longer than the picture groups of cameras, so that joining one in the middle
/// of a group is not mistaken for it.
const KEYLESS_AFTER: Duration = Duration::from_secs(10);
/// Packets this much too late are of a restarted source, not reordered (RFC 3550, A.1).
const MAX_MISORDER: i16 = 100;

/// Makes units of one track's packets: patches their headers into the stream's identity and
/// writes them, once, to where readers take them from.
#[derive(Debug)]
pub(super) struct TrackIngest {
    index: usize,
    path: StreamPath,
    identity: TrackIdentity,
    channel: u8,
    video: bool,
    described_pt: u8,
    described_pt_seen: bool,
    /// Payload types that are not this track's, whatever comes: a set of bits.
    foreign_pts: u128,
    /// Its packets come where another track's are expected.
    adopted: bool,
    unmarked: Unmarked,
    inspector: Inspector,
    /// Cuts packets that are too long for a datagram, where the codec allows it.
    repacketizer: Option<Repacketizer>,
    pub(super) reception: Reception,
    source: Source,
    /// Where the track got to; a new source continues there.
    end: Option<TrackEnd>,
    /// Non-key video is held back until a key frame.
    hold: bool,
    /// The sequence number after the last packet, if that one was left out on purpose: readers
    /// shall see no gap there.
    resume_seq: Option<u16>,
    /// First packet of this publisher.
    since: Option<Instant>,
    key_seen: bool,
    pub(super) keyless: bool,
    frames: FrameTicks,
    writer: ChunkWriter,
    open: Option<Open>,
    next_flags: UnitFlags,
    pub(super) clock: TrackClock,
    pub(super) counters: Arc<TrackCounters>,
}

/// The publisher's side of the identity.
#[derive(Debug, Default)]
struct Source {
    ssrc: Option<u32>,
    unwrap: TimestampUnwrapper,
    last: Option<(i64, Instant)>,
    /// What is added to sequence numbers and timestamps; fixed by the first packet passed on.
    offsets: Option<(u16, i64)>,
    /// Sequence number of the newest packet.
    newest: Option<u16>,
    /// A packet became several, or some were left out: what comes late would get numbers that
    /// others have.
    renumbered: bool,
}

#[derive(Debug)]
struct Open {
    ts: i64,
    seq: u16,
    arrival: Instant,
    packets: u32,
    flags: UnitFlags,
}

impl TrackIngest {
    pub(super) fn new(
        (path, index): (&StreamPath, usize),
        track: &Track,
        identity: TrackIdentity,
        end: Option<TrackEnd>,
        foreign_pts: u128,
        counters: Arc<TrackCounters>,
    ) -> Self {
        let video = track.kind == MediaKind::Video;
        counters.watch(None);
        Self {
            index,
            path: path.clone(),
            identity,
            channel: u8::try_from(index * 2).unwrap_or(0),
            video,
            described_pt: track.payload_type,
            described_pt_seen: false,
            foreign_pts,
            adopted: false,
            unmarked: Unmarked::default(),
            inspector: Inspector::new(track),
            repacketizer: Repacketizer::new(track),
            reception: Reception::new(track.clock_rate),
            source: Source::default(),
            end,
            hold: video && end.is_some(),
            resume_seq: None,
            since: None,
            key_seen: false,
            keyless: false,
            writer: ChunkWriter::new(if video { VIDEO_CHUNK } else { OTHER_CHUNK }),
            frames: FrameTicks::default(),
            open: None,
            next_flags: UnitFlags {
                discontinuity: end.is_some(),
                ..UnitFlags::default()
            },
            clock: TrackClock::default(),
            counters,
        }
    }

    /// The parameter sets as they are now.
    pub(super) fn codec(&self) -> &Codec {
        self.inspector.codec()
    }

    /// The publisher described other parameters than the one before: its first unit says so.
    pub(super) fn params_changed(&mut self) {
        self.next_flags.params_changed = true;
    }

    pub(super) fn described_pt(&self) -> u8 {
        self.described_pt
    }

    /// Nothing came where its packets are expected.
    pub(super) fn is_strayed(&self) -> bool {
        self.adopted || self.source.ssrc.is_none()
    }

    /// Its packets come elsewhere.
    pub(super) fn adopt(&mut self) {
        self.adopted = true;
    }

    /// Takes a packet; complete units go to `out`. False: it was dropped, because it belongs to
    /// another payload type, or comes twice or late after packets were cut or left out. Changed
    /// parameter sets and repairs go to `noted`. `verdict` is the filter's.
    pub(super) fn push(
        &mut self,
        packet: &RtpPacket<'_>,
        verdict: Verdict,
        now: Instant,
        wall: &WallClock,
        out: &mut Vec<Unit>,
        noted: &mut Noted,
    ) -> bool {
        if packet.payload_type() == self.described_pt {
            self.described_pt_seen = true;
        } else if self.described_pt_seen || self.foreign_pts >> packet.payload_type() & 1 == 1 {
            // Retransmissions or error correction beside the media; another track; RTCP.
            return false;
        }
        let lost =
            self.reception
                .on_packet(packet.ssrc(), packet.sequence(), packet.timestamp(), now);
        self.counters.packets.add(1);
        if lost > 0 {
            self.counters.lost.add(u64::from(lost));
            self.inspector.reset();
            self.next_flags.lossy = true;
        }
        if self.source.ssrc.is_some_and(|ssrc| ssrc != packet.ssrc()) {
            noted.repair(Repair::SsrcJump);
            self.restart(wall, out);
        }
        self.source.ssrc = Some(packet.ssrc());
        if self.source.is_late(packet.sequence()) {
            return false;
        }
        let ts_in = self.source.unwrap.unwrap(packet.timestamp());
        if self.clock_jumped(ts_in, now) {
            noted.repair(Repair::TimestampJump);
            self.finish(wall, out);
            self.source.offsets = None;
            self.next_flags.discontinuity = true;
            self.clock.reset();
        }
        self.source.last = Some((ts_in, now));
        let info = self.inspector.inspect(packet.payload());
        if info.params_changed {
            noted.params_changed();
            self.next_flags.params_changed = true;
        }
        self.watch_keys(&info, now);
        if verdict == Verdict::Drop {
            self.counters.filtered.add(1);
            self.finish(wall, out);
            self.hold = self.video && !self.keyless;
            self.resume_seq = Some(packet.sequence().wrapping_add(1));
            return true;
        }
        if self.hold && !info.parameter_sets_only {
            self.counters.held_back.add(1);
            self.resume_seq = Some(packet.sequence().wrapping_add(1));
            return true;
        }
        let (seq, ts) = self.translate(packet.sequence(), ts_in, now);
        // A big unit ends with its chunk: moving it to the next one would copy it once more.
        let chunk_full =
            self.writer.len() >= BIG_UNIT && !self.writer.fits(FRAME_HEADER + packet.data().len());
        if chunk_full || self.open.as_ref().is_some_and(|open| open.ts != ts) {
            self.end_unmarked(noted);
            self.finish(wall, out);
        }
        if packet.data().len() <= MAX_DATAGRAM {
            self.append(packet, &info, seq, ts, now);
        } else {
            self.append_large(packet, &info, (seq, ts), now, wall, out);
        }
        if packet.marker() && self.video {
            self.unmarked.marked();
            self.finish(wall, out);
        }
        true
    }

    /// End of a read: what is complete, big or old becomes a unit.
    pub(super) fn flush(
        &mut self,
        now: Instant,
        merge: Duration,
        wall: &WallClock,
        out: &mut Vec<Unit>,
        noted: &mut Noted,
    ) {
        let Some(open) = &self.open else {
            return;
        };
        let old = now.saturating_duration_since(open.arrival) >= merge;
        if !self.video || old || self.writer.len() >= BIG_UNIT {
            self.end_unmarked(noted);
            self.finish(wall, out);
        }
    }

    /// A unit ends although no marker came.
    fn end_unmarked(&mut self, noted: &mut Noted) {
        if self.video
            && let Some(open) = &self.open
            && self.unmarked.note(open.ts)
        {
            noted.repair(Repair::MissingMarkers);
        }
    }

    /// When the open unit is old.
    pub(super) fn deadline(&self, merge: Duration) -> Option<Instant> {
        Some(self.open.as_ref()?.arrival + merge)
    }

    /// A timestamp of the publisher as readers see it, if that is fixed.
    pub(super) fn translate_ts(&self, timestamp: u32) -> Option<i64> {
        let (_, offset) = self.source.offsets?;
        Some(
            self.source
                .unwrap
                .clone()
                .unwrap(timestamp)
                .saturating_add(offset),
        )
    }

    pub(super) fn finish(&mut self, wall: &WallClock, out: &mut Vec<Unit>) {
        let Some(open) = self.open.take() else {
            return;
        };
        let rate = self.identity.clock_rate;
        if self.video
            && let Some(ticks) = self.frames.on_unit(open.ts)
        {
            self.counters.frame_ticks.set(ticks);
        }
        self.clock.on_unit(open.ts, wall.at(open.arrival), rate);
        let (data, charge) = self.writer.split();
        out.push(Unit {
            track: self.index,
            flags: open.flags,
            packets: open.packets,
            seq: open.seq,
            ts: open.ts,
            arrival: open.arrival,
            ntp: self.clock.publisher_wall(open.ts, rate).map(system_time),
            data,
            charge,
            udp: std::sync::OnceLock::new(),
        });
    }

    /// The publisher began anew (its SSRC changed): readers see the old one continue.
    fn restart(&mut self, wall: &WallClock, out: &mut Vec<Unit>) {
        self.finish(wall, out);
        self.source = Source::default();
        self.hold = self.video && !self.keyless;
        self.since = None;
        self.key_seen = false;
        self.inspector.reset();
        self.clock.reset();
        self.next_flags.discontinuity = true;
    }

    fn clock_jumped(&self, ts: i64, now: Instant) -> bool {
        let (Some((last_ts, last)), Some(_)) = (self.source.last, self.source.offsets) else {
            return false;
        };
        let rate = self.identity.clock_rate;
        let limit = ticks(CLOCK_JUMP, rate);
        let step = ts.saturating_sub(last_ts);
        if step.abs() <= limit {
            return false;
        }
        // A stalled network delivers late what continues in time; a pause moves both.
        let elapsed = ticks(now.saturating_duration_since(last), rate);
        step.saturating_sub(elapsed).abs() > limit
    }

    fn watch_keys(&mut self, info: &PacketInfo, now: Instant) {
        if !self.video {
            return;
        }
        let since = *self.since.get_or_insert(now);
        if info.random_access {
            self.counters.key_frames.add(1);
            self.key_seen = true;
            self.hold = false;
            self.keyless = false;
        } else if !self.key_seen && now.saturating_duration_since(since) >= KEYLESS_AFTER {
            self.keyless = true;
            self.hold = false;
        }
    }

    fn translate(&mut self, seq: u16, ts: i64, now: Instant) -> (u16, i64) {
        let known = self.source.offsets;
        let (mut seq_offset, ts_offset) = known.unwrap_or_else(|| match self.end {
            // The first source keeps its values.
            None => (0, 0),
            Some(end) => (
                end.next_seq.wrapping_sub(seq),
                self.continued(&end, now).saturating_sub(ts),
            ),
        });
        if let (Some(resume), Some(_), Some(end)) = (self.resume_seq.take(), known, self.end) {
            // What was lost since then stays a gap.
            let lost = seq.wrapping_sub(resume);
            let lost = if lost < 0x8000 { lost } else { 0 };
            seq_offset = end.next_seq.wrapping_add(lost).wrapping_sub(seq);
            self.source.renumbered = true;
        }
        self.source.offsets = Some((seq_offset, ts_offset));
        (seq.wrapping_add(seq_offset), ts.saturating_add(ts_offset))
    }

    /// The time at which a new source continues.
    fn continued(&self, end: &TrackEnd, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(end.at);
        let elapsed = ticks(elapsed, self.identity.clock_rate);
        end.max_ts.saturating_add(elapsed.max(1))
    }

    /// The media time, as readers see it, of a packet of this track that came last; with `None`
    /// of this moment. `None`: nothing came yet that would tell.
    pub(super) fn media_time(
        &self,
        timestamp: Option<u32>,
        now: Instant,
        wall: &WallClock,
    ) -> Option<i64> {
        if let Some(timestamp) = timestamp {
            let ts = self.translate_ts(timestamp);
            return Some(ts.unwrap_or_else(|| match &self.end {
                None => self.source.unwrap.clone().unwrap(timestamp),
                Some(end) => self.continued(end, now),
            }));
        }
        let anchor = self.clock.anchor()?;
        Some(anchor.ts_of(wall.at(now), self.identity.clock_rate))
    }

    /// Takes a payload of our own, at a time of the stream. It stays open.
    pub(super) fn push_own(
        &mut self,
        payload: &[u8],
        marker: bool,
        ts: i64,
        now: Instant,
        wall: &WallClock,
        out: &mut Vec<Unit>,
    ) {
        let seq = self.end.map_or(0, |end| end.next_seq);
        let mut packet = vec![0; MIN_HEADER_LEN];
        if let [first, second, ..] = packet.as_mut_slice() {
            *first = 0x80;
            *second = if marker { 0x80 } else { 0 };
        }
        packet.extend_from_slice(payload);
        let Ok(packet) = RtpPacket::parse(&packet) else {
            return;
        };
        self.counters.packets.add(1);
        if self.open.as_ref().is_some_and(|open| open.ts != ts) {
            self.finish(wall, out);
        }
        let info = PacketInfo {
            random_access: true,
            ..PacketInfo::default()
        };
        self.append(&packet, &info, seq, ts, now);
        if self.writer.len() >= BIG_UNIT {
            self.finish(wall, out);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn append(
        &mut self,
        packet: &RtpPacket<'_>,
        info: &PacketInfo,
        seq: u16,
        ts: i64,
        now: Instant,
    ) {
        let data = packet.data();
        let Some((&[first, second, ..], rest)) = data.split_first_chunk::<12>() else {
            return;
        };
        let Some(head) = self.head([first, second], data.len(), seq, ts) else {
            return;
        };
        self.writer.append(&head, rest);
        self.counters.on_packet(data.len(), packet.payload().len());
        self.note(info, seq, ts, now);
    }

    /// Framing and header of a packet of `len` bytes in the stream's identity; `first` and `second`
    /// are the bytes before the sequence number.
    fn head(
        &self,
        [first, second]: [u8; 2],
        len: usize,
        seq: u16,
        ts: i64,
    ) -> Option<[u8; FRAME_HEADER + 12]> {
        let [l0, l1] = u16::try_from(len).ok()?.to_be_bytes();
        let [s0, s1] = seq.to_be_bytes();
        let [t0, t1, t2, t3] = low_32(ts).to_be_bytes();
        let [c0, c1, c2, c3] = self.identity.ssrc.to_be_bytes();
        let payload_type = (second & 0x80) | (self.identity.payload_type & 0x7f);
        Some([
            b'$',
            self.channel,
            l0,
            l1,
            first,
            payload_type,
            s0,
            s1,
            t0,
            t1,
            t2,
            t3,
            c0,
            c1,
            c2,
            c3,
        ])
    }

    /// A packet was appended to the open unit.
    fn note(&mut self, info: &PacketInfo, seq: u16, ts: i64, now: Instant) {
        let next_flags = std::mem::take(&mut self.next_flags);
        let open = self.open.get_or_insert_with(|| Open {
            ts,
            seq,
            arrival: now,
            packets: 0,
            flags: UnitFlags {
                params_only: true,
                ..UnitFlags::default()
            },
        });
        open.packets += 1;
        open.flags.key |= info.random_access;
        open.flags.rasl |= info.rasl;
        open.flags.params_only &= info.parameter_sets_only;
        open.flags.lossy |= next_flags.lossy;
        open.flags.discontinuity |= next_flags.discontinuity;
        open.flags.params_changed |= next_flags.params_changed;
        let max = self.end.filter(|end| end.max_ts >= ts);
        self.end = Some(TrackEnd {
            max_ts: max.map_or(ts, |end| end.max_ts),
            at: max.map_or(now, |end| end.at),
            next_seq: seq.wrapping_add(1),
        });
    }
}

impl Source {
    /// Whether this packet comes twice or after its turn, and its number is no longer known. Notes
    /// the packet.
    fn is_late(&mut self, sequence: u16) -> bool {
        let step = self
            .newest
            .map_or(1, |newest| sequence.wrapping_sub(newest).cast_signed());
        // What is older than this has started anew.
        if (-MAX_MISORDER..=0).contains(&step) {
            return self.renumbered;
        }
        self.newest = Some(sequence);
        false
    }
}

/// The lower 32 bits: what stands on the wire of an unwrapped timestamp.
pub(super) fn low_32(value: i64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
