use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a stream: `<serial>/<channel>` for devices, any other path for everybody else.
///
/// Devices of several generations write the same stream in four ways; all of them give one key:
///
/// ```
/// use easydarwin_core::registry::StreamPath;
///
/// for url in ["/001001000099", "001001000099.sdp", "/001001000099/1.sdp", "/001001000099?channel=1"] {
///     assert_eq!(StreamPath::parse(url)?.as_str(), "001001000099/1");
/// }
/// # Ok::<(), easydarwin_core::registry::PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamPath(Arc<str>);

/// Why a text is no stream path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing is left once slashes and the query are removed.
    #[error("the stream path is empty; write rtsp://host/<serial>/<channel> or any other name")]
    Empty,
    /// Longer than [`StreamPath::MAX_LEN`].
    #[error("the stream path is longer than {} bytes", StreamPath::MAX_LEN)]
    TooLong,
    /// A byte that may not stand in a stream path, or a component such as `..`.
    #[error(
        "the stream path has a forbidden component; letters, digits and `-._~@+` are allowed, `.` and `..` are not"
    )]
    Forbidden,
}

impl StreamPath {
    /// Longest accepted path in bytes.
    pub const MAX_LEN: usize = 256;

    /// Reads a path, or path and query, as it stands in a URL.
    ///
    /// Leading and trailing slashes and a final `.sdp` go; `?channel=N` and a missing channel
    /// (1) become a second component. Other query parameters are not part of the name.
    ///
    /// # Errors
    /// [`PathError`] when nothing is left, or when it holds what could not be a file name.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let path = path.trim_matches('/');
        // All of them: a path that was read must be read again as itself.
        let path = path.trim_end_matches(".sdp");
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if !path.split('/').all(component_is_clean) {
            return Err(PathError::Forbidden);
        }
        let name = match path.split_once('/') {
            None => {
                let channel = query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("channel="))
                    .and_then(|value| value.parse().ok())
                    .map_or(1, normal_channel);
                format!("{path}/{channel}")
            }
            Some((serial, channel)) => match channel.parse::<u32>() {
                Ok(number) => format!("{serial}/{}", normal_channel(number)),
                Err(_) => path.to_owned(),
            },
        };
        // The channel that was added counts.
        if name.len() > Self::MAX_LEN {
            return Err(PathError::TooLong);
        }
        Ok(Self(name.into()))
    }

    /// The stream of a device's channel.
    ///
    /// # Errors
    /// [`PathError`] when the serial may not stand in a path.
    pub fn device(serial: &str, channel: u32) -> Result<Self, PathError> {
        if serial.contains('/') {
            return Err(PathError::Forbidden);
        }
        Self::parse(&format!("{serial}/{channel}"))
    }

    /// The path without leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Serial and channel, when it has the form of a device's stream.
    pub fn as_device(&self) -> Option<(&str, u32)> {
        let (serial, channel) = self.0.split_once('/')?;
        Some((serial, channel.parse().ok()?))
    }
}

/// Channel 0 is what one known client asks for when it means the first.
fn normal_channel(number: u32) -> u32 {
    number.max(1)
}

fn component_is_clean(component: &str) -> bool {
    !component.is_empty()
        && component != "."
        && component != ".."
        && component
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~@+".contains(&b))
}

impl TryFrom<String> for StreamPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl From<StreamPath> for String {
    fn from(path: StreamPath) -> Self {
        path.as_str().to_owned()
    }
}

impl fmt::Display for StreamPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamPath({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_known_forms_give_one_key() {
        for (text, key) in [
            ("/cam", "cam/1"),
            ("cam.sdp", "cam/1"),
            ("/cam/2.sdp", "cam/2"),
            ("/cam/02", "cam/2"),
            ("/cam/0", "cam/1"),
            ("/cam?channel=3", "cam/3"),
            ("/cam/?channel=3&token=x", "cam/3"),
            ("/cam?token=x", "cam/1"),
            ("/live/hall", "live/hall"),
            ("/a/b/c", "a/b/c"),
        ] {
            assert_eq!(StreamPath::parse(text).unwrap().as_str(), key, "{text}");
        }
    }

    #[test]
    fn what_was_read_is_read_again_as_itself() {
        for text in ["cam.sdp.sdp", "a/b.sdp.sdp", "cam.sdp/7", "cam/007"] {
            let path = StreamPath::parse(text).unwrap();
            assert_eq!(StreamPath::parse(path.as_str()), Ok(path), "{text}");
        }
        // The channel makes it too long for the CMS and the nodes, which read it again.
        let longest = "x".repeat(StreamPath::MAX_LEN - 2);
        assert_eq!(StreamPath::parse(&longest).unwrap().as_str().len(), 256);
        let too_long = "x".repeat(StreamPath::MAX_LEN - 1);
        assert_eq!(StreamPath::parse(&too_long), Err(PathError::TooLong));
    }

    #[test]
    fn hostile_paths_are_refused() {
        for text in [
            "",
            "/",
            "/../etc/passwd",
            "/cam/..",
            "/a//b",
            "/%s",
            "/a b",
            "/cam\0",
        ] {
            assert!(StreamPath::parse(text).is_err(), "{text}");
        }
        assert_eq!(StreamPath::parse(&"x".repeat(300)), Err(PathError::TooLong));
        assert!(StreamPath::device("a/b", 1).is_err());
    }
}
