use std::fmt;

use thiserror::Error;

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

/// Why a server did not let us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoginError {
    /// We had nothing to show.
    #[error("the server wants a login: put user and password into the URL, or set a token")]
    Missing,
    /// The password was wrong, or there is no such user.
    #[error("the server does not accept this user and password")]
    Password,
    /// The token was wrong, too old, or for something else.
    #[error("the server does not accept this token")]
    Token,
    /// Nothing is offered that we could answer.
    #[error("the server offers no way to log in that is known here")]
    Scheme,
    /// Basic alone is offered, without encryption.
    #[error(
        "the server takes the password only unencrypted (Basic); use rtsps, or allow it if the network is yours"
    )]
    PlainBasic,
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
    /// Whether Basic may be answered.
    #[cfg(feature = "auth")]
    basic: bool,
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
            #[cfg(feature = "auth")]
            basic: false,
        }
    }

    pub(super) fn allow_basic(&mut self, allowed: bool) {
        #[cfg(feature = "auth")]
        {
            self.basic = allowed;
        }
        #[cfg(not(feature = "auth"))]
        let _ = allowed;
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

    /// Takes the challenges of a 401 to a request that was repeated `repeats` times. Another try
    /// makes sense the first time, and once more when the server says that only the nonce was old.
    pub(super) fn challenged(&mut self, headers: &Headers, repeats: u8) -> Result<(), LoginError> {
        match &self.login {
            Login::FromUrl => return Err(LoginError::Missing),
            Login::Bearer(_) => return Err(LoginError::Token),
            Login::Password { .. } => {}
        }
        let challenges: Vec<AuthParams> = headers
            .all("WWW-Authenticate")
            .flat_map(AuthParams::parse_list)
            .collect();
        let stale = challenges.iter().any(|c| {
            c.get("stale")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        });
        self.choose(challenges)?;
        match repeats {
            0 => Ok(()),
            1 if stale => Ok(()),
            _ => Err(LoginError::Password),
        }
    }

    /// Takes the strongest challenge that can be answered.
    #[cfg(feature = "auth")]
    fn choose(&mut self, challenges: Vec<AuthParams>) -> Result<(), LoginError> {
        use crate::rtsp::auth::{Algorithm, Scheme, can_answer};
        let mut chosen = None;
        let mut error = LoginError::Scheme;
        for challenge in challenges {
            let strength = match challenge.scheme() {
                Scheme::Basic if self.basic => 1,
                Scheme::Basic => {
                    error = LoginError::PlainBasic;
                    continue;
                }
                _ => match can_answer(&challenge) {
                    Some(Algorithm::Md5) => 2,
                    Some(_) => 3,
                    None => continue,
                },
            };
            if chosen.as_ref().is_none_or(|(best, _)| strength > *best) {
                chosen = Some((strength, challenge));
            }
        }
        let (_, challenge) = chosen.ok_or(error)?;
        self.challenge = Some(challenge);
        self.count = 0;
        Ok(())
    }

    #[cfg(not(feature = "auth"))]
    fn choose(&mut self, _challenges: Vec<AuthParams>) -> Result<(), LoginError> {
        Err(LoginError::Scheme)
    }
}
