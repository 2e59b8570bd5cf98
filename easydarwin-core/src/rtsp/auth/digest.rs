use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::{AuthParams, Scheme};

/// The hash of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5: what every camera and player knows.
    Md5,
    /// SHA-256: ffmpeg does not know it.
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

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// What a response is computed of.
struct Input<'a> {
    algorithm: Algorithm,
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    /// nc, cnonce
    qop_auth: Option<(&'a str, &'a str)>,
}

impl Input<'_> {
    fn response(&self) -> String {
        let hash = |text: String| self.algorithm.hash(&text);
        let ha1 = hash(format!("{}:{}:{}", self.user, self.realm, self.password));
        let ha2 = hash(format!("{}:{}", self.method, self.uri));
        let nonce = self.nonce;
        match self.qop_auth {
            Some((nc, cnonce)) => hash(format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")),
            None => hash(format!("{ha1}:{nonce}:{ha2}")),
        }
    }
}

/// The `Authorization` value that answers a digest challenge. `count` is how often this nonce was
/// used, this time included; `cnonce` is random. `None`: the challenge cannot be answered.
pub fn answer_digest(
    challenge: &AuthParams,
    (user, password): (&str, &str),
    (method, uri): (&str, &str),
    count: u32,
    cnonce: &str,
) -> Option<String> {
    if challenge.scheme() != Scheme::Digest {
        return None;
    }
    let algorithm = Algorithm::of(challenge)?;
    let realm = challenge.get("realm").unwrap_or_default();
    let nonce = challenge.get("nonce")?;
    // Without qop it is RFC 2069, which nearly all cameras speak; auth-int alone is known by none.
    let with_qop = match challenge.get("qop") {
        None | Some("") => false,
        Some(list) => {
            if !list
                .split(',')
                .any(|q| q.trim().eq_ignore_ascii_case("auth"))
            {
                return None;
            }
            true
        }
    };
    let nc = format!("{count:08x}");
    let response = Input {
        algorithm,
        user,
        realm,
        password,
        method,
        uri,
        nonce,
        qop_auth: with_qop.then_some((nc.as_str(), cnonce)),
    }
    .response();
    let mut value = format!(
        "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\"",
        quoted(user),
        quoted(realm),
        quoted(nonce),
        quoted(uri),
    );
    if challenge.get("algorithm").is_some() {
        let _ = write!(value, ", algorithm={}", algorithm.name());
    }
    if let Some(opaque) = challenge.get("opaque") {
        let _ = write!(value, ", opaque=\"{}\"", quoted(opaque));
    }
    if with_qop {
        let _ = write!(value, ", qop=auth, nc={nc}, cnonce=\"{cnonce}\"");
    }
    Some(value)
}

/// The `Authorization` value for Basic.
pub fn answer_basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Checks a Basic `Authorization` value in constant time.
pub fn verify_basic(authorization: &str, user: &str, password: &str) -> bool {
    let Some((scheme, encoded)) = authorization.trim().split_once(' ') else {
        return false;
    };
    let Ok(sent) = STANDARD.decode(encoded.trim()) else {
        return false;
    };
    let expected = format!("{user}:{password}");
    scheme.eq_ignore_ascii_case("basic") && bool::from(sent.ct_eq(expected.as_bytes()))
}

/// The server's side of a digest: one realm and nonce, challenges and the check of what comes.
#[derive(Debug, Clone)]
pub struct DigestVerifier {
    realm: String,
    nonce: String,
    algorithms: Vec<Algorithm>,
}

