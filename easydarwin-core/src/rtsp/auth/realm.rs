use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::algorithm::quoted;
use super::nonce::Nonces;
use super::{Algorithm, AuthParams, PasswordProof, Scheme};
use crate::rtsp::{Method, RequestUri};

/// How a server asks for user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthConfig {
    /// The realm: players show it when they ask for a password, and stored secrets hold for this
    /// one only. Default [`AuthConfig::REALM`].
    pub realm: String,
    /// Hashes offered for Digest. Default MD5 alone: ffmpeg, live555 and GStreamer know no other.
    /// With both, the order of the headers lets ffmpeg 5.1, GStreamer 1.22 and live555 find the one
    /// they know; SHA-256 alone shuts them out. Empty: no Digest.
    pub digest: Vec<Algorithm>,
    /// Whether the challenge for MD5 offers `qop=auth`. Default no: cameras and players of all
    /// ages know the older form, and both are accepted. SHA-256 is always offered with it.
    pub md5_with_qop: bool,
    /// Whether Basic is offered over TLS (never without: it sends the password). Default yes.
    pub basic: bool,
    /// How long a nonce can be used. Default 5 min: a person may be typing the password.
    pub nonce_lifetime: Duration,
}

impl AuthConfig {
    /// The usual realm.
    pub const REALM: &str = "EasyDarwin";
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            realm: Self::REALM.to_owned(),
            digest: vec![Algorithm::Md5],
            md5_with_qop: false,
            basic: true,
            nonce_lifetime: Duration::from_secs(300),
        }
    }
}

/// From where and how a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via {
    /// The client's address.
    pub peer: IpAddr,
    /// Whether the connection is encrypted.
    pub secure: bool,
}

/// Why an `Authorization` header proves nothing, whatever the password. All of them mean 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// It is neither Digest nor Basic, or lacks what those need.
    #[error("the Authorization header cannot be read")]
    Unreadable,
    /// A scheme or algorithm that was not offered.
    #[error("the scheme or algorithm of the Authorization header was not offered")]
    NotOffered,
    /// The digest was made for another stream.
    #[error("the digest was made for another stream than the one asked for")]
    OtherStream,
}

/// The server's side of passwords: makes challenges and reads what answers them. Knows no users.
#[derive(Debug)]
pub struct Realm {
    config: AuthConfig,
    nonces: Nonces,
}

impl Realm {
    /// With a random `key`, which signs nonces; one realm serves all connections.
    pub fn new(config: AuthConfig, key: [u8; 32], now: Instant) -> Self {
        Self {
            nonces: Nonces::new(key, config.nonce_lifetime, now),
            config,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.realm
    }

    /// The `WWW-Authenticate` values that ask for a password. `stale`: the last answer was right
    /// but for its nonce, so nobody has to be asked for the password again.
    pub fn challenges(&self, via: Via, stale: bool, now: Instant) -> Vec<String> {
        let realm = quoted(&self.config.realm);
        let stale = if stale { ", stale=true" } else { "" };
        let digest = |algorithm| {
            let nonce = self.nonces.make(via.peer, now);
            let base = format!("Digest realm=\"{realm}\", nonce=\"{nonce}\"{stale}");
            match algorithm {
                // Old cameras and players choke on a named algorithm.
                Algorithm::Md5 if self.config.md5_with_qop => format!("{base}, qop=\"auth\""),
                Algorithm::Md5 => base,
                other => format!("{base}, algorithm={}, qop=\"auth\"", other.name()),
            }
        };
        // Best first (RFC 7616, 3.7). MD5 last of the digests also because ffmpeg and live555 (VLC)
        // take the last one and understand only MD5.
        let mut algorithms = self.config.digest.clone();
        algorithms.sort_unstable_by(|a, b| b.cmp(a));
        algorithms.dedup();
        let mut all: Vec<String> = algorithms.into_iter().map(digest).collect();
        if self.config.basic && via.secure {
            all.push(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        }
        all
    }

    /// The `WWW-Authenticate` value that asks for a token.
    pub fn token_challenge(&self) -> String {
        format!("Bearer realm=\"{}\"", quoted(&self.config.realm))
    }

    /// Reads an `Authorization` value. The hash is checked over the `uri` it names, because
    /// players write other ones there than in the request line (the base URL, the stream's URL, a
    /// path); here it only has to name the same stream.
    ///
    /// # Errors
    /// [`ProofError`] when no password could make it right.
    pub fn read(
        &self,
        authorization: &str,
        (method, uri): (&Method, &RequestUri),
        via: Via,
        now: Instant,
    ) -> Result<PasswordProof, ProofError> {
        let authorization = authorization.trim();
        let (scheme, rest) = authorization
            .split_once([' ', '\t'])
            .unwrap_or((authorization, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return self.read_basic(rest.trim(), via);
        }
        match AuthParams::parse_list(authorization).as_slice() {
            [sent] => self.read_digest(sent, method, uri, via, now),
            _ => Err(ProofError::Unreadable),
        }
    }

    fn read_basic(&self, encoded: &str, via: Via) -> Result<PasswordProof, ProofError> {
        if !self.config.basic || !via.secure {
            return Err(ProofError::NotOffered);
        }
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| ProofError::Unreadable)?;
        let text = String::from_utf8(bytes).map_err(|_| ProofError::Unreadable)?;
        let (user, password) = text.split_once(':').ok_or(ProofError::Unreadable)?;
        Ok(PasswordProof::basic(user, &self.config.realm, password))
    }

    fn read_digest(
        &self,
        sent: &AuthParams,
        method: &Method,
        asked: &RequestUri,
        via: Via,
        now: Instant,
    ) -> Result<PasswordProof, ProofError> {
        if sent.scheme() != Scheme::Digest {
            return Err(ProofError::Unreadable);
        }
        let need = |name| sent.get(name).ok_or(ProofError::Unreadable);
        let (user, uri, nonce, response) = (
            need("username")?,
            need("uri")?,
            need("nonce")?,
            need("response")?,
        );
        let qop = match sent.get("qop") {
            None | Some("") => None,
            // Its letters go into the hash as they came.
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                Some((need("nc")?, need("cnonce")?, qop))
            }
            Some(_) => return Err(ProofError::NotOffered),
        };
        // Some leave the algorithm out; the length of what they computed tells it.
        let algorithm = match sent.get("algorithm") {
            None if response.len() == 2 * Algorithm::Sha256.bytes() => Algorithm::Sha256,
            _ => Algorithm::of(sent).ok_or(ProofError::NotOffered)?,
        };
        if !self.config.digest.contains(&algorithm) {
            return Err(ProofError::NotOffered);
        }
        if !RequestUri::parse(uri, "").is_ok_and(|uri| same_stream(&uri, asked)) {
            return Err(ProofError::OtherStream);
        }
        let fresh = self.nonces.accepts(nonce, via.peer, now);
        let ha2 = algorithm.hash(&[method.as_str(), uri]);
        let tail = match qop {
            Some((nc, cnonce, qop)) => format!("{nonce}:{nc}:{cnonce}:{qop}:{ha2}"),
            None => format!("{nonce}:{ha2}"),
        };
        Ok(PasswordProof::digest(
            user, algorithm, tail, response, fresh,
        ))
    }
}

/// Whatever track, slashes and query they have: the last of these makes no difference to what the
/// hash protects, and players lose it.
fn same_stream(a: &RequestUri, b: &RequestUri) -> bool {
    fn name(uri: &RequestUri) -> &str {
        let path = uri.path().trim_matches('/');
        path.strip_suffix(".sdp").unwrap_or(path)
    }
    !name(a).is_empty() && name(a) == name(b)
}
