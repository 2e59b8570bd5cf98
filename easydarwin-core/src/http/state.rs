use std::sync::Arc;

use super::HttpConfig;
use crate::registry::{Authorizer, DenyAll};

/// What the routes need: which streams there are, who may play them, and the limits.
#[derive(Clone)]
pub struct HttpState {
    authorizer: Arc<dyn Authorizer>,
    config: HttpConfig,
}

impl HttpState {
    /// Refuses everybody until it gets an [`Authorizer`].
    pub fn new() -> Self {
        Self {
            authorizer: Arc::new(DenyAll),
            config: HttpConfig::default(),
        }
    }

    /// Who decides about playing.
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = authorizer;
        self
    }

    /// Limits and settings.
    #[must_use]
    pub fn with_config(mut self, config: HttpConfig) -> Self {
        self.config = config;
        self
    }
}

impl Default for HttpState {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for HttpState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpState")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
