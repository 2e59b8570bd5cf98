use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A length of time, written `500ms`, `90s`, `15m`, `1h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DurationText(pub Duration);

impl FromStr for DurationText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("`{text}` is no length of time; write for example 500ms, 90s, 15m, 1h, 7d");
        if let Some(number) = text.strip_suffix("ms") {
            let millis = number.parse().map_err(|_| error())?;
            return Ok(Self(Duration::from_millis(millis)));
        }
        let unit = text.chars().last().ok_or_else(error)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(error()),
        };
        let number: u64 = text
            .strip_suffix(unit)
            .and_then(|number| number.parse().ok())
            .ok_or_else(error)?;
        let total = number.checked_mul(seconds).ok_or_else(error)?;
        Ok(Self(Duration::from_secs(total)))
    }
}

impl TryFrom<String> for DurationText {
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
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(text.parse::<DurationText>().unwrap().0.as_secs(), seconds);
        }
        let half = "500ms".parse::<DurationText>().unwrap().0;
        assert_eq!(half, Duration::from_millis(500));
        for text in [
            "",
            "s",
            "ms",
            "1",
            "1x",
            "-1s",
            "1é",
            "99999999999999999999d",
            "9999999999999999999d",
        ] {
            assert!(text.parse::<DurationText>().is_err(), "{text}");
        }
    }
}
