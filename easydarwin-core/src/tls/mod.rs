//! TLS for RTSP: what a server shows (`TlsConfig`), whom a client believes ([`TlsTrust`]), and the
//! session on a socket that both share.
//!
//! The provider is *ring*, named explicitly; nothing process-wide is installed.

mod error;
mod pem;
#[cfg(feature = "server")]
mod server;
mod stream;
mod trust;

pub use error::TlsError;
#[cfg(feature = "server")]
pub use server::TlsConfig;
pub(crate) use stream::TlsStream;
pub use trust::{SpkiPin, SpkiPinError, TlsTrust};

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
