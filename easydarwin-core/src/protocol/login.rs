//! ED1: how a device proves that it has its key, and the CMS that it knows it.
//!
//! The algebra of SCRAM (RFC 5802) without stretching, because the key is a machine's secret of
//! 256 bits and not a person's password:
//!
//! ```text
//! S         = HMAC(key, "easydarwin/1" || serial)
//! ClientKey = HMAC(S, "Client Key")        StoredKey = SHA-256(ClientKey)
//! ServerKey = HMAC(S, "Server Key")        auth = "ED1," serial "," client nonce "," nonce
//! Proof       = ClientKey XOR HMAC(StoredKey, auth)
//! ServerProof = HMAC(ServerKey, auth)
//! ```
//!
//! The CMS stores StoredKey and ServerKey: who steals them cannot log in as the device.
//! The exchange, all in register messages:
//!
//! ```text
//! REGISTER {Auth: ED1, ClientNonce}          ->
//!                                            <- 401 {Nonce}
//! REGISTER {Auth: ED1, ClientNonce, Nonce, Proof} ->
//!                                            <- 200 {ServerProof, Time, Generation, KeepAlive}
//! ```
//!
//! It guards the secret, not the messages after it: against somebody who can change bytes on
//! the way only TLS helps. A CMS that lets unknown devices in (policy `open`) has no key to
//! check: it answers 200 at once, without `ServerProof`, which a device with a key takes only through TLS or
//! when it was told to.
//!
//! Media nodes join with the same algebra, the join key being the key and `node:` and the
//! node's id the serial.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::media::base64;

/// What stands in `Auth`.
pub const ED1: &str = "ED1";

/// Bytes of randomness in a nonce.
pub const NONCE_LEN: usize = 18;

/// A nonce as text, from [`NONCE_LEN`] random bytes of the caller's.
pub fn nonce(random: [u8; NONCE_LEN]) -> String {
    url_text(&random)
}

/// A device key as text, from 32 random bytes of the caller's.
pub fn key_text(random: [u8; 32]) -> String {
    url_text(&random)
}

/// The device's side: what follows from its key.
#[derive(Clone)]
pub struct DeviceKey {
    client_key: [u8; 32],
    verifier: Verifier,
    serial: String,
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceKey")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl DeviceKey {
    /// From the key's text as the device was given it.
    pub fn new(key: &str, serial: &str) -> Self {
        let s = hmac(key.as_bytes(), &[b"easydarwin/1", serial.as_bytes()]);
        let client_key = hmac(&s, &[b"Client Key"]);
        Self {
            client_key,
            verifier: Verifier {
                stored_key: Sha256::digest(client_key).into(),
                server_key: hmac(&s, &[b"Server Key"]),
            },
            serial: serial.to_owned(),
        }
    }

    /// What the CMS keeps.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// `Proof` for this pair of nonces.
    pub fn proof(&self, client_nonce: &str, nonce: &str) -> String {
        let auth = auth_message(&self.serial, client_nonce, nonce);
        let signature = hmac(&self.verifier.stored_key, &[auth.as_bytes()]);
        url_text(&xor(&self.client_key, &signature))
    }

    /// Whether the CMS's `ServerProof` is right.
    pub fn check_server(&self, client_nonce: &str, nonce: &str, server_proof: &str) -> bool {
        let expected = self
            .verifier
            .server_proof(&self.serial, client_nonce, nonce);
        expected.as_bytes().ct_eq(server_proof.as_bytes()).into()
    }
}

