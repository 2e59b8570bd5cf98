//! What publishers do wrong and what is made of it. All of this happens beside the way of a
//! packet: a publisher without faults pays nothing for it.

use std::sync::Arc;
use std::time::Instant;

use super::live::StreamInner;
use super::{EndReason, Publisher, Verdict};
use crate::media::{Repair, Repairs};
use crate::rtp::{RtpPacket, is_rtcp};

/// Pictures in a row that no marker ends before that is believed to be a fault: one marker may be
/// lost on the way.
const UNMARKED: u32 = 3;

/// What the tracks noticed since the last commit.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// There is something.
    pub(super) any: bool,
    pub(super) params_changed: bool,
    repairs: Repairs,
}

impl Noted {
    #[cold]
    pub(super) fn params_changed(&mut self) {
        self.any = true;
        self.params_changed = true;
    }

    #[cold]
    pub(super) fn repair(&mut self, repair: Repair) {
        self.any = true;
        self.repairs.add(repair);
    }

    pub(super) fn take_repairs(&mut self) -> Repairs {
        std::mem::take(&mut self.repairs)
    }
}

/// Pictures that no marker ended, in a row.
#[derive(Debug, Default)]
pub(super) struct Unmarked {
    count: u32,
    last: Option<i64>,
}

impl Unmarked {
    /// A picture was passed on, wholly or in part, before its marker came; true if by now that
    /// is a fault.
    #[cold]
    pub(super) fn note(&mut self, ts: i64) -> bool {
        // A large picture, or one that comes slowly, is passed on in parts: its marker may come yet.
        if self.last.replace(ts) == Some(ts) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.count > UNMARKED
    }

    /// A marker came.
    pub(super) fn marked(&mut self) {
        self.count = 0;
    }
}

/// Payload types that a track's RTP cannot have: those of other tracks, and those that RTCP on the
/// same port looks like (RFC 5761, 4).
pub(super) fn foreign(own: u8, all: impl Iterator<Item = u8>) -> u128 {
    let bit = |payload_type: u8| 1_u128 << (payload_type & 0x7f);
    let others = all.filter(|payload_type| *payload_type != own);
    let rtcp = 72..=76;
    others.chain(rtcp).fold(0, |set, other| set | bit(other)) & !bit(own)
}

/// How a publisher's faults are taken.
#[derive(Debug, Default)]
pub(super) struct FaultPolicy {
    /// Who it is, for the log.
    peer: Option<Arc<str>>,
    strict: bool,
    seen: Repairs,
}

impl Publisher {
    /// Says who the peer is, for the log, and whether its faults end the stream
    /// ([`EndReason::Faulty`]) instead of being repaired.
    pub fn watch_faults(&mut self, peer: impl Into<Arc<str>>, strict: bool) {
        self.faults.peer = Some(peer.into());
        self.faults.strict = strict;
    }

    /// Counts what was repaired of this publisher outside: of its description and requests.
    pub fn count_repairs(&mut self, repairs: &Repairs) {
        self.faults.seen.merge(repairs);
        self.stream.inner.count_repairs(self.owner, repairs);
    }

    /// Acts on repairs of media: counts all, says the first of each kind.
    #[cold]
    pub(super) fn on_repairs(&mut self, repairs: &Repairs, now: Instant) {
        let inner = Arc::clone(&self.stream.inner);
        for (repair, count) in repairs.iter() {
            if !self.faults.seen.add_many(repair, count) {
                continue;
            }
            if let Some(left_out) = inner.hub.lines.allow(now) {
                let path = &inner.path;
                let peer = self.faults.peer.as_deref().unwrap_or("code");
                let strict = self.faults.strict;
                tracing::warn!(%path, peer, ?repair, strict, left_out, "publisher: {}", repair.text());
            }
        }
        inner.hub.repairs.lock().merge(repairs);
        inner.count_repairs(self.owner, repairs);
        if self.faults.strict {
            inner.end_if_owner(self.owner, EndReason::Faulty);
        }
    }

    /// A packet that its track does not take: RTCP, or of another track that has none of its own.
    #[cold]
    pub(super) fn misplaced(&mut self, track: usize, packet: &RtpPacket<'_>, now: Instant) {
        if is_rtcp(packet.data()) {
            self.noted.repair(Repair::RtpPort);
            return self.push_rtcp(track, packet.data(), now);
        }
        let mut alike = self
            .tracks
            .iter()
            .enumerate()
            .filter(|(_, ingest)| ingest.described_pt() == packet.payload_type());
        let meant = match (alike.next(), alike.next()) {
            (Some((meant, ingest)), None)
                if meant != track && track < self.tracks.len() && ingest.is_strayed() =>
            {
                meant
            }
            _ => return self.stream.inner.counters.invalid.add(1),
        };
        if let Some(ingest) = self.tracks.get_mut(meant) {
            ingest.adopt();
        }
        self.noted.repair(Repair::OtherTrackPort);
        if !self.ingest(meant, packet, Verdict::Pass, now) {
            self.stream.inner.counters.invalid.add(1);
        }
    }

    /// What came where RTP is expected and is none.
    #[cold]
    pub(super) fn not_rtp(&mut self, track: usize, packet: &[u8], now: Instant) {
        if !is_rtcp(packet) {
            self.stream.inner.counters.invalid.add(1);
            return;
        }
        self.noted.repair(Repair::RtpPort);
        self.push_rtcp(track, packet, now);
    }

    /// What came where RTCP is expected and is none.
    #[cold]
    pub(super) fn not_rtcp(&mut self, track: usize, packet: &[u8], now: Instant) {
        if RtpPacket::parse(packet).is_err() {
            self.stream.inner.counters.invalid.add(1);
            return;
        }
        self.noted.repair(Repair::RtpPort);
        self.push_rtp(track, packet, now);
    }
}

impl StreamInner {
    /// Counts repairs of the publisher in charge.
    fn count_repairs(&self, owner: u64, repairs: &Repairs) {
        let mut meta = self.meta.lock();
        if meta.owner == owner {
            meta.repairs.merge(repairs);
        }
    }

    fn end_if_owner(self: &Arc<Self>, owner: u64, reason: EndReason) {
        let in_charge = self.meta.lock().owner == owner;
        if in_charge {
            self.end(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_marker_is_no_fault_but_none_at_all_is() {
        let mut unmarked = Unmarked::default();
        let pictures = [1, 1, 2, 2, 2, 3, 4, 4, 5];
        let faults = pictures.map(|ts| unmarked.note(ts));
        let expected = [false, false, false, false, false, false, true, false, true];
        assert_eq!(faults, expected);
        unmarked.marked();
        assert!(!unmarked.note(6));
    }

    #[test]
    fn the_own_type_is_never_foreign() {
        let set = foreign(96, [96, 97, 96].into_iter());
        assert_eq!(set >> 96 & 0b11, 0b10);
        assert_eq!(set >> 72 & 0b10_0001, 1);
        assert_eq!(foreign(72, [72].into_iter()) >> 72 & 0b11, 0b10);
    }
}
