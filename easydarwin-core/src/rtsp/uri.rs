use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use thiserror::Error;

/// Names by which URIs mark a track: ours and live555's, ffmpeg's, GStreamer's.
const TRACK_NAMES: [&str; 4] = ["trackID", "streamid", "stream", "track"];

/// A request URI, taken apart: stream, query, track.
///
/// Players put `trackID=N` behind the path or behind the query and slashes anywhere; all of that
/// is gone from [`path`](Self::path) and [`query`](Self::query).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUri(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    raw: String,
    scheme: String,
    authority: String,
    /// As the client wrote it, without track and outer slashes.
    written_path: String,
    path: String,
    query: Option<String>,
    track: Option<usize>,
    /// Decoded, with track, without outer slashes.
    full_path: String,
    /// As written, with track, without slashes at the end.
    full_query: Option<String>,
}

/// What a URI names within a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Stream,
    Track(usize),
}

/// Why a text is no request URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// Nothing there.
    #[error("the request URI is empty")]
    Empty,
    /// A blank or control character.
    #[error("the request URI holds a blank or control character")]
    Forbidden,
}

impl RequestUri {
    /// Takes a request URI apart. `authority` (host and port) stands in when the client sent only
    /// a path.
    ///
    /// # Errors
    /// [`UriError`] for what cannot be echoed to the client.
    pub fn parse(raw: &str, authority: &str) -> Result<Self, UriError> {
        let raw = raw.trim();
        if raw.is_empty() {
            return Err(UriError::Empty);
        }
        if raw.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UriError::Forbidden);
        }
        let (scheme, authority, rest) = split_authority(raw, authority);
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let full_path = decode(path.trim_matches('/')).into_owned();
        if full_path.chars().any(char::is_control) {
            return Err(UriError::Forbidden);
        }
        let full_query = query.map(|q| q.trim_end_matches('/').to_owned());
        let (query, query_track) = match full_query.as_deref().map(cut_track) {
            Some((query, track)) => (Some(query.to_owned()), track),
            None => (None, None),
        };
        let (written_path, path_track) = cut_track(path);
        let written_path = written_path.trim_start_matches('/');
        let path = decode(written_path).into_owned();
        Ok(Self(Arc::new(Parts {
            scheme: scheme.to_ascii_lowercase(),
            authority: encode_non_ascii(authority),
            written_path: encode_non_ascii(written_path),
            query: query.filter(|q| !q.is_empty()),
            track: path_track.or(query_track),
            path,
            full_path,
            full_query,
            raw: raw.to_owned(),
        })))
    }

    /// As the client sent it.
    pub fn raw(&self) -> &str {
        &self.0.raw
    }

    /// The stream's path: percent-decoded, without track, without slashes at either end.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The query without track, as the client wrote it.
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// Path and query, as `StreamPath::parse` takes them.
    pub fn path_and_query(&self) -> String {
        match &self.0.query {
            Some(query) => format!("{}?{query}", self.0.path),
            None => self.0.path.clone(),
        }
    }

    /// The track that the URI names by one of the usual forms (`trackID=N`, `streamid=N`,
    /// `stream=N`).
    pub fn track(&self) -> Option<usize> {
        self.0.track
    }

    /// The value of `token=` in the query, percent-decoded.
    pub fn token(&self) -> Option<Cow<'_, str>> {
        self.0
            .query
            .as_deref()?
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="))
            .filter(|token| !token.is_empty())
            .map(decode)
    }

    /// The absolute control URL of a track, for `a=control` and `RTP-Info`: the only form that
    /// all players send back with path and query intact.
    pub fn track_control(&self, track: usize) -> String {
        self.write(&format!("trackID={track}"))
    }

    /// The `Content-Base` of a DESCRIBE answer, also the URL of the whole presentation.
    pub fn content_base(&self) -> String {
        self.write("")
    }

    /// What this URI names in the stream of `base`, whose tracks have these control attributes.
    /// `None`: something else.
    pub(super) fn resolve(&self, base: &Self, controls: &[Option<String>]) -> Option<Target> {
        let declared = controls
            .iter()
            .position(|control| control.as_deref().is_some_and(|c| self.is_track(base, c)));
        if let Some(track) = declared {
            return Some(Target::Track(track));
        }
        if self.0.path != base.0.path {
            return None;
        }
        Some(self.0.track.map_or(Target::Stream, Target::Track))
    }

    fn is_track(&self, base: &Self, control: &str) -> bool {
        if super::split_scheme(control).is_some() {
            return Self::parse(control, "").is_ok_and(|control| {
                control.0.full_path == self.0.full_path
                    && control.0.full_query == self.0.full_query
                    && control.0.full_path != base.0.path
            });
        }
        let control = decode(control.trim_matches('/'));
        if control.is_empty() || control == "*" {
            return false;
        }
        let behind_path = if base.0.path.is_empty() {
            Some(self.0.full_path.as_str())
        } else {
            self.0
                .full_path
                .strip_prefix(base.0.path.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
        };
        if behind_path == Some(&*control) {
            return true;
        }
        self.0.full_path == base.0.path
            && self.0.full_query.as_deref().is_some_and(|query| {
                decode(query)
                    .strip_suffix(&*control)
                    .is_some_and(|rest| rest.ends_with('/'))
            })
    }

    fn write(&self, last: &str) -> String {
        let mut url = format!("{}://{}/", self.0.scheme, self.0.authority);
        if !self.0.written_path.is_empty() {
            url.push_str(&self.0.written_path);
            url.push('/');
        }
        url.push_str(last);
        if let Some(query) = &self.0.query {
            url.push('?');
            url.push_str(&encode_non_ascii(query));
        }
        url
    }
}