/// The CMS's side: enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// SHA-256 of the client key.
    pub stored_key: [u8; 32],
    /// Key of the server's own proof.
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Verifier {
    /// Whether `proof` was made with the key, for this serial and these nonces.
    pub fn check(&self, serial: &str, client_nonce: &str, nonce: &str, proof: &str) -> bool {
        let Ok(proof) = URL_SAFE_NO_PAD.decode(proof) else {
            return false;
        };
        let Ok(proof) = <[u8; 32]>::try_from(proof) else {
            return false;
        };
        let auth = auth_message(serial, client_nonce, nonce);
        let signature = hmac(&self.stored_key, &[auth.as_bytes()]);
        let client_key = xor(&proof, &signature);
        let stored: [u8; 32] = Sha256::digest(client_key).into();
        stored.ct_eq(&self.stored_key).into()
    }

    /// `ServerProof` for these nonces.
    pub fn server_proof(&self, serial: &str, client_nonce: &str, nonce: &str) -> String {
        let auth = auth_message(serial, client_nonce, nonce);
        url_text(&hmac(&self.server_key, &[auth.as_bytes()]))
    }
}

/// Digest of an old device's plain token, under a secret of the CMS.
pub fn token_digest(pepper: &[u8; 32], serial: &str, token: &str) -> [u8; 32] {
    hmac(pepper, &[serial.as_bytes(), b"\0", token.as_bytes()])
}

/// Whether two secrets are equal, in time that does not depend on where they differ.
pub fn secrets_equal(a: &[u8], b: &[u8]) -> bool {
    // Digests first, so that not even the length shows.
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.as_slice().ct_eq(b.as_slice()).into()
}

/// The alphabet for URLs, without padding (RFC 4648, 5).
fn url_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    base64::encode(bytes, &mut text);
    let other = |c| match c {
        '+' => Some('-'),
        '/' => Some('_'),
        '=' => None,
        same => Some(same),
    };
    text.chars().filter_map(other).collect()
}

/// Neither serials nor nonces hold a comma, so the text is unambiguous.
fn auth_message(serial: &str, client_nonce: &str, nonce: &str) -> String {
    format!("{ED1},{serial},{client_nonce},{nonce}")
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        // HMAC takes keys of any length; the type merely cannot say so.
        return [0; 32];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut out = [0; 32];
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = a ^ b;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_key_is_let_in_and_proves_the_server() {
        let device = DeviceKey::new("secret", "cam");
        let (cn, n) = (nonce([1; 18]), nonce([2; 18]));
        let proof = device.proof(&cn, &n);
        assert!(device.verifier().check("cam", &cn, &n, &proof));
        let server = device.verifier().server_proof("cam", &cn, &n);
        assert!(device.check_server(&cn, &n, &server));
    }

    #[test]
    fn every_other_key_serial_or_nonce_is_refused() {
        let device = DeviceKey::new("secret", "cam");
        let proof = device.proof("a", "b");
        let verifier = device.verifier();
        assert!(!verifier.check("cam2", "a", "b", &proof));
        assert!(!verifier.check("cam", "a", "c", &proof));
        assert!(!verifier.check("cam", "x", "b", &proof));
        assert!(!verifier.check("cam", "a", "b", "AAAA"));
        assert!(!verifier.check("cam", "a", "b", "not base64 !"));
        let other = DeviceKey::new("Secret", "cam");
        assert!(!verifier.check("cam", "a", "b", &other.proof("a", "b")));
        assert!(!device.check_server("a", "b", &other.verifier().server_proof("cam", "a", "b")));
    }

    #[test]
    fn texts_are_of_the_alphabet_for_urls() {
        for random in [[0xff; 32], [0xfb; 32], [0; 32]] {
            assert_eq!(key_text(random), URL_SAFE_NO_PAD.encode(random));
        }
    }

    #[test]
    fn tokens_are_bound_to_their_serial() {
        let pepper = [7; 32];
        assert_ne!(
            token_digest(&pepper, "a", "t"),
            token_digest(&pepper, "b", "t")
        );
        assert_ne!(
            token_digest(&pepper, "ab", "c"),
            token_digest(&pepper, "a", "bc")
        );
        assert!(secrets_equal(b"x", b"x") && !secrets_equal(b"x", b"xy"));
    }
}
