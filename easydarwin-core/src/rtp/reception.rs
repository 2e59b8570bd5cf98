use std::time::Instant;

use super::rtcp::{NtpTime, ReportBlock};

/// A jump ahead of more packets than this is a restart, not a loss (RFC 3550, A.1).
const MAX_DROPOUT: i64 = 3000;
/// Packets this much too late are of a restarted source, not reordered (RFC 3550, A.1).
const MAX_MISORDER: i64 = 100;

/// Counters of one received source (RFC 3550, A.1, A.3 and A.8).
#[derive(Debug, Clone)]
pub struct Reception {
    clock_rate: u32,
    source: Option<Source>,
    /// Of the sources before the present one.
    received_before: u64,
    lost_before: u64,
}

#[derive(Debug, Clone)]
struct Source {
    ssrc: u32,
    first: i64,
    highest: i64,
    received: u64,
    /// Expected and received at the last report.
    reported: (i64, u64),
    last_arrival: Instant,
    last_timestamp: u32,
    /// In ticks, times 16 as in RFC 3550, A.8.
    jitter_16: u64,
    sender_report: Option<(NtpTime, Instant)>,
}

impl Reception {
    /// For a track with this RTP clock in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            source: None,
            received_before: 0,
            lost_before: 0,
        }
    }

    /// Counts a packet. A new SSRC, and a sequence number far from the last one, start a new
    /// count. Returns the packets missing directly before it (0 for reordered and repeated ones,
    /// and at a new start).
    pub fn on_packet(&mut self, ssrc: u32, sequence: u16, timestamp: u32, arrival: Instant) -> u32 {
        let clock_rate = self.clock_rate;
        if let Some(source) = self.source.as_mut().filter(|s| s.ssrc == ssrc) {
            let step = source.step(sequence);
            if (-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
                source.received += 1;
                source.measure_jitter(timestamp, arrival, clock_rate);
                source.highest += step.max(0);
                return u32::try_from(step - 1).unwrap_or(0);
            }
        }
        self.restart(ssrc, sequence, timestamp, arrival);
        0
    }

    /// Notes a sender report, for the fields LSR and DLSR.
    pub fn on_sender_report(&mut self, ntp: NtpTime, arrival: Instant) {
        if let Some(source) = &mut self.source {
            source.sender_report = Some((ntp, arrival));
        }
    }

    /// The report block about this source since the one before; `None` before the first packet.
    pub fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        let source = self.source.as_mut()?;
        let expected = source.expected();
        let expected_interval = expected - source.reported.0;
        let received_interval = source.received - source.reported.1;
        source.reported = (expected, source.received);
        let lost_interval = expected_interval - signed(received_interval);
        let fraction_lost = if lost_interval <= 0 || expected_interval <= 0 {
            0
        } else {
            u8::try_from((lost_interval << 8) / expected_interval).unwrap_or(u8::MAX)
        };
        let cumulative = (expected - signed(source.received)).clamp(-0x80_0000, 0x7f_ffff);
        let (last_sr, delay) = source.sender_report.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_micros();
            (ntp.middle(), (delay << 16) / 1_000_000)
        });
        Some(ReportBlock {
            ssrc: source.ssrc,
            fraction_lost,
            cumulative_lost: i32::try_from(cumulative).unwrap_or(0),
            highest_sequence: u32::try_from(source.highest & 0xffff_ffff).unwrap_or(0),
            jitter: u32::try_from(source.jitter_16 >> 4).unwrap_or(u32::MAX),
            last_sr,
            delay_since_last_sr: u32::try_from(delay).unwrap_or(u32::MAX),
        })
    }

    /// Packets received, repeated ones included.
    pub fn received(&self) -> u64 {
        self.received_before + self.source.as_ref().map_or(0, |s| s.received)
    }

    /// Packets that did not come; one that comes late is no longer counted.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    /// Interarrival jitter in ticks of the clock.
    pub fn jitter(&self) -> u32 {
        let jitter_16 = self.source.as_ref().map_or(0, |s| s.jitter_16);
        u32::try_from(jitter_16 >> 4).unwrap_or(u32::MAX)
    }

    fn restart(&mut self, ssrc: u32, sequence: u16, timestamp: u32, arrival: Instant) {
        self.received_before = self.received();
        self.lost_before = self.lost();
        let first = i64::from(sequence);
        let sender_report = self
            .source
            .as_ref()
            .filter(|s| s.ssrc == ssrc)
            .and_then(|s| s.sender_report);
        self.source = Some(Source {
            ssrc,
            first,
            highest: first,
            received: 1,
            reported: (0, 0),
            last_arrival: arrival,
            last_timestamp: timestamp,
            jitter_16: 0,
            sender_report,
        });
    }
}

