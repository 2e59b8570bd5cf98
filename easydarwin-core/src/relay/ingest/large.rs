//! Packets that no datagram can carry: cut into several as they come.

use std::time::Instant;

use super::{FRAME_HEADER, TrackIngest};
use crate::relay::clock::WallClock;
use crate::relay::udp::MAX_DATAGRAM;
use crate::relay::unit::Unit;
use crate::rtp::{
    DEFAULT_MAX_PAYLOAD, MIN_HEADER_LEN, PacketInfo, Part, RepacketizeError, RtpPacket,
};

/// Most bytes of contributing sources and header extension that go with the first part: what is
/// left of a datagram.
const MAX_HEADER_REST: usize = MAX_DATAGRAM - DEFAULT_MAX_PAYLOAD - MIN_HEADER_LEN;
/// Bits of the first header byte that announce padding, an extension, sources.
const PADDING: u8 = 0x20;
const EXTENSION_AND_SOURCES: u8 = 0x1f;
const MARKER: u8 = 0x80;

impl TrackIngest {
    /// Appends a packet of more than [`MAX_DATAGRAM`] bytes: in parts that datagrams can carry,
    /// numbered through, or as it is if it cannot be cut.
    pub(super) fn append_large(
        &mut self,
        packet: &RtpPacket<'_>,
        info: &PacketInfo,
        (seq, ts): (u16, i64),
        now: Instant,
        wall: &WallClock,
        out: &mut Vec<Unit>,
    ) {
        let Some(repacketizer) = self.repacketizer.take() else {
            self.append(packet, info, seq, ts, now);
            return;
        };
        let mut parts = 0_u16;
        let result = repacketizer.split(packet.payload(), packet.marker(), |part| {
            let seq = seq.wrapping_add(parts);
            let ts = ts.saturating_add(part.ticks);
            if self.open.as_ref().is_some_and(|open| open.ts != ts) {
                self.finish(wall, out);
            }
            if self.append_part(packet, part, parts == 0, seq, ts) {
                parts = parts.wrapping_add(1);
                self.note(info, seq, ts, now);
            }
        });
        self.repacketizer = Some(repacketizer);
        let more = match result {
            Ok(()) => parts.wrapping_sub(1),
            Err(RepacketizeError::Unsupported(_)) => {
                self.append(packet, info, seq, ts, now);
                return;
            }
            // What is missing of it shows as a gap of one.
            Err(RepacketizeError::Broken(_)) => {
                self.next_flags.lossy = true;
                parts
            }
        };
        self.count(packet.data().len());
        self.source.renumbered |= more > 0;
        if let Some((offset, _)) = &mut self.source.offsets {
            *offset = offset.wrapping_add(more);
        }
    }

    /// Counts, and says once that this publisher's packets are cut.
    fn count(&self, bytes: usize) {
        if self.counters.repacketized.value() == 0 {
            tracing::info!(
                path = %self.path,
                track = self.index,
                bytes,
                "packets of more than {MAX_DATAGRAM} bytes are cut, for readers over UDP; \
                 a smaller packet size at the publisher saves that"
            );
        }
        self.counters.repacketized.add(1);
    }

    fn append_part(
        &mut self,
        packet: &RtpPacket<'_>,
        part: &Part<'_>,
        first: bool,
        seq: u16,
        ts: i64,
    ) -> bool {
        let Some((&[flags, payload_type, ..], _)) =
            packet.data().split_first_chunk::<MIN_HEADER_LEN>()
        else {
            return false;
        };
        let rest = packet.data().get(MIN_HEADER_LEN..packet.header_len());
        let rest = rest.filter(|rest| first && rest.len() <= MAX_HEADER_REST);
        let flags = match rest {
            Some(_) => flags & !PADDING,
            None => flags & !PADDING & !EXTENSION_AND_SOURCES,
        };
        let rest = rest.unwrap_or_default();
        let payload_type = if part.marker {
            payload_type | MARKER
        } else {
            payload_type & !MARKER
        };
        let payload = part.prefix().len() + part.body.len();
        let len = MIN_HEADER_LEN + rest.len() + payload;
        let Some(head) = self.head([flags, payload_type], len, seq, ts) else {
            return false;
        };
        let mut front = [0; FRAME_HEADER + MIN_HEADER_LEN + MAX_HEADER_REST + 16];
        let mut used = 0;
        for (to, from) in front
            .iter_mut()
            .zip(head.iter().chain(rest).chain(part.prefix()))
        {
            *to = *from;
            used += 1;
        }
        let front = front.get(..used).unwrap_or_default();
        self.writer.append(front, part.body);
        self.counters.on_packet(len, payload);
        true
    }
}
