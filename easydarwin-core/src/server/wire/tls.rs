use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::open::OpenError;
use crate::tls::{TlsConfig, TlsStream};
use crate::wire::Channel;

/// What TLS has done since the server was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStats {
    /// Handshakes that succeeded.
    pub handshakes: u64,
    /// Handshakes that failed or took too long.
    pub failed: u64,
    /// Ciphertext that waits for its sockets now, in bytes: at most 64 KiB a connection.
    pub held_bytes: usize,
}

/// The TLS side of one server.
#[derive(Debug)]
pub(in crate::server) struct TlsDoor {
    pub(in crate::server) config: TlsConfig,
    handshakes: Semaphore,
    done: AtomicU64,
    failed: AtomicU64,
    held: Arc<AtomicUsize>,
}

impl TlsDoor {
    pub(in crate::server) fn new(config: TlsConfig) -> Self {
        Self {
            handshakes: Semaphore::new(config.handshakes.min(Semaphore::MAX_PERMITS)),
            config,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            held: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Runs the handshake. `first`: what was read from the socket already.
    pub(super) async fn accept(
        &self,
        socket: TcpStream,
        first: &[u8],
    ) -> Result<Channel, OpenError> {
        let handshake = async {
            // Waiting counts as part of it: whoever floods us with handshakes delays new
            // connections, and no others.
            let _permit = self.handshakes.acquire().await;
            let session = rustls::ServerConnection::new(self.config.rustls.clone())
                .map_err(|error| OpenError::Tls(std::io::Error::other(error)))?;
            let stream = TlsStream::new(socket, session.into(), self.held.clone());
            stream.handshake(first).await.map_err(OpenError::Tls)?;
            Ok(Channel::Tls(Arc::new(stream)))
        };
        let result = tokio::time::timeout(self.config.handshake_timeout, handshake)
            .await
            .unwrap_or(Err(OpenError::TlsTimeout));
        let counter = match &result {
            Ok(_) => &self.done,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    pub(in crate::server) fn stats(&self) -> TlsStats {
        TlsStats {
            handshakes: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            held_bytes: self.held.load(Ordering::Relaxed),
        }
    }

    /// Looks for new certificates until dropped.
    pub(in crate::server) async fn watch(self: Arc<Self>) {
        let Some(every) = self.config.watch else {
            return;
        };
        let mut tick = tokio::time::interval(every);
        loop {
            tick.tick().await;
            let config = self.config.clone();
            // Reading files may block.
            let looked = tokio::task::spawn_blocking(move || config.reload_if_changed()).await;
            match looked {
                Ok(Ok(true)) => tracing::info!("TLS certificate read anew"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "TLS certificate stays as it was");
                }
                // The runtime ends.
                Err(_) => return,
            }
        }
    }
}
