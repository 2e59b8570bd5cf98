use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::formats::{parameter, parameters};
use crate::media::{
    AacParams, Codec, H264Params, H265Params, MediaKind, SessionDescription, Track, base64,
};

/// The session-level lines of [`write()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Address of the `o=` line, and of the `c=` line (whose meaning is only the IP version: it
    /// is written as the unspecified address).
    pub address: IpAddr,
    /// `sess-id` of the `o=` line.
    pub session_id: u64,
    /// `sess-version` of the `o=` line: grows when the description changes.
    pub session_version: u64,
    /// Session-level `a=control`, if any: `*` or an absolute URL.
    pub session_control: Option<String>,
    /// Write `a=range:npt=now-` (live streams for readers).
    pub live_range: bool,
    /// Further attributes of the session, as `name:value`.
    pub attributes: Vec<Cow<'static, str>>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            session_id: 0,
            session_version: 0,
            session_control: None,
            live_range: true,
            attributes: Vec::new(),
        }
    }
}

/// Writes a description with one `a=control` per track, given by `control(index)`.
///
/// Payload types are those of the tracks. `a=fmtp` is built from the parameter sets where they
/// are known, else it is the track's own, verbatim.
pub fn write(
    description: &SessionDescription,
    options: &WriteOptions,
    control: impl Fn(usize) -> String,
) -> String {
    let mut out = Lines(String::with_capacity(1024));
    let (version, any) = match options.address {
        IpAddr::V4(_) => ("IP4", "0.0.0.0"),
        IpAddr::V6(_) => ("IP6", "::"),
    };
    out.line("v=", "0");
    out.line(
        "o=",
        &format!(
            "- {} {} IN {version} {}",
            options.session_id, options.session_version, options.address
        ),
    );
    out.line(
        "s=",
        match description.name.as_str() {
            "" => "-",
            name => name,
        },
    );
    out.line("c=IN ", &format!("{version} {any}"));
    out.line("t=", "0 0");
    if let Some(control) = &options.session_control {
        out.line("a=control:", control);
    }
    if options.live_range {
        out.line("a=range:", "npt=now-");
    }
    for attribute in &options.attributes {
        out.line("a=", attribute);
    }
    for (index, track) in description.tracks.iter().enumerate() {
        write_track(track, &control(index), &mut out);
    }
    out.0
}

fn write_track(track: &Track, control: &str, out: &mut Lines) {
    let media = match track.kind {
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Application => "application",
    };
    let payload_type = track.payload_type;
    out.line("m=", &format!("{media} 0 RTP/AVP {payload_type}"));
    if !track.encoding.is_empty() {
        let mut map = format!("{payload_type} {}/{}", track.encoding, track.clock_rate);
        if track.channels > 1 {
            let _ = write!(map, "/{}", track.channels);
        }
        out.line("a=rtpmap:", &map);
    }
    let fmtp = fmtp(track);
    if !fmtp.is_empty() {
        out.line("a=fmtp:", &format!("{payload_type} {fmtp}"));
    }
    out.line("a=control:", control);
}

/// Text with a line end after each line and none inside of one, whatever values hold.
struct Lines(String);

impl Lines {
    fn line(&mut self, key: &str, value: &str) {
        self.0.push_str(key);
        self.0
            .extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.0.push_str("\r\n");
    }
}

fn fmtp(track: &Track) -> String {
    let raw = track.fmtp.as_deref().unwrap_or_default();
    match &track.codec {
        Codec::H264(params) => h264_fmtp(params, raw),
        Codec::H265(params) => h265_fmtp(params, raw),
        Codec::Aac(params) if raw.is_empty() => aac_fmtp(params),
        _ => raw.to_owned(),
    }
}

fn h264_fmtp(params: &H264Params, raw: &str) -> String {
    let (Some(sps), false) = (&params.sps, params.pps.is_empty()) else {
        return raw.to_owned();
    };
    let mut out = String::new();
    if parameter(raw, "packetization-mode").is_none() {
        push(&mut out, "packetization-mode", "1");
    }
    keep(raw, &["sprop-parameter-sets", "profile-level-id"], &mut out);
    if let Some([_, profile, constraints, level]) = sps.first_chunk::<4>() {
        let id = format!("{profile:02X}{constraints:02X}{level:02X}");
        push(&mut out, "profile-level-id", &id);
    }
    let sets = std::iter::once(sps).chain(&params.pps);
    push(&mut out, "sprop-parameter-sets", &base64_list(sets));
    out
}

fn h265_fmtp(params: &H265Params, raw: &str) -> String {
    let (Some(vps), Some(sps), false) = (&params.vps, &params.sps, params.pps.is_empty()) else {
        return raw.to_owned();
    };
    let mut out = String::new();
    keep(raw, &["sprop-vps", "sprop-sps", "sprop-pps"], &mut out);
    push(&mut out, "sprop-vps", &base64_list([vps]));
    push(&mut out, "sprop-sps", &base64_list([sps]));
    push(&mut out, "sprop-pps", &base64_list(&params.pps));
    out
}

fn aac_fmtp(params: &AacParams) -> String {
    let mode = if params.size_length == 6 {
        "AAC-lbr"
    } else {
        "AAC-hbr"
    };
    let mut out = String::new();
    push(&mut out, "streamtype", "5");
    push(&mut out, "profile-level-id", "1");
    push(&mut out, "mode", mode);
    push(&mut out, "sizelength", &params.size_length.to_string());
    push(&mut out, "indexlength", &params.index_length.to_string());
    push(
        &mut out,
        "indexdeltalength",
        &params.index_delta_length.to_string(),
    );
    let mut config = String::new();
    for byte in &params.config {
        let _ = write!(config, "{byte:02x}");
    }
    push(&mut out, "config", &config);
    out
}

/// Copies the parameters that are not named.
fn keep(raw: &str, without: &[&str], out: &mut String) {
    for (key, value) in parameters(raw) {
        if !without.iter().any(|name| name.eq_ignore_ascii_case(key)) {
            push(out, key, value);
        }
    }
}

fn push(out: &mut String, key: &str, value: &str) {
    if !out.is_empty() {
        out.push_str("; ");
    }
    out.push_str(key);
    if !value.is_empty() {
        out.push('=');
        out.push_str(value);
    }
}

fn base64_list<'a>(sets: impl IntoIterator<Item = &'a bytes::Bytes>) -> String {
    let mut out = String::new();
    for set in sets {
        if !out.is_empty() {
            out.push(',');
        }
        base64::encode(set, &mut out);
    }
    out
}
