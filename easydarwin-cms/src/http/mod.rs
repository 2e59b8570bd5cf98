//! HTTP for browsers and other clients: the page, snapshots, REST.

mod body;
mod commands;
mod events;
mod health;
mod page;
mod people;
mod presence;
mod reply;
mod rewind;
mod routes;
mod sse;
mod stalling;
mod streams;
mod tickets;
mod upload;
mod v2;
mod webhooks;

pub(crate) use events::Listeners;
pub(crate) use tickets::Tickets;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::conn::Transport;
use crate::guard::Visit;
use crate::state::State;
use rewind::Rewind;
use stalling::Stalling;

/// Longest head of an HTTP request.
const MAX_HEAD: usize = 64 * 1024;

/// The connection that a request comes over.
#[derive(Debug)]
struct Way {
    connection: u64,
    peer: SocketAddr,
    local: SocketAddr,
    secure: bool,
    visit: Visit,
}

/// Serves a connection whose first bytes, already read, are HTTP.
pub(crate) async fn serve(
    state: Arc<State>,
    transport: Transport,
    first: Vec<u8>,
    peer: SocketAddr,
    local: SocketAddr,
    visit: Visit,
) {
    let connection = state.links.next_id();
    let way = Arc::new(Way {
        connection,
        peer,
        local,
        secure: transport.is_secure(),
        visit,
    });
    let service = {
        let state = state.clone();
        service_fn(move |request| {
            let (state, way) = (state.clone(), way.clone());
            async move { Ok::<_, std::convert::Infallible>(routes::route(&state, &way, request).await) }
        })
    };
    let stream = Stalling::new(Rewind::new(first, transport), state.config.stalled);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.config.first_message)
        .max_buf_size(MAX_HEAD)
        // Old clients look for `Content-Length` in this very case.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = state.shutdown.cancelled() => {
            // What is being answered is finished, nothing new is taken.
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
    state.talkers.connection_ended(connection);
}
