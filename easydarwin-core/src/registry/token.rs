use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{Revocations, StreamPath, UnixMillis};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TokenAction {
    /// Watch the stream.
    Play,
    /// Be its publisher.
    Publish,
    /// Fill a gap of its recording.
    Backfill,
    /// Load its snapshot.
    Snapshot,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// For which stream.
    pub path: StreamPath,
    /// To do what.
    pub action: TokenAction,
    /// Who: a device's serial, a user, `client`.
    pub sub: String,
    /// Issued, in seconds since 1970 by the CMS's clock.
    pub iat: u64,
    /// Ends, in seconds since 1970. Limits the start: what runs may go on.
    pub exp: u64,
    /// Of a publish token: a lower one than the stream's is refused.
    pub generation: Option<u64>,
}

impl Claims {
    /// Claims that hold from `now` for `seconds`.
    pub fn new(
        path: StreamPath,
        action: TokenAction,
        sub: impl Into<String>,
        now: UnixMillis,
        seconds: u64,
    ) -> Self {
        Self {
            path,
            action,
            sub: sub.into(),
            iat: now.seconds(),
            exp: now.seconds().saturating_add(seconds),
            generation: None,
        }
    }
}

/// The claims as they stand in a token.
#[derive(Serialize, Deserialize)]
struct Payload {
    path: String,
    act: TokenAction,
    sub: String,
    iat: u64,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#gen: Option<u64>,
}

/// Why a token is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not one of our tokens at all.
    #[error("the token cannot be read")]
    Malformed,
    /// Signed with a key that is not, or no longer, known here.
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    /// Changed, or not signed by the key's owner.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has expired; ask the CMS for a new one")]
    Expired,
    /// Its time has not come: a clock is wrong.
    #[error("the token is from the future; compare the clocks")]
    NotYet,
    /// Genuine, but what it allows was taken back after it was made.
    #[error("what the token allows was taken back")]
    Revoked,
    /// The system gave no random bytes, or a key is none.
    #[error("the key cannot be made or read")]
    Key,
}

const VERSION: u8 = 1;
const KID_LEN: usize = 8;
const SIGNATURE_LEN: usize = 64;
/// Longest token in characters; the path is at most 256 of them.
const MAX_TOKEN: usize = 1024;
/// How far clocks may differ.
const LEEWAY_S: u64 = 30;

type Kid = [u8; KID_LEN];

/// Fills an array with random bytes of the operating system.
///
/// # Errors
/// [`TokenError::Key`] when the system has none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], TokenError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| TokenError::Key)?;
    Ok(bytes)
}

/// A public key with its name, as text, for the way from the CMS to the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Name: the beginning of the key's digest.
    pub kid: String,
    /// The key in base64url.
    pub key: String,
}

/// Makes tokens. Only the CMS has one.
#[derive(Clone)]
pub struct TokenSigner {
    key: SigningKey,
    kid: Kid,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSigner")
            .field("kid", &URL_SAFE_NO_PAD.encode(self.kid))
            .finish_non_exhaustive()
    }
}

impl TokenSigner {
    /// A new key.
    ///
    /// # Errors
    /// [`TokenError::Key`] when the system has no random bytes.
    pub fn generate() -> Result<Self, TokenError> {
        Ok(Self::from_seed(random_bytes()?))
    }

    /// The key that follows from 32 secret bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let kid = kid_of(key.verifying_key().as_bytes());
        Self { key, kid }
    }

    /// What those need who check.
    pub fn public_key(&self) -> PublicKey {
        PublicKey {
            kid: URL_SAFE_NO_PAD.encode(self.kid),
            key: URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()),
        }
    }

    /// A token: letters, digits, `-` and `_` only, so that it can stand in a query, a path and
    /// a header as it is.
    pub fn sign(&self, claims: &Claims) -> String {
        let payload = Payload {
            path: claims.path.as_str().to_owned(),
            act: claims.action,
            sub: claims.sub.clone(),
            iat: claims.iat,
            exp: claims.exp,
            r#gen: claims.generation,
        };
        // A struct of texts and numbers always has a JSON form.
        let json = serde_json::to_vec(&payload).unwrap_or_default();
        let signature = self.key.sign(&signed_bytes(&self.kid, &json));
        let mut token = Vec::with_capacity(1 + KID_LEN + SIGNATURE_LEN + json.len());
        token.push(VERSION);
        token.extend(self.kid);
        token.extend(signature.to_bytes());
        token.extend(json);
        URL_SAFE_NO_PAD.encode(token)
    }
}

/// Checks tokens with public keys. During a change of keys two count.
#[derive(Debug, Default)]
pub struct TokenVerifier {
    keys: RwLock<HashMap<Kid, VerifyingKey>>,
    revocations: Arc<Revocations>,
}