impl Source {
    /// Packets from the highest number to this one; negative if it is older.
    fn step(&self, sequence: u16) -> i64 {
        let [low, high, ..] = self.highest.to_le_bytes();
        let last = u16::from_le_bytes([low, high]);
        i64::from(sequence.wrapping_sub(last).cast_signed())
    }

    fn expected(&self) -> i64 {
        self.highest - self.first + 1
    }

    fn lost(&self) -> u64 {
        u64::try_from(self.expected() - signed(self.received)).unwrap_or(0)
    }

    fn measure_jitter(&mut self, timestamp: u32, arrival: Instant, clock_rate: u32) {
        // Most packets of a picture come with one read.
        let ticks = if arrival == self.last_arrival {
            0
        } else {
            let elapsed = arrival.saturating_duration_since(self.last_arrival);
            let ticks = elapsed.as_micros() * u128::from(clock_rate) / 1_000_000;
            i64::try_from(ticks).unwrap_or(i64::MAX / 2)
        };
        let media = i64::from(timestamp.wrapping_sub(self.last_timestamp).cast_signed());
        let deviation = (ticks - media).unsigned_abs();
        self.jitter_16 = (self.jitter_16 + deviation)
            .saturating_sub((self.jitter_16 + 8) >> 4)
            .min(u64::from(u32::MAX) << 4);
        self.last_arrival = arrival;
        self.last_timestamp = timestamp;
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn losses_are_counted_over_the_wrap_of_the_sequence() {
        let start = Instant::now();
        let mut reception = Reception::new(90_000);
        let mut missing = 0;
        for n in 0..100_u16 {
            if n % 10 == 5 {
                continue;
            }
            let at = start + Duration::from_millis(u64::from(n) * 10);
            let sequence = 65_500_u16.wrapping_add(n);
            missing += reception.on_packet(1, sequence, u32::from(n) * 900, at);
        }
        assert_eq!(missing, 10);
        assert_eq!((reception.received(), reception.lost()), (90, 10));
        let block = reception.report_block(start).unwrap();
        assert_eq!(block.cumulative_lost, 10);
        assert_eq!(block.fraction_lost, 25);
        assert_eq!(block.highest_sequence, 65_500 + 99);
        // Sent and received at an even pace.
        assert_eq!(block.jitter, 0);
        assert_eq!(reception.report_block(start).unwrap().fraction_lost, 0);
    }

    #[test]
    fn a_late_packet_is_no_longer_lost() {
        let now = Instant::now();
        let mut reception = Reception::new(8000);
        assert_eq!(reception.on_packet(1, 10, 0, now), 0);
        assert_eq!(reception.on_packet(1, 12, 320, now), 1);
        assert_eq!(reception.lost(), 1);
        assert_eq!(reception.on_packet(1, 11, 160, now), 0);
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_new_source_and_a_far_jump_start_anew_without_loss() {
        let now = Instant::now();
        let mut reception = Reception::new(8000);
        reception.on_packet(1, 10, 0, now);
        assert_eq!(reception.on_packet(2, 500, 0, now), 0);
        assert_eq!(reception.on_packet(2, 30_000, 0, now), 0);
        assert_eq!((reception.received(), reception.lost()), (3, 0));
    }

    #[test]
    fn the_delay_since_the_sender_report_is_told() {
        let now = Instant::now();
        let mut reception = Reception::new(8000);
        assert_eq!(reception.report_block(now), None);
        reception.on_packet(1, 10, 0, now);
        reception.on_sender_report(NtpTime(0x0000_00ab_cd00_0000), now);
        let block = reception
            .report_block(now + Duration::from_millis(500))
            .unwrap();
        assert_eq!(block.last_sr, 0x00ab_cd00);
        assert_eq!(block.delay_since_last_sr, 32_768);
    }
}
