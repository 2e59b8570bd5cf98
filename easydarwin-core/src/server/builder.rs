use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{BackoffConfig, Limits, MediaServer, OnDemand, ServerError};
use crate::forward::ForwardConfig;
use crate::pull::{NoSourceStore, PullConfig, SourceStore};
use crate::registry::{Authorizer, DenyAll};
use crate::relay::{FilterSource, Hub, RelayConfig};
use crate::rtsp;
use crate::rtsp::auth::AuthConfig;

/// Puts a [`MediaServer`] together; see [`MediaServer::builder`].
pub struct MediaServerBuilder {
    pub(super) rtsp: SocketAddr,
    pub(super) rtsp_config: rtsp::ServerConfig,
    pub(super) udp_ports: Option<RangeInclusive<u16>>,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) auth: AuthConfig,
    pub(super) backoff: BackoffConfig,
    pub(super) on_demand: Option<Arc<dyn OnDemand>>,
    pub(super) pull: PullConfig,
    pub(super) forward: ForwardConfig,
    pub(super) sources: Arc<dyn SourceStore>,
    pub(super) hub: Option<Hub>,
    pub(super) relay: RelayConfig,
    pub(super) filters: Option<Box<dyn FilterSource>>,
    pub(super) limits: Limits,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<crate::tls::TlsConfig>,
    #[cfg(feature = "tls")]
    pub(super) rtsps: Option<SocketAddr>,
    #[cfg(feature = "http")]
    pub(super) http: Option<SocketAddr>,
    #[cfg(feature = "http")]
    pub(super) http_config: crate::http::HttpConfig,
}

impl MediaServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            rtsp: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            rtsp_config: rtsp::ServerConfig::default(),
            udp_ports: None,
            authorizer: Arc::new(DenyAll),
            auth: AuthConfig::default(),
            backoff: BackoffConfig::default(),
            on_demand: None,
            pull: PullConfig::default(),
            forward: ForwardConfig::default(),
            sources: Arc::new(NoSourceStore),
            hub: None,
            relay: RelayConfig::default(),
            filters: None,
            limits: Limits::default(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            rtsps: None,
            #[cfg(feature = "http")]
            http: None,
            #[cfg(feature = "http")]
            http_config: crate::http::HttpConfig::default(),
        }
    }

    /// Where to listen for RTSP. Port 0 lets the system choose; default: 127.0.0.1:0.
    #[must_use]
    pub fn rtsp(mut self, address: SocketAddr) -> Self {
        self.rtsp = address;
        self
    }

    /// Where to listen for RTSP over TLS alone, and what to show there. The port for RTSP takes TLS
    /// too then.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn rtsps(mut self, address: SocketAddr, config: crate::tls::TlsConfig) -> Self {
        self.rtsps = Some(address);
        self.tls(config)
    }

    /// Takes TLS on the port for RTSP: the first byte tells which it is.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: crate::tls::TlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Limits and times of RTSP itself.
    #[must_use]
    pub fn rtsp_config(mut self, config: rtsp::ServerConfig) -> Self {
        self.rtsp_config = config;
        self
    }

    /// Ports for media over UDP: two for all players together, two for each track of a publisher.
    /// Default: the system chooses.
    #[must_use]
    pub fn udp_ports(mut self, range: RangeInclusive<u16>) -> Self {
        self.udp_ports = Some(range);
        self
    }

    /// Who decides about rights. Default: nobody may do anything.
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Arc::new(authorizer);
        self
    }

    /// The same, for an authorizer that others hold too.
    #[must_use]
    pub fn shared_authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = authorizer;
        self
    }

    /// How users and passwords are asked for over RTSP. Default: Digest with MD5, over TLS also
    /// Basic, if the authorizer accepts passwords at all.
    #[must_use]
    pub fn auth(mut self, config: AuthConfig) -> Self {
        self.auth = config;
        self
    }

    /// How those are slowed down who fail to log in.
    #[must_use]
    pub fn backoff(mut self, config: BackoffConfig) -> Self {
        self.backoff = config;
        self
    }

    /// Who brings streams that nobody publishes. Default: nobody, they are answered with 404.
    #[must_use]
    pub fn on_demand(mut self, on_demand: impl OnDemand) -> Self {
        self.on_demand = Some(Arc::new(on_demand));
        self
    }

    /// The same, for one that others hold too.
    #[must_use]
    pub fn shared_on_demand(mut self, on_demand: Arc<dyn OnDemand>) -> Self {
        self.on_demand = Some(on_demand);
        self
    }

    /// Times and limits of the streams that the server fetches itself; see
    /// [`ServerHandle::pulls`](super::ServerHandle::pulls).
    #[must_use]
    pub fn pull(mut self, config: PullConfig) -> Self {
        self.pull = config;
        self
    }

    /// Times and limits of the streams that the server pushes on; see
    /// [`ServerHandle::forwards`](super::ServerHandle::forwards).
    #[must_use]
    pub fn forward(mut self, config: ForwardConfig) -> Self {
        self.forward = config;
        self
    }

    /// Keeps the sources and forwards that are added while the server runs. Default: nothing does.
    #[must_use]
    pub fn source_store(mut self, store: impl SourceStore) -> Self {
        self.sources = Arc::new(store);
        self
    }

    /// Limits, times and defaults of the relay: where readers start, how late they may be, how
    /// much is kept. Without effect beside [`hub`](Self::hub), which has its own.
    #[must_use]
    pub fn relay(mut self, config: RelayConfig) -> Self {
        self.relay = config;
        self
    }

    /// What of publishers goes into their streams, and what is added: chooses a
    /// [`MediaFilter`](crate::relay::MediaFilter) for each publisher, by path for example.
    /// Without effect beside [`hub`](Self::hub), which has its own. Default: all is passed on.
    #[must_use]
    pub fn filter(mut self, filters: impl FilterSource) -> Self {
        self.filters = Some(Box::new(filters));
        self
    }

    /// The streams, when the application has a hub already. Default: a new one.
    #[must_use]
    pub fn hub(mut self, hub: Hub) -> Self {
        self.hub = Some(hub);
        self
    }

    /// Limits on connections and times.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where to serve HLS, WebSocket and the API. Default: not at all; an application with an
    /// HTTP server of its own mounts [`http::router`](crate::http::router) instead.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(mut self, address: SocketAddr) -> Self {
        self.http = Some(address);
        self
    }

    /// Settings of the HTTP side.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http_config(mut self, config: crate::http::HttpConfig) -> Self {
        self.http_config = config;
        self
    }

    /// Binds the sockets. Nothing is accepted before [`MediaServer::run`].
    ///
    /// # Errors
    /// [`ServerError`] names the address that could not be bound.
    pub async fn build(mut self) -> Result<MediaServer, ServerError> {
        let hub = self
            .hub
            .take()
            .unwrap_or_else(|| Hub::make(self.relay.clone(), self.filters.take()));
        MediaServer::bind(self, hub).await
    }
}

impl std::fmt::Debug for MediaServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaServerBuilder")
            .field("rtsp", &self.rtsp)
            .field("udp_ports", &self.udp_ports)
            .field("on_demand", &self.on_demand.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