impl TokenVerifier {
    /// A verifier without keys: refuses everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over the CMS's list of keys; those not on it count no more.
    ///
    /// # Errors
    /// [`TokenError::Key`] when one is no key; then nothing changes.
    pub fn set_keys<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Result<(), TokenError> {
        let mut map = HashMap::new();
        for text in keys {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Key)?;
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| TokenError::Key)?;
            let key = VerifyingKey::from_bytes(&bytes).map_err(|_| TokenError::Key)?;
            map.insert(kid_of(&bytes), key);
        }
        *self.keys.write() = map;
        Ok(())
    }

    /// What was taken back: its tokens are refused.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// The claims of a token that is genuine, in time and not taken back.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Claims, TokenError> {
        let claims = self.genuine(token)?;
        let now = now.seconds();
        if now >= claims.exp.saturating_add(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        if claims.iat > now.saturating_add(LEEWAY_S) {
            return Err(TokenError::NotYet);
        }
        if !self.revocations.allows(&claims) {
            return Err(TokenError::Revoked);
        }
        Ok(claims)
    }

    /// The claims of a token that the owner of a known key made, whatever they are worth now.
    pub(super) fn genuine(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| TokenError::Malformed)?;
        let (&version, rest) = bytes.split_first().ok_or(TokenError::Malformed)?;
        let (kid, rest) = rest
            .split_first_chunk::<KID_LEN>()
            .ok_or(TokenError::Malformed)?;
        let (signature, json) = rest
            .split_first_chunk::<SIGNATURE_LEN>()
            .ok_or(TokenError::Malformed)?;
        if version != VERSION {
            return Err(TokenError::Malformed);
        }
        let key = self
            .keys
            .read()
            .get(kid)
            .copied()
            .ok_or(TokenError::UnknownKey)?;
        key.verify_strict(&signed_bytes(kid, json), &Signature::from_bytes(signature))
            .map_err(|_| TokenError::Signature)?;
        let payload: Payload = serde_json::from_slice(json).map_err(|_| TokenError::Malformed)?;
        Ok(Claims {
            path: StreamPath::parse(&payload.path).map_err(|_| TokenError::Malformed)?,
            action: payload.act,
            sub: payload.sub,
            iat: payload.iat,
            exp: payload.exp,
            generation: payload.r#gen,
        })
    }
}

fn kid_of(key: &[u8; 32]) -> Kid {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let mut kid = [0; KID_LEN];
    for (to, from) in kid.iter_mut().zip(digest) {
        *to = from;
    }
    kid
}

/// With a purpose in front, so that no other text signed with this key can pass for a token.
fn signed_bytes(kid: &Kid, json: &[u8]) -> Vec<u8> {
    [b"easydarwin token 1".as_slice(), kid, json].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn claims() -> Claims {
        let path = StreamPath::parse("cam/1").unwrap();
        let mut claims = Claims::new(path, TokenAction::Publish, "cam", NOW, 60);
        claims.generation = Some(u64::MAX);
        claims
    }

    fn pair() -> (TokenSigner, TokenVerifier) {
        let signer = TokenSigner::from_seed([3; 32]);
        let verifier = TokenVerifier::new();
        verifier
            .set_keys([signer.public_key().key.as_str()])
            .unwrap();
        (signer, verifier)
    }

    #[test]
    fn a_token_says_what_was_signed_and_fits_into_urls() {
        let (signer, verifier) = pair();
        let token = signer.sign(&claims());
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_eq!(verifier.verify(&token, NOW).unwrap(), claims());
    }

    #[test]
    fn time_decides_with_leeway() {
        let (signer, verifier) = pair();
        let token = signer.sign(&claims());
        let at = |s: i64| UnixMillis(NOW.0.checked_add_signed(s * 1000).unwrap());
        assert!(verifier.verify(&token, at(89)).is_ok());
        assert_eq!(verifier.verify(&token, at(90)), Err(TokenError::Expired));
        assert!(verifier.verify(&token, at(-30)).is_ok());
        assert_eq!(verifier.verify(&token, at(-31)), Err(TokenError::NotYet));
    }

    #[test]
    fn every_changed_byte_and_every_other_key_is_refused() {
        let (signer, verifier) = pair();
        let raw = URL_SAFE_NO_PAD.decode(signer.sign(&claims())).unwrap();
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            assert!(
                verifier
                    .verify(&URL_SAFE_NO_PAD.encode(changed), NOW)
                    .is_err(),
                "{at}"
            );
        }
        let other = TokenSigner::from_seed([4; 32]).sign(&claims());
        assert_eq!(verifier.verify(&other, NOW), Err(TokenError::UnknownKey));
        verifier.set_keys([]).unwrap();
        let gone = verifier.verify(&signer.sign(&claims()), NOW);
        assert_eq!(gone, Err(TokenError::UnknownKey));
    }

    proptest! {
        #[test]
        fn arbitrary_tokens_never_panic(text in ".{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (_, verifier) = pair();
            prop_assert!(verifier.verify(&text, NOW).is_err());
            prop_assert!(verifier.verify(&URL_SAFE_NO_PAD.encode(bytes), NOW).is_err());
        }
    }
}
