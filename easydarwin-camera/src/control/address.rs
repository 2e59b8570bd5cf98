use std::fmt;

/// Where a CMS is, and whether what is said there goes through TLS.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CmsAddress {
    authority: String,
    tls: bool,
}

impl CmsAddress {
    /// `host:port` over plain TCP; without port the protocol's, 10000.
    pub fn plain(authority: impl AsRef<str>) -> Self {
        Self {
            authority: with_port(authority.as_ref()),
            tls: false,
        }
    }

    /// The same over TLS: the shell has to check the certificate before it calls
    /// [`connected`](super::ControlEngine::connected), for what is said then is believed.
    pub fn tls(authority: impl AsRef<str>) -> Self {
        Self {
            authority: with_port(authority.as_ref()),
            tls: true,
        }
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether to connect with TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Where somebody at this address sends us: never from TLS to plain text.
    pub(super) fn redirected(&self, to: &str) -> Option<Self> {
        let (host, port) = to.rsplit_once(':')?;
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let clean = match literal {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let name = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
                !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(name)
            }
        };
        let port: u16 = port.parse().ok()?;
        (clean && port != 0).then(|| Self {
            authority: format!("{host}:{port}"),
            tls: self.tls,
        })
    }
}

impl fmt::Debug for CmsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CmsAddress({self})")
    }
}

impl fmt::Display for CmsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls://" } else { "" };
        write!(f, "{scheme}{}", self.authority)
    }
}

fn with_port(authority: &str) -> String {
    let after_host = authority.rsplit(']').next().unwrap_or(authority);
    if after_host.bytes().any(|byte| byte == b':') {
        authority.to_owned()
    } else {
        format!("{authority}:{PORT}")
    }
}

/// The port of CMS.
const PORT: u16 = 10_000;
/// Longest name that DNS has.
const MAX_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_and_says_whether_it_is_secure() {
        for (text, authority) in [
            ("cms.example:1", "cms.example:1"),
            ("cms.example", "cms.example:10000"),
            ("[::1]", "[::1]:10000"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(CmsAddress::plain(text).to_string(), authority);
            let secure = CmsAddress::tls(text);
            assert_eq!(secure.to_string(), format!("tls://{authority}"));
            assert!(secure.is_tls() && secure.authority() == authority);
        }
    }

    #[test]
    fn a_redirect_is_a_host_and_a_port_and_keeps_tls() {
        let (plain, tls) = (CmsAddress::plain("a:1"), CmsAddress::tls("a:1"));
        for (to, authority) in [
            ("cms-2.example:10000", "cms-2.example:10000"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("[2001:db8::1]:10000", "[2001:db8::1]:10000"),
            ("b:+7", "b:7"),
        ] {
            assert_eq!(plain.redirected(to), Some(CmsAddress::plain(authority)));
            assert_eq!(tls.redirected(to), Some(CmsAddress::tls(authority)));
        }
        let long = format!("{}:1", "a".repeat(254));
        for to in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a b:1",
            "a\r\n:1",
            "http://a:1",
            "u@a:1",
            "2001:db8::1:10000",
            "[::1:1",
            "[a]:1",
            &long,
        ] {
            assert_eq!(plain.redirected(to), None, "{to}");
        }
    }
}
