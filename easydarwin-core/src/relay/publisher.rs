use std::time::Instant;

use bytes::Bytes;

use super::{EndReason, Stream};
use crate::media::AccessUnit;

/// The right to feed one stream. Dropping it ends the stream (after
/// [`offline_grace`](super::RelayConfig::offline_grace)).
///
/// After each read from the network call [`flush`](Self::flush) once; packets become visible to
/// readers there. Packets of a UDP publisher go through `rtp::ReorderBuffer` first.
#[derive(Debug)]
pub struct Publisher {}

impl Publisher {
    /// The stream that it feeds.
    pub fn stream(&self) -> &Stream {
        todo!()
    }

    /// The generation under which it publishes.
    pub fn generation(&self) -> u64 {
        todo!()
    }

    /// Takes one RTP packet of track `track` as it came. Malformed packets and unknown tracks are
    /// counted and dropped.
    pub fn push_rtp(&mut self, track: usize, packet: &[u8], now: Instant) {
        todo!()
    }

    /// Takes one compound RTCP packet of track `track`. It is consumed, never forwarded.
    pub fn push_rtcp(&mut self, track: usize, packet: &[u8], now: Instant) {
        todo!()
    }

    /// Publishes an access unit from code. Do not mix with [`push_rtp`](Self::push_rtp) on one
    /// track. Call [`flush`](Self::flush) afterwards.
    pub fn push_unit(&mut self, unit: &AccessUnit) {
        todo!()
    }

    /// End of a read wake-up: makes what is complete (or big, or old) visible to readers.
    /// Returns false once the stream was closed or taken over: stop then.
    pub fn flush(&mut self, now: Instant) -> bool {
        todo!()
    }

    /// When [`flush`](Self::flush) is due although nothing more came.
    pub fn flush_deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// When the last valid RTP packet came (at first: when it was made).
    pub fn last_packet(&self) -> Instant {
        todo!()
    }

    /// The RTCP receiver report for `track`, to be sent to a UDP publisher now and then; `None`
    /// before its first packet.
    pub fn receiver_report(&mut self, track: usize, now: Instant) -> Option<Bytes> {
        todo!()
    }

    /// Resolves when the stream was closed or taken over.
    pub fn closed(&self) -> impl Future<Output = EndReason> + Send + 'static {
        async { todo!() }
    }

    /// Ends the publisher with a reason; dropping it means [`EndReason::PublisherLeft`].
    pub fn end(self, reason: EndReason) {
        todo!()
    }
}
