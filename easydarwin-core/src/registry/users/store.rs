use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use thiserror::Error;

use super::PathPattern;
use crate::registry::{Action, StreamPath};
use crate::rtsp::auth::UserSecret;

/// Somebody who logs in with a password. `Debug` does not show the secret.
#[derive(Debug, Clone)]
pub struct User {
    /// What the password is checked against.
    pub secret: UserSecret,
    /// The streams that may be played.
    pub play: Vec<PathPattern>,
    /// The streams that may be published.
    pub publish: Vec<PathPattern>,
}

impl User {
    /// Somebody who may do nothing yet.
    pub fn new(secret: UserSecret) -> Self {
        Self {
            secret,
            play: Vec::new(),
            publish: Vec::new(),
        }
    }

    /// The same, who may play these streams too.
    #[must_use]
    pub fn play(mut self, streams: PathPattern) -> Self {
        self.play.push(streams);
        self
    }

    /// The same, who may publish these streams too.
    #[must_use]
    pub fn publish(mut self, streams: PathPattern) -> Self {
        self.publish.push(streams);
        self
    }

    /// Whether this user may do that.
    pub fn may(&self, action: Action, path: &StreamPath) -> bool {
        let rights = match action {
            Action::Play => &self.play,
            Action::Publish => &self.publish,
        };
        rights.iter().any(|streams| streams.matches(path))
    }
}

/// The users cannot be asked now.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the users cannot be asked now: {0}")]
pub struct UsersError(pub String);

/// Who has a password here. Implement it over your own data; a secret is an HA1 for the server's
/// realm, so no password need be stored.
#[async_trait]
pub trait Users: Send + Sync + 'static {
    /// The user of that name. Who is not there has to cost as much time as who is: look both up in
    /// the same way.
    ///
    /// # Errors
    /// [`UsersError`] when nobody knows at the moment; the client is told to try again.
    async fn find(&self, name: &str) -> Result<Option<Arc<User>>, UsersError>;

    /// How long what [`find`](Self::find) says may be remembered, so that a slow backend is not
    /// asked at each login. A new user, a changed password or right counts after this time, or
    /// after [`UserAuthorizer::flush`](super::UserAuthorizer::flush). Default: not at all.
    fn valid_for(&self) -> Duration {
        Duration::ZERO
    }
}

/// Users in memory, which may change while the server runs.
#[derive(Debug, Default)]
pub struct MemoryUsers(RwLock<HashMap<String, Arc<User>>>);

impl MemoryUsers {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a user, or changes it. Sessions that run are not ended.
    pub fn insert(&self, name: impl Into<String>, user: User) {
        self.0.write().insert(name.into(), Arc::new(user));
    }

    /// Removes a user; tells whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.0.write().remove(name).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}

#[async_trait]
impl Users for MemoryUsers {
    async fn find(&self, name: &str) -> Result<Option<Arc<User>>, UsersError> {
        Ok(self.0.read().get(name).cloned())
    }
}
