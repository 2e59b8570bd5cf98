//! RTCP (RFC 3550, 6): reading of compound packets and writing of the few that a relay, a player
//! and a camera send.

use std::time::SystemTime;

use bytes::BytesMut;
use thiserror::Error;

/// A wall clock time of RTCP: seconds since 1900 in the upper, fraction in the lower 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The middle 32 bits, as in LSR and DLSR.
    pub fn middle(self) -> u32 {
        todo!()
    }
}

impl From<SystemTime> for NtpTime {
    fn from(_time: SystemTime) -> Self {
        todo!()
    }
}

impl From<NtpTime> for SystemTime {
    fn from(_time: NtpTime) -> Self {
        todo!()
    }
}

/// What a sender says of itself (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// The sender.
    pub ssrc: u32,
    /// Wall clock of `rtp_time`.
    pub ntp: NtpTime,
    /// RTP timestamp of the same moment.
    pub rtp_time: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source that is reported about.
    pub ssrc: u32,
    /// Fraction lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost in all, 24 bits signed.
    pub cumulative_lost: i32,
    /// Highest sequence number, with count of wraps in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; 0 if there was none.
    pub last_sr: u32,
    /// Delay since that report in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// One packet of a compound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtcpPacket {
    /// Sender report with its blocks.
    SenderReport(SenderReport, Vec<ReportBlock>),
    /// Receiver report.
    ReceiverReport {
        /// Who reports.
        ssrc: u32,
        /// About whom.
        blocks: Vec<ReportBlock>,
    },
    /// Source description: sources and their canonical names.
    SourceDescription(Vec<(u32, Option<String>)>),
    /// The sources that leave.
    Goodbye(Vec<u32>),
    /// Another packet type: application-defined, feedback, extended report.
    Other {
        /// RTCP packet type.
        packet_type: u8,
    },
}

/// Why bytes are no RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// The version is not 2.
    #[error("RTCP version {0} instead of 2")]
    Version(u8),
    /// A length runs past the end.
    #[error("RTCP packet ends early")]
    Truncated,
}

/// The packets of a compound, in order. After an error the iterator ends.
pub fn parse(_data: &[u8]) -> impl Iterator<Item = Result<RtcpPacket, RtcpError>> + use<'_> {
    std::iter::from_fn(|| todo!())
}

/// Appends a compound of sender report and source description with this canonical name.
pub fn write_sender_report(
    _report: &SenderReport,
    _blocks: &[ReportBlock],
    _cname: &str,
    _out: &mut BytesMut,
) {
    todo!()
}

/// Appends a compound of receiver report and source description.
pub fn write_receiver_report(
    _ssrc: u32,
    _blocks: &[ReportBlock],
    _cname: &str,
    _out: &mut BytesMut,
) {
    todo!()
}

/// Appends a goodbye, with the empty receiver report that a compound has to begin with.
pub fn write_goodbye(_ssrc: u32, _cname: &str, _out: &mut BytesMut) {
    todo!()
}
