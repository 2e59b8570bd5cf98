use std::net::SocketAddr;

use easydarwin_core::registry::{EventLogError, PresenceError, StoreError, TokenError};
use thiserror::Error;

/// Why a CMS could not be started or told something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CmsError {
    /// The port cannot be had.
    #[error("cannot listen on {address}: {source}; is another program using the port?")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Everybody may register under policy `open`, so it stays on loopback.
    #[error(
        "policy open lets every device in and {address} can be reached from outside; \
         choose provisioned or adopt, or say that you know (--i-know)"
    )]
    OpenOnPublicAddress {
        /// The address.
        address: SocketAddr,
    },
    /// A serial or node id that may not stand in a path.
    #[error("{0:?} is no serial: 1 to 64 letters, digits, `-` or `_`")]
    Serial(String),
    /// The device store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The presence store failed.
    #[error(transparent)]
    Presence(#[from] PresenceError),
    /// The event log failed.
    #[error(transparent)]
    Events(#[from] EventLogError),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] TokenError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or an option makes no sense.
    #[error("{0}")]
    Config(String),
}
