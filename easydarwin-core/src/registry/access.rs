use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::StreamPath;

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
    /// The token, from the header before the URL.
    pub fn token(&self) -> Option<&str> {
        self.bearer.as_deref().or(self.url_token.as_deref())
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
    /// The credentials are right, the right is missing (403).
    #[error("these credentials give no right to this stream")]
    Forbidden,
    /// The decision could not be made now (503).
    #[error("the authority that decides could not be asked; try again")]
    Unavailable,
}

/// Decides who may publish and play. Asked once per session, never per packet.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Errors
    /// [`Denied`] says why not; the caller turns it into the protocol's status.
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied>;
}

/// Lets everybody publish and play.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(&self, _request: &AccessRequest) -> Result<Principal, Denied> {
        Ok(Principal::Anonymous)
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
}
