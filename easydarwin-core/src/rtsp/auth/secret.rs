use std::fmt;

use subtle::{Choice, ConstantTimeEq as _};
use thiserror::Error;

use super::Algorithm;

/// What a user's password is checked against: its HA1, the hash of user, realm and password
/// (RFC 7616, 3.4.2), for one algorithm or both.
///
/// It is never the password itself, but whoever has it can log in to that realm: store it like a
/// password. A secret made for one user or realm is of no use for another.
///
/// ```
/// use easydarwin_core::rtsp::auth::UserSecret;
///
/// let made = UserSecret::from_password("anna", "EasyDarwin", "correct horse");
/// let stored = UserSecret::from_ha1(made.md5_hex().unwrap_or_default())?;
/// assert!(format!("{stored:?}").contains("hidden"));
/// # Ok::<(), easydarwin_core::rtsp::auth::SecretError>(())
/// ```
#[derive(Clone)]
pub struct UserSecret {
    md5: Option<String>,
    sha256: Option<String>,
}

/// Why a text is no HA1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an HA1 has 32 hexadecimal digits (MD5) or 64 (SHA-256)")]
pub struct SecretError;

impl UserSecret {
    /// The HA1s of a password, for both algorithms. Make it once, when the user is made: making it
    /// at each lookup would tell by its duration which users exist.
    pub fn from_password(user: &str, realm: &str, password: &str) -> Self {
        Self {
            md5: Some(Algorithm::Md5.ha1(user, realm, password)),
            sha256: Some(Algorithm::Sha256.ha1(user, realm, password)),
        }
    }

    /// A stored HA1; its length tells the algorithm.
    ///
    /// # Errors
    /// [`SecretError`] when it is none.
    pub fn from_ha1(hex: &str) -> Result<Self, SecretError> {
        let nothing = Self {
            md5: None,
            sha256: None,
        };
        nothing.with_ha1(hex)
    }

    /// The same, with the HA1 of the other algorithm too.
    ///
    /// # Errors
    /// [`SecretError`] when it is none.
    pub fn with_ha1(mut self, hex: &str) -> Result<Self, SecretError> {
        let text = hex.trim().to_ascii_lowercase();
        if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SecretError);
        }
        match text.len() {
            32 => self.md5 = Some(text),
            64 => self.sha256 = Some(text),
            _ => return Err(SecretError),
        }
        Ok(self)
    }

    /// The HA1 for MD5, to be stored.
    pub fn md5_hex(&self) -> Option<&str> {
        self.md5.as_deref()
    }

    /// The HA1 for SHA-256, to be stored.
    pub fn sha256_hex(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    pub(super) fn ha1(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Md5 => self.md5_hex(),
            Algorithm::Sha256 => self.sha256_hex(),
        }
    }
}

impl fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserSecret(hidden)")
    }
}

/// Compares two hashes in a time that tells nothing about where they differ. Only their lengths,
/// which are no secret, decide at once.
pub(super) fn same(a: &str, b: &str) -> Choice {
    a.as_bytes().ct_eq(b.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashes_are_taken() {
        let made = UserSecret::from_password("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(made.md5_hex(), Some("939e7578ed9e3c518a452acee763bce9"));
        let both = UserSecret::from_ha1(made.md5_hex().unwrap())
            .unwrap()
            .with_ha1(&made.sha256_hex().unwrap().to_ascii_uppercase())
            .unwrap();
        assert_eq!(both.md5_hex(), made.md5_hex());
        assert_eq!(both.sha256_hex(), made.sha256_hex());
        for text in ["", "password", &"g".repeat(32), &"0".repeat(33), "é"] {
            assert!(UserSecret::from_ha1(text).is_err(), "{text}");
        }
    }
}
