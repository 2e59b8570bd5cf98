//! Sender reports tell the wall clock of their moment; RTP time is the encoder's alone.

use std::time::UNIX_EPOCH;

use easydarwin_core::rtp::RtpPacket;
use easydarwin_core::rtp::rtcp::{self, RtcpPacket, SenderReport};

use super::*;

const NOON: Duration = Duration::from_secs(1_795_386_123);

/// What the session sends until it has no more.
struct Sent {
    rtp_times: Vec<u32>,
    /// With how many packets went before.
    reports: Vec<(usize, SenderReport)>,
}

impl Rig {
    fn clock(&mut self, since_1970: Duration, quality: ClockQuality) {
        let time = UNIX_EPOCH + since_1970;
        self.wall = Wall { time, quality };
    }

    fn sent(&mut self) -> Sent {
        let mut sent = Sent {
            rtp_times: Vec::new(),
            reports: Vec::new(),
        };
        loop {
            let now = self.now;
            let bytes = self.channel.output().to_vec();
            self.channel.written(bytes.len(), now);
            if bytes.is_empty() {
                return sent;
            }
            let mut rest = &bytes[..];
            while let [b'$', channel, high, low, more @ ..] = rest {
                let (packet, more) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                rest = more;
                if *channel == 0 {
                    let time = RtpPacket::parse(packet).unwrap().timestamp();
                    sent.rtp_times.push(time);
                    continue;
                }
                let Some(Ok(RtcpPacket::SenderReport(report, _))) = rtcp::parse(packet).next()
                else {
                    panic!("no report first: {packet:?}");
                };
                sent.reports.push((sent.rtp_times.len(), report));
            }
            self.work();
        }
    }

    fn recording() -> Self {
        let mut rig = Self::new(PushTransport::Tcp);
        rig.asked(URL, "t", 1);
        rig.record_over_tcp();
        rig
    }
}

fn since_1970(report: &SenderReport) -> Duration {
    SystemTime::from(report.ntp)
        .duration_since(UNIX_EPOCH)
        .unwrap()
}

#[test]
fn a_step_of_the_clock_changes_later_reports_and_never_rtp_time() {
    let mut rig = Rig::recording();
    rig.clock(Duration::from_secs(1), ClockQuality::Unset);
    rig.push_at(0, true, 100);
    let first = rig.sent();
    let (_, told) = first.reports[0];
    assert_eq!(since_1970(&told), Duration::from_secs(1));

    // 1970 becomes today.
    rig.now += Duration::from_secs(6);
    rig.clock(NOON, ClockQuality::Ntp);
    rig.push_at(6_000_000, false, 100);
    let second = rig.sent();
    assert_eq!(second.rtp_times.len(), 1);
    let passed = second.rtp_times[0].wrapping_sub(first.rtp_times[0]);
    assert_eq!(passed, 6 * 90_000);
    let [(_, stepped)] = second.reports[..] else {
        panic!("one report in 6 s");
    };
    let off = since_1970(&stepped).abs_diff(NOON);
    assert!(off < Duration::from_micros(1), "{off:?}");
    assert_eq!(stepped.rtp_time.wrapping_sub(told.rtp_time), 6 * 90_000);
}

#[test]
fn the_description_tells_how_well_the_time_is_known() {
    for (quality, source) in [
        (ClockQuality::Unset, "local"),
        (ClockQuality::Server, "private"),
        (ClockQuality::Rtc, "private"),
        (ClockQuality::Ntp, "ntp=/traceable/"),
    ] {
        let mut rig = Rig::new(PushTransport::Tcp);
        rig.clock(NOON, quality);
        rig.asked(URL, "t", 1);
        rig.connected();
        let announce = rig.answer("ANNOUNCE", OK, "");
        let (session, _) = announce.split_once("m=video").unwrap();
        assert!(
            session.contains(&format!("\r\na=ts-refclk:{source}\r\n")),
            "{session}"
        );
        let own = format!("\r\na=x-clock-quality:{}\r\n", quality.as_str());
        assert!(session.contains(&own), "{session}");
    }
}

#[test]
fn a_jump_of_media_time_is_reported_at_once() {
    let mut rig = Rig::recording();
    rig.clock(NOON, ClockQuality::Rtc);
    rig.push_at(50_000_000, true, 100);
    let first = rig.sent();
    assert_eq!(first.reports.len(), 1);
    rig.now += Duration::from_millis(40);
    rig.push_at(50_040_000, false, 100);
    assert_eq!(rig.sent().reports.len(), 0, "not due before 5 s");

    // The encoder has begun anew.
    rig.now += Duration::from_millis(40);
    rig.push_at(0, true, 100);
    let jumped = rig.sent();
    let [(before, report)] = jumped.reports[..] else {
        panic!("one report after the jump");
    };
    assert_eq!((before, jumped.rtp_times.len()), (1, 1));
    assert_eq!(report.rtp_time, jumped.rtp_times[0]);
    let back = first.rtp_times[0].wrapping_sub(jumped.rtp_times[0]);
    assert_eq!(back, 50 * 90_000);
}
