use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::registry::StreamPath;

/// The streams that a right is for: a path whose components may be `*` (any one component) and
/// whose last one may be `**` (any rest, at least one component).
///
/// ```
/// use easydarwin_core::registry::{PathPattern, StreamPath};
///
/// let hall: PathPattern = "hall/*".parse()?;
/// assert!(hall.matches(&StreamPath::parse("hall/2").unwrap()));
/// assert!(!hall.matches(&StreamPath::parse("yard/1").unwrap()));
/// # Ok::<(), easydarwin_core::registry::PatternError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PathPattern(Vec<Part>);

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Is(String),
    Any,
    Rest,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "no stream can have such a path; write for example `hall/1`, `hall/*` or `**`, where `**` may only come last"
)]
pub struct PatternError;

impl PathPattern {
    /// Every stream.
    pub fn all() -> Self {
        Self(vec![Part::Rest])
    }

    /// Whether the right is for this stream.
    pub fn matches(&self, path: &StreamPath) -> bool {
        let mut components = path.as_str().split('/');
        for part in &self.0 {
            let Some(component) = components.next() else {
                return false;
            };
            match part {
                Part::Is(text) if text == component => {}
                Part::Is(_) => return false,
                Part::Any => {}
                Part::Rest => return true,
            }
        }
        components.next().is_none()
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim().trim_matches('/');
        let text = match text {
            "**" => return Ok(Self::all()),
            // A lone component means what it means in a URL: channel 1 of that device.
            _ if !text.contains(['*', '/']) => {
                let path = StreamPath::parse(text).map_err(|_| PatternError)?;
                path.as_str().to_owned()
            }
            _ => text.to_owned(),
        };
        let parts: Vec<Part> = text
            .split('/')
            .map(|component| match component {
                "*" => Part::Any,
                "**" => Part::Rest,
                other => Part::Is(other.to_owned()),
            })
            .collect();
        let rest = parts.iter().rev().skip(1).any(|part| *part == Part::Rest);
        // What stands between the stars has to be possible in a path.
        let possible = StreamPath::parse(&text.replace('*', "x")).is_ok();
        let mixed = parts
            .iter()
            .any(|part| matches!(part, Part::Is(text) if text.contains('*')));
        // No stream has one component only.
        if rest || mixed || !possible || parts == [Part::Any] {
            return Err(PatternError);
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            f.write_str(match part {
                Part::Is(text) => text,
                Part::Any => "*",
                Part::Rest => "**",
            })?;
        }
        Ok(())
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathPattern({self})")
    }
}
