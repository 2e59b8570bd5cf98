//! Serials and channels as they stand in messages and queries.

use thiserror::Error;

/// Why a text is no serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a serial is 1 to 64 letters, digits, `-` or `_`")]
pub struct SerialError;

/// Checks a serial: `[A-Za-z0-9_-]{1,64}`, because it becomes part of paths and URLs.
///
/// # Errors
/// [`SerialError`].
pub fn check_serial(text: &str) -> Result<&str, SerialError> {
    let clean = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if clean && (1..=64).contains(&text.len()) {
        Ok(text)
    } else {
        Err(SerialError)
    }
}

/// Highest channel of a device.
const MAX_CHANNEL: u32 = 64;

/// A channel: `1`, `01` and `0` are all the first; what is missing, no number or above 64 is
/// the first, too, as in the original.
pub fn parse_channel(text: Option<&str>) -> u32 {
    text.and_then(|t| t.trim().parse().ok())
        .filter(|n| (1..=MAX_CHANNEL).contains(n))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_serials_are_refused() {
        for text in ["", "../x", "%s", "a b", "a/b", "é", "a\0"] {
            assert!(check_serial(text).is_err(), "{text:?}");
        }
        assert!(check_serial(&"x".repeat(65)).is_err());
        assert!(check_serial(&"x".repeat(64)).is_ok());
        assert!(check_serial("001001000099").is_ok());
    }

    #[test]
    fn channels_compare_as_numbers() {
        for (text, channel) in [
            (None, 1),
            (Some("0"), 1),
            (Some("01"), 1),
            (Some("7"), 7),
            (Some("64"), 64),
            (Some("65"), 1),
            (Some("-1"), 1),
            (Some("x"), 1),
        ] {
            assert_eq!(parse_channel(text), channel, "{text:?}");
        }
    }
}
