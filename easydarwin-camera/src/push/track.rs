use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use easydarwin_core::media::Track;
use easydarwin_core::rtp::rtcp::{NtpTime, SenderReport, write_sender_report};
use easydarwin_core::rtp::{PacketRun, PacketizeError, Packetizer, PacketizerConfig};

use crate::frames::{Data, Next};

/// Distance of sender reports (RFC 3550, 6.2).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time that the RTP clock is carried on since the last frame.
const CARRY_ON: Duration = Duration::from_secs(10);

/// Numbers that nobody should be able to guess (RFC 3550, 5.1).
#[derive(Debug, Clone, Copy)]
pub(super) struct TrackSeed {
    pub(super) ssrc: u32,
    pub(super) first_sequence: u16,
    pub(super) base: u32,
}

/// Frames of one track into packets, and its sender reports.
#[derive(Debug)]
pub(super) struct TrackSender {
    track: Track,
    packetizer: Packetizer,
    ssrc: u32,
    /// RTP time of presentation time 0.
    base: u32,
    /// RTP time of the last frame, and when it was pushed.
    last: Option<(u32, Instant)>,
    report_due: Option<Instant>,
    rtcp_channel: u8,
    report: BytesMut,
}

impl TrackSender {
    pub(super) fn new(track: &Track, seed: TrackSeed, channels: (u8, u8)) -> Self {
        let config = PacketizerConfig {
            ssrc: seed.ssrc,
            payload_type: track.payload_type,
            first_sequence: seed.first_sequence,
            channel: channels.0,
            ..PacketizerConfig::default()
        };
        Self {
            track: track.clone(),
            packetizer: Packetizer::new(track, config),
            ssrc: seed.ssrc,
            base: seed.base,
            last: None,
            report_due: None,
            rtcp_channel: channels.1,
            report: BytesMut::with_capacity(128),
        }
    }

    /// Appends the packets of a frame.
    pub(super) fn packetize(
        &mut self,
        next: &Next,
        data: Data<'_>,
        run: &mut PacketRun,
    ) -> Result<(), PacketizeError> {
        let ticks = ticks(next.pts_us, self.track.clock_rate);
        let rtp_time = self.base.wrapping_add(ticks);
        self.packetizer
            .packetize_parts(data.parts(&self.track), rtp_time, run)?;
        self.last = Some((rtp_time, next.pushed));
        if self.report_due.is_none() || next.jump {
            // The first report at once: it tells how the tracks belong together. So does the next one after
            // media time has jumped, for nothing that was said before holds any more.
            self.report_due = Some(next.pushed);
        }
        Ok(())
    }

    /// When the next sender report is due.
    pub(super) fn report_due(&self) -> Option<Instant> {
        self.report_due
    }

    /// Appends the sender report that is due; `wall` is the wall clock at `now`.
    pub(super) fn report(&mut self, now: Instant, wall: SystemTime, run: &mut PacketRun) {
        let Some((rtp_time, pushed)) = self.last else {
            return;
        };
        self.report_due = Some(now + REPORT_INTERVAL);
        let since = now.saturating_duration_since(pushed).min(CARRY_ON);
        let since_us = i64::try_from(since.as_micros()).unwrap_or(0);
        let (packets, octets) = self.packetizer.sent();
        let report = SenderReport {
            ssrc: self.ssrc,
            ntp: NtpTime::from(wall),
            rtp_time: rtp_time.wrapping_add(ticks(since_us, self.track.clock_rate)),
            packets,
            octets,
        };
        self.report.clear();
        write_sender_report(&report, &[], "easydarwin", &mut self.report);
        run.push_packet(self.rtcp_channel, &self.report);
    }
}

/// Microseconds in ticks of a clock, modulo 2^32 as RTP counts.
fn ticks(us: i64, clock_rate: u32) -> u32 {
    let ticks = i128::from(us) * i128::from(clock_rate);
    // Rounded: 33 333 us are 3 000 ticks of 90 kHz, not 2 999.
    let ticks = (ticks + 500_000).div_euclid(1_000_000);
    u32::try_from(ticks.rem_euclid(1 << 32)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_rounded_and_wrap() {
        assert_eq!(ticks(33_333, 90_000), 3000);
        assert_eq!(ticks(66_667, 90_000), 6000);
        assert_eq!(ticks(-33_333, 90_000), 0_u32.wrapping_sub(3000));
        assert_eq!(ticks(1_000_000, 8_000), 8000);
        // 2^32 ticks of 90 kHz are 47 721 858 845 us and a half.
        assert_eq!(ticks(47_721_858_845, 90_000), 0);
    }
}
