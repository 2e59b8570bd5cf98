use std::sync::Arc;

use async_trait::async_trait;

use super::{User, Users};
use crate::registry::{Accepts, AccessRequest, Authorizer, Denied, Principal};

/// Lets in who knows a user's password, to the streams of that user.
#[derive(Clone)]
pub struct UserAuthorizer {
    users: Arc<dyn Users>,
    otherwise: Option<Arc<dyn Authorizer>>,
}

impl UserAuthorizer {
    /// Decides by these users.
    pub fn new(users: Arc<dyn Users>) -> Self {
        Self {
            users,
            otherwise: None,
        }
    }

    /// Who is asked about requests that bring no password.
    #[must_use]
    pub fn otherwise(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.otherwise = Some(authorizer);
        self
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
        let user = match self.users.find(name).await {
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
