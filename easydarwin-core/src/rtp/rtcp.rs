//! RTCP (RFC 3550, 6): reading of compound packets and writing of the few that a relay, a player
//! and a camera send.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use thiserror::Error;

const TYPE_SENDER_REPORT: u8 = 200;
const TYPE_RECEIVER_REPORT: u8 = 201;
const TYPE_SOURCE_DESCRIPTION: u8 = 202;
const TYPE_GOODBYE: u8 = 203;
const SDES_CNAME: u8 = 1;
/// Most entries that fit the five-bit count of a header.
const MAX_COUNT: usize = 31;
/// Longest text of an SDES item.
const MAX_SDES_TEXT: usize = 255;
/// Seconds from 1900 to 1970.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// A wall clock time of RTCP: seconds since 1900 in the upper, fraction in the lower 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The middle 32 bits, as in LSR and DLSR.
    pub fn middle(self) -> u32 {
        let [_, _, a, b, c, d, _, _] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

impl From<SystemTime> for NtpTime {
    /// Times before 1970 become 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs().wrapping_add(NTP_UNIX_OFFSET);
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        Self((seconds << 32) | fraction)
    }
}

impl From<NtpTime> for SystemTime {
    /// Times before 1968 are taken as of the next era, which begins in 2036 (RFC 4330, 3).
    fn from(time: NtpTime) -> Self {
        let seconds = time.0 >> 32;
        let era = if seconds & 0x8000_0000 == 0 {
            1 << 32
        } else {
            0
        };
        let nanos = ((time.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        let since_1900 = Duration::from_secs(seconds + era) + Duration::from_nanos(nanos);
        UNIX_EPOCH + since_1900.saturating_sub(Duration::from_secs(NTP_UNIX_OFFSET))
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
pub fn parse(data: &[u8]) -> impl Iterator<Item = Result<RtcpPacket, RtcpError>> + use<'_> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = parse_one(&mut rest);
        if item.is_err() {
            rest = &[];
        }
        Some(item)
    })
}

/// Appends a compound of sender report and source description with this canonical name.
///
/// More than 31 blocks do not fit and are left out; names are cut at 255 bytes.
pub fn write_sender_report(
    report: &SenderReport,
    blocks: &[ReportBlock],
    cname: &str,
    out: &mut BytesMut,
) {
    let blocks = blocks.get(..MAX_COUNT).unwrap_or(blocks);
    write_header(blocks.len(), TYPE_SENDER_REPORT, 6 + 6 * blocks.len(), out);
    out.put_u32(report.ssrc);
    out.put_u64(report.ntp.0);
    out.put_u32(report.rtp_time);
    out.put_u32(report.packets);
    out.put_u32(report.octets);
    write_blocks(blocks, out);
    write_source_description(report.ssrc, cname, out);
}

/// Appends a compound of receiver report and source description.
///
/// More than 31 blocks do not fit and are left out; names are cut at 255 bytes.
pub fn write_receiver_report(ssrc: u32, blocks: &[ReportBlock], cname: &str, out: &mut BytesMut) {
    let blocks = blocks.get(..MAX_COUNT).unwrap_or(blocks);
    write_header(
        blocks.len(),
        TYPE_RECEIVER_REPORT,
        1 + 6 * blocks.len(),
        out,
    );
    out.put_u32(ssrc);
    write_blocks(blocks, out);
    write_source_description(ssrc, cname, out);
}

/// Appends a goodbye, with the empty receiver report that a compound has to begin with.
pub fn write_goodbye(ssrc: u32, cname: &str, out: &mut BytesMut) {
    write_receiver_report(ssrc, &[], cname, out);
    write_header(1, TYPE_GOODBYE, 1, out);
    out.put_u32(ssrc);
}

fn parse_one(rest: &mut &[u8]) -> Result<RtcpPacket, RtcpError> {
    let (&[b0, packet_type, l0, l1], after) =
        rest.split_first_chunk::<4>().ok_or(RtcpError::Truncated)?;
    if b0 >> 6 != 2 {
        return Err(RtcpError::Version(b0 >> 6));
    }
    let len = usize::from(u16::from_be_bytes([l0, l1])) * 4;
    let (mut body, next) = after.split_at_checked(len).ok_or(RtcpError::Truncated)?;
    *rest = next;
    let count = usize::from(b0 & 0x1f);
    Ok(match packet_type {
        TYPE_SENDER_REPORT => {
            let report = SenderReport {
                ssrc: take_u32(&mut body)?,
                ntp: NtpTime(
                    (u64::from(take_u32(&mut body)?) << 32) | u64::from(take_u32(&mut body)?),
                ),
                rtp_time: take_u32(&mut body)?,
                packets: take_u32(&mut body)?,
                octets: take_u32(&mut body)?,
            };
            RtcpPacket::SenderReport(report, parse_blocks(count, &mut body)?)
        }
        TYPE_RECEIVER_REPORT => RtcpPacket::ReceiverReport {
            ssrc: take_u32(&mut body)?,
            blocks: parse_blocks(count, &mut body)?,
        },
        TYPE_SOURCE_DESCRIPTION => RtcpPacket::SourceDescription(parse_chunks(count, body)?),
        TYPE_GOODBYE => {
            let mut sources = Vec::with_capacity(count);
            for _ in 0..count {
                sources.push(take_u32(&mut body)?);
            }
            RtcpPacket::Goodbye(sources)
        }
        packet_type => RtcpPacket::Other { packet_type },
    })
}

fn take_u32(body: &mut &[u8]) -> Result<u32, RtcpError> {
    let (&word, rest) = body.split_first_chunk::<4>().ok_or(RtcpError::Truncated)?;
    *body = rest;
    Ok(u32::from_be_bytes(word))
}

fn parse_blocks(count: usize, body: &mut &[u8]) -> Result<Vec<ReportBlock>, RtcpError> {
    let mut blocks = Vec::with_capacity(count);
    for _ in 0..count {
        let ssrc = take_u32(body)?;
        let loss = take_u32(body)?;
        let [fraction_lost, ..] = loss.to_be_bytes();
        blocks.push(ReportBlock {
            ssrc,
            fraction_lost,
            // Sign extension of the lower 24 bits.
            cumulative_lost: (loss << 8).cast_signed() >> 8,
            highest_sequence: take_u32(body)?,
            jitter: take_u32(body)?,
            last_sr: take_u32(body)?,
            delay_since_last_sr: take_u32(body)?,
        });
    }
    Ok(blocks)
}

fn parse_chunks(count: usize, body: &[u8]) -> Result<Vec<(u32, Option<String>)>, RtcpError> {
    let mut rest = body;
    let mut chunks = Vec::with_capacity(count);
    for _ in 0..count {
        let ssrc = take_u32(&mut rest)?;
        let mut cname = None;
        let mut used = 0_usize;
        loop {
            let (&item, after) = rest.split_first().ok_or(RtcpError::Truncated)?;
            rest = after;
            used += 1;
            if item == 0 {
                break;
            }
            let (&len, after) = rest.split_first().ok_or(RtcpError::Truncated)?;
            let (text, after) = after
                .split_at_checked(usize::from(len))
                .ok_or(RtcpError::Truncated)?;
            rest = after;
            used += 1 + usize::from(len);
            if item == SDES_CNAME {
                cname = Some(String::from_utf8_lossy(text).into_owned());
            }
        }
        // A chunk ends at a 32-bit boundary; some senders forget the last one's padding.
        let padding = used.next_multiple_of(4) - used;
        rest = rest.get(padding..).unwrap_or_default();
        chunks.push((ssrc, cname));
    }
    Ok(chunks)
}

fn write_header(count: usize, packet_type: u8, words: usize, out: &mut BytesMut) {
    // Callers bound both: at most 31 entries, a few hundred words.
    out.put_u8(0x80 | u8::try_from(count).unwrap_or(0) & 0x1f);
    out.put_u8(packet_type);
    out.put_u16(u16::try_from(words).unwrap_or(u16::MAX));
}

fn write_blocks(blocks: &[ReportBlock], out: &mut BytesMut) {
    for block in blocks {
        out.put_u32(block.ssrc);
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        let [_, a, b, c] = lost.to_be_bytes();
        out.put_u32(u32::from_be_bytes([block.fraction_lost, a, b, c]));
        out.put_u32(block.highest_sequence);
        out.put_u32(block.jitter);
        out.put_u32(block.last_sr);
        out.put_u32(block.delay_since_last_sr);
    }
}

fn write_source_description(ssrc: u32, cname: &str, out: &mut BytesMut) {
    let text = cname.as_bytes();
    let text = text.get(..MAX_SDES_TEXT).unwrap_or(text);
    // At least one zero byte ends the chunk.
    let used = 2 + text.len();
    let padding = (used + 1).next_multiple_of(4) - used;
    write_header(1, TYPE_SOURCE_DESCRIPTION, 1 + (used + padding) / 4, out);
    out.put_u32(ssrc);
    out.put_u8(SDES_CNAME);
    out.put_u8(u8::try_from(text.len()).unwrap_or(0));
    out.put_slice(text);
    out.put_bytes(0, padding);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report() -> SenderReport {
        SenderReport {
            ssrc: 0x1234_5678,
            ntp: NtpTime(0xe8f0_1122_8000_0000),
            rtp_time: 90_000,
            packets: 7,
            octets: 7000,
        }
    }

    #[test]
    fn a_sender_report_comes_back_as_written() {
        let block = ReportBlock {
            ssrc: 9,
            fraction_lost: 128,
            cumulative_lost: -3,
            highest_sequence: 0x0001_ffff,
            jitter: 42,
            last_sr: 5,
            delay_since_last_sr: 6,
        };
        for cname in ["", "a", "ab", "abc", "camera@host"] {
            let mut out = BytesMut::new();
            write_sender_report(&report(), &[block], cname, &mut out);
            assert_eq!(out.len() % 4, 0);
            let packets: Vec<_> = parse(&out).collect::<Result<_, _>>().unwrap();
            assert_eq!(
                packets,
                [
                    RtcpPacket::SenderReport(report(), vec![block]),
                    RtcpPacket::SourceDescription(vec![(0x1234_5678, Some(cname.to_owned()))]),
                ]
            );
        }
    }

    #[test]
    fn a_goodbye_is_a_compound() {
        let mut out = BytesMut::new();
        write_goodbye(1, "x", &mut out);
        let packets: Vec<_> = parse(&out).collect::<Result<_, _>>().unwrap();
        assert_eq!(packets.len(), 3);
        assert_eq!(packets[2], RtcpPacket::Goodbye(vec![1]));
    }

    #[test]
    fn lengths_past_the_end_and_wrong_versions_are_errors() {
        for (bytes, error) in [
            (&[0x80, 200, 0, 1][..], RtcpError::Truncated),
            (&[0x81, 203, 0, 0], RtcpError::Truncated),
            (&[0x41, 203, 0, 0], RtcpError::Version(1)),
            (&[0x80, 200], RtcpError::Truncated),
            (
                &[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 9, 0, 0],
                RtcpError::Truncated,
            ),
        ] {
            assert_eq!(parse(bytes).last(), Some(Err(error)), "{bytes:?}");
        }
    }

    #[test]
    fn times_survive_the_way_to_ntp_and_back() {
        let time = UNIX_EPOCH + Duration::new(1_800_000_000, 250_000_000);
        let back = SystemTime::from(NtpTime::from(time));
        assert!(time.duration_since(back).unwrap() < Duration::from_nanos(2));
        let next_era = UNIX_EPOCH + Duration::from_secs(2_500_000_000);
        assert_eq!(SystemTime::from(NtpTime::from(next_era)), next_era);
        assert_eq!(NtpTime(0x0000_1122_3344_0000).middle(), 0x1122_3344);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes).count();
        }
    }
}
