//! Who may use the client side: API keys, trusted networks, and what browsers may not do.

use std::net::IpAddr;

use easydarwin_core::protocol::login::secrets_equal;

use crate::config::{CmsConfig, LegacyLevel};

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    None,
    Read,
    Control,
}

/// The parts of a request that decide.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientHeaders {
    pub(crate) authorization: Option<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) fetch_site: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) user_agent: Option<String>,
}

impl ClientHeaders {
    pub(crate) fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let own = |name| get(name).map(str::to_owned);
        Self {
            authorization: own("authorization"),
            api_key: own("x-api-key"),
            origin: own("origin"),
            fetch_site: own("sec-fetch-site"),
            host: own("host"),
            user_agent: own("user-agent"),
        }
    }

    pub(crate) fn is_browser(&self) -> bool {
        self.user_agent
            .as_deref()
            .is_some_and(|agent| agent.starts_with("Mozilla/"))
    }

    fn key(&self) -> Option<&str> {
        let bearer = self
            .authorization
            .as_deref()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim());
        bearer.or(self.api_key.as_deref())
    }
}

/// What this request may do. A request that a foreign web page made may do nothing, whatever it
/// brings: its reader's address and its reader's rights are not its own.
pub(crate) fn access_of(
    config: &CmsConfig,
    api_key: &str,
    peer: IpAddr,
    headers: &ClientHeaders,
) -> Access {
    if is_foreign(config, headers) {
        return Access::None;
    }
    if let Some(key) = headers.key() {
        return if secrets_equal(key.as_bytes(), api_key.as_bytes()) {
            Access::Control
        } else {
            Access::None
        };
    }
    if headers.is_browser() && !host_is_ours(config, headers.host.as_deref()) {
        return Access::None;
    }
    config
        .legacy_clients
        .iter()
        .filter(|client| client.network.contains(peer))
        .map(|client| match client.level {
            LegacyLevel::Read => Access::Read,
            LegacyLevel::Control => Access::Control,
        })
        .max()
        .unwrap_or(Access::None)
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

/// For the count of wrong keys. A foreign page's request says nothing about its reader.
pub(crate) fn key_brought(
    config: &CmsConfig,
    headers: &ClientHeaders,
    access: Access,
) -> KeyBrought {
    match (headers.key(), access) {
        (None, Access::None) => KeyBrought::None,
        (None, _) => KeyBrought::NotNeeded,
        (Some(_), Access::None) if is_foreign(config, headers) => KeyBrought::None,
        (Some(_), Access::None) => KeyBrought::Wrong,
        (Some(_), _) => KeyBrought::Right,
    }
}

fn is_foreign(config: &CmsConfig, headers: &ClientHeaders) -> bool {
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
        access_of(&config(), "right", peer.parse().unwrap(), &headers)
    }

    #[test]
    fn networks_and_keys_decide() {
        assert_eq!(ask("10.2.0.1", &[]), Access::Read);
        assert_eq!(ask("10.1.0.1", &[]), Access::Control);
        assert_eq!(ask("11.1.0.1", &[]), Access::None);
        assert_eq!(
            ask("11.1.0.1", &[("authorization", "Bearer right")]),
            Access::Control
        );
        assert_eq!(ask("11.1.0.1", &[("x-api-key", "right")]), Access::Control);
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
            &[("user-agent", "Mozilla/5.0"), ("host", "[::1]:10000")],
            &[("user-agent", "okhttp"), ("host", "cms.example")],
        ] {
            assert_eq!(ask("10.1.0.1", headers), Access::Control, "{headers:?}");
        }
    }
}
