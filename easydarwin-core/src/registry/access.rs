use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::{Permit, StreamPath};
use crate::rtsp::auth::{PasswordProof, UserSecret, Verdict};

/// Who was let in. Decides whether a second publisher may take a stream over (only the same
/// principal may), and is what logs and the API show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody knows who it is; everybody may do everything (`--anonymous`).
    Anonymous,
    /// A device that proved its right, by token or by a grant bound to its address.
    Device {
        /// The device's serial.
        serial: Arc<str>,
        /// The generation under which the right was given; a higher one supersedes.
        generation: u64,
    },
    /// A person, an API key or an embedding application.
    Named(Arc<str>),
}

/// What someone wants to do with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read it.
    Play,
    /// Be its publisher.
    Publish,
}

/// Credentials as they came with a request; nothing in it has been checked.
///
/// `Debug` shows which kinds are present, never their values.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// `?token=` of the URL, or the `/t/<token>/` path prefix over HTTP.
    pub url_token: Option<Arc<str>>,
    /// `Authorization: Bearer`.
    pub bearer: Option<Arc<str>>,
    /// Any other `Authorization` value as it came (Basic, Digest).
    pub authorization: Option<Arc<str>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("url_token", &self.url_token.is_some())
            .field("bearer", &self.bearer.is_some())
            .field("authorization", &self.authorization.is_some())
            .finish()
    }
}

impl Credentials {
    /// Whether nothing came at all.
    pub fn is_empty(&self) -> bool {
        self.url_token.is_none() && self.bearer.is_none() && self.authorization.is_none()
    }

    /// The token, from the header before the URL.
    pub fn token(&self) -> Option<&str> {
        self.bearer.as_deref().or(self.url_token.as_deref())
    }
}

impl From<crate::rtsp::Credentials> for Credentials {
    fn from(found: crate::rtsp::Credentials) -> Self {
        Self {
            url_token: found.url_token,
            bearer: found.bearer,
            authorization: found.authorization,
        }
    }
}

/// One question to an [`Authorizer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccessRequest {
    /// What is asked for.
    pub action: Action,
    /// Which stream.
    pub path: StreamPath,
    /// From where the request came.
    pub peer: SocketAddr,
    /// What came with it.
    pub credentials: Credentials,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// The password that `credentials.authorization` proves, if it can prove one at all.
    pub proof: Option<PasswordProof>,
}

impl AccessRequest {
    /// A request of `peer` for `path`.
    pub fn new(
        action: Action,
        path: StreamPath,
        peer: SocketAddr,
        credentials: Credentials,
    ) -> Self {
        Self {
            action,
            path,
            peer,
            credentials,
            secure: false,
            proof: None,
        }
    }

    /// The same over a connection that is encrypted, or not.
    #[must_use]
    pub fn over(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// The same with what its `Authorization` proves.
    #[must_use]
    pub fn with_proof(mut self, proof: Option<PasswordProof>) -> Self {
        self.proof = proof;
        self
    }

    /// The user whose password this request claims to know.
    pub fn user(&self) -> Option<&str> {
        self.proof.as_ref().map(PasswordProof::user)
    }

    /// Checks the claim against that user's secret. Ask also when there is no such user, with
    /// `None`, and answer what comes out: it then takes as long.
    ///
    /// # Errors
    /// [`Denied::Unauthorized`] or [`Denied::Stale`].
    pub fn check_password(&self, secret: Option<&UserSecret>) -> Result<(), Denied> {
        let proof = self.proof.as_ref().ok_or(Denied::Unauthorized)?;
        match proof.check(secret) {
            Verdict::Right => Ok(()),
            Verdict::Stale => Err(Denied::Stale),
            Verdict::Wrong => Err(Denied::Unauthorized),
        }
    }
}

/// Why access was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Denied {
    /// Credentials are missing or wrong: another try with other ones may succeed (401).
    #[error("credentials are missing or not valid")]
    Unauthorized,
    /// The password is right but was hashed with a nonce that is too old: the same once more with
    /// the new one (401 with `stale=true`).
    #[error("the password is right, its nonce too old; try again with the new one")]
    Stale,
    /// Like [`Unauthorized`](Self::Unauthorized), after so many failures from this address that
    /// the connection is closed (401 over RTSP, 429 over HTTP).
    #[error("credentials are not valid, and too many others from this address were not either")]
    Throttled,
    /// The credentials are right, the right is missing (403).
    #[error("these credentials give no right to this stream")]
    Forbidden,
    /// The decision could not be made now (503).
    #[error("the authority that decides could not be asked; try again")]
    Unavailable,
}

