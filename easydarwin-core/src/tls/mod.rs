//! TLS: what a server shows ([`TlsConfig`]), whom a client believes ([`TlsTrust`]), and the session on
//! a socket that both share ([`TlsStream`]).
//!
//! The provider is *ring*, named explicitly; nothing process-wide is installed.

mod clock;
mod error;
mod pem;
mod server;
mod stream;
mod trust;
mod validity;

pub use clock::TlsClock;
pub use error::TlsError;
pub use server::TlsConfig;
pub use stream::TlsStream;
pub use trust::{SpkiPin, SpkiPinError, TlsTrust};

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
