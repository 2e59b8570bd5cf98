use std::fmt;
use std::sync::Arc;

use super::{Headers, RequestUri};

/// What came with a request to prove a right; nothing in it has been checked.
///
/// `Debug` shows which kinds are present, never their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `token=` of the URL's query.
    pub url_token: Option<Arc<str>>,
    /// `Authorization: Bearer`.
    pub bearer: Option<Arc<str>>,
    /// Any other `Authorization` value as it came (Basic, Digest).
    pub authorization: Option<Arc<str>>,
}

impl Credentials {
    /// Collects them from a request's URI and headers.
    pub fn from_request(uri: &RequestUri, headers: &Headers) -> Self {
        let mut found = Self {
            url_token: uri.token().map(|token| Arc::from(&*token)),
            ..Self::default()
        };
        for value in headers.all("Authorization") {
            let value = value.trim();
            let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                found.bearer = Some(rest.trim().into());
            } else {
                found.authorization = Some(value.into());
            }
        }
        found
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("url_token", &self.url_token.is_some())
            .field("bearer", &self.bearer.is_some())
            .field("authorization", &self.authorization.is_some())
            .finish()
    }
}
