//! Sample entries: which codec a track has, and its parameters (ISO/IEC 14496-12, 8.5.2;
//! 14496-15, 5.3 and 8.3; 14496-1, 7.2.6).

use bytes::Bytes;
use easydarwin_core::media::aac::AudioSpecificConfig;
use easydarwin_core::media::{G711Law, H264Params, H265Params, Track};

use super::boxes::{Fields, child, children};

/// Payload types from the dynamic range (RFC 3551, 6): one per kind of track.
const VIDEO_PAYLOAD_TYPE: u8 = 96;
const AUDIO_PAYLOAD_TYPE: u8 = 97;

/// The track and how its samples hold NAL units.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) track: Track,
    /// Bytes of a NAL unit's length field; 0 for samples that are one frame.
    pub(super) nal_length: usize,
}

impl Entry {
    fn frames(track: Track) -> Self {
        Self {
            track,
            nal_length: 0,
        }
    }
}

/// Reads the first sample entry that is understood.
pub(super) fn read(stsd: &[u8]) -> Option<Entry> {
    let mut fields = Fields(stsd);
    fields.version()?;
    fields.u32()?;
    children(fields.0).find_map(|(kind, body)| match &kind {
        b"avc1" | b"avc3" => avc(child(visual(body)?, b"avcC")?),
        b"hvc1" | b"hev1" => hevc(child(visual(body)?, b"hvcC")?),
        b"mp4a" => aac(body),
        b"Opus" => Some(Entry::frames(Track::opus(AUDIO_PAYLOAD_TYPE))),
        b"alaw" => g711(body, G711Law::A),
        b"ulaw" => g711(body, G711Law::Mu),
        _ => None,
    })
}

/// The boxes behind the fixed part of a VisualSampleEntry.
fn visual(body: &[u8]) -> Option<&[u8]> {
    body.get(78..)
}

fn avc(config: &[u8]) -> Option<Entry> {
    let mut fields = Fields(config);
    fields.skip(4)?;
    let nal_length = usize::from(fields.u8()? & 3) + 1;
    let sps_count = fields.u8()? & 0x1f;
    let sps = units(&mut fields, usize::from(sps_count))?;
    let pps_count = fields.u8()?;
    let pps = units(&mut fields, usize::from(pps_count))?;
    let params = H264Params {
        sps: sps.into_iter().next(),
        pps,
    };
    Some(Entry {
        track: Track::h264(VIDEO_PAYLOAD_TYPE, params),
        nal_length,
    })
}

fn hevc(config: &[u8]) -> Option<Entry> {
    let mut fields = Fields(config);
    fields.skip(21)?;
    let nal_length = usize::from(fields.u8()? & 3) + 1;
    let mut params = H265Params::default();
    for _ in 0..fields.u8()? {
        let kind = fields.u8()? & 0x3f;
        let count = fields.u16()?;
        let mut units = units(&mut fields, usize::from(count))?.into_iter();
        match kind {
            32 => params.vps = units.next(),
            33 => params.sps = units.next(),
            34 => params.pps.extend(units),
            _ => {}
        }
    }
    Some(Entry {
        track: Track::h265(VIDEO_PAYLOAD_TYPE, params),
        nal_length,
    })
}

fn units(fields: &mut Fields<'_>, count: usize) -> Option<Vec<Bytes>> {
    let mut units = Vec::new();
    for _ in 0..count {
        let length = usize::from(fields.u16()?);
        units.push(Bytes::copy_from_slice(fields.take(length)?));
    }
    Some(units)
}

/// AudioSampleEntry with an `esds`; QuickTime's versions 1 and 2 have longer fixed parts.
fn aac(body: &[u8]) -> Option<Entry> {
    let mut fields = Fields(body);
    fields.skip(8)?;
    let version = fields.u16()?;
    fields.skip(6)?;
    let channels = fields.u16()?;
    fields.skip(6)?;
    let rate = fields.u32()? >> 16;
    fields.skip(match version {
        1 => 16,
        2 => 36,
        _ => 0,
    })?;
    let esds = child(fields.0, b"esds").or_else(|| child(child(fields.0, b"wave")?, b"esds"))?;
    let config = decoder_specific_info(esds.get(4..)?)?;
    // The sample entry often says 2 for anything (ISO 14496-12 even asked for that once); players
    // refuse an SDP whose channels contradict the configuration.
    let channels = match AudioSpecificConfig::parse(&config) {
        Ok(parsed) if parsed.channels > 0 => u16::from(parsed.channels),
        _ => channels,
    };
    let track = Track::aac(AUDIO_PAYLOAD_TYPE, rate, channels, config);
    Some(Entry::frames(track))
}

/// QuickTime's G.711; RTP's static payload types are for 8 kHz mono.
fn g711(body: &[u8], law: G711Law) -> Option<Entry> {
    let mut fields = Fields(body);
    fields.skip(16)?;
    let channels = fields.u16()?;
    fields.skip(6)?;
    let rate = fields.u32()? >> 16;
    (channels == 1 && rate == 8_000).then(|| Entry::frames(Track::g711(law)))
}

/// Finds DecoderSpecificInfo (tag 5) in ES_Descriptor (3) and DecoderConfigDescriptor (4).
fn decoder_specific_info(descriptors: &[u8]) -> Option<Bytes> {
    let mut es = Fields(descriptor(&mut Fields(descriptors), 3)?);
    es.skip(2)?;
    let flags = es.u8()?;
    if flags & 0x80 != 0 {
        es.skip(2)?;
    }
    if flags & 0x40 != 0 {
        let url = es.u8()?;
        es.skip(usize::from(url))?;
    }
    if flags & 0x20 != 0 {
        es.skip(2)?;
    }
    let mut config = Fields(descriptor(&mut es, 4)?);
    // objectTypeIndication 0x40 is MPEG-4 audio, 0x66 to 0x68 MPEG-2 AAC.
    if !matches!(config.u8()?, 0x40 | 0x66..=0x68) {
        return None;
    }
    config.skip(12)?;
    Some(Bytes::copy_from_slice(descriptor(&mut config, 5)?))
}

/// Takes descriptors up to one of this tag.
fn descriptor<'a>(fields: &mut Fields<'a>, tag: u8) -> Option<&'a [u8]> {
    loop {
        let found = fields.u8()?;
        let mut length = 0usize;
        for _ in 0..4 {
            let byte = fields.u8()?;
            length = length << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = fields.take(length)?;
        if found == tag {
            return Some(body);
        }
    }
}
