use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::error::HttpError;
use super::state::Shared;
use crate::registry::{AccessRequest, Action, Credentials, Permit, Principal, StreamPath};

/// Who asks, and with what.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    pub(crate) credentials: Credentials,
    pub(crate) agent: Option<String>,
    /// The web origin (or the word that the browser has for another site) whose page asks.
    foreign_origin: Option<String>,
}

impl Caller {
    /// Reads a request; `token` is that of the path.
    pub(crate) fn new(parts: &Parts, token: Option<String>, allowed: &[String]) -> Self {
        let url_token = token.or_else(|| query_token(parts.uri.query()));
        let authorization = text(&parts.headers, header::AUTHORIZATION);
        let bearer = authorization.and_then(bearer);
        let credentials = Credentials {
            url_token: url_token.map(Into::into),
            bearer: bearer.map(Into::into),
            authorization: authorization.filter(|_| bearer.is_none()).map(Into::into),
        };
        Self {
            peer: peer(parts),
            foreign_origin: foreign_origin(&parts.headers, peer(parts), allowed),
            agent: text(&parts.headers, header::USER_AGENT).map(str::to_owned),
            credentials,
        }
    }

    /// Asks the authorizer. The right comes with what says when it ends.
    pub(crate) async fn may_play(
        &self,
        shared: &Shared,
        path: &StreamPath,
    ) -> Result<(Principal, Permit), HttpError> {
        self.check_origin()?;
        let request = AccessRequest::new(
            Action::Play,
            path.clone(),
            self.peer,
            self.credentials.clone(),
        );
        let principal = shared.authorizer.authorize(&request).await?;
        let permit = shared.authorizer.permit(&request, &principal);
        Ok((principal, permit))
    }

    /// A right that comes with the request (a token) is one that the page was given. A right that
    /// comes from the client's address alone would lend itself to every page that the client
    /// visits, so there only pages of this host and of listed origins may use it.
    fn check_origin(&self) -> Result<(), HttpError> {
        match &self.foreign_origin {
            Some(origin) if self.credentials.token().is_none() => {
                Err(HttpError::ForeignOrigin(origin.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// The token of `Authorization: Bearer`.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn query_token(query: Option<&str>) -> Option<String> {
    query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
}

/// The client's address; that of nobody in a router that was mounted without `ConnectInfo`.
fn peer(parts: &Parts) -> SocketAddr {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or_else(
            || (Ipv4Addr::UNSPECIFIED, 0).into(),
            |ConnectInfo(peer)| SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        )
}

/// The origin of a page of another host, if one makes this request and is not in the list.
fn foreign_origin(headers: &HeaderMap, peer: SocketAddr, allowed: &[String]) -> Option<String> {
    let Some(origin) = text(headers, header::ORIGIN) else {
        // Media elements and images send no origin. A link from elsewhere is no danger: the page
        // that it opens is ours.
        let value = |name: &'static str| headers.get(name).and_then(|v| v.to_str().ok());
        let embedded = value("sec-fetch-site") == Some("cross-site")
            && value("sec-fetch-mode") != Some("navigate");
        return embedded.then(|| "another site".to_owned());
    };
    if allowed.iter().any(|entry| entry == origin) {
        return None;
    }
    let page = origin.split_once("://").map(|(_, rest)| host_of(rest));
    let own = text(headers, header::HOST).map(host_of);
    // A name that somebody else's DNS points at this machine is not this machine's name: what is
    // trusted because it is local must be addressed so.
    let rebound = peer.ip().is_loopback() && !page.is_some_and(is_local_name);
    let same = page.is_some() && page == own && !rebound;
    (!same).then(|| origin.to_owned())
}

/// The host of `host:port`, brackets of IPv6 kept.
pub(crate) fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_local_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(headers: &[(&'static str, &str)], peer: &str, allowed: &[&str]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let allowed: Vec<_> = allowed.iter().map(|s| (*s).to_owned()).collect();
        foreign_origin(&map, peer.parse().unwrap(), &allowed).is_some()
    }

    #[test]
    fn pages_of_the_same_host_are_at_home_whatever_their_port() {
        let host = ("host", "127.0.0.1:10080");
        let lan = "192.0.2.7:4000";
        let own = "127.0.0.1:4000";
        assert!(!foreign(&[host], own, &[]));
        assert!(!foreign(
            &[host, ("origin", "http://127.0.0.1:10000")],
            own,
            &[]
        ));
        assert!(foreign(
            &[host, ("origin", "http://evil.example")],
            own,
            &[]
        ));
        assert!(foreign(&[host, ("origin", "null")], own, &[]));
        assert!(!foreign(
            &[host, ("origin", "https://a.example")],
            own,
            &["https://a.example"]
        ));
        let named = ("host", "node.example:10080");
        assert!(!foreign(
            &[named, ("origin", "http://node.example")],
            lan,
            &[]
        ));
        let v6 = ("host", "[::1]:10080");
        assert!(!foreign(
            &[v6, ("origin", "http://[::1]:10000")],
            "[::1]:4000",
            &[]
        ));
    }

    #[test]
    fn a_name_that_points_at_loopback_is_foreign() {
        let headers = [
            ("host", "evil.example:10080"),
            ("origin", "http://evil.example:10080"),
        ];
        assert!(foreign(&headers, "127.0.0.1:4000", &[]));
    }

    #[test]
    fn embedding_elsewhere_is_foreign_but_a_link_is_not() {
        let site = ("sec-fetch-site", "cross-site");
        assert!(foreign(
            &[site, ("sec-fetch-mode", "no-cors")],
            "127.0.0.1:1",
            &[]
        ));
        assert!(!foreign(
            &[site, ("sec-fetch-mode", "navigate")],
            "127.0.0.1:1",
            &[]
        ));
        assert!(!foreign(
            &[("sec-fetch-site", "same-site")],
            "127.0.0.1:1",
            &[]
        ));
    }
}
