//! TLS on the one port: handshakes at a pace, then the connection is looked at anew.

use std::sync::Arc;
use std::time::Duration;

use easydarwin_core::tls::{TlsConfig, TlsStream};
use tokio::net::TcpStream;

use super::link::Link;
use super::transport::Transport;
use crate::guard::Pace;
use crate::state::State;

/// How often is looked whether the certificate's files have changed.
const WATCH: Duration = Duration::from_secs(10);

/// Nobody is served before his turn, and who would have to wait longer than this is not served.
const LONGEST_TURN: Duration = Duration::from_secs(20);

/// The certificate, and the pace of handshakes: each costs a signature.
#[derive(Debug)]
pub(crate) struct TlsDoor {
    config: TlsConfig,
    pace: Pace,
}

impl TlsDoor {
    pub(crate) fn new(config: TlsConfig, per_second: u32) -> Self {
        Self {
            config,
            pace: Pace::new(per_second, LONGEST_TURN),
        }
    }

    /// Begins a session, at its turn.
    pub(super) async fn begin(&self, state: &State, socket: TcpStream) -> Option<TlsStream> {
        let turn = self.pace.turn();
        if !turn.beyond.is_zero() || !state.wait(turn.wait).await {
            return None;
        }
        self.config
            .accept(socket)
            .inspect_err(|error| tracing::error!(%error, "no TLS session can be begun"))
            .ok()
    }

    /// Looks for a new certificate until the shutdown.
    pub(crate) async fn watch(state: Arc<State>) {
        let Some(door) = &state.tls else {
            return;
        };
        let mut tick = tokio::time::interval(WATCH);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = state.shutdown.cancelled() => return,
            }
            let config = door.config.clone();
            // Reading files may block.
            let looked = tokio::task::spawn_blocking(move || config.reload_if_changed()).await;
            match looked {
                Ok(Ok(true)) => tracing::info!("TLS certificate read anew"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::error!(%error, "TLS certificate stays as it was"),
                // The runtime ends.
                Err(_) => return,
            }
        }
    }
}

/// Runs the handshake of a link's session. `first`: what was read already. `false`: it failed, or
/// took too long.
pub(super) async fn handshake(link: &Link, first: Vec<u8>) -> bool {
    let Transport::Tls(tls) = &link.transport else {
        return false;
    };
    let handshake = tls.handshake(&first);
    tokio::pin!(handshake);
    while !link.is_closing() {
        tokio::select! {
            result = handshake.as_mut() => {
                if let Err(error) = &result {
                    tracing::debug!(peer = %link.peer, %error, "TLS handshake failed");
                }
                return result.is_ok();
            }
            () = link.wake.notified() => {}
        }
    }
    false
}
