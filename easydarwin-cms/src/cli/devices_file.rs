//! The file of devices: a line each, `SERIAL key KEY` or `SERIAL token TOKEN`.

use std::path::Path;

use crate::CmsError;

/// A device out of the file.
pub(super) enum Entry {
    Key { serial: String, key: String },
    Token { serial: String, token: String },
}

pub(super) fn read(path: &Path) -> Result<Vec<Entry>, CmsError> {
    let text = std::fs::read_to_string(path).map_err(|source| CmsError::File {
        path: path.display().to_string(),
        source,
    })?;
    parse(&text).map_err(|line| {
        CmsError::Config(format!(
            "{}:{line}: write SERIAL key KEY, or SERIAL token TOKEN",
            path.display()
        ))
    })
}

/// The entries, or the number of the first line that is none.
fn parse(text: &str) -> Result<Vec<Entry>, usize> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (serial, kind, secret) = (words.next(), words.next(), words.next());
        let entry = match (serial, kind, secret, words.next()) {
            (Some(serial), Some("key"), Some(key), None) => Entry::Key {
                serial: serial.into(),
                key: key.into(),
            },
            (Some(serial), Some("token"), Some(token), None) => Entry::Token {
                serial: serial.into(),
                token: token.into(),
            },
            _ => return Err(number + 1),
        };
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_each_comments_left_out() {
        let entries = parse("# cameras\n\n a key K \nb token T\n").unwrap();
        assert!(matches!(&entries[0], Entry::Key { serial, key } if serial == "a" && key == "K"));
        assert!(matches!(&entries[1], Entry::Token { token, .. } if token == "T"));
        assert_eq!(parse("a key K\nb secret").err(), Some(2));
        assert_eq!(parse("a key K more").err(), Some(1));
    }
}
