use std::fmt::Write as _;

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

    /// Lower-case hexadecimal, the form in which digests hash hashes.
    pub(super) fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }

    /// What stands for the password in every digest: user, realm and password hashed together.
    pub(super) fn ha1(self, user: &str, realm: &str, password: &str) -> String {
        self.hash(&format!("{user}:{realm}:{password}"))
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// As a quoted string of a header.
pub(super) fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}
