use std::net::SocketAddr;

use easydarwin_core::protocol::{Envelope, ErrorNum, MessageType};
use easydarwin_core::registry::{Author, StoreError};

use crate::access::{Access, ClientHeaders};
use crate::accounts::Identity;
use crate::nodes::Asker;
use crate::state::State;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Number of the connection, for what is bound to it.
    pub(crate) connection: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Over TLS.
    pub(crate) secure: bool,
    /// `Host` of the request.
    pub(crate) host: Option<String>,
    /// What he may do with something, somewhere.
    pub(crate) access: Access,
    pub(crate) identity: Identity,
}

impl Caller {
    pub(crate) fn asker(&self) -> Asker {
        Asker::new(self.peer.ip(), self.local.ip())
    }

    /// What he may do with this device. [`Access::None`] for one that does not exist.
    pub(crate) async fn may(&self, state: &State, serial: &str) -> Result<Access, StoreError> {
        // Who may do the same with all needs no look at the device.
        if self.identity.everywhere() == self.access {
            return Ok(self.access);
        }
        let group = match state.sessions.get(serial) {
            Some(session) => Some(session.group()),
            None => state.devices.get(serial).await?.map(|d| d.group),
        };
        Ok(group.map_or(Access::None, |group| self.identity.in_group(&group)))
    }

    /// Under which name he wants streams. Clients of a network bring no name, so their address is
    /// it: what one of them wants no more another one may still want.
    pub(crate) fn interest(&self) -> String {
        match &*self.identity.who {
            who @ ("network" | "nobody") => format!("{who} {}", self.peer.ip().to_canonical()),
            who => who.to_owned(),
        }
    }

    /// Who makes a change.
    pub(crate) fn author(&self, state: &State) -> Author {
        Author::new(&*self.identity.who, state.now()).from_address(self.peer.ip().to_string())
    }

    /// Host and port under which this caller reaches the CMS.
    pub(crate) fn our_address(&self, state: &State) -> (String, u16) {
        let local = self.local;
        if let Some(host) = &state.config.advertise {
            return (host.clone(), local.port());
        }
        self.host
            .as_deref()
            .and_then(|host| split_host(host, self.secure))
            .unwrap_or_else(|| (local.ip().to_canonical().to_string(), local.port()))
    }

    /// A URL of ours that this caller can load, by the way that he came.
    pub(crate) fn our_url(&self, state: &State, path: &str) -> String {
        let (host, port) = self.our_address(state);
        let scheme = if self.secure { "https" } else { "http" };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}{path}")
        } else {
            format!("{scheme}://{host}:{port}{path}")
        }
    }
}

/// Reads `host[:port]`, leaving out what is no name or address that leads anywhere.
fn split_host(text: &str, secure: bool) -> Option<(String, u16)> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']')?;
            (name, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let clean = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    let whole = name.contains(['.', ':']) || name == "localhost";
    let port = port.map_or(Some(if secure { 443 } else { 80 }), |p| p.parse().ok())?;
    (clean && whole).then(|| (name.to_owned(), port))
}

/// An answer to a REST call.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) envelope: Envelope,
}

impl Answer {
    /// HTTP 200; the result stands in the envelope, which is what old clients look at.
    pub(crate) fn new(envelope: Envelope) -> Self {
        Self {
            status: 200,
            envelope,
        }
    }

    /// A parameter is missing.
    pub(crate) fn missing(kind: MessageType, parameter: &str) -> Self {
        let mut envelope = Envelope::answer(kind, "1", ErrorNum::BAD_REQUEST);
        envelope
            .body
            .set("Reason", format!("the parameter {parameter} is missing"));
        Self {
            status: 400,
            envelope,
        }
    }

    /// A thing that nobody may do over the network.
    pub(crate) fn refusal(kind: MessageType) -> Self {
        let mut envelope = Envelope::answer(kind, "1", ErrorNum::FORBIDDEN);
        envelope
            .body
            .set("Reason", "this is not done over the network");
        Self {
            status: 403,
            envelope,
        }
    }

    /// The refusal, if the caller has not the right that is needed.
    pub(crate) fn without_right(
        kind: MessageType,
        has: Access,
        needed: Access,
        cseq: &str,
    ) -> Option<Self> {
        if has >= needed {
            return None;
        }
        let (status, error, reason) = match has {
            Access::None => (
                401,
                ErrorNum::UNAUTHORIZED,
                "an API key is needed (Authorization: Bearer KEY), or an address in legacy_clients",
            ),
            _ => (403, ErrorNum::FORBIDDEN, "the right to do this is missing"),
        };
        let mut envelope = Envelope::answer(kind, cseq, error);
        envelope.body.set("Reason", reason);
        Some(Self { status, envelope })
    }

    pub(crate) fn reason(&self) -> &'static str {
        match self.status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            _ => "Error",
        }
    }
}

/// Browsers take JSON for an object only if it says so; one known old client takes only text.
pub(crate) fn content_type(headers: &ClientHeaders) -> &'static str {
    if headers.is_browser() {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_or_left_out() {
        for (text, host) in [
            ("10.0.0.1:10000", Some(("10.0.0.1", 10000))),
            ("cms.example", Some(("cms.example", 80))),
            ("localhost:1", Some(("localhost", 1))),
            ("[::1]:10000", Some(("::1", 10000))),
            ("x", None),
            ("a;b.c:1", None),
            ("a.b:99999", None),
        ] {
            let expected = host.map(|(h, p)| (h.to_owned(), p));
            assert_eq!(split_host(text, false), expected, "{text}");
        }
        let secure = split_host("cms.example", true);
        assert_eq!(secure, Some(("cms.example".to_owned(), 443)));
    }
}
