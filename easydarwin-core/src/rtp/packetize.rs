use thiserror::Error;

use super::packet::MIN_HEADER_LEN;
use super::run::PacketRun;
use super::{au, jpeg};
use crate::media::aac::AudioSpecificConfig;
use crate::media::jpeg::Jpeg;
use crate::media::{AacParams, AccessUnit, Codec, JpegError, Track};

/// Largest RTP payload by default, in bytes: what UDP readers get untouched in a 1500-byte
/// network, tunnels included.
pub const DEFAULT_MAX_PAYLOAD: usize = 1400;
/// Smallest payload limit that is followed: below, fragmentation would be mostly headers.
const LEAST_MAX_PAYLOAD: usize = 64;
/// Largest payload whatever the limit: the 16-bit length of interleaving.
const MOST_MAX_PAYLOAD: usize = 65_535 - MIN_HEADER_LEN;

/// Identity and limits of a [`Packetizer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketizerConfig {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number of the first packet.
    pub first_sequence: u16,
    /// Largest payload in bytes; values below 64 (JPEG: 256) are taken as that.
    pub max_payload: usize,
    /// Interleaved channel.
    pub channel: u8,
}

impl Default for PacketizerConfig {
    fn default() -> Self {
        Self {
            ssrc: 0,
            payload_type: 96,
            first_sequence: 0,
            max_payload: DEFAULT_MAX_PAYLOAD,
            channel: 0,
        }
    }
}

/// Why an access unit cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketizeError {
    /// The size field of the payload format cannot express it.
    #[error("frame of {0} bytes is too large for the payload format")]
    TooLarge(usize),
    /// A NAL unit shorter than its header.
    #[error("NAL unit of {0} bytes has no header")]
    ShortNal(usize),
    /// A NAL unit type that the payload format uses for its own structures.
    #[error("NAL unit type {0} cannot be carried in RTP")]
    ReservedNal(u8),
    /// A JPEG picture of a kind that RTP does not carry.
    #[error(transparent)]
    Jpeg(#[from] JpegError),
}

/// Makes RTP packets of access units. Nothing is dropped or put in another order; no allocation
/// once the run has grown to its size.
#[derive(Debug, Clone)]
pub struct Packetizer {
    format: Format,
    max_payload: usize,
    channel: u8,
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    packets: u32,
    octets: u32,
}

#[derive(Debug, Clone)]
enum Format {
    H264,
    H265,
    Aac {
        params: AacParams,
        /// Ticks of a frame.
        frame_ticks: u32,
    },
    /// Sound that can be cut between any two blocks.
    Samples {
        /// Bytes of a block.
        bytes: usize,
        /// Samples of a block, which are ticks.
        ticks: u32,
    },
    Jpeg,
    /// One packet per element.
    Opaque {
        marker: bool,
    },
}

impl Packetizer {
    /// For access units of this track. Codecs that are not understood are sent one packet per
    /// element of [`AccessUnit::data`], which is an RTP payload then.
    pub fn new(track: &Track, config: PacketizerConfig) -> Self {
        let format = match &track.codec {
            Codec::H264(_) => Format::H264,
            Codec::H265(_) => Format::H265,
            Codec::Aac(params) => Format::Aac {
                params: params.clone(),
                frame_ticks: frame_ticks(params, track.clock_rate),
            },
            Codec::G711(_) => Format::Samples {
                bytes: usize::from(track.channels.max(1)),
                ticks: 1,
            },
            Codec::G726(params) => Format::Samples {
                bytes: usize::from(params.rate.bits()),
                ticks: 8,
            },
            Codec::Jpeg => Format::Jpeg,
            // The marker begins a talk spurt there (RFC 7587, 4.1), which nobody can tell.
            Codec::Opus => Format::Opaque { marker: false },
            Codec::Other => Format::Opaque { marker: true },
        };
        let least = match format {
            Format::Jpeg => jpeg::LEAST_MAX_PAYLOAD,
            _ => LEAST_MAX_PAYLOAD,
        };
        Self {
            format,
            max_payload: config.max_payload.clamp(least, MOST_MAX_PAYLOAD),
            channel: config.channel,
            payload_type: config.payload_type & 0x7f,
            ssrc: config.ssrc,
            sequence: config.first_sequence,
            packets: 0,
            octets: 0,
        }
    }

    /// Appends the packets of one access unit to `run`.
    ///
    /// # Errors
    /// When it cannot be expressed in the payload format; nothing is appended then.
    pub fn packetize(
        &mut self,
        unit: &AccessUnit,
        rtp_time: u32,
        run: &mut PacketRun,
    ) -> Result<(), PacketizeError> {
        self.packetize_parts(unit.data.iter().map(|part| &**part), rtp_time, run)
    }

