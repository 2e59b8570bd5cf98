use sdp_types::Session;

use crate::media::{Repair, Repairs};

/// The lines of a description in their order (RFC 8866, 5). `r=` belongs to the `t=` before it.
const SESSION_ORDER: &str = "vosiuepcbtzka";
/// The same of a media section.
const MEDIA_ORDER: &str = "micbka";
/// Those of which there may be several one after the other.
const REPEATED: &str = "epbtam";
/// Attributes that are read here. Names count their case.
const NAMES: [&str; 3] = ["rtpmap", "fmtp", "control"];

/// What was wrong with a description.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) repairs: Repairs,
    /// The first one, and its line.
    pub(super) first: Option<(Repair, usize)>,
    /// The line that is being looked at, counted from 1.
    pub(super) line: usize,
}

impl Notes {
    pub(super) fn add(&mut self, repair: Repair) {
        self.repairs.add(repair);
        self.first.get_or_insert((repair, self.line));
    }
}

/// A description that the strict parser accepts.
pub(super) struct Repaired {
    pub(super) text: String,
    /// The line numbers of the media sections.
    pub(super) media_lines: Vec<usize>,
}

/// Rewrites a description into what the strict parser accepts.
///
/// Only what the rest of this crate uses is kept: the name, media sections and attributes. All
/// other lines (`o=` with spaces or negative numbers, `b=AS:50.5`, `y=`/`f=` of GB/T 28181,
/// repeated `c=`) are where cameras err most, and nothing depends on them.
pub(super) fn repair(text: &[u8], notes: &mut Notes) -> Repaired {
    notes.line = 1;
    let text = String::from_utf8_lossy(text);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        notes.add(Repair::NotUtf8);
    }
    let mut out = Repaired {
        text: String::with_capacity(text.len() + 8),
        media_lines: Vec::new(),
    };
    out.text.push_str("v=0\r\n");
    let mut named = false;
    let mut order = Order::default();
    let mut rest = &*text;
    while !rest.is_empty() {
        let end = rest.find(['\r', '\n', '\0']).unwrap_or(rest.len());
        let (line, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = tail.strip_prefix("\r\n").unwrap_or_else(|| {
            notes.add(Repair::SdpLineEnds);
            let mut tail = tail.chars();
            tail.next();
            tail.as_str()
        });
        if !order.takes(line) {
            notes.add(Repair::SdpLines);
        }
        if let Some((key, value)) = line.trim().split_once('=') {
            let (key, value) = (key.trim_end(), value.trim());
            match key {
                "s" if !named && !value.is_empty() => {
                    named = true;
                    push_line(&mut out.text, 's', value);
                }
                "a" if !value.is_empty() => push_line(&mut out.text, 'a', value),
                "m" => {
                    out.media_lines.push(notes.line);
                    if !is_media(value) {
                        notes.add(Repair::SdpMediaLine);
                    }
                    push_line(&mut out.text, 'm', &repair_media(value));
                }
                _ => {}
            }
        }
        notes.line += 1;
    }
    if !order.complete() {
        notes.line = 1;
        notes.add(Repair::SdpLines);
    }
    out
}

fn push_line(out: &mut String, key: char, value: &str) {
    out.push(key);
    out.push('=');
    out.push_str(value);
    out.push_str("\r\n");
}

/// Where in a description the lines before have got to.
#[derive(Debug, Default)]
struct Order {
    media: bool,
    /// Position of the last line in its order, plus one.
    rank: usize,
    /// `v`, `o`, `s` and `t` were there.
    needed: [bool; 4],
}

impl Order {
    /// Notes a line; whether it stands where it may and can be read.
    fn takes(&mut self, line: &str) -> bool {
        let mut chars = line.chars();
        let (Some(key), Some('=')) = (chars.next(), chars.next()) else {
            return false;
        };
        let value = chars.as_str();
        if let Some(needed) = "vost".find(key).and_then(|at| self.needed.get_mut(at)) {
            *needed |= !self.media;
        }
        if key == 'm' {
            self.media = true;
            self.rank = 0;
        }
        let order = if self.media {
            MEDIA_ORDER
        } else {
            SESSION_ORDER
        };
        let place = if key == 'r' { 't' } else { key };
        let Some(rank) = order.find(place).map(|at| at + 1) else {
            return false;
        };
        let again = rank == self.rank && (REPEATED.contains(place) || self.media && key == 'c');
        let in_order = again || rank > self.rank;
        self.rank = self.rank.max(rank);
        in_order && is_line(key, value)
    }

    fn complete(&self) -> bool {
        self.needed.iter().all(|there| *there)
    }
}

/// Whether the strict parser can read it.
fn is_line(key: char, value: &str) -> bool {
    let text = match key {
        'v' => return value == "0",
        // Looked at by itself.
        'm' => return true,
        's' | 'i' | 'u' | 'e' | 'p' => return !value.is_empty(),
        'a' => {
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            let known = NAMES.iter().find(|known| name.eq_ignore_ascii_case(known));
            return !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_graphic())
                && known.is_none_or(|known| *known == name && !value.starts_with(' '));
        }
        'r' => format!("v=0\r\nt=0 0\r\nr={value}\r\n"),
        key => format!("v=0\r\n{key}={value}\r\n"),
    };
    Session::parse(text.as_bytes()).is_ok()
}

/// `<media> <port>[/<number>] <proto> <fmt> ...` (RFC 8866, 5.14); the formats of RTP are
/// payload types.
fn is_media(value: &str) -> bool {
    let mut fields = value.split(' ');
    let (Some(media), Some(port), Some(protocol)) = (fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    let (port, count) = port.split_once('/').unwrap_or((port, "1"));
    let rtp = protocol.starts_with("RTP/");
    let is_format = |format: &str| match rtp {
        true => format.parse().is_ok_and(|pt: u8| pt < 128),
        false => !format.is_empty(),
    };
    let mut formats = fields.peekable();
    !media.is_empty()
        && port.parse::<u16>().is_ok()
        && count.parse::<u16>().is_ok()
        && !protocol.is_empty()
        && formats.peek().is_some()
        && formats.all(is_format)
}

/// `m=video 0 RTP/AVP 96` from lines with missing, doubled or senseless fields. The port means
/// nothing in RTSP.
fn repair_media(value: &str) -> String {
    let mut fields = value.split_ascii_whitespace();
    let media = fields.next().unwrap_or("application");
    let _port = fields.next();
    let protocol = fields.next().unwrap_or("RTP/AVP");
    let formats: Vec<_> = fields.collect();
    let formats = if formats.is_empty() {
        // The payload type is then looked for in the `a=rtpmap` line.
        "-".to_owned()
    } else {
        formats.join(" ")
    };
    format!("{media} 0 {protocol} {formats}")
}
