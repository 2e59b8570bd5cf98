//! Who may use the client side: API keys, trusted networks, and what browsers may not do.

use std::net::IpAddr;

use std::sync::Arc;

use easydarwin_core::registry::{Rights, Role, UnixMillis};

pub(crate) use crate::accounts::Access;
use crate::accounts::{Directory, Identity, Logins};
use crate::config::{CmsConfig, LegacyLevel};

/// Name of the cookie that a login sets.
pub(crate) const COOKIE: &str = "easydarwin-login";

/// The parts of a request that decide.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientHeaders {
    pub(crate) authorization: Option<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) fetch_site: Option<String>,
    pub(crate) referer: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) requested_with: Option<String>,
}

impl ClientHeaders {
    pub(crate) fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let own = |name| get(name).map(str::to_owned);
        Self {
            authorization: own("authorization"),
            api_key: own("x-api-key"),
            origin: own("origin"),
            fetch_site: own("sec-fetch-site"),
            referer: own("referer"),
            host: own("host"),
            user_agent: own("user-agent"),
            cookie: own("cookie"),
            requested_with: own("x-requested-with"),
        }
    }

    pub(crate) fn is_browser(&self) -> bool {
        self.user_agent
            .as_deref()
            .is_some_and(|agent| agent.starts_with("Mozilla/"))
    }

    /// The token of a login, out of the cookie or the header.
    pub(crate) fn login(&self) -> Option<&str> {
        self.cookie_of_login().or_else(|| self.key())
    }

    fn cookie_of_login(&self) -> Option<&str> {
        let cookies = self.cookie.as_deref()?.split(';');
        cookies
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == COOKIE)
            .map(|(_, value)| value)
    }

    fn key(&self) -> Option<&str> {
        self.bearer().or(self.api_key.as_deref())
    }

    /// What was brought as `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, key) = self.authorization.as_deref()?.split_once(' ')?;
        let key = key.trim();
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    }
}

/// What a request's key was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyBrought {
    /// There was none, and nothing may be done without.
    None,
    /// There was none, and the request comes from a network that needs none.
    NotNeeded,
    Right,
    Wrong,
}

/// Against what requests are checked.
#[derive(Debug)]
pub(crate) struct Checks<'a> {
    pub(crate) config: &'a CmsConfig,
    /// The key that the CMS has in a file of its own.
    pub(crate) built_in: &'a str,
    pub(crate) people: &'a Directory,
    pub(crate) logins: &'a Logins,
    pub(crate) now: UnixMillis,
}

impl Checks<'_> {
    /// Who makes this request. One that a foreign web page made may do nothing, whatever it
    /// brings: its reader's address and its reader's rights are not its own.
    ///
    /// `cookies`: whether the cookie of a login counts. Not where a GET has effects.
    pub(crate) fn who(
        &self,
        peer: IpAddr,
        headers: &ClientHeaders,
        cookies: bool,
    ) -> (Identity, KeyBrought) {
        let nobody = |brought| (Identity::nobody(), brought);
        if is_foreign(self.config, headers) {
            return nobody(KeyBrought::None);
        }
        if let Some(key) = headers.key() {
            let found = self
                .people
                .key(key, self.built_in, self.now)
                .or_else(|| self.logins.who(self.people, key, self.now));
            return match found {
                Some(identity) => (identity, KeyBrought::Right),
                None => nobody(KeyBrought::Wrong),
            };
        }
        // One that has expired is no attempt at anything.
        let cookie = headers.cookie_of_login().filter(|_| cookies);
        let login = cookie.and_then(|token| self.logins.who(self.people, token, self.now));
        if let Some(identity) = login {
            return (identity, KeyBrought::Right);
        }
        if headers.is_browser() && !host_is_ours(self.config, headers.host.as_deref()) {
            return nobody(KeyBrought::None);
        }
        let clients = self.config.legacy_clients.iter();
        let level = clients
            .filter(|client| client.network.contains(peer))
            .map(|client| client.level)
            .max();
        match level {
            None => nobody(KeyBrought::None),
            // Browsers tell addresses without TLS nothing of the site, and a picture's request has
            // no origin: a page anywhere could move a camera, had its reader the right.
            Some(_) if headers.is_browser() && !comes_from_us(headers) => {
                (of_network(LegacyLevel::Read), KeyBrought::NotNeeded)
            }
            Some(level) => (of_network(level), KeyBrought::NotNeeded),
        }
    }
}

fn of_network(level: LegacyLevel) -> Identity {
    let rights = Arc::new(Rights::everywhere(Role::Operator));
    let identity = Identity::new("network", rights);
    match level {
        LegacyLevel::Read => identity.at_most(Access::Read),
        LegacyLevel::Control => identity,
    }
}

