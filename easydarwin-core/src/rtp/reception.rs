use std::time::Instant;

use super::rtcp::{NtpTime, ReportBlock};

/// Counters of one received source (RFC 3550, A.1, A.3 and A.8).
#[derive(Debug, Clone)]
pub struct Reception {
    clock_rate: u32,
}

impl Reception {
    /// For a track with this RTP clock in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate }
    }

    /// Counts a packet. A new SSRC starts the counters anew. Returns the packets missing directly before it
    /// (0 for reordered and repeated ones).
    pub fn on_packet(
        &mut self,
        _ssrc: u32,
        _sequence: u16,
        _timestamp: u32,
        _arrival: Instant,
    ) -> u32 {
        todo!("{}", self.clock_rate)
    }

    /// Notes a sender report, for the fields LSR and DLSR.
    pub fn on_sender_report(&mut self, _ntp: NtpTime, _arrival: Instant) {
        todo!()
    }

    /// The report block about this source since the one before; `None` before the first packet.
    pub fn report_block(&mut self, _now: Instant) -> Option<ReportBlock> {
        todo!()
    }

    /// Packets received, repeated ones included.
    pub fn received(&self) -> u64 {
        todo!()
    }

    /// Packets that did not come (late ones that came after all are not counted).
    pub fn lost(&self) -> u64 {
        todo!()
    }

    /// Interarrival jitter in ticks of the clock.
    pub fn jitter(&self) -> u32 {
        todo!()
    }
}
