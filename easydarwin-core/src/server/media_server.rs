use std::future::Future;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::limits::Admission;
use super::shared::{Gate, Shared, canonical};
use super::udp::PortPool;
#[cfg(feature = "tls")]
use super::wire::TlsDoor;
use super::wire::{Door, Tunnels};
use super::{
    BackoffStats, Lookup, MediaServerBuilder, OnDemand, ServerError, ServerEvent, connection,
};
use crate::forward::Forwards;
use crate::pull::Pulls;
use crate::registry::random_bytes;
use crate::relay::{Hub, UdpSockets};
use crate::rtsp::auth::Realm;

/// Connections that may wait to be accepted. When a server comes back, all of its cameras and
/// players come at once; those that find no room here lose a second or more.
const BACKLOG: u32 = 4096;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Events kept for an embedder that is slow to take them.
const EVENT_BACKLOG: usize = 1024;

/// An RTSP server around a [`Hub`]: publishers in, players out, over TCP and UDP.
///
/// ```no_run
/// use easydarwin_core::{registry::AllowAll, server::MediaServer};
///
/// # async fn example() -> Result<(), easydarwin_core::server::ServerError> {
/// let server = MediaServer::builder()
///     .rtsp(([0, 0, 0, 0], 10554).into())
///     .authorizer(AllowAll)
///     .build()
///     .await?;
/// println!("rtsp://{}/", server.rtsp_addr());
/// server.run(std::future::pending()).await
/// # }
/// ```
#[derive(Debug)]
pub struct MediaServer {
    shared: Arc<Shared>,
    listener: TcpListener,
    #[cfg(feature = "tls")]
    rtsps: Option<TcpListener>,
    #[cfg(feature = "http")]
    http: Option<HttpSide>,
}

#[cfg(feature = "http")]
#[derive(Debug)]
struct HttpSide {
    listener: TcpListener,
    config: crate::http::HttpConfig,
}

/// What others may do with a running server; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

impl MediaServer {
    /// Begins with a server on 127.0.0.1, port chosen by the system, that refuses everybody.
    pub fn builder() -> MediaServerBuilder {
        MediaServerBuilder::new()
    }

