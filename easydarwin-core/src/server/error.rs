use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::forward::ForwardError;
use crate::pull::PullError;

/// Why the server cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address is taken, not ours, or not allowed.
    #[error("cannot listen on {address} for {purpose}: {source}; choose another address or port")]
    Bind {
        /// What it was for.
        purpose: &'static str,
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No UDP ports for players.
    #[error("no UDP port pair is free for players: {0}; free some or widen the range")]
    UdpPorts(io::Error),
    /// No random bytes for the key that signs nonces.
    #[error("the system gives no random numbers")]
    Random,
    /// The sources that were kept cannot be started.
    #[error("cannot start the sources: {0}")]
    Sources(PullError),
    /// The forwards that were kept cannot be started.
    #[error("cannot start the forwards: {0}")]
    Forwards(ForwardError),
}
