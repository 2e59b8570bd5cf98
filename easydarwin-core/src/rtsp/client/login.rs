use std::fmt;

use crate::rtsp::auth::AuthParams;
use crate::rtsp::{Headers, Method};

/// How a client proves its right. `Debug` never shows secrets.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// User and password of the URL, when it has them.
    #[default]
    FromUrl,
    /// `Authorization: Bearer` in every request.
    Bearer(String),
    /// Digest or Basic, whichever the server asks for (needs the feature `auth`).
    Password {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromUrl => f.write_str("FromUrl"),
            Self::Bearer(_) => f.write_str("Bearer(hidden)"),
            Self::Password { user, .. } => write!(f, "Password({user:?}, hidden)"),
        }
    }
}

/// The login with the challenge that the server made.
#[derive(Debug)]
pub(super) struct Authenticator {
    login: Login,
    #[cfg(feature = "auth")]
    challenge: Option<AuthParams>,
    #[cfg(feature = "auth")]
    count: u32,
    #[cfg(feature = "auth")]
    cnonce: String,
}

impl Authenticator {
    pub(super) fn new(login: Login, cnonce: String) -> Self {
        #[cfg(not(feature = "auth"))]
        drop(cnonce);
        Self {
            login,
            #[cfg(feature = "auth")]
            challenge: None,
            #[cfg(feature = "auth")]
            count: 0,
            #[cfg(feature = "auth")]
            cnonce,
        }
    }

    /// The `Authorization` value for a request.
    pub(super) fn authorization(&mut self, method: &Method, uri: &str) -> Option<String> {
        match &self.login {
            Login::FromUrl => None,
            Login::Bearer(token) => Some(format!("Bearer {token}")),
            #[cfg(feature = "auth")]
            Login::Password { user, password } => {
                use crate::rtsp::auth::{Scheme, answer_basic, answer_digest};
                let challenge = self.challenge.as_ref()?;
                if challenge.scheme() == Scheme::Basic {
                    return Some(answer_basic(user, password));
                }
                self.count += 1;
                let target = (method.as_str(), uri);
                answer_digest(
                    challenge,
                    (user, password),
                    target,
                    self.count,
                    &self.cnonce,
                )
            }
            #[cfg(not(feature = "auth"))]
            Login::Password { .. } => {
                let _ = (method, uri);
                None
            }
        }
    }

    /// Takes the challenges of a 401 to a request that was repeated `repeats` times. Returns
    /// whether another try makes sense: the first time, or once more when the server says that
    /// only the nonce was old.
    pub(super) fn challenged(&mut self, headers: &Headers, repeats: u8) -> bool {
        let challenges: Vec<AuthParams> = headers
            .all("WWW-Authenticate")
            .flat_map(AuthParams::parse_list)
            .collect();
        let stale = challenges.iter().any(|c| {
            c.get("stale")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        });
        (repeats == 0 || (stale && repeats == 1)) && self.choose(challenges)
    }

    /// The strongest challenge that can be answered.
    #[cfg(feature = "auth")]
    fn choose(&mut self, challenges: Vec<AuthParams>) -> bool {
        use crate::rtsp::auth::{Algorithm, Scheme};
        if !matches!(self.login, Login::Password { .. }) {
            return false;
        }
        let strength = |challenge: &AuthParams| match challenge.scheme() {
            Scheme::Digest => Algorithm::of(challenge).map(|a| 1 + u8::from(a != Algorithm::Md5)),
            Scheme::Basic => Some(0),
            _ => None,
        };
        self.challenge = challenges
            .into_iter()
            .filter(|challenge| strength(challenge).is_some())
            .max_by_key(strength);
        self.count = 0;
        self.challenge.is_some()
    }

    #[cfg(not(feature = "auth"))]
    fn choose(&mut self, _challenges: Vec<AuthParams>) -> bool {
        false
    }
}
