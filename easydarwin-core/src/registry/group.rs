//! Groups of devices: a tree, named by paths such as `north/gate`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Most levels of the tree.
const MAX_DEPTH: usize = 16;

/// Longest path, in bytes.
const MAX_PATH: usize = 255;

/// The path of a group: names with `/` between, none at its ends; empty for the root, which
/// holds everything.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupPath(Arc<str>);

/// Why a text is no path of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "write a group as names with / between, such as north/gate: at most 16 names and 255 bytes, \
     no control characters, no blanks at the ends of a name"
)]
pub struct GroupPathError;

impl GroupPath {
    /// The root.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Reads a path. A leading or trailing `/` is left out.
    ///
    /// # Errors
    /// [`GroupPathError`].
    pub fn parse(text: &str) -> Result<Self, GroupPathError> {
        let text = text.trim_matches('/');
        if text.is_empty() {
            return Ok(Self::root());
        }
        let fits = |name: &str| {
            !name.is_empty()
                && name.trim() == name
                && name != "."
                && name != ".."
                && !name.chars().any(char::is_control)
        };
        let names = text.split('/');
        if text.len() > MAX_PATH || names.clone().count() > MAX_DEPTH || !names.clone().all(fits) {
            return Err(GroupPathError);
        }
        Ok(Self(text.into()))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is this group or lies somewhere below it.
    pub fn holds(&self, other: &Self) -> bool {
        if self.is_root() {
            return true;
        }
        match other.0.strip_prefix(&*self.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The group in which this one lies; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let parent = self.0.rsplit_once('/').map_or("", |(parent, _)| parent);
        Some(Self(parent.into()))
    }

    /// The path that this one gets when the group `from` becomes `to`; unchanged outside of it.
    ///
    /// # Errors
    /// [`GroupPathError`] when it becomes too long.
    pub fn moved(&self, from: &Self, to: &Self) -> Result<Self, GroupPathError> {
        if !from.holds(self) {
            return Ok(self.clone());
        }
        let rest = self.0.get(from.0.len()..).unwrap_or_default();
        Self::parse(&format!("{to}{rest}"))
    }

    /// This group and all that hold it, without the root, the outermost first.
    pub fn with_parents(&self) -> Vec<Self> {
        let mut all: Vec<Self> = std::iter::successors(Some(self.clone()), Self::parent)
            .filter(|group| !group.is_root())
            .collect();
        all.reverse();
        all
    }
}

impl Default for GroupPath {
    fn default() -> Self {
        Self::root()
    }
}

impl fmt::Display for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupPath(/{})", self.0)
    }
}

impl FromStr for GroupPath {
    type Err = GroupPathError;

    fn from_str(text: &str) -> Result<Self, GroupPathError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> GroupPath {
        GroupPath::parse(text).unwrap()
    }

    #[test]
    fn a_group_holds_what_is_below_it() {
        for (outer, inner, holds) in [
            ("", "", true),
            ("", "a/b", true),
            ("a", "a", true),
            ("a", "a/b", true),
            ("a", "ab", false),
            ("a/b", "a", false),
            ("A", "a", false),
        ] {
            assert_eq!(group(outer).holds(&group(inner)), holds, "{outer} {inner}");
        }
        let all = group("a/b/c").with_parents();
        assert_eq!(all, [group("a"), group("a/b"), group("a/b/c")]);
        assert_eq!(group("/a/b/").as_str(), "a/b");
    }

    #[test]
    fn what_would_confuse_is_refused() {
        let long = "a".repeat(256);
        let deep = ["a"; 17].join("/");
        for text in ["a//b", "a/../b", "a/ b", "a\nb", ".", &long, &deep] {
            assert_eq!(GroupPath::parse(text), Err(GroupPathError), "{text:?}");
        }
    }
}
