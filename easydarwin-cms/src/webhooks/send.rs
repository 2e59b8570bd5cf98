//! One request to a receiver.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Longest URL.
const MAX_URL: usize = 2048;

/// What a receiver made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// He does not want this: trying again soon is of little use.
    Refused(String),
    /// He could not: it is tried again, not before this time.
    Failed(String, Option<Duration>),
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) url: String,
    pub(super) id: String,
    pub(super) seconds: u64,
    pub(super) signature: String,
    pub(super) body: String,
}

/// Whether a webhook may go there; what is wrong with it if not.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    if url.len() > MAX_URL {
        return Err("the URL is too long");
    }
    let uri: Uri = url.parse().map_err(|_| "this is no URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("the URL has to begin with https:// or http://");
    }
    let authority = uri.authority().ok_or("the URL names no host")?;
    if authority.as_str().contains('@') {
        return Err("write no user and password into the URL: what is sent is signed");
    }
    let host = authority.host().trim_matches(['[', ']']);
    match host.parse() {
        Ok(address) if !may_be_reached(address) => Err("webhooks do not go to this address"),
        _ if host.is_empty() => Err("the URL names no host"),
        _ => Ok(()),
    }
}

/// Receivers in the own network and on this machine are what webhooks are for, and who makes one
/// controls everything here anyway. What is refused is what never is a receiver: link-local
/// addresses, behind which clouds hand out the machine's own credentials, and those that mean
/// many or none.
fn may_be_reached(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            // A cloud's credentials under IPv6.
            let metadata = v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            !(v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || metadata)
        }
    }
}

/// Looks names up at each connection, so that none turns into a forbidden address later.
#[derive(Debug, Default)]
struct Careful(DefaultResolver);

impl Resolver for Careful {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        let good = |address: &&SocketAddr| may_be_reached(address.ip());
        for address in found.iter().filter(good) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        Ok(allowed)
    }
}

/// The client of one webhook.
#[derive(Debug, Clone)]
pub(super) struct Client(Agent);

impl Client {
    pub(super) fn new(timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // A receiver says where it is; whoever answers there does not.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections(1)
            .user_agent(concat!("EasyDarwin-CMS/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(Agent::with_parts(
            config,
            DefaultConnector::default(),
            Careful::default(),
        ))
    }

    /// Blocks for no longer than the timeout.
    pub(super) fn send(&self, message: &Message) -> Outcome {
        let answer = self
            .0
            .post(&message.url)
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.seconds.to_string())
            .header("webhook-signature", &message.signature)
            .send(&message.body);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Outcome::Failed(error.to_string(), None),
        };
        let status = answer.status();
        let said = format!("the receiver answered {status}");
        match status.as_u16() {
            200..=299 => Outcome::Taken,
            // Too late, too early, too many: not the fault of what was sent.
            408 | 425 | 429 | 500.. => {
                let after = answer.headers().get("retry-after");
                let seconds = after.and_then(|value| value.to_str().ok()?.parse().ok());
                Outcome::Failed(said, seconds.map(Duration::from_secs))
            }
            _ => Outcome::Refused(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_receivers_or_are_refused() {
        for good in [
            "https://example.com/hook",
            "http://127.0.0.1:8080/x?y=z",
            "http://10.0.0.1",
            "http://[fd00::1]:80/",
            "http://receiver:8080/",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        let long = format!("http://a/{}", "x".repeat(MAX_URL));
        for bad in [
            "",
            "/hook",
            "ftp://example.com/",
            "file:///etc/passwd",
            "http://user:secret@example.com/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http:///x",
            &long,
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
