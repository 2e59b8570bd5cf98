use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::limits::Admission;
use super::udp::PortPool;
#[cfg(feature = "tls")]
use super::wire::TlsDoor;
use super::wire::Tunnels;
use super::{Limits, Lookup, ServerEvent};
use crate::forward::Forwards;
use crate::pull::Pulls;
use crate::registry::{Accepts, AccessRequest, Authorizer, Denied, Permit, Principal};
use crate::relay::{Hub, UdpSockets};
use crate::rtsp;
use crate::rtsp::auth::Realm;

/// What all connections of one server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) rtsp_addr: SocketAddr,
    pub(super) http_addr: Option<SocketAddr>,
    pub(super) hub: Hub,
    pub(super) lookup: Lookup,
    pub(super) pulls: Pulls,
    pub(super) forwards: Forwards,
    pub(super) gate: Gate,
    pub(super) realm: Realm,
    pub(super) limits: Limits,
    pub(super) rtsp: Arc<rtsp::ServerConfig>,
    pub(super) admission: Arc<Admission>,
    /// Tunnels that are being opened or are open.
    pub(super) tunnels: Arc<Tunnels>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<TlsDoor>>,
    #[cfg(feature = "tls")]
    pub(super) rtsps_addr: Option<SocketAddr>,
    /// For publishers.
    pub(super) ports: PortPool,
    /// For players.
    pub(super) player_sockets: UdpSockets,
    pub(super) cancel: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Asks the authorizer, tells when it refuses, and lets those wait who fail to log in.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) backoff: Backoff,
    pub(super) events: broadcast::Sender<ServerEvent>,
}

#[async_trait]
impl Authorizer for Gate {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        let result = self.authorizer.authorize(request).await;
        if let Err(reason) = result {
            tracing::debug!(path = %request.path, peer = %request.peer, action = ?request.action, %reason, "refused");
            // Nobody listening is no error.
            let _ = self.events.send(ServerEvent::Refused {
                path: request.path.clone(),
                action: request.action,
                peer: request.peer,
                reason,
            });
        }
        // Who brought nothing has failed at nothing: that is how every login by password begins.
        if result == Err(Denied::Unauthorized)
            && !request.credentials.is_empty()
            && !self.backoff.failed(request.peer.ip()).await
        {
            return Err(Denied::Throttled);
        }
        result
    }

    fn permit(&self, request: &AccessRequest, principal: &Principal) -> Permit {
        self.authorizer.permit(request, principal)
    }

    fn accepts(&self) -> Accepts {
        self.authorizer.accepts()
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

/// The address without the IPv4-in-IPv6 form that a dual-stack listener shows.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
