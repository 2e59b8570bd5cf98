//! TLS of the measured devices: a certificate for the CMS, and the trust in it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// The CMS's certificate in the measurement's folder.
pub const CERTIFICATE: &str = "certificate.pem";

/// Its key.
pub const KEY: &str = "key.pem";

const NAME: &str = "localhost";

/// Whom devices expect there, whatever address they go to.
pub fn server() -> io::Result<ServerName<'static>> {
    ServerName::try_from(NAME).map_err(io::Error::other)
}

/// A connection to a server, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Writes certificate and key into the folder.
pub fn make_certificate(folder: &Path) -> io::Result<()> {
    let pair = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(io::Error::other)?;
    fs::write(folder.join(CERTIFICATE), pair.cert.pem())?;
    fs::write(folder.join(KEY), pair.signing_key.serialize_pem())
}

/// Trusts nobody but the server with this certificate.
pub fn connector(certificate: &Path) -> io::Result<TlsConnector> {
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
