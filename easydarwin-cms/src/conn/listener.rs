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
use crate::guard::Visit;
use crate::http;
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
            if let Some(times) = full.due() {
                tracing::warn!(%peer, times, "connection refused: the limit of connections is reached");
            }
            continue;
        };
        if let Err(why) = state.guard.may_wait(peer.ip()) {
            tracing::debug!(%peer, %why, "connection refused");
            continue;
        }
        let turn = state.guard.admission.turn();
        let state = state.clone();
        state.clone().tasks.spawn(async move {
            // Open and not read from: old devices know no other way to be told to wait.
            if state.wait(turn.wait).await {
                serve(state, stream, peer, turn.beyond).await;
            }
            drop(permit);
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

async fn serve(state: Arc<State>, stream: TcpStream, peer: SocketAddr, beyond: Duration) {
    let Ok(visit) = state.guard.enter(peer.ip()) else {
        return;
    };
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Messages are small and answered one by one.
    let _ = stream.set_nodelay(true);
    let link = enter(&state, Transport::Tcp(stream), peer, local, visit);
    match first_line(&link).await {
        // On the heap, both: they are many times what a device needs.
        #[cfg(feature = "tls")]
        Some((Owner::Tls, bytes)) => Box::pin(serve_tls(state, link, bytes, beyond)).await,
        Some((Owner::Http, bytes)) => Box::pin(serve_http(state, link, bytes)).await,
        Some((Owner::Protocol, bytes)) => {
            let id = link.id;
            protocol_loop::run(&state, link, bytes, beyond).await;
            state.links.remove(id);
        }
        _ => state.links.remove(link.id),
    }
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

async fn serve_http(state: Arc<State>, link: Arc<Link>, first: Vec<u8>) {
    state.links.remove(link.id);
    let (peer, local) = (link.peer, link.local);
    // The list's was the only other one.
    let Some(link) = Arc::into_inner(link) else {
        return;
    };
    let (transport, visit) = link.into_parts();
    http::serve(state, transport, first, peer, local, visit).await;
}

/// The handshake, then the same again inside.
#[cfg(feature = "tls")]
async fn serve_tls(state: Arc<State>, link: Arc<Link>, first: Vec<u8>, beyond: Duration) {
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
    // Its future is gone with it.
    let first = match Box::pin(super::tls::handshake(&link, first)).await {
        true => first_line(&link).await,
        false => None,
    };
    match first {
        Some((Owner::Http, bytes)) => Box::pin(serve_http(state, link, bytes)).await,
        Some((Owner::Protocol, bytes)) => {
            let id = link.id;
            protocol_loop::run(&state, link, bytes, beyond).await;
            state.links.remove(id);
        }
        _ => state.links.remove(link.id),
    }
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