/// An answer of an [`Authorizer`] and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Who was let in, or why nobody was.
    pub outcome: Result<Principal, Denied>,
    /// How long the same answer may be given to the same question: same credentials, path, action
    /// and address. Zero: ask again each time.
    pub valid_for: Duration,
}

impl Decision {
    /// Holds for this one request.
    pub fn once(outcome: Result<Principal, Denied>) -> Self {
        Self::lasting(outcome, Duration::ZERO)
    }

    /// Holds for a while.
    pub fn lasting(outcome: Result<Principal, Denied>, valid_for: Duration) -> Self {
        Self { outcome, valid_for }
    }
}

/// The kinds of credentials that an [`Authorizer`] understands: what a 401 asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Accepts {
    /// Tokens: `Authorization: Bearer`.
    pub tokens: bool,
    /// User and password: Digest, over TLS also Basic.
    pub passwords: bool,
}

impl Accepts {
    /// Both.
    pub const ALL: Self = Self {
        tokens: true,
        passwords: true,
    };
    /// Tokens only: no player is told to ask its user for a password.
    pub const TOKENS: Self = Self {
        tokens: true,
        passwords: false,
    };
    /// Passwords only.
    pub const PASSWORDS: Self = Self {
        tokens: false,
        passwords: true,
    };

    /// What either understands.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            tokens: self.tokens || other.tokens,
            passwords: self.passwords || other.passwords,
        }
    }
}

/// Decides who may publish and play. Asked once per session, never per packet.
///
/// [`authorize`](Self::authorize) is all that most need. Compare secrets in constant time; for
/// passwords look the user up by [`AccessRequest::user`] and leave the rest to
/// [`AccessRequest::check_password`], or implement [`Users`](super::Users) instead.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Errors
    /// [`Denied`] says why not; the caller turns it into the protocol's status.
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied>;

    /// The same with how long the answer holds, for those that a
    /// [`CachedAuthorizer`](super::CachedAuthorizer) asks. Default: for this one request.
    async fn decide(&self, request: &AccessRequest) -> Decision {
        Decision::once(self.authorize(request).await)
    }

    /// What a session keeps of the right that [`authorize`](Self::authorize) just gave for this
    /// request, to learn that it is taken back. Default: nobody takes it back.
    fn permit(&self, request: &AccessRequest, principal: &Principal) -> Permit {
        let _ = (request, principal);
        Permit::lasting()
    }

    /// What it understands. Default: tokens and passwords.
    fn accepts(&self) -> Accepts {
        Accepts::ALL
    }
}

/// Lets everybody publish and play.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(&self, _request: &AccessRequest) -> Result<Principal, Denied> {
        Ok(Principal::Anonymous)
    }

    fn accepts(&self) -> Accepts {
        Accepts::TOKENS
    }
}

/// Refuses everybody: the default of a server to which nobody gave an authorizer.
#[derive(Debug, Clone, Copy, Default)]
pub struct DenyAll;

#[async_trait]
impl Authorizer for DenyAll {
    async fn authorize(&self, _request: &AccessRequest) -> Result<Principal, Denied> {
        Err(Denied::Unauthorized)
    }

    fn accepts(&self) -> Accepts {
        Accepts::TOKENS
    }
}
