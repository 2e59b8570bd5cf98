//! Under which address somebody reaches a node.

use std::net::IpAddr;

use easydarwin_core::protocol::node::Endpoint;
use easydarwin_core::registry::Cidr;

/// An address to hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    /// A name or an IP literal, without brackets.
    pub(crate) host: String,
    pub(crate) rtsp: u16,
    pub(crate) rtsps: Option<u16>,
    pub(crate) http: Option<u16>,
}

/// Who asks: from where, and where he reached us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) peer: IpAddr,
    pub(crate) local: IpAddr,
}

/// The endpoint whose network holds the asker, else `wan`, else the first.
///
/// A node that names no host (`0.0.0.0`) is reached where its own connection comes from; one on
/// our machine is reached where the asker reached us.
pub(crate) fn reach(endpoints: &[Endpoint], node_peer: IpAddr, asker: Asker) -> Option<Reach> {
    let fits = |endpoint: &&Endpoint| {
        endpoint
            .cidrs
            .iter()
            .filter_map(|cidr| cidr.parse::<Cidr>().ok())
            .any(|cidr| cidr.contains(asker.peer))
    };
    let endpoint = endpoints
        .iter()
        .find(fits)
        .or_else(|| endpoints.iter().find(|e| e.name == "wan"))
        .or_else(|| endpoints.first())?;
    let host = endpoint.host.trim_start_matches('[').trim_end_matches(']');
    let unspecified = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    let host = if unspecified {
        let (node, local) = (node_peer.to_canonical(), asker.local.to_canonical());
        if node.is_loopback() || node == local {
            local.to_string()
        } else {
            node.to_string()
        }
    } else {
        host.to_owned()
    };
    Some(Reach {
        host,
        rtsp: endpoint.rtsp,
        rtsps: endpoint.rtsps,
        http: endpoint.http,
    })
}

impl Asker {
    pub(crate) fn new(peer: IpAddr, local: IpAddr) -> Self {
        Self {
            peer: peer.to_canonical(),
            local: local.to_canonical(),
        }
    }
}

impl Reach {
    /// `host:port` of a URL.
    pub(crate) fn authority(&self, port: u16) -> String {
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }

    pub(crate) fn rtsp_authority(&self) -> String {
        self.authority(self.rtsp)
    }

    pub(crate) fn rtsps_authority(&self) -> Option<String> {
        self.rtsps.map(|port| self.authority(port))
    }

    pub(crate) fn http_authority(&self) -> Option<String> {
        self.http.map(|port| self.authority(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_the_address_that_he_can_reach() {
        let mut lan = Endpoint::wan("10.0.0.5", 554, None);
        lan.name = "lan".into();
        lan.cidrs = vec!["10.0.0.0/8".into()];
        let wan = Endpoint::wan("media.example", 10554, Some(80));
        let both = [lan, wan];
        let any = [Endpoint::wan("0.0.0.0", 10554, None)];
        for (endpoints, node, peer, local, host) in [
            (&both[..], "10.0.0.5", "10.9.9.9", "10.0.0.1", "10.0.0.5"),
            (
                &both[..],
                "10.0.0.5",
                "8.8.8.8",
                "10.0.0.1",
                "media.example",
            ),
            // On our machine: where the asker reached us.
            (&any[..], "127.0.0.1", "10.9.9.9", "10.0.0.1", "10.0.0.1"),
            (&any[..], "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
            // On another one: where it came from.
            (&any[..], "10.0.0.7", "10.9.9.9", "10.0.0.1", "10.0.0.7"),
        ] {
            let asker = Asker::new(peer.parse().unwrap(), local.parse().unwrap());
            let reached = reach(endpoints, node.parse().unwrap(), asker).unwrap();
            assert_eq!(reached.host, host);
        }
        let asker = Asker::new([1, 1, 1, 1].into(), [1, 1, 1, 1].into());
        assert_eq!(reach(&[], [1, 1, 1, 1].into(), asker), None);
    }
}