    /// [`packetize`](Self::packetize) for who holds the parts of an access unit, its NAL units or
    /// frames, in memory of his own. They are gone through twice.
    ///
    /// # Errors
    /// When they cannot be expressed in the payload format; nothing is appended then.
    pub fn packetize_parts<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        rtp_time: u32,
        run: &mut PacketRun,
    ) -> Result<(), PacketizeError> {
        self.check(parts.clone())?;
        let mut time = rtp_time;
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            match &self.format {
                Format::H264 => self.push_h264(part, time, last, run),
                Format::H265 => self.push_h265(part, time, last, run),
                Format::Aac {
                    params,
                    frame_ticks,
                } => {
                    let (section, used) = au::section(part.len(), params);
                    let frame_ticks = *frame_ticks;
                    let section = section.get(..used).unwrap_or_default();
                    self.push_aac(part, section, time, run);
                    time = time.wrapping_add(frame_ticks);
                }
                Format::Samples { bytes, ticks } => {
                    let (bytes, ticks) = (*bytes, *ticks);
                    time = self.push_samples(part, bytes, ticks, time, run);
                }
                Format::Jpeg => self.push_jpeg(&Jpeg::parse(part)?, time, run),
                Format::Opaque { marker } => {
                    let marker = *marker && last;
                    self.push(time, marker, [part, &[]], run);
                }
            }
        }
        Ok(())
    }

    /// Sequence number of the next packet.
    pub fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// Packets and payload bytes sent so far, as sender reports count them.
    pub fn sent(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }

    /// Everything that could fail, before anything is appended.
    fn check<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> Result<(), PacketizeError> {
        for part in parts {
            match &self.format {
                Format::H264 => match part.first().map(|first| first & 0x1f) {
                    None => return Err(PacketizeError::ShortNal(0)),
                    Some(kind @ (0 | 24..)) => return Err(PacketizeError::ReservedNal(kind)),
                    Some(_) => {}
                },
                Format::H265 => match *part {
                    [first, _, ..] if first >> 1 & 0x3f >= 48 => {
                        return Err(PacketizeError::ReservedNal(first >> 1 & 0x3f));
                    }
                    [_, _, ..] => {}
                    _ => return Err(PacketizeError::ShortNal(part.len())),
                },
                Format::Aac { params, .. } => {
                    let limit = 1_u64 << params.size_length.min(32);
                    if u64::try_from(part.len()).unwrap_or(u64::MAX) >= limit {
                        return Err(PacketizeError::TooLarge(part.len()));
                    }
                }
                Format::Samples { .. } => {}
                Format::Jpeg => {
                    let scan = Jpeg::parse(part)?.scan.len();
                    if scan > jpeg::MAX_SCAN {
                        return Err(PacketizeError::TooLarge(part.len()));
                    }
                }
                Format::Opaque { .. } => {
                    if part.len() > MOST_MAX_PAYLOAD {
                        return Err(PacketizeError::TooLarge(part.len()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Single NAL unit packet or FU-A (RFC 6184, 5.6 and 5.8).
    fn push_h264(&mut self, nal: &[u8], time: u32, last: bool, run: &mut PacketRun) {
        let Some((&header, body)) = nal.split_first() else {
            return;
        };
        if nal.len() <= self.max_payload {
            self.push(time, last, [nal, &[]], run);
            return;
        }
        for (fragment, flags) in fragments(body, self.max_payload - 2) {
            let prefix = Self::fu_a(header, flags);
            let marker = last && flags & FU_END != 0;
            self.push(time, marker, [&prefix, fragment], run);
        }
    }

    /// Single NAL unit packet or fragmentation unit (RFC 7798, 4.4.1 and 4.4.3).
    fn push_h265(&mut self, nal: &[u8], time: u32, last: bool, run: &mut PacketRun) {
        let Some((&header, body)) = nal.split_first_chunk::<2>() else {
            return;
        };
        if nal.len() <= self.max_payload {
            self.push(time, last, [nal, &[]], run);
            return;
        }
        for (fragment, flags) in fragments(body, self.max_payload - 3) {
            let prefix = Self::fu(header, flags);
            let marker = last && flags & FU_END != 0;
            self.push(time, marker, [&prefix, fragment], run);
        }
    }

    /// What precedes a fragment of an H.264 NAL unit with this header (RFC 6184, 5.8).
    pub(super) fn fu_a(header: u8, flags: u8) -> [u8; 2] {
        const FU_A: u8 = 28;
        [(header & 0xe0) | FU_A, flags | (header & 0x1f)]
    }

    /// What precedes a fragment of an H.265 NAL unit with this header (RFC 7798, 4.4.3).
    pub(super) fn fu([first, second]: [u8; 2], flags: u8) -> [u8; 3] {
        const FRAGMENTATION: u8 = 49;
        let kind = (first >> 1) & 0x3f;
        [(first & 0x81) | (FRAGMENTATION << 1), second, flags | kind]
    }

    /// One frame in one packet, or a fragment of one (RFC 3640, 3.2.3).
    fn push_aac(&mut self, frame: &[u8], section: &[u8], time: u32, run: &mut PacketRun) {
        for (fragment, flags) in fragments(frame, self.max_payload - section.len()) {
            self.push(time, flags & FU_END != 0, [section, fragment], run);
        }
    }

    /// Blocks of samples; what is left of one at the end is sent too. Returns the time after them.
    fn push_samples(
        &mut self,
        part: &[u8],
        bytes: usize,
        ticks: u32,
        time: u32,
        run: &mut PacketRun,
    ) -> u32 {
        let most = (self.max_payload / bytes).max(1) * bytes;
        let mut time = time;
        for samples in part.chunks(most) {
            self.push(time, false, [samples, &[]], run);
            let blocks = u32::try_from(samples.len() / bytes).unwrap_or(0);
            time = time.wrapping_add(blocks.wrapping_mul(ticks));
        }
        time
    }

    /// The scan in fragments, each behind its header (RFC 2435, 3.1).
    fn push_jpeg(&mut self, picture: &Jpeg<'_>, time: u32, run: &mut PacketRun) {
        let mut offset = 0;
        while let Some(rest) = picture.scan.get(offset..).filter(|rest| !rest.is_empty()) {
            let header = jpeg::Header::of(picture, offset);
            let most = self.max_payload.saturating_sub(header.bytes().len()).max(1);
            let (fragment, after) = rest.split_at(most.min(rest.len()));
            self.push(time, after.is_empty(), [header.bytes(), fragment], run);
            offset += fragment.len();
        }
    }

    fn push(&mut self, time: u32, marker: bool, parts: [&[u8]; 2], run: &mut PacketRun) {
        let [first, second] = parts;
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = time.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let marker_type = (u8::from(marker) << 7) | self.payload_type;
        let header = [0x80, marker_type, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
        run.push_parts(self.channel, &header, parts);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        let octets = u32::try_from(first.len() + second.len()).unwrap_or(0);
        self.octets = self.octets.wrapping_add(octets);
    }
}

/// Bits of an FU header, the same in H.264 and H.265.
pub(super) const FU_START: u8 = 0x80;
pub(super) const FU_END: u8 = 0x40;

/// Cuts into pieces of at most `most` bytes with their start and end flags; at least one piece.
pub(super) fn fragments(body: &[u8], most: usize) -> impl Iterator<Item = (&[u8], u8)> {
    let mut rest = Some(body);
    let mut flags = FU_START;
    std::iter::from_fn(move || {
        let body = rest?;
        let (fragment, after) = body.split_at(most.max(1).min(body.len()));
        rest = (!after.is_empty()).then_some(after);
        let end = if rest.is_none() { FU_END } else { 0 };
        Some((fragment, std::mem::take(&mut flags) | end))
    })
}

/// Ticks of an AAC frame; the RTP clock may be that of the extension, twice the core's.
pub(super) fn frame_ticks(params: &AacParams, clock_rate: u32) -> u32 {
    const USUAL: u32 = 1024;
    AudioSpecificConfig::parse(&params.config).map_or(USUAL, |config| {
        let ticks = u64::from(config.frame_length) * u64::from(clock_rate)
            / u64::from(config.sample_rate).max(1);
        u32::try_from(ticks).unwrap_or(USUAL)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{G711Law, G726Packing, G726Params, G726Rate, MediaKind};
    use crate::rtp::RtpPacket;
    use crate::rtp::testing::{bbb, packets_of, slices_h264, unit_of};

    #[test]
    fn numbers_go_on_and_the_marker_ends_the_picture() {
        let clip = bbb();
        let config = PacketizerConfig {
            ssrc: 7,
            payload_type: 100,
            first_sequence: 65_535,
            channel: 4,
            ..PacketizerConfig::default()
        };
        let mut packetizer = Packetizer::new(&clip.track, config);
        let mut next = 65_535_u16;
        let mut octets = 0;
        for unit in &clip.units {
            let packets = packets_of(&mut packetizer, unit);
            for (index, bytes) in packets.iter().enumerate() {
                let packet = RtpPacket::parse(bytes).unwrap();
                assert_eq!((packet.ssrc(), packet.payload_type()), (7, 100));
                assert_eq!(packet.sequence(), next);
                assert_eq!(packet.marker(), index == packets.len() - 1);
                assert_eq!(i64::from(packet.timestamp()), unit.pts);
                next = next.wrapping_add(1);
                octets += packet.payload().len();
            }
        }
        assert_eq!(packetizer.next_sequence(), next);
        let count = u32::from(next.wrapping_sub(65_535));
        assert_eq!(packetizer.sent(), (count, u32::try_from(octets).unwrap()));
    }

    #[test]
    fn a_run_does_not_grow_once_it_has_its_size() {
        let clip = slices_h264();
        let mut packetizer = Packetizer::new(&clip.track, PacketizerConfig::default());
        let mut run = PacketRun::with_capacity(64 * 1024);
        let memory = run.interleaved().as_ptr();
        for unit in clip.units.iter().cycle().take(100) {
            run.clear();
            packetizer.packetize(unit, 0, &mut run).unwrap();
            assert_eq!(run.interleaved().as_ptr(), memory);
        }
    }

    #[test]
    fn what_the_format_cannot_express_appends_nothing() {
        // A slice in H.264, a parameter set in H.265.
        let good = Bytes::from_static(&[0x41, 0x88]);
        let h264 = Track::h264(96, Default::default());
        let h265 = Track::h265(96, Default::default());
        let aac = Track::aac(97, 48_000, 2, Bytes::from_static(&[0x11, 0x90]));
        for (track, bad, error) in [
            (&h264, Bytes::new(), PacketizeError::ShortNal(0)),
            (
                &h264,
                Bytes::from_static(&[0x7c, 1]),
                PacketizeError::ReservedNal(28),
            ),
            (
                &h265,
                Bytes::from_static(&[0x26]),
                PacketizeError::ShortNal(1),
            ),
            (
                &h265,
                Bytes::from_static(&[0x62, 1]),
                PacketizeError::ReservedNal(49),
            ),
            (
                &aac,
                Bytes::from(vec![0; 8192]),
                PacketizeError::TooLarge(8192),
            ),
            (
                &Track::opus(1),
                Bytes::from(vec![0; 70_000]),
                PacketizeError::TooLarge(70_000),
            ),
        ] {
            let mut run = PacketRun::new();
            let unit = unit_of(vec![good.clone(), bad], 0, true);
            let mut packetizer = Packetizer::new(track, PacketizerConfig::default());
            assert_eq!(packetizer.packetize(&unit, 0, &mut run), Err(error));
            assert!(run.is_empty());
            assert_eq!(packetizer.sent(), (0, 0));
        }
    }

    #[test]
    fn long_g711_is_cut_at_samples_and_its_time_goes_on() {
        let track = Track {
            channels: 2,
            ..Track::g711(G711Law::Mu)
        };
        let config = PacketizerConfig {
            max_payload: 65,
            ..PacketizerConfig::default()
        };
        let unit = unit_of(vec![vec![1; 150].into()], 1000, true);
        let packets = packets_of(&mut Packetizer::new(&track, config), &unit);
        let cut: Vec<_> = packets
            .iter()
            .map(|bytes| RtpPacket::parse(bytes).unwrap())
            .map(|packet| (packet.timestamp(), packet.payload().len()))
            .collect();
        assert_eq!(cut, [(1000, 64), (1032, 64), (1064, 22)]);
    }

    /// Blocks of eight samples stay whole, and the clock counts samples.
    #[test]
    fn long_g726_is_cut_between_blocks() {
        let params = G726Params {
            rate: G726Rate::Kbit40,
            packing: G726Packing::Rfc3551,
        };
        let config = PacketizerConfig {
            max_payload: 64,
            ..PacketizerConfig::default()
        };
        let unit = unit_of(vec![vec![1; 100].into()], 1000, true);
        let track = Track::g726(97, params);
        let packets = packets_of(&mut Packetizer::new(&track, config), &unit);
        let cut: Vec<_> = packets
            .iter()
            .map(|bytes| RtpPacket::parse(bytes).unwrap())
            .map(|packet| (packet.timestamp(), packet.payload().len()))
            .collect();
        assert_eq!(cut, [(1000, 60), (1096, 40)]);
    }

    #[test]
    fn payloads_of_unknown_codecs_pass_as_they_are() {
        let track = Track {
            codec: Codec::Other,
            kind: MediaKind::Video,
            ..Track::h264(96, Default::default())
        };
        let data = vec![Bytes::from_static(&[1]), Bytes::from_static(&[2, 3])];
        let mut packetizer = Packetizer::new(&track, PacketizerConfig::default());
        let packets = packets_of(&mut packetizer, &unit_of(data, 0, true));
        let payloads: Vec<_> = packets
            .iter()
            .map(|bytes| RtpPacket::parse(bytes).unwrap())
            .map(|packet| (packet.marker(), packet.payload().to_vec()))
            .collect();
        assert_eq!(payloads, [(false, vec![1]), (true, vec![2, 3])]);
    }
}