    pub(super) async fn bind(parts: MediaServerBuilder, hub: Hub) -> Result<Self, ServerError> {
        let (listener, rtsp) = listen(parts.rtsp, "RTSP")?;
        #[cfg(feature = "tls")]
        let (rtsps, rtsps_addr) = match parts.rtsps {
            None => (None, None),
            Some(address) => {
                let (listener, address) = listen(address, "RTSPS")?;
                (Some(listener), Some(address))
            }
        };
        #[cfg(feature = "http")]
        let (http, http_addr) = match parts.http {
            None => (None, None),
            Some(address) => {
                let (listener, address) = listen(address, "HTTP")?;
                let config = parts.http_config;
                (Some(HttpSide { listener, config }), Some(address))
            }
        };
        let range = parts.udp_ports.clone().unwrap_or(0..=0);
        let player_sockets =
            UdpSockets::bind(parts.rtsp.ip(), range).map_err(ServerError::UdpPorts)?;
        let store = parts.sources;
        let pulls = Pulls::with_otherwise(hub.clone(), parts.pull, store.clone(), parts.on_demand);
        pulls.load().await.map_err(ServerError::Sources)?;
        let on_demand: Arc<dyn OnDemand> = Arc::new(pulls.clone());
        let forwards = Forwards::new(hub.clone(), parts.forward, store, Some(on_demand.clone()));
        forwards.load().await.map_err(ServerError::Forwards)?;
        let lookup = Lookup::new(hub.clone(), Some(on_demand), parts.limits.demand);
        #[cfg(not(feature = "http"))]
        let http_addr = None;
        let key = random_bytes().map_err(|_| ServerError::Random)?;
        let shared = Arc::new(Shared {
            rtsp_addr: rtsp,
            http_addr,
            hub,
            lookup,
            pulls,
            forwards,
            gate: Gate {
                authorizer: parts.authorizer,
                backoff: Backoff::new(parts.backoff),
                events: broadcast::Sender::new(EVENT_BACKLOG),
            },
            realm: Realm::new(parts.auth, key, Instant::now()),
            admission: Admission::new(
                parts.limits.connections,
                parts.limits.connections_per_address,
            ),
            tunnels: Tunnels::new(parts.limits.waiting_tunnels),
            #[cfg(feature = "tls")]
            tls: parts.tls.map(|config| Arc::new(TlsDoor::new(config))),
            #[cfg(feature = "tls")]
            rtsps_addr,
            ports: PortPool::new(parts.udp_ports, parts.limits.udp_receive_buffer),
            limits: parts.limits,
            rtsp: Arc::new(parts.rtsp_config),
            player_sockets,
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        Ok(Self {
            shared,
            listener,
            #[cfg(feature = "tls")]
            rtsps,
            #[cfg(feature = "http")]
            http,
        })
    }

    /// Where RTSP is served; the port is the real one.
    pub fn rtsp_addr(&self) -> SocketAddr {
        self.shared.rtsp_addr
    }

    /// Where HTTP is served, if it is.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.shared.http_addr
    }

    /// The streams.
    pub fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    /// For those who need the server while it runs.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            shared: self.shared.clone(),
        }
    }

    /// Serves until `shutdown` resolves (or [`ServerHandle::shutdown`] is called), then ends all
    /// sessions: players get the end of their stream, connections and listeners are closed.
    ///
    /// # Errors
    /// Never at present: failed accepts are logged and tried again.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServerError> {
        let Self {
            shared, listener, ..
        } = self;
        let forward = forward_events(shared.hub.events(), shared.gate.events.clone());
        shared
            .tasks
            .spawn(shared.cancel.clone().run_until_cancelled_owned(forward));
        let pulls = shared.pulls.clone().run(shared.cancel.clone());
        shared.tasks.spawn(pulls);
        let forwards = shared.forwards.clone().run(shared.cancel.clone());
        shared.tasks.spawn(forwards);
        #[cfg(feature = "http")]
        if let Some(side) = self.http {
            serve_http(side, &shared);
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &shared.tls {
            let watch = tls.clone().watch();
            shared
                .tasks
                .spawn(shared.cancel.clone().run_until_cancelled_owned(watch));
        }
        #[cfg(feature = "tls")]
        if let Some(rtsps) = self.rtsps {
            let accepting = {
                let shared = shared.clone();
                async move { accept_all(&rtsps, &shared, Door::Rtsps).await }
            };
            shared
                .tasks
                .spawn(shared.cancel.clone().run_until_cancelled_owned(accepting));
        }
        tokio::select! {
            () = shutdown => {}
            () = shared.cancel.cancelled() => {}
            () = accept_all(&listener, &shared, Door::Rtsp) => {}
        }
        drop(listener);
        shared.hub.shutdown();
        shared.cancel.cancel();
        shared.tasks.close();
        let ended = tokio::time::timeout(shared.limits.shutdown, shared.tasks.wait()).await;
        if ended.is_err() {
            tracing::warn!(left = shared.tasks.len(), "connections did not end in time");
        }
        Ok(())
    }
}

impl ServerHandle {
    /// The streams.
    pub fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    /// Where RTSP is served.
    pub fn rtsp_addr(&self) -> SocketAddr {
        self.shared.rtsp_addr
    }

    /// Where RTSP over TLS alone is served, if it is.
    #[cfg(feature = "tls")]
    pub fn rtsps_addr(&self) -> Option<SocketAddr> {
        self.shared.rtsps_addr
    }

    /// What TLS has done, if it is served.
    #[cfg(feature = "tls")]
    pub fn tls_stats(&self) -> Option<super::TlsStats> {
        self.shared.tls.as_ref().map(|tls| tls.stats())
    }

