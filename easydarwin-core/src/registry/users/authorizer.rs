use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{User, Users, UsersError};
use crate::registry::ask_once::{AskOnce, key};
use crate::registry::{Accepts, AccessRequest, Authorizer, CacheConfig, Denied, Permit, Principal};

type Found = Result<Option<Arc<User>>, UsersError>;

/// Lets in who knows a user's password, to the streams of that user.
#[derive(Clone)]
pub struct UserAuthorizer {
    users: Arc<dyn Users>,
    remembered: Arc<AskOnce<Found>>,
    cache: CacheConfig,
    otherwise: Option<Arc<dyn Authorizer>>,
}

impl UserAuthorizer {
    /// Decides by these users.
    pub fn new(users: Arc<dyn Users>) -> Self {
        let cache = CacheConfig::default();
        Self {
            users,
            remembered: Arc::new(AskOnce::new(cache.entries)),
            cache,
            otherwise: None,
        }
    }

    /// Limits of what is remembered about users, for stores with a
    /// [`valid_for`](Users::valid_for).
    #[must_use]
    pub fn cache(mut self, config: CacheConfig) -> Self {
        self.remembered = Arc::new(AskOnce::new(config.entries));
        self.cache = config;
        self
    }

    /// Forgets what is remembered about users: somebody was removed, or changed.
    pub fn flush(&self) {
        self.remembered.flush();
    }

    /// Who is asked about requests that bring no password.
    #[must_use]
    pub fn otherwise(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.otherwise = Some(authorizer);
        self
    }

    async fn find(&self, name: &str) -> Found {
        let valid_for = self.users.valid_for();
        if valid_for.is_zero() {
            return self.users.find(name).await;
        }
        let ask = || async {
            let found = self.users.find(name).await;
            // Who is not there is remembered as long as who is: else the time of a second try
            // would tell them apart.
            let holds = match &found {
                Ok(_) => self.cache.positive(valid_for),
                // Asked again at the next login.
                Err(_) => Duration::ZERO,
            };
            (found, holds)
        };
        self.remembered.get(key([name.as_bytes()]), ask).await.0
    }
}

#[async_trait]
impl Authorizer for UserAuthorizer {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        let Some(name) = request.user() else {
            return match &self.otherwise {
                // An `Authorization` that cannot prove anything is a failed one, not none.
                Some(other) if request.credentials.authorization.is_none() => {
                    other.authorize(request).await
                }
                _ => Err(Denied::Unauthorized),
            };
        };
        let user = match self.find(name).await {
            Ok(user) => user,
            Err(error) => {
                tracing::warn!(%error, "a login could not be checked");
                return Err(Denied::Unavailable);
            }
        };
        request.check_password(user.as_deref().map(|user: &User| &user.secret))?;
        match user {
            Some(user) if user.may(request.action, &request.path) => {
                Ok(Principal::Named(name.into()))
            }
            _ => Err(Denied::Forbidden),
        }
    }

    fn permit(&self, request: &AccessRequest, principal: &Principal) -> Permit {
        match (request.user(), &self.otherwise) {
            (None, Some(other)) => other.permit(request, principal),
            _ => Permit::lasting(),
        }
    }

    fn accepts(&self) -> Accepts {
        let others = self.otherwise.as_ref().map(|other| other.accepts());
        others.unwrap_or(Accepts::PASSWORDS).or(Accepts::PASSWORDS)
    }
}

impl std::fmt::Debug for UserAuthorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAuthorizer")
            .field("otherwise", &self.otherwise.is_some())
            .finish_non_exhaustive()
    }
}
