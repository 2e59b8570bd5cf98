use bytes::Bytes;

use super::repair::Notes;
use crate::media::aac::AudioSpecificConfig;
use crate::media::{
    AacParams, Codec, G711Law, G726Params, H264Params, H265Params, Repair, base64, h264, h265,
};

/// Longest parameter set that is taken from a description, in bytes.
const MAX_PARAMETER_SET: usize = 4096;

/// Encoding, clock rate and channels of the static payload types (RFC 3551, table 4 and 5).
pub(super) fn static_format(payload_type: u8) -> Option<(&'static str, u32, u16)> {
    Some(match payload_type {
        0 => ("PCMU", 8_000, 1),
        3 => ("GSM", 8_000, 1),
        4 => ("G723", 8_000, 1),
        8 => ("PCMA", 8_000, 1),
        9 => ("G722", 8_000, 1),
        10 => ("L16", 44_100, 2),
        11 => ("L16", 44_100, 1),
        14 => ("MPA", 90_000, 1),
        15 => ("G728", 8_000, 1),
        18 => ("G729", 8_000, 1),
        26 => ("JPEG", 90_000, 0),
        31 => ("H261", 90_000, 0),
        32 => ("MPV", 90_000, 0),
        33 => ("MP2T", 90_000, 0),
        34 => ("H263", 90_000, 0),
        _ => return None,
    })
}

/// The value of a parameter in `a=fmtp`, names without regard to case.
pub(super) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    parameters(fmtp).find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

/// All parameters in `a=fmtp` in order; those without `=` have an empty value.
pub(super) fn parameters(fmtp: &str) -> impl Iterator<Item = (&str, &str)> {
    fmtp.split(';')
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(key, value)| (key.trim(), value.trim()))
        .filter(|(key, _)| !key.is_empty())
}

/// What we understand of a format.
pub(super) fn codec(
    encoding: &str,
    clock_rate: u32,
    channels: u16,
    fmtp: &str,
    notes: &mut Notes,
) -> Codec {
    match encoding.to_ascii_uppercase().as_str() {
        "H264" => Codec::H264(h264_params(fmtp, notes)),
        "H265" | "HEVC" => Codec::H265(h265_params(fmtp, notes)),
        "MPEG4-GENERIC" => {
            aac_params(fmtp, clock_rate, channels, notes).map_or(Codec::Other, Codec::Aac)
        }
        "OPUS" => Codec::Opus,
        "PCMA" => Codec::G711(G711Law::A),
        "PCMU" => Codec::G711(G711Law::Mu),
        "JPEG" => Codec::Jpeg,
        name => G726Params::from_encoding(name).map_or(Codec::Other, Codec::G726),
    }
}

fn h264_params(fmtp: &str, notes: &mut Notes) -> H264Params {
    let mut params = H264Params::default();
    for nal in parameter_sets(fmtp, "sprop-parameter-sets", notes) {
        match h264::nal_type(&nal) {
            Some(h264::NAL_SPS) if params.sps.is_none() => params.sps = Some(nal),
            Some(h264::NAL_PPS) => params.pps.push(nal),
            _ => {}
        }
    }
    params
}

fn h265_params(fmtp: &str, notes: &mut Notes) -> H265Params {
    let mut of_type = |name, wanted| {
        parameter_sets(fmtp, name, notes)
            .into_iter()
            .filter(move |nal| h265::nal_type(nal) == Some(wanted))
    };
    H265Params {
        vps: of_type("sprop-vps", h265::NAL_VPS).next(),
        sps: of_type("sprop-sps", h265::NAL_SPS).next(),
        pps: of_type("sprop-pps", h265::NAL_PPS).collect(),
    }
}

/// Comma-separated base64; what cannot be read is left out. Some cameras put start codes inside,
/// or quotes around it.
fn parameter_sets(fmtp: &str, name: &str, notes: &mut Notes) -> Vec<Bytes> {
    let Some(value) = parameter(fmtp, name) else {
        return Vec::new();
    };
    value
        .split(',')
        .filter_map(|part| {
            let coded = part.trim_matches(['"', ' ']);
            let set = base64::decode(coded).and_then(parameter_set);
            let whole = set.as_ref().is_some_and(|(_, whole)| *whole);
            if !whole || coded.len() != part.len() {
                notes.add(Repair::SdpParameterSets);
            }
            set.map(|(nal, _)| nal)
        })
        .collect()
}

/// A NAL unit without the start code that does not belong here, and whether it had none.
fn parameter_set(nal: Vec<u8>) -> Option<(Bytes, bool)> {
    let zeros = nal.iter().take_while(|&&b| b == 0).count();
    let (nal, whole) = match nal.get(zeros..) {
        Some([1, unit @ ..]) if zeros >= 2 => (Bytes::copy_from_slice(unit), false),
        _ => (Bytes::from(nal), true),
    };
    (!nal.is_empty() && nal.len() <= MAX_PARAMETER_SET).then_some((nal, whole))
}

/// Parameters of RFC 3640; `None` if it is another use of that format than AAC.
fn aac_params(fmtp: &str, clock_rate: u32, channels: u16, notes: &mut Notes) -> Option<AacParams> {
    let mode = parameter(fmtp, "mode").unwrap_or_else(|| {
        notes.add(Repair::SdpAudioConfig);
        "AAC-hbr"
    });
    let defaults = if mode.eq_ignore_ascii_case("AAC-lbr") {
        (6, 2, 2)
    } else if mode
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("AAC"))
    {
        (13, 3, 3)
    } else {
        return None;
    };
    let bits = |name, default| match parameter(fmtp, name) {
        None => Some(default),
        Some(text) => text.parse::<u8>().ok().filter(|&bits| bits <= 32),
    };
    let config = parameter(fmtp, "config")
        .and_then(hex)
        .filter(|config| AudioSpecificConfig::parse(config).is_ok())
        .map_or_else(
            || {
                notes.add(Repair::SdpAudioConfig);
                AudioSpecificConfig {
                    object_type: 2,
                    sample_rate: clock_rate,
                    channels: u8::try_from(channels).unwrap_or(1),
                    frame_length: 1024,
                }
                .to_bytes()
            },
            Bytes::from,
        );
    Some(AacParams {
        config,
        size_length: bits("sizelength", defaults.0).filter(|&bits| bits > 0)?,
        index_length: bits("indexlength", defaults.1)?,
        index_delta_length: bits("indexdeltalength", defaults.2)?,
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_matches('"').as_bytes();
    if text.is_empty() || text.len() > 2 * MAX_PARAMETER_SET {
        return None;
    }
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    text.chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some((digit(high)? << 4) | digit(low)?),
            // An odd number of digits: the last one is the upper half of a byte.
            [high] => Some(digit(high)? << 4),
            _ => None,
        })
        .collect()
}
