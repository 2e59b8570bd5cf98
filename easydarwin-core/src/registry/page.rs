use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::StoreError;

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Cursor of the next page, if there is more.
    pub next: Option<String>,
}

/// The place behind an entry of a sorted list of devices: what a cursor says, to which clients
/// look as to opaque text. For implementors of [`DeviceStore`](super::DeviceStore).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePlace {
    /// What the list is sorted by, as text; empty if that is the serial.
    pub key: String,
    /// The entry's serial, which breaks ties.
    pub serial: String,
}

impl PagePlace {
    /// Behind this entry.
    pub fn new(key: impl Into<String>, serial: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            serial: serial.into(),
        }
    }
}

impl fmt::Display for PagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}\n{}", self.serial, self.key);
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for PagePlace {
    type Err = StoreError;

    fn from_str(cursor: &str) -> Result<Self, StoreError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(cursor)
            .map_err(|_| StoreError::Cursor)?;
        let text = String::from_utf8(bytes).map_err(|_| StoreError::Cursor)?;
        let (serial, key) = text.split_once('\n').ok_or(StoreError::Cursor)?;
        Ok(Self::new(key, serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_from_its_cursor_and_nothing_else_is_one() {
        for place in [PagePlace::new("", "cam-1"), PagePlace::new("a\nb ü", "2")] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        // No base64, no text, no line end.
        for text in ["", "!", "_w", "YWJj"] {
            assert_eq!(text.parse::<PagePlace>(), Err(StoreError::Cursor), "{text}");
        }
    }
}
