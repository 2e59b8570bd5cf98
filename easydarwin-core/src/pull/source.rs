use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::registry::StreamPath;
use crate::rtsp::{ClientUrl, ClientUrlError, KeepAlive, Login, redacted};

/// A stream of this server that is fetched from elsewhere.
///
/// `Debug` shows no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct SourceSpec {
    /// Under which path it is published here.
    pub path: StreamPath,
    /// Where it is fetched from.
    pub url: SourceUrl,
    /// Always, or only while somebody views it.
    #[serde(default)]
    pub mode: SourceMode,
    /// Ways for the media, in the order in which they are tried; what worked last goes first.
    /// Empty: [`PullTransport::LADDER`].
    #[serde(default)]
    pub transports: Vec<PullTransport>,
    /// User name, when it does not stand in the URL.
    #[serde(default)]
    pub user: Option<String>,
    /// Password of `user`.
    #[serde(default)]
    pub password: Option<SourcePassword>,
    /// Whether the password may go unencrypted over the network when nothing better than Basic is
    /// offered, as some old cameras do.
    #[serde(default)]
    pub plain_basic: bool,
}

impl SourceSpec {
    /// A permanent source with all transports and the login of its URL.
    pub fn new(path: StreamPath, url: SourceUrl) -> Self {
        Self {
            path,
            url,
            mode: SourceMode::Permanent,
            transports: Vec::new(),
            user: None,
            password: None,
            plain_basic: false,
        }
    }

    /// How the client proves its right.
    pub(super) fn login(&self) -> Login {
        match &self.user {
            None => Login::FromUrl,
            Some(user) => Login::Password {
                user: user.clone(),
                password: self.password.clone().unwrap_or_default().0,
            },
        }
    }

    /// The transports to try, the one that worked last first.
    pub(super) fn ladder(&self, last: Option<PullTransport>) -> Vec<PullTransport> {
        let all = match self.transports.as_slice() {
            [] => PullTransport::LADDER.as_slice(),
            given => given,
        };
        // Media must not go in the clear beside a session that does not.
        let secure = self.url.client_url().is_secure();
        let usable = |transport: &PullTransport| !(secure && *transport == PullTransport::Udp);
        let mut ladder: Vec<_> = last.filter(|t| all.contains(t)).into_iter().collect();
        ladder.extend(all);
        ladder.retain(usable);
        let mut seen = Vec::with_capacity(ladder.len());
        for transport in ladder {
            if !seen.contains(&transport) {
                seen.push(transport);
            }
        }
        seen
    }
}

impl FromStr for SourceSpec {
    type Err = String;

    /// `PATH=URL`
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, url) = path_and_url(text)?;
        Ok(Self::new(path, url))
    }
}

/// Reads `PATH=URL`. What is wrong is told without the text, which may hold a password.
pub(crate) fn path_and_url(text: &str) -> Result<(StreamPath, SourceUrl), String> {
    let (path, url) = text
        .split_once('=')
        .ok_or("write PATH=URL, for example cam/1=rtsp://10.0.0.9/live")?;
    let path = StreamPath::parse(path).map_err(|error| error.to_string())?;
    let url = url
        .parse()
        .map_err(|error: SourceUrlError| error.to_string())?;
    Ok((path, url))
}

/// When a source is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceMode {
    /// Always.
    #[default]
    Permanent,
    /// From the first viewer until some time after the last.
    OnDemand,
}

/// How the media of a source travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PullTransport {
    /// Interleaved into the RTSP connection.
    Tcp,
    /// Datagrams; not beside RTSPS.
    Udp,
    /// Interleaved into RTSP over two HTTP connections, to get through proxies.
    Tunnel,
}

impl PullTransport {
    /// What is tried when a source names nothing else, in this order.
    pub const LADDER: [Self; 3] = [Self::Tcp, Self::Udp, Self::Tunnel];
}

/// What was learned about a source and holds beyond one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SourceMemory {
    /// The transport that brought media last.
    pub transport: Option<PullTransport>,
    /// The kind of keep-alive that it puts up with.
    pub keep_alive: KeepAlive,
}

/// The URL of a source. `Debug` and `Display` show neither user, password nor tokens.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SourceUrl {
    text: String,
    parsed: ClientUrl,
}

impl SourceUrl {
    /// The URL with its secrets, for a store that keeps it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Taken apart.
    pub fn client_url(&self) -> &ClientUrl {
        &self.parsed
    }
}

impl FromStr for SourceUrl {
    type Err = SourceUrlError;

    fn from_str(text: &str) -> Result<Self, SourceUrlError> {
        let parsed = ClientUrl::parse(text)?;
        Ok(Self {
            text: text.trim().to_owned(),
            parsed,
        })
    }
}

impl TryFrom<String> for SourceUrl {
    type Error = SourceUrlError;

    fn try_from(text: String) -> Result<Self, SourceUrlError> {
        text.parse()
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.text))
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceUrl({self})")
    }
}

/// Why a text is no URL of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no usable RTSP URL: {0}; write rtsp://[user:password@]host[:port]/path")]
pub struct SourceUrlError(#[from] ClientUrlError);

/// A password. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct SourcePassword(pub(super) String);

impl SourcePassword {
    /// A password from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for a store that keeps it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SourcePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourcePassword(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> SourceSpec {
        SourceSpec::new(
            StreamPath::parse("cam/1").unwrap(),
            "rtsp://u:hush@h/a?token=hush".parse().unwrap(),
        )
    }

    #[test]
    fn shows_no_secret() {
        let mut spec = spec();
        spec.user = Some("u".to_owned());
        spec.password = Some(SourcePassword::new("hush"));
        let shown = format!("{spec:?} {}", spec.url);
        assert!(!shown.contains("hush"), "{shown}");
        assert!(spec.url.expose().contains("hush"));
    }

    #[test]
    fn what_worked_last_is_tried_first() {
        let mut spec = spec();
        use PullTransport::{Tcp, Tunnel, Udp};
        assert_eq!(spec.ladder(None), [Tcp, Udp, Tunnel]);
        assert_eq!(spec.ladder(Some(Udp)), [Udp, Tcp, Tunnel]);
        spec.url = "rtsps://h/a".parse().unwrap();
        assert_eq!(spec.ladder(Some(Udp)), [Tcp, Tunnel]);
        spec.transports = vec![Tcp];
        assert_eq!(spec.ladder(Some(Udp)), [Tcp]);
    }

    #[test]
    fn read_from_json() {
        let spec: SourceSpec = serde_json::from_str(
            r#"{"path":"cam/1","url":"rtsp://h/a","mode":"on-demand","transports":["udp"],"user":"u","password":"p"}"#,
        )
        .unwrap();
        assert_eq!(spec.mode, SourceMode::OnDemand);
        assert_eq!(spec.ladder(None), [PullTransport::Udp]);
        assert!(matches!(spec.login(), Login::Password { .. }));
        for wrong in [
            r#"{"path":"..","url":"rtsp://h/a"}"#,
            r#"{"path":"a","url":"http://u:hush@h/a"}"#,
            r#"{"path":"a","url":"rtsp://h/a","typo":1}"#,
        ] {
            let error = serde_json::from_str::<SourceSpec>(wrong).unwrap_err();
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