impl DigestVerifier {
    /// With a random `nonce`, fresh for every connection. MD5 is the only algorithm offered: an
    /// offer of SHA-256 confuses ffmpeg even when MD5 stands beside it.
    pub fn new(realm: impl Into<String>, nonce: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            nonce: nonce.into(),
            algorithms: vec![Algorithm::Md5],
        }
    }

    /// Offers other algorithms, in this order.
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: Vec<Algorithm>) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// The `WWW-Authenticate` values.
    pub fn challenges(&self) -> Vec<String> {
        self.algorithms
            .iter()
            .map(|algorithm| {
                let base = format!(
                    "Digest realm=\"{}\", nonce=\"{}\"",
                    quoted(&self.realm),
                    self.nonce
                );
                match algorithm {
                    // Old cameras and players choke on a named algorithm.
                    Algorithm::Md5 => base,
                    other => format!("{base}, algorithm={}", other.name()),
                }
            })
            .collect()
    }

    /// The user that an `Authorization` value claims, to look the password up.
    pub fn user(authorization: &AuthParams) -> Option<&str> {
        authorization.get("username")
    }

    /// Checks an `Authorization` value. The hash is checked over the `uri` it names, because
    /// players write other ones there than in the request line; the caller must check that it
    /// names the same stream.
    pub fn verify(&self, authorization: &AuthParams, method: &str, password: &str) -> bool {
        let Some(algorithm) = Algorithm::of(authorization) else {
            return false;
        };
        let get = |name| authorization.get(name);
        let (Some(user), Some(uri), Some(nonce), Some(response)) =
            (get("username"), get("uri"), get("nonce"), get("response"))
        else {
            return false;
        };
        let qop_auth = match get("qop") {
            None => None,
            Some("auth") => match (get("nc"), get("cnonce")) {
                (Some(nc), Some(cnonce)) => Some((nc, cnonce)),
                _ => return false,
            },
            Some(_) => return false,
        };
        let expected = Input {
            algorithm,
            user,
            realm: &self.realm,
            password,
            method,
            uri,
            nonce,
            qop_auth,
        }
        .response();
        authorization.scheme() == Scheme::Digest
            && self.algorithms.contains(&algorithm)
            && nonce == self.nonce
            && bool::from(
                expected
                    .as_bytes()
                    .ct_eq(response.to_ascii_lowercase().as_bytes()),
            )
    }
}

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(text: &str) -> AuthParams {
        AuthParams::parse_list(text).remove(0)
    }

    #[test]
    fn the_examples_of_the_rfcs() {
        // RFC 2617, 3.5.
        let c = challenge(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        );
        let value = answer_digest(
            &c,
            ("Mufasa", "Circle Of Life"),
            ("GET", "/dir/index.html"),
            1,
            "0a4f113b",
        )
        .unwrap();
        assert!(value.contains("response=\"6629fae49393a05397450978507c4ef1\""));
        assert!(value.contains("nc=00000001"));
        // RFC 7616, 3.9.1.
        let c = challenge(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        );
        let value = answer_digest(
            &c,
            ("Mufasa", "Circle of Life"),
            ("GET", "/dir/index.html"),
            1,
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        .unwrap();
        assert!(value.contains(
            "response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\""
        ));
    }

    #[test]
    fn what_is_answered_is_accepted_and_nothing_else() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let verifier =
                DigestVerifier::new("camera \"1\"", "n0nce").with_algorithms(vec![algorithm]);
            let c = challenge(&verifier.challenges()[0]);
            let value = answer_digest(&c, ("u", "p"), ("SETUP", "rtsp://h/a"), 1, "c").unwrap();
            let sent = challenge(&value);
            assert_eq!(DigestVerifier::user(&sent), Some("u"));
            assert!(verifier.verify(&sent, "SETUP", "p"));
            assert!(!verifier.verify(&sent, "SETUP", "q"));
            assert!(!verifier.verify(&sent, "PLAY", "p"));
            let other = DigestVerifier::new("camera \"1\"", "old").with_algorithms(vec![algorithm]);
            assert!(!other.verify(&sent, "SETUP", "p"));
        }
    }

    #[test]
    fn basic() {
        let value = answer_basic("Aladdin", "open sesame");
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(verify_basic(&value, "Aladdin", "open sesame"));
        assert!(!verify_basic(&value, "Aladdin", "open"));
        assert!(!verify_basic("Basic ???", "Aladdin", "open"));
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        for text in [
            "Digest realm=\"x\"",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-512-256",
            "Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"",
            "Basic realm=\"x\", nonce=\"y\"",
        ] {
            let answer = answer_digest(&challenge(text), ("u", "p"), ("A", "b"), 1, "c");
            assert_eq!(answer, None, "{text}");
        }
    }
}
