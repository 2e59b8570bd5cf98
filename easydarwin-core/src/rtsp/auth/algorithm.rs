use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::AuthParams;

/// The hash of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5: what every camera and player knows.
    Md5,
    /// SHA-256: ffmpeg, live555 and GStreamer do not know it.
    Sha256,
}

impl Algorithm {
    /// Of a challenge; MD5 when it names none.
    pub fn of(challenge: &AuthParams) -> Option<Self> {
        match challenge.get("algorithm") {
            None => Some(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("md5") => Some(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("sha-256") => Some(Self::Sha256),
            Some(_) => None,
        }
    }

    /// As it stands in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Bytes of a hash.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 => 32,
        }
    }

    /// The parts with colons between them, hashed; in lower-case hexadecimal, the form in which digests hash
    /// hashes.
    pub(super) fn hash(self, parts: &[&str]) -> String {
        let mut text = String::new();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                text.push(':');
            }
            text.push_str(part);
        }
        match self {
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }

    /// What stands for the password in every digest: user, realm and password hashed together.
    pub(super) fn ha1(self, user: &str, realm: &str, password: &str) -> String {
        self.hash(&[user, realm, password])
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'))
        .collect()
}

/// As a quoted string of a header.
pub(super) fn quoted(value: &str) -> String {
    let mut text = String::new();
    push_quoted(&mut text, value);
    text
}

/// Appends what stands between the quotes.
pub(super) fn push_quoted(text: &mut String, value: &str) {
    for symbol in value.chars() {
        if matches!(symbol, '\\' | '"') {
            text.push('\\');
        }
        text.push(symbol);
    }
}
