use sdp_types::{Media, Session};

use super::repair::{self, Notes};
use super::{MAX_SDP_LEN, MAX_TRACKS, SdpError, formats};
use crate::media::{MediaKind, Repair, Repairs, SessionDescription, Track};

/// Payload type where a description names none.
const DEFAULT_PAYLOAD_TYPE: u8 = 96;
const VIDEO_CLOCK: u32 = 90_000;
const AUDIO_CLOCK: u32 = 8_000;

/// Reads a session description leniently: known oddities of cameras are repaired first.
///
/// # Errors
/// When it is too long, has no media section or too many, or cannot be read.
pub fn parse(text: &[u8]) -> Result<SessionDescription, SdpError> {
    parse_noting(text).map(|(description, _)| description)
}

/// As [`parse`], and tells what had to be repaired.
///
/// # Errors
/// As [`parse`].
pub fn parse_repaired(text: &[u8]) -> Result<(SessionDescription, Repairs), SdpError> {
    parse_noting(text).map(|(description, notes)| (description, notes.repairs))
}

/// Reads a session description that needs no repair.
///
/// # Errors
/// As [`parse`], and [`SdpError::Faulty`] with the first repair that it would need.
pub fn parse_strict(text: &[u8]) -> Result<SessionDescription, SdpError> {
    let (description, notes) = parse_noting(text)?;
    match notes.first {
        None => Ok(description),
        Some((repair, line)) => Err(SdpError::Faulty { repair, line }),
    }
}

/// Strictly, or with what was repaired.
#[cfg(feature = "server")]
pub(crate) fn read(text: &[u8], strict: bool) -> Result<(SessionDescription, Repairs), SdpError> {
    if strict {
        parse_strict(text).map(|description| (description, Repairs::default()))
    } else {
        parse_repaired(text)
    }
}

fn parse_noting(text: &[u8]) -> Result<(SessionDescription, Notes), SdpError> {
    if text.len() > MAX_SDP_LEN {
        return Err(SdpError::TooLong(text.len()));
    }
    let mut notes = Notes::default();
    let repaired = repair::repair(text, &mut notes);
    let session =
        Session::parse(repaired.text.as_bytes()).map_err(|e| SdpError::Syntax(e.to_string()))?;
    if session.medias.is_empty() {
        return Err(SdpError::NoTracks);
    }
    if session.medias.len() > MAX_TRACKS {
        return Err(SdpError::TooManyTracks(session.medias.len()));
    }
    let sections = session.medias.iter().zip(&repaired.media_lines);
    let mut tracks: Vec<Track> = Vec::with_capacity(session.medias.len());
    for (media, line) in sections {
        notes.line = *line;
        let track = track(media, &mut notes);
        let named_before = tracks.iter().any(|known| known.control == track.control);
        if session.medias.len() > 1 && (track.control.is_none() || named_before) {
            notes.add(Repair::SdpControl);
        }
        tracks.push(track);
    }
    let description = SessionDescription {
        name: match session.session_name.as_str() {
            "-" => String::new(),
            name => name.to_owned(),
        },
        control: session
            .get_first_attribute_value("control")
            .flatten()
            .map(str::to_owned),
        tracks,
    };
    Ok((description, notes))
}

fn track(media: &Media, notes: &mut Notes) -> Track {
    let kind = match media.media.to_ascii_lowercase().as_str() {
        "video" => MediaKind::Video,
        "audio" => MediaKind::Audio,
        _ => MediaKind::Application,
    };
    let rtpmaps: Vec<_> = values(media, "rtpmap").filter_map(rtpmap).collect();
    let payload_type = media
        .fmt
        .split_ascii_whitespace()
        .find_map(|f| f.parse().ok().filter(|&pt: &u8| pt < 128))
        .or_else(|| rtpmaps.first().map(|map| map.payload_type))
        .unwrap_or(DEFAULT_PAYLOAD_TYPE);
    // A payload type that no line explains, with exactly one explanation: a typo of the camera.
    let only = |n: usize| n == 1 && formats::static_format(payload_type).is_none();
    let map = rtpmaps
        .iter()
        .find(|map| map.payload_type == payload_type)
        .or_else(|| rtpmaps.first().filter(|_| only(rtpmaps.len())));
    let fmtps: Vec<_> = values(media, "fmtp").map(fmtp).collect();
    let fmtp = fmtps
        .iter()
        .find(|(pt, _)| *pt == Some(payload_type))
        .or_else(|| fmtps.first().filter(|_| only(fmtps.len())))
        .map(|(_, text)| (*text).to_owned());

    let known = formats::static_format(payload_type);
    let explained = match map {
        Some(map) => map.payload_type == payload_type && map.clock_rate.is_some(),
        // Payload types are RTP's.
        None => known.is_some() || !media.proto.starts_with("RTP/"),
    };
    let meant = |(pt, _): &(Option<u8>, &str)| pt.is_some();
    if !explained || rtpmaps.len() != values(media, "rtpmap").count() || !fmtps.iter().all(meant) {
        notes.add(Repair::SdpFormat);
    }
    let (encoding, rate, channels) = match (map, known) {
        (Some(map), _) => (map.encoding, map.clock_rate, map.channels),
        (None, Some((name, rate, channels))) => (name, Some(rate), Some(channels)),
        (None, None) => ("", None, None),
    };
    let clock_rate = rate.unwrap_or(match kind {
        MediaKind::Audio => AUDIO_CLOCK,
        MediaKind::Video | MediaKind::Application => VIDEO_CLOCK,
    });
    let channels = match kind {
        MediaKind::Audio => channels.unwrap_or(1).max(1),
        MediaKind::Video | MediaKind::Application => 0,
    };
    Track {
        kind,
        payload_type,
        encoding: encoding.to_owned(),
        clock_rate,
        channels,
        codec: formats::codec(
            encoding,
            clock_rate,
            channels,
            fmtp.as_deref().unwrap_or_default(),
            notes,
        ),
        fmtp,
        control: values(media, "control").next().map(str::to_owned),
    }
}

/// Values of all attributes of this name, names without regard to case.
fn values<'a>(media: &'a Media, name: &'static str) -> impl Iterator<Item = &'a str> {
    media
        .attributes
        .iter()
        .filter(move |a| a.attribute.trim().eq_ignore_ascii_case(name))
        .filter_map(|a| a.value.as_deref())
        .map(str::trim)
}

struct RtpMap<'a> {
    payload_type: u8,
    encoding: &'a str,
    clock_rate: Option<u32>,
    channels: Option<u16>,
}

/// `96 H264/90000` or `97 MPEG4-GENERIC/48000/2`
fn rtpmap(value: &str) -> Option<RtpMap<'_>> {
    let (payload_type, format) = value.split_once([' ', '\t'])?;
    let mut parts = format.trim().split('/').map(str::trim);
    Some(RtpMap {
        payload_type: payload_type.parse().ok().filter(|&pt| pt < 128)?,
        encoding: parts.next().filter(|name| !name.is_empty())?,
        clock_rate: parts
            .next()
            .and_then(|rate| rate.parse().ok())
            .filter(|&rate| rate > 0),
        channels: parts.next().and_then(|channels| channels.parse().ok()),
    })
}

/// `96 packetization-mode=1;…`
fn fmtp(value: &str) -> (Option<u8>, &str) {
    let (first, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    match first.parse() {
        Ok(payload_type) => (Some(payload_type), rest.trim()),
        Err(_) => (None, value),
    }
}
