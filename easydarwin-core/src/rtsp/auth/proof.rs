use std::fmt;
use std::sync::Arc;

use subtle::Choice;

use super::secret::same;
use super::{Algorithm, UserSecret};

/// What a request proves about a password, read but not yet checked: who decides looks the user up
/// and calls [`check`](Self::check), with no digest algebra of his own.
///
/// Made by [`Realm::read`](super::Realm::read). `Debug` shows the user's name only.
#[derive(Clone)]
pub struct PasswordProof {
    user: Arc<str>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// The hashes of the password that was sent.
    Basic(UserSecret),
    Digest {
        algorithm: Algorithm,
        /// What stands behind the HA1 in the last hash.
        tail: String,
        response: String,
        /// The nonce is one of ours and not too old.
        fresh: bool,
    },
}

/// What came out of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The password is right.
    Right,
    /// The password is right, the nonce is too old (or of another life of the server): the client
    /// gets a new one and may try again without asking anybody.
    Stale,
    /// There is no such user, or the password is wrong.
    Wrong,
}

/// Compared with when there is no such user, so that nobody learns from the time that it takes
/// whether there is one.
const NOBODY: [&str; 2] = [
    "00000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
];

impl PasswordProof {
    pub(super) fn basic(user: &str, realm: &str, password: &str) -> Self {
        Self {
            user: user.into(),
            kind: Kind::Basic(UserSecret::from_password(user, realm, password)),
        }
    }

    pub(super) fn digest(
        user: &str,
        algorithm: Algorithm,
        tail: String,
        response: &str,
        fresh: bool,
    ) -> Self {
        Self {
            user: user.into(),
            kind: Kind::Digest {
                algorithm,
                tail,
                response: response.to_ascii_lowercase(),
                fresh,
            },
        }
    }

    /// Who it claims to be.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the very same header proves the same again (Basic). A digest does so only for its
    /// request and as long as its nonce lives.
    pub fn is_reusable(&self) -> bool {
        matches!(self.kind, Kind::Basic(_))
    }

    /// Checks it against that user's secret, in constant time. Call it also when there is no such
    /// user, with `None`: it then takes as long and says [`Verdict::Wrong`].
    pub fn check(&self, secret: Option<&UserSecret>) -> Verdict {
        let (right, fresh) = match &self.kind {
            Kind::Basic(sent) => {
                let by = |algorithm| {
                    let (known, ha1) = known(secret, algorithm);
                    let sent = sent.ha1(algorithm).unwrap_or_default();
                    known & same(ha1, sent)
                };
                // Which of the two hashes is stored is nobody's secret; both are looked at all the same.
                (by(Algorithm::Md5) | by(Algorithm::Sha256), true)
            }
            Kind::Digest {
                algorithm,
                tail,
                response,
                fresh,
            } => {
                let (known, ha1) = known(secret, *algorithm);
                let expected = algorithm.hash(&[ha1, tail]);
                (known & same(&expected, response), *fresh)
            }
        };
        match (bool::from(right), fresh) {
            (true, true) => Verdict::Right,
            (true, false) => Verdict::Stale,
            (false, _) => Verdict::Wrong,
        }
    }
}

/// The HA1 to compare with, and whether it is anybody's.
fn known(secret: Option<&UserSecret>, algorithm: Algorithm) -> (Choice, &str) {
    let [md5, sha256] = NOBODY;
    let nobody = match algorithm {
        Algorithm::Md5 => md5,
        Algorithm::Sha256 => sha256,
    };
    let ha1 = secret.and_then(|secret| secret.ha1(algorithm));
    (Choice::from(u8::from(ha1.is_some())), ha1.unwrap_or(nobody))
}

impl fmt::Debug for PasswordProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Basic(_) => "Basic",
            Kind::Digest { .. } => "Digest",
        };
        f.debug_struct("PasswordProof")
            .field("scheme", &scheme)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
