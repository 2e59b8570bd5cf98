use thiserror::Error;

use super::{ClientUrl, ClientUrlError, Login};

/// Which redirections (301, 302) a client follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedirectPolicy {
    /// How many in a row. Default 5; 0 follows none.
    pub hops: usize,
    /// Sends the login to other servers too. Default: only to the host and port for which it was
    /// given (or to the same host under RTSPS); what the new URL itself holds is always used.
    pub carry_login: bool,
    /// Goes from `rtsps:` to `rtsp:`. Default: no, whoever redirects would read what was secret.
    pub downgrade: bool,
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self {
            hops: 5,
            carry_login: false,
            downgrade: false,
        }
    }
}

/// Why a redirection is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// More than the policy allows.
    #[error("it is the one after the last of {0} that are followed")]
    TooMany(usize),
    /// It leads to where we were.
    #[error("it leads back to a URL that was asked before")]
    Loop,
    /// It leads out of the secure transport.
    #[error("it leads from rtsps to rtsp, which has to be allowed")]
    Downgrade,
    /// It is no RTSP URL.
    #[error("its target is no usable RTSP URL: {0}")]
    Url(#[from] ClientUrlError),
}

/// The way from the URL that was given to the one that answers.
///
/// Holds the login, and hides it from servers for which it is not.
#[derive(Debug)]
pub struct Redirects {
    policy: RedirectPolicy,
    url: ClientUrl,
    login: Login,
    visited: Vec<String>,
}

impl Redirects {
    /// A way that begins at `url`.
    pub fn new(url: ClientUrl, login: Login, policy: RedirectPolicy) -> Self {
        let login = match (login, url.user()) {
            (Login::FromUrl, Some((user, password))) => Login::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            },
            (login, _) => login,
        };
        Self {
            policy,
            url,
            login,
            visited: Vec::new(),
        }
    }

    /// Where to connect now.
    pub fn url(&self) -> &ClientUrl {
        &self.url
    }

    /// What to prove there.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Redirections that were followed so far.
    pub fn hops(&self) -> usize {
        self.visited.len()
    }

    /// Takes the `Location` of a redirection.
    ///
    /// # Errors
    /// [`RedirectError`] when it must not be followed; the way ends here then.
    pub fn follow(&mut self, location: &str) -> Result<(), RedirectError> {
        if self.visited.len() >= self.policy.hops {
            return Err(RedirectError::TooMany(self.policy.hops));
        }
        let next = ClientUrl::parse(location)?;
        let (from, to) = (self.url.is_secure(), next.is_secure());
        if from && !to && !self.policy.downgrade {
            return Err(RedirectError::Downgrade);
        }
        let here = std::mem::replace(&mut self.url, next);
        self.visited.push(here.request().to_owned());
        if self.visited.iter().any(|url| url == self.url.request()) {
            return Err(RedirectError::Loop);
        }
        let upgraded = to && !from;
        let same = here.host().eq_ignore_ascii_case(self.url.host())
            && (here.port() == self.url.port() || upgraded);
        if self.url.user().is_some() || !(same || self.policy.carry_login) {
            self.login = Login::FromUrl;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(url: &str, policy: RedirectPolicy) -> Redirects {
        Redirects::new(ClientUrl::parse(url).unwrap(), Login::FromUrl, policy)
    }

    #[test]
    fn the_login_stays_with_its_server() {
        let known =
            |way: &Redirects| matches!(way.login(), Login::Password { user, .. } if user == "u");
        for (location, sent) in [
            ("rtsp://door/cam?token=x", true),
            ("rtsp://DOOR:554/other", true),
            ("rtsp://door:8554/cam", false),
            ("rtsp://node/cam", false),
        ] {
            let mut way = way("rtsp://u:p@door/cam", RedirectPolicy::default());
            assert!(known(&way));
            way.follow(location).unwrap();
            assert_eq!(known(&way), sent, "{location}");
            assert_eq!(way.hops(), 1);
        }
        let carry = RedirectPolicy {
            carry_login: true,
            ..RedirectPolicy::default()
        };
        let mut carried = way("rtsp://u:p@door/cam", carry);
        carried.follow("rtsp://node/cam").unwrap();
        assert!(known(&carried));
        // What the new URL holds wins; ClientSession takes it from there.
        carried.follow("rtsp://v:w@third/cam").unwrap();
        assert_eq!(carried.login(), &Login::FromUrl);
    }

    #[test]
    fn ends_where_it_must() {
        let mut loops = way("rtsp://a/1", RedirectPolicy::default());
        loops.follow("rtsp://b/1").unwrap();
        assert_eq!(loops.follow("rtsp://a/1"), Err(RedirectError::Loop));
        let mut oneself = way("rtsp://a/1", RedirectPolicy::default());
        assert_eq!(oneself.follow("rtsp://a/1"), Err(RedirectError::Loop));
        let mut many = way("rtsp://a/0", RedirectPolicy::default());
        for hop in 1..=5 {
            many.follow(&format!("rtsp://a/{hop}")).unwrap();
        }
        assert_eq!(many.follow("rtsp://a/6"), Err(RedirectError::TooMany(5)));
        for location in ["http://a/", "/relative", "rtsp://", "file:///etc/passwd"] {
            let mut way = way("rtsp://a/1", RedirectPolicy::default());
            assert!(
                matches!(way.follow(location), Err(RedirectError::Url(_))),
                "{location}"
            );
        }
    }
}