/// Scheme, authority without user and password, and the rest.
fn split_authority<'a>(raw: &'a str, fallback: &'a str) -> (&'a str, &'a str, &'a str) {
    let Some((scheme, rest)) = super::split_scheme(raw) else {
        return ("rtsp", fallback, raw);
    };
    // A path may hold a URL in its query; that is not ours.
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return ("rtsp", fallback, raw);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    (scheme, if host.is_empty() { fallback } else { host }, rest)
}

/// Cuts slashes and track marks off the end. Of several the last one counts; none may be left,
/// or the URL that we make of the stream would name a track of it.
fn cut_track(text: &str) -> (&str, Option<usize>) {
    let mut text = text.trim_end_matches('/');
    let mut track = None;
    loop {
        let (front, last) = text.rsplit_once('/').unwrap_or(("", text));
        let found = last.split_once('=').and_then(|(name, number)| {
            let known = TRACK_NAMES.iter().any(|n| n.eq_ignore_ascii_case(name));
            number.parse().ok().filter(|_| known)
        });
        if found.is_none() {
            return (text, track);
        }
        track = track.or(found);
        text = front.trim_end_matches('/');
    }
}

/// Percent-decodes; what is no valid escape stays.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, tail));
        bytes.push(byte);
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// What we echo is ASCII, whatever came.
fn encode_non_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> RequestUri {
        RequestUri::parse(text, "10.0.0.1:554").unwrap()
    }

    #[test]
    fn what_is_sent_back_is_ascii() {
        let odd = uri("rtsp://h\u{f6}st:5\u{fffd}/\u{e9}/1?q=\u{e9}");
        assert_eq!(
            odd.track_control(0),
            "rtsp://h%C3%B6st:5%EF%BF%BD/%C3%A9/1/trackID=0?q=%C3%A9"
        );
        assert!(odd.content_base().is_ascii());
    }

    #[test]
    fn no_track_is_left_in_what_names_the_stream() {
        let twice = uri("rtsp://h/a/streamid=1//trackID=2/");
        assert_eq!((twice.path(), twice.track()), ("a", Some(2)));
        assert_eq!(uri(&twice.content_base()).path(), "a");
    }

    #[test]
    fn tracks_and_slashes_are_cut_wherever_players_put_them() {
        for (text, path, query, track) in [
            ("rtsp://h/dev/1", "dev/1", None, None),
            ("rtsp://h:8554/dev/1/", "dev/1", None, None),
            ("rtsp://h/dev/1?token=T", "dev/1", Some("token=T"), None),
            ("rtsp://h/dev/1/?token=T", "dev/1", Some("token=T"), None),
            ("rtsp://h/dev/1?token=T/", "dev/1", Some("token=T"), None),
            (
                "rtsp://h/dev/1?token=T/trackID=0",
                "dev/1",
                Some("token=T"),
                Some(0),
            ),
            (
                "rtsp://h/dev/1/trackID=1?token=T",
                "dev/1",
                Some("token=T"),
                Some(1),
            ),
            ("rtsp://h/dev/1/trackid=1/", "dev/1", None, Some(1)),
            ("rtsp://h/dev/1?q/streamid=0", "dev/1", Some("q"), Some(0)),
            ("rtsp://h/dev/1/stream=0?q", "dev/1", Some("q"), Some(0)),
            ("/dev/1/trackID=2", "dev/1", None, Some(2)),
            ("dev/1", "dev/1", None, None),
            ("RTSP://u:p@h/dev%2F1", "dev/1", None, None),
            ("rtsp://h", "", None, None),
            ("rtsp://h?x=1", "", Some("x=1"), None),
            (
                "rtsp://h/trackID=99999999999999999999",
                "trackID=99999999999999999999",
                None,
                None,
            ),
            ("*", "*", None, None),
        ] {
            let uri = uri(text);
            assert_eq!(
                (uri.path(), uri.query(), uri.track()),
                (path, query, track),
                "{text}"
            );
        }
    }

    #[test]
    fn control_urls_are_absolute_and_keep_host_scheme_and_query() {
        for (text, base, control) in [
            (
                "rtsp://cam.example:10554/dev/1?token=T",
                "rtsp://cam.example:10554/dev/1/?token=T",
                "rtsp://cam.example:10554/dev/1/trackID=3?token=T",
            ),
            (
                "rtsps://u:secret@[::1]/dev/1/",
                "rtsps://[::1]/dev/1/",
                "rtsps://[::1]/dev/1/trackID=3",
            ),
            (
                "/dev/ü",
                "rtsp://10.0.0.1:554/dev/%C3%BC/",
                "rtsp://10.0.0.1:554/dev/%C3%BC/trackID=3",
            ),
            ("rtsp://h", "rtsp://h/", "rtsp://h/trackID=3"),
        ] {
            let uri = uri(text);
            assert_eq!(uri.content_base(), base);
            assert_eq!(uri.track_control(3), control);
        }
    }

    #[test]
    fn declared_controls_win_over_the_usual_forms() {
        let base = uri("rtsp://h/dev/1?k=a%2Fb");
        let controls = [
            Some("trackID=1".to_owned()),
            Some("trackID=2".to_owned()),
            Some("audio/main".to_owned()),
            Some("rtsp://other/dev/1/x?k=a".to_owned()),
            None,
        ];
        for (text, target) in [
            ("rtsp://h/dev/1/trackID=1", Some(Target::Track(0))),
            ("rtsp://h/dev/1?k=a/b/trackID=2", Some(Target::Track(1))),
            ("rtsp://h/dev/1/audio/main?k=a/b", Some(Target::Track(2))),
            ("rtsp://h/dev/1?k=a%2Fb/audio/main/", Some(Target::Track(2))),
            ("rtsp://h/dev/1/x?k=a", Some(Target::Track(3))),
            ("rtsp://h/dev/1/trackID=4", Some(Target::Track(4))),
            ("rtsp://h/dev/1/", Some(Target::Stream)),
            ("rtsp://h/dev/2/trackID=1", None),
            ("rtsp://h/dev/12", None),
            ("rtsp://h/dev/trackID=1", None),
        ] {
            assert_eq!(uri(text).resolve(&base, &controls), target, "{text}");
        }
    }

    #[test]
    fn what_could_break_a_line_is_refused() {
        assert_eq!(RequestUri::parse(" ", "h"), Err(UriError::Empty));
        for text in [
            "rtsp://h/a b",
            "rtsp://h/a\rb",
            "rtsp://h/a%0d%0ab",
            "rtsp://h/\u{7f}",
        ] {
            assert_eq!(
                RequestUri::parse(text, "h"),
                Err(UriError::Forbidden),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_token_is_found_and_decoded() {
        assert_eq!(
            uri("rtsp://h/a?x=1&token=a%2Db/trackID=0")
                .token()
                .as_deref(),
            Some("a-b")
        );
        assert_eq!(uri("rtsp://h/a?token=").token(), None);
        assert_eq!(uri("rtsp://h/a?mytoken=x").token(), None);
    }
}
