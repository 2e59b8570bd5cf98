//! Query parameters as the original reads them, with one difference: it is split before it is
//! decoded, so that a value may hold `&`.

/// Decoded parameters; names in any case.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// Most parameters that are looked at.
const MAX_PARAMETERS: usize = 64;

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .take(MAX_PARAMETERS)
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    let value = decode(value);
                    let value = value
                        .strip_prefix('"')
                        .and_then(|v| v.strip_suffix('"'))
                        .map(str::to_owned)
                        .unwrap_or(value);
                    (decode(name).to_ascii_lowercase(), value)
                })
                .collect(),
        )
    }

    /// A value that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut ahead = bytes.clone();
                let digits = (ahead.next().and_then(hex), ahead.next().and_then(hex));
                if let (Some(high), Some(low)) = digits {
                    out.push(high << 4 | low);
                    bytes = ahead;
                } else {
                    out.push(byte);
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_any_case_values_decoded() {
        let query = Query::parse("Device=a%26b+c&channel=%22 2%22&x=%zz&y=\"q\"&empty=");
        assert_eq!(query.get("device"), Some("a&b c"));
        assert_eq!(query.get("channel"), Some(" 2"));
        assert_eq!(query.get("x"), Some("%zz"));
        assert_eq!(query.get("y"), Some("q"));
        assert_eq!(query.get("empty"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            let _ = Query::parse(&text);
        }
    }
}
