use std::fmt;

use thiserror::Error;

use crate::rtsp::uri::decode;
use crate::rtsp::{redacted, split_scheme};

/// The port of `rtsp:` URLs without one.
const DEFAULT_PORT: u16 = 554;
/// The port of `rtsps:` URLs without one (RFC 7826, 22.14).
const DEFAULT_TLS_PORT: u16 = 322;

/// A URL to connect to. `Debug` and `Display` show neither user and password nor tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientUrl {
    secure: bool,
    host: String,
    port: u16,
    request: String,
    user: Option<(String, String)>,
}

/// Why a text is no URL to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientUrlError {
    /// Another scheme.
    #[error("its scheme is neither rtsp nor rtsps")]
    Scheme,
    /// No host.
    #[error("it has no host")]
    Host,
    /// Something behind the colon that is no port.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// A blank or control character.
    #[error("it holds a blank or control character")]
    Forbidden,
}

impl ClientUrl {
    /// Reads `rtsp[s]://[user[:password]@]host[:port][/path][?query]`.
    ///
    /// # Errors
    /// [`ClientUrlError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, ClientUrlError> {
        let text = text.trim();
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(ClientUrlError::Forbidden);
        }
        let (scheme, rest) = split_scheme(text).ok_or(ClientUrlError::Scheme)?;
        let (scheme, secure, default_port) = if scheme.eq_ignore_ascii_case("rtsp") {
            ("rtsp", false, DEFAULT_PORT)
        } else if scheme.eq_ignore_ascii_case("rtsps") {
            ("rtsps", true, DEFAULT_TLS_PORT)
        } else {
            return Err(ClientUrlError::Scheme);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(ClientUrlError::Host)?;
        // Passwords of cameras hold `@` often enough.
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address, default_port)?;
        if host.is_empty() {
            return Err(ClientUrlError::Host);
        }
        let user = user.map(|text| {
            let (user, password) = text.split_once(':').unwrap_or((text, ""));
            (decode(user).into_owned(), decode(password).into_owned())
        });
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            request: format!("{scheme}://{address}{path}"),
            user,
        })
    }

    /// Whether it is `rtsps:`, RTSP over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for requests: without user and password.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Host and port as they were written.
    #[cfg(feature = "tunnel")]
    pub(crate) fn authority(&self) -> &str {
        let (_, rest) = split_scheme(&self.request).unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// Path and query as they were written, at least a slash.
    #[cfg(feature = "tunnel")]
    pub(crate) fn path(&self) -> String {
        let (_, rest) = split_scheme(&self.request).unwrap_or_default();
        match rest.find(['/', '?']).and_then(|at| rest.get(at..)) {
            Some(path) if path.starts_with('/') => path.to_owned(),
            Some(query) => format!("/{query}"),
            None => "/".to_owned(),
        }
    }

    /// User and password, percent-decoded.
    pub fn user(&self) -> Option<(&str, &str)> {
        let (user, password) = self.user.as_ref()?;
        Some((user, password))
    }
}

fn split_port(address: &str, default_port: u16) -> Result<(&str, u16), ClientUrlError> {
    let behind_brackets = address.rfind(']').map_or(0, |at| at + 1);
    let has_port = address
        .get(behind_brackets..)
        .is_some_and(|rest| rest.bytes().any(|byte| byte == b':'));
    match address.rsplit_once(':').filter(|_| has_port) {
        None => Ok((address, default_port)),
        Some((host, port)) => match port.parse() {
            Ok(0) | Err(_) => Err(ClientUrlError::Port),
            Ok(port) => Ok((host, port)),
        },
    }
}

impl fmt::Display for ClientUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.request))
    }
}

impl fmt::Debug for ClientUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_apart() {
        for (text, host, port, request, user) in [
            ("rtsp://h/a?b=c", "h", 554, "rtsp://h/a?b=c", None),
            ("RTSP://h:8554", "h", 8554, "rtsp://h:8554", None),
            ("rtsp://[::1]:10/a", "::1", 10, "rtsp://[::1]:10/a", None),
            ("rtsp://[::1]/a", "::1", 554, "rtsp://[::1]/a", None),
            (
                "rtsp://admin:p%40s:s@w@10.0.0.1:554/s",
                "10.0.0.1",
                554,
                "rtsp://10.0.0.1:554/s",
                Some(("admin", "p@s:s@w")),
            ),
            (
                "rtsp://admin@h/",
                "h",
                554,
                "rtsp://h/",
                Some(("admin", "")),
            ),
            ("rtsp://h?x=a@b", "h", 554, "rtsp://h?x=a@b", None),
            ("RTSPS://h/a", "h", 322, "rtsps://h/a", None),
            ("rtsps://[::1]:9/a", "::1", 9, "rtsps://[::1]:9/a", None),
        ] {
            let url = ClientUrl::parse(text).unwrap();
            assert_eq!(
                (url.host(), url.port(), url.request(), url.user()),
                (host, port, request, user),
                "{text}"
            );
            assert!(!format!("{url:?}").contains("admin"));
        }
        for (text, error) in [
            ("http://h/", ClientUrlError::Scheme),
            ("h:554/x", ClientUrlError::Scheme),
            ("rtsp://", ClientUrlError::Host),
            ("rtsp://:554/", ClientUrlError::Host),
            ("rtsp://h:0/", ClientUrlError::Port),
            ("rtsp://h:99999/", ClientUrlError::Port),
            ("rtsp://h:/", ClientUrlError::Port),
            ("rtsp://h/a b", ClientUrlError::Forbidden),
        ] {
            assert_eq!(ClientUrl::parse(text), Err(error), "{text}");
        }
    }
}
