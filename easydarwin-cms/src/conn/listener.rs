//! The one port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::link::Link;
use super::protocol_loop;
use super::sniff::{Owner, owner_of};
use super::transport::Transport;
use crate::error::CmsError;
use crate::guard::{Unwelcome, Visit};
use crate::http;
use crate::metrics::Refused;
use crate::state::State;

/// Connections that the kernel keeps for us. All devices of a site come back at once after a
/// restart; what does not fit here costs each of them a second or more.
pub(crate) const BACKLOG: i32 = 4096;

/// Longest first line for which a connection's owner is looked for.
const FIRST_LINE: usize = 8 * 1024;

pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, CmsError> {
    listen(address).map_err(|source| CmsError::Listen { address, source })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the shutdown.
pub(crate) async fn accept_loop(state: Arc<State>, listener: TcpListener) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut full = Rarely::default();
    let mut failed = Rarely::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.shutdown.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer is gone already: neither is a reason to stop.
                if let Some(times) = failed.due() {
                    tracing::warn!(%error, times, "a connection could not be accepted");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(permit) = Permit::take(&open, state.config.max_connections) else {
            state.metrics.refused(Refused::Limit);
            if let Some(times) = full.due() {
                tracing::warn!(%peer, times, "connection refused: the limit of connections is reached");
            }
            continue;
        };
        if let Err(why) = state.guard.may_wait(peer.ip()) {
            tracing::debug!(%peer, %why, "connection refused");
            state.metrics.refused(match why {
                Unwelcome::Blocked => Refused::Blocked,
                Unwelcome::Crowded => Refused::Crowded,
            });
            continue;
        }
        let turn = state.guard.admission.turn();
        let state = state.clone();
        state.clone().tasks.spawn(async move {
            // Open and not read from: old devices know no other way to be told to wait.
            state.metrics.connections.inc();
            if state.wait(turn.wait).await {
                let beyond = turn.beyond;
                serve(state.clone(), stream, peer, Arrival { beyond, permit }).await;
            }
            state.metrics.connections.dec();
        });
    }
}

/// A line in the log that everybody could cause a thousand times a second.
#[derive(Default)]
struct Rarely {
    last: Option<Instant>,
    times: u64,
}

impl Rarely {
    const DISTANCE: Duration = Duration::from_secs(10);

    /// How often it happened since the last line, when it is time for another.
    fn due(&mut self) -> Option<u64> {
        self.times = self.times.saturating_add(1);
        if self
            .last
            .is_some_and(|last| last.elapsed() < Self::DISTANCE)
        {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
    }
}

struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(open: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let permit = Self(open.clone());
        (open.fetch_add(1, Ordering::Relaxed) < limit).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What goes along with a connection from its arrival to its end.
struct Arrival {
    /// How much longer it should have waited for its turn.
    beyond: Duration,
    permit: Permit,
}

async fn serve(state: Arc<State>, stream: TcpStream, peer: SocketAddr, arrival: Arrival) {
    let Ok(visit) = state.guard.enter(peer.ip()) else {
        state.metrics.refused(Refused::Crowded);
        return;
    };
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Messages are small and answered one by one.
    let _ = stream.set_nodelay(true);
    let link = enter(&state, Transport::Tcp(stream), peer, local, visit);
    let first = first_line(&link).await;
    hand_over(state, link, first, arrival);
}

/// Gives a connection to whom it belongs, in a task of its own: what was needed until here would
/// otherwise stay in the task for as long as the connection lives.
fn hand_over(
    state: Arc<State>,
    link: Arc<Link>,
    first: Option<(Owner, Vec<u8>)>,
    arrival: Arrival,
) {
    let tasks = state.tasks.clone();
    match first {
        Some((Owner::Protocol, bytes)) => {
            tasks.spawn(serve_device(state, link, bytes, arrival));
        }
        Some((Owner::Http, bytes)) => {
            tasks.spawn(serve_http(state, link, bytes, arrival));
        }
        #[cfg(feature = "tls")]
        Some((Owner::Tls, bytes)) if !link.transport.is_secure() => {
            tasks.spawn(serve_tls(state, link, bytes, arrival));
        }
        _ => state.links.remove(link.id),
    }
}

async fn serve_device(state: Arc<State>, link: Arc<Link>, first: Vec<u8>, arrival: Arrival) {
    let (id, permit) = (link.id, arrival.permit);
    protocol_loop::run(&state, link, first, arrival.beyond).await;
    state.links.remove(id);
    drop(permit);
}

/// Lists a connection for the sweep.
fn enter(
    state: &State,
    transport: Transport,
    peer: SocketAddr,
    local: SocketAddr,
    visit: Visit,
) -> Arc<Link> {
    let id = state.links.next_id();
    let link = Link::new(id, transport, peer, local, visit, state.now());
    let link = state.links.insert(link);
    // Whoever was entered after the shutdown has closed all is not closed by it.
    if state.shutdown.is_cancelled() {
        link.close();
    }
    link
}

async fn serve_http(state: Arc<State>, link: Arc<Link>, first: Vec<u8>, arrival: Arrival) {
    state.links.remove(link.id);
    let (peer, local) = (link.peer, link.local);
    // The list's was the only other one.
    let Some(link) = Arc::into_inner(link) else {
        return;
    };
    let (transport, visit) = link.into_parts();
    http::serve(state, transport, first, peer, local, visit).await;
    drop(arrival);
}

/// The handshake, then the same again inside.
#[cfg(feature = "tls")]
async fn serve_tls(state: Arc<State>, link: Arc<Link>, first: Vec<u8>, arrival: Arrival) {
    state.links.remove(link.id);
    let (peer, local) = (link.peer, link.local);
    let Some(door) = &state.tls else {
        tracing::debug!(%peer, "no TLS on this port");
        return;
    };
    let Some((Transport::Tcp(socket), visit)) = Arc::into_inner(link).map(Link::into_parts) else {
        return;
    };
    let Some(session) = door.begin(&state, socket).await else {
        return;
    };
    let transport = Transport::Tls(Box::new(session));
    let link = enter(&state, transport, peer, local, visit);
    let first = match super::tls::handshake(&link, first).await {
        true => first_line(&link).await,
        false => None,
    };
    hand_over(state, link, first, arrival);
}

/// Reads until the first line is there. `None`: the peer is gone, or too slow.
async fn first_line(link: &Link) -> Option<(Owner, Vec<u8>)> {
    let mut bytes = Vec::new();
    while !link.is_closing() {
        tokio::select! {
            ready = link.transport.socket().readable() => ready.ok()?,
            () = link.wake.notified() => continue,
        }
        let came = link.transport.read(|read| match read {
            Ok(Some(more)) if !more.is_empty() => {
                bytes.extend_from_slice(more);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Ok(_) | Err(_) => Err(()),
        });
        if !came.ok()? {
            continue;
        }
        match owner_of(&bytes) {
            Owner::Unknown if bytes.len() < FIRST_LINE => {}
            Owner::Unknown => return Some((Owner::Protocol, bytes)),
            owner => return Some((owner, bytes)),
        }
    }
    None
}
