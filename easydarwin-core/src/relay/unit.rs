use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::udp::UdpForm;

/// Bytes of `$`, channel and length before each packet (RFC 7826, 14).
pub(super) const FRAME_HEADER: usize = 4;

/// What memory a unit costs besides its payload: its own struct, handles and index entries.
pub(super) const UNIT_OVERHEAD: usize = 256;

/// A run of packets of one track with one timestamp, contiguous, each in interleaved framing
/// with the stream's own channel numbers, SSRC, payload type and sequence numbers.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) track: usize,
    pub(crate) flags: UnitFlags,
    pub(crate) packets: u32,
    /// Sequence number of the first packet.
    pub(crate) seq: u16,
    /// Unwrapped timestamp as readers see it.
    pub(crate) ts: i64,
    /// When its first packet came.
    pub(crate) arrival: Instant,
    /// The publisher's wall clock, if known.
    pub(crate) ntp: Option<SystemTime>,
    pub(crate) data: Bytes,
    pub(crate) charge: Charge,
    /// Made when the first UDP reader needs it.
    pub(super) udp: OnceLock<UdpForm>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UnitFlags {
    /// A reader may start here: the first slice of a random access picture is in it.
    pub(crate) key: bool,
    /// Nothing but parameter sets, SEI, delimiters.
    pub(crate) params_only: bool,
    /// H.265 RASL: not decodable when started at the key frame before.
    pub(crate) rasl: bool,
    /// Packets before or in it were lost on the way to us.
    pub(crate) lossy: bool,
    /// Media time does not continue from the unit before.
    pub(crate) discontinuity: bool,
    /// The description changed with it.
    pub(crate) params_changed: bool,
    /// A sender report of the stream, no media.
    pub(crate) rtcp: bool,
}

/// The chunk that a unit lies in: the ring's budget counts chunks, because a unit keeps all of
/// its chunk alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) chunk: u64,
    pub(crate) bytes: usize,
}

impl Unit {
    /// The packets without their framing.
    pub(crate) fn packets(&self) -> Packets<'_> {
        Packets { rest: &self.data }
    }
}

/// See [`Unit::packets`].
#[derive(Debug, Clone)]
pub(crate) struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    pub(super) fn of(framed: &'a [u8]) -> Self {
        Self { rest: framed }
    }

    /// The next packet with its channel number.
    pub(super) fn next_framed(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[_, channel, l0, l1], body) = self.rest.split_first_chunk::<FRAME_HEADER>()?;
        let (packet, rest) = body.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        self.rest = rest;
        Some((channel, packet))
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.next_framed().map(|(_, packet)| packet)
    }
}

/// What readers pull from: the live ring now, recordings some day.
///
/// Units are numbered without gaps; a source may forget old ones at any time.
pub(crate) trait UnitSource: Send + Sync {
    /// Fills `window` with the units from number `from` on, or from the oldest that is there.
    fn window(&self, from: u64, window: &mut Window);
}

/// A moment's view of a source. Handles of units are held only while readers are served.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Number of the oldest unit of the source.
    pub(crate) base: u64,
    /// Number of `units[0]`.
    pub(crate) first: u64,
    /// Number that the next unit will get.
    pub(crate) head: u64,
    pub(crate) units: Vec<Arc<Unit>>,
    /// Per track, the number of the newest start: a key frame, or the parameter sets before it.
    pub(crate) starts: Vec<Option<u64>>,
    /// Video tracks (as bits) that show no key frames at all: readers need not wait for one.
    pub(crate) keyless: u32,
    /// Nothing follows `head`.
    pub(crate) ended: Option<super::EndReason>,
}

impl Window {
    pub(crate) fn unit(&self, number: u64) -> Option<&Arc<Unit>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.units.get(index)
    }

    /// Lets go of the units, keeps the memory of the list.
    pub(crate) fn release(&mut self) {
        self.units.clear();
    }
}

/// A track's bit in a set of tracks; 0 for an index that no set can hold.
pub(crate) fn track_bit(track: usize) -> u32 {
    u32::try_from(track)
        .ok()
        .and_then(|shift| 1_u32.checked_shl(shift))
        .unwrap_or(0)
}
