use super::error::HttpError;
use crate::registry::StreamPath;

/// Which output of which stream a URL path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) path: StreamPath,
    pub(crate) output: Output,
    /// From the `/t/<token>/` prefix.
    pub(crate) token: Option<String>,
}

/// The outputs of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// `…/`: the player page.
    Page,
    /// The path without its final slash, from which relative URIs would go astray.
    PageWithoutSlash,
    /// `…/index.m3u8`
    Playlist,
    /// `…/init-<n>.mp4`
    Init(u64),
    /// `…/seg-<n>.m4s`
    Segment(u64),
    /// `…/live.ws`
    WebSocket,
    /// `…/live.mp4`
    Progressive,
    /// `…/poster.mp4`
    Poster,
}

impl Target {
    /// Reads the path of a request.
    pub(crate) fn parse(path: &str) -> Result<Self, HttpError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (token, path) = match path.strip_prefix("t/").and_then(|p| p.split_once('/')) {
            Some((token, path)) if !token.is_empty() => (Some(token.to_owned()), path),
            _ => (None, path),
        };
        let (stream, file) = path.rsplit_once('/').ok_or(HttpError::NoRoute)?;
        let (stream, output) = match Output::of(file) {
            Some(output) => (stream, output),
            None => (path, Output::PageWithoutSlash),
        };
        Ok(Self {
            path: StreamPath::parse(stream)?,
            output,
            token,
        })
    }
}

impl Output {
    fn of(file: &str) -> Option<Self> {
        let numbered = |prefix: &str, suffix: &str| {
            file.strip_prefix(prefix)?
                .strip_suffix(suffix)?
                .parse()
                .ok()
        };
        match file {
            "" => Some(Self::Page),
            "index.m3u8" => Some(Self::Playlist),
            "live.ws" => Some(Self::WebSocket),
            "live.mp4" => Some(Self::Progressive),
            "poster.mp4" => Some(Self::Poster),
            _ => numbered("init-", ".mp4")
                .map(Self::Init)
                .or_else(|| numbered("seg-", ".m4s").map(Self::Segment)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_stream_output_and_token() {
        for (text, path, output, token) in [
            ("/cam/1/", "cam/1", Output::Page, None),
            ("/cam/1", "cam/1", Output::PageWithoutSlash, None),
            ("/cam/1/index.m3u8", "cam/1", Output::Playlist, None),
            ("/cam/index.m3u8", "cam/1", Output::Playlist, None),
            (
                "/t/a.b/cam/2/live.ws",
                "cam/2",
                Output::WebSocket,
                Some("a.b"),
            ),
            (
                "/t/a.b/cam/2/init-3.mp4",
                "cam/2",
                Output::Init(3),
                Some("a.b"),
            ),
            ("/a/b/c/seg-12.m4s", "a/b/c", Output::Segment(12), None),
            ("/cam/1/poster.mp4", "cam/1", Output::Poster, None),
            ("/cam/1/live.mp4", "cam/1", Output::Progressive, None),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.path.as_str(), path, "{text}");
            assert_eq!(target.output, output, "{text}");
            assert_eq!(target.token.as_deref(), token, "{text}");
        }
    }

    #[test]
    fn other_paths_are_refused() {
        for text in [
            "/",
            "",
            "/favicon.ico",
            "/index.m3u8",
            "/../etc/passwd",
            "/%s/1/live.ws",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