/// Whether a browser shows that a page of ours made the request, or its user himself. Foreign
/// origins and sites are out already.
fn comes_from_us(headers: &ClientHeaders) -> bool {
    let ours = |referer: &str| {
        let host = referer.split_once("://").map(|(_, rest)| rest);
        let host = host.and_then(|rest| rest.split('/').next());
        host.is_some() && host == headers.host.as_deref()
    };
    headers.origin.is_some()
        || headers.fetch_site.is_some()
        // No other page can send it: a browser would ask first, and we allow it nowhere.
        || headers.requested_with.is_some()
        || headers.referer.as_deref().is_some_and(ours)
}

/// Whether a page of another host made this request.
pub(crate) fn is_foreign(config: &CmsConfig, headers: &ClientHeaders) -> bool {
    let listed = |origin: &str| {
        config
            .allowed_origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
    };
    match headers.origin.as_deref() {
        Some(origin) if listed(origin) => return false,
        Some(origin) => {
            let own = origin
                .split_once("://")
                .is_some_and(|(_, host)| Some(host) == headers.host.as_deref());
            if !own {
                return true;
            }
        }
        None => {}
    }
    headers
        .fetch_site
        .as_deref()
        .is_some_and(|site| site != "same-origin" && site != "none")
}

/// A page of a stranger can point its own name at our address; then its requests look like the
/// same origin. It cannot make the browser send an address as `Host`.
fn host_is_ours(config: &CmsConfig, host: Option<&str>) -> bool {
    let Some(host) = host else {
        return true;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || config.hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
        || config
            .advertise
            .as_deref()
            .is_some_and(|h| h.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LegacyClient;

    fn config() -> CmsConfig {
        let mut config = CmsConfig::new("127.0.0.1:0".parse().unwrap());
        for (network, level) in [
            ("10.0.0.0/8", LegacyLevel::Read),
            ("10.1.0.0/16", LegacyLevel::Control),
        ] {
            config.legacy_clients.push(LegacyClient {
                network: network.parse().unwrap(),
                level,
            });
        }
        config
    }

    fn ask(peer: &str, headers: &[(&str, &str)]) -> Access {
        let headers = ClientHeaders::read(|name| {
            headers
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        });
        let checks = Checks {
            config: &config(),
            built_in: "right",
            people: &Directory::default(),
            logins: &Logins::default(),
            now: UnixMillis(1),
        };
        checks
            .who(peer.parse().unwrap(), &headers, true)
            .0
            .highest()
    }

    #[test]
    fn networks_and_keys_decide() {
        assert_eq!(ask("10.2.0.1", &[]), Access::Read);
        assert_eq!(ask("10.1.0.1", &[]), Access::Control);
        assert_eq!(ask("11.1.0.1", &[]), Access::None);
        assert_eq!(
            ask("11.1.0.1", &[("authorization", "Bearer right")]),
            Access::Admin
        );
        assert_eq!(ask("11.1.0.1", &[("x-api-key", "right")]), Access::Admin);
        // A wrong key is not made good by the address.
        assert_eq!(
            ask("10.1.0.1", &[("authorization", "Bearer wrong")]),
            Access::None
        );
    }

    #[test]
    fn foreign_pages_may_do_nothing() {
        for headers in [
            &[
                ("origin", "http://evil.example"),
                ("host", "10.0.0.9:10000"),
            ][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "null"), ("host", "10.0.0.9")],
            &[
                ("user-agent", "Mozilla/5.0"),
                ("host", "rebound.example:10000"),
            ],
        ] {
            assert_eq!(ask("10.1.0.1", headers), Access::None, "{headers:?}");
        }
        for headers in [
            &[
                ("origin", "http://10.0.0.9:10000"),
                ("host", "10.0.0.9:10000"),
            ][..],
            &[
                ("user-agent", "Mozilla/5.0"),
                ("host", "[::1]:10000"),
                ("referer", "http://[::1]:10000/"),
            ],
            &[("user-agent", "okhttp"), ("host", "cms.example")],
        ] {
            assert_eq!(ask("10.1.0.1", headers), Access::Control, "{headers:?}");
        }
        // What nobody shows to come from us may look, as a person who types an address does.
        for headers in [
            &[("user-agent", "Mozilla/5.0"), ("host", "10.0.0.9")][..],
            &[
                ("user-agent", "Mozilla/5.0"),
                ("host", "10.0.0.9"),
                ("referer", "http://evil.example/10.0.0.9"),
            ],
        ] {
            assert_eq!(ask("10.1.0.1", headers), Access::Read, "{headers:?}");
        }
    }
}
