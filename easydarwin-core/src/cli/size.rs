use std::str::FromStr;

use serde::Deserialize;

/// Least size of memory that can be meant: less holds no key frame.
const LEAST: usize = 64 * 1024;

/// A size of memory, written `512KiB`, `8MiB` or `1GiB`; at least 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SizeText(pub usize);

impl FromStr for SizeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("`{text}` is no size; write for example 512KiB, 8MiB, 1GiB, at least 64KiB");
        let (number, unit) = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
            .ok_or_else(error)?;
        let number: usize = number.trim_end().parse().map_err(|_| error())?;
        let bytes: usize = number.checked_mul(unit).ok_or_else(error)?;
        if bytes < LEAST {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for SizeText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, bytes) in [("64KiB", 64 << 10), ("8MiB", 8 << 20), ("1 GiB", 1 << 30)] {
            assert_eq!(text.parse::<SizeText>().unwrap().0, bytes, "{text}");
        }
        for text in [
            "",
            "8",
            "8MB",
            "0MiB",
            "63KiB",
            "-1MiB",
            "99999999999999GiB",
        ] {
            assert!(text.parse::<SizeText>().is_err(), "{text}");
        }
    }
}