    /// Reads the certificate and key files again; sessions go on as they are.
    ///
    /// # Errors
    /// [`TlsError`](crate::tls::TlsError) names the file that cannot be used; the certificate stays
    /// what it was.
    #[cfg(feature = "tls")]
    pub fn reload_certificates(&self) -> Result<(), crate::tls::TlsError> {
        self.shared
            .tls
            .as_ref()
            .map_or(Ok(()), |tls| tls.config.reload())
    }

    /// Where HTTP is served, if it is.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.shared.http_addr
    }

    /// How busy the server is: connections, in thousandths of its limit.
    pub fn load_permille(&self) -> u32 {
        let limit = self.shared.limits.connections.max(1);
        u32::try_from(self.connections().saturating_mul(1000) / limit).unwrap_or(u32::MAX)
    }

    /// Finds streams, on demand too.
    pub fn lookup(&self) -> &Lookup {
        &self.shared.lookup
    }

    /// The streams that the server fetches itself.
    pub fn pulls(&self) -> &Pulls {
        &self.shared.pulls
    }

    /// The streams that the server pushes on.
    pub fn forwards(&self) -> &Forwards {
        &self.shared.forwards
    }

    /// RTSP connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.admission.count()
    }

    /// What was seen of failed logins.
    pub fn backoff(&self) -> BackoffStats {
        self.shared.gate.backoff.stats()
    }

    /// What happens from now on. A receiver that is slow loses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<ServerEvent> {
        self.shared.gate.events.subscribe()
    }

    /// Ends [`MediaServer::run`].
    pub fn shutdown(&self) {
        self.shared.cancel.cancel();
    }
}

fn listen(
    address: SocketAddr,
    purpose: &'static str,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    let bind = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restart must not wait for connections of the run before to time out.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        if address.ip() == Ipv6Addr::UNSPECIFIED {
            // All addresses are those of IPv4, too, whatever the system's default is.
            SockRef::from(&socket).set_only_v6(false)?;
        }
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    bind().map_err(|source: io::Error| ServerError::Bind {
        purpose,
        address,
        source,
    })
}

async fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, door: Door) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => accept(socket, canonical(peer), shared, door),
            // The peer gave up before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept RTSP connections; is the limit of open files too low?");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn accept(socket: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, door: Door) {
    let Some(admitted) = shared.admission.admit(peer.ip()) else {
        tracing::debug!(%peer, "connection refused: too many are open");
        return;
    };
    if let Err(error) = SockRef::from(&socket).set_tcp_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY not set");
    }
    let shared_with_task = shared.clone();
    shared.tasks.spawn(connection::serve(
        shared_with_task,
        socket,
        peer,
        door,
        admitted,
    ));
}

async fn forward_events(
    mut hub: broadcast::Receiver<crate::relay::HubEvent>,
    out: broadcast::Sender<ServerEvent>,
) {
    use broadcast::error::RecvError;
    loop {
        let event = match hub.recv().await {
            Ok(event) => ServerEvent::Stream(event),
            Err(RecvError::Lagged(lost)) => ServerEvent::Missed(lost),
            Err(RecvError::Closed) => return,
        };
        // Nobody listening is no error.
        let _ = out.send(event);
    }
}

/// HTTP asks through the same gate and ends with the same token.
#[cfg(feature = "http")]
fn serve_http(mut side: HttpSide, shared: &Arc<Shared>) {
    side.config.rtsp_port.get_or_insert(shared.rtsp_addr.port());
    let mut state = crate::http::HttpState::new(shared.hub.clone())
        .with_authorizer(Arc::new(shared.gate.clone()))
        .with_backoff(shared.gate.backoff.clone())
        .with_pulls(shared.pulls.clone())
        .with_forwards(shared.forwards.clone())
        .with_config(side.config);
    if let Some(on_demand) = shared.lookup.on_demand() {
        state = state.with_on_demand(on_demand.clone());
    }
    let cancelled = shared.cancel.clone().cancelled_owned();
    shared.tasks.spawn(async move {
        if let Err(error) = crate::http::serve(side.listener, state, cancelled).await {
            tracing::error!(%error, "serving HTTP failed");
        }
    });
}
