use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{HttpState, router};

/// Pause after a failed accept: it fails when the process has no descriptor left, and would fail
/// again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What requests in progress get at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Serves [`router`] on a listener until `shutdown`, with the limits of the settings: connections
/// that send no request are closed, further connections than allowed wait.
///
/// # Errors
/// Never at present; failed accepts are logged and tried again.
pub async fn serve(
    listener: TcpListener,
    state: HttpState,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let config = state.config().clone();
    let cancel = state.cancel();
    let router = router(state);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout);
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accept = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "HTTP connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = prepare(&stream, config.write_timeout) {
            tracing::debug!(%peer, %error, "HTTP connection lost at once");
            continue;
        }
        let service = router
            .clone()
            .layer(Extension(ConnectInfo::<SocketAddr>(peer)));
        let connection = http
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .with_upgrades();
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "HTTP connection ended");
            }
            drop(slot);
        });
    }
    cancel.cancel();
    let rest = async { while connections.join_next().await.is_some() {} };
    // Idle connections wait for requests that are no longer served: they are cut.
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, rest).await;
    connections.shutdown().await;
    Ok(())
}

fn prepare(stream: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A client that takes nothing: the kernel ends the connection, whatever is being written.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
    Ok(())
}
