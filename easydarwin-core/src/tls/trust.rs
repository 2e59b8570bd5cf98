use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::pem::read_certificates;
use super::validity::validity;
use super::{TlsClock, TlsError, provider};

/// Whom a client of `rtsps://` believes; cheap to clone.
#[derive(Clone)]
pub struct TlsTrust {
    config: Arc<ClientConfig>,
    whom: Whom,
}

#[derive(Clone)]
enum Whom {
    Authorities,
    /// Also judges dates, for when the time is known.
    Keys(Arc<Pinned>),
    /// The embedder knows.
    Own,
}

impl TlsTrust {
    /// The public authorities, those that browsers know too (Mozilla's list, compiled in). The
    /// default.
    ///
    /// # Errors
    /// When the library refuses the settings.
    pub fn public() -> Result<Self, TlsError> {
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::roots(roots)
    }

    /// The authorities (or the self-signed certificates of servers) in a PEM file, nobody else.
    ///
    /// # Errors
    /// [`TlsError`] names the file and says what is wrong with it.
    pub fn ca_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = path.as_ref();
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(path)? {
            roots.add(certificate).map_err(|error| TlsError::Pem {
                path: path.to_owned(),
                what: "certificate",
                reason: error.to_string(),
            })?;
        }
        Self::roots(roots)
    }

    /// Exactly the servers with one of these public keys, whatever their certificates say: for
    /// cameras, whose certificates are signed by themselves, name nothing and have run out. Only a client with
    /// [`TlsClock::Known`] looks at their dates.
    ///
    /// # Errors
    /// When the library refuses the settings.
    pub fn pinned(pins: impl IntoIterator<Item = SpkiPin>) -> Result<Self, TlsError> {
        let provider = provider();
        let mut pins = Pinned {
            pins: pins.into_iter().collect(),
            dates: true,
            provider: provider.clone(),
        };
        let dated = Arc::new(pins.clone());
        pins.dates = false;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pins))
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            whom: Whom::Keys(dated),
        })
    }

    /// The embedder's own settings: client certificates, another verifier, another provider, another
    /// source of time.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            whom: Whom::Own,
        }
    }

    fn roots(roots: RootCertStore) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            whom: Whom::Authorities,
        })
    }

    /// The settings for a session that begins now; `None`: dates matter, and nobody knows the time.
    pub(crate) fn rustls(&self, clock: TlsClock) -> Option<Arc<ClientConfig>> {
        self.rustls_by(clock, TlsClock::system_is_set)
    }

    fn rustls_by(
        &self,
        clock: TlsClock,
        system_is_set: impl FnOnce() -> bool,
    ) -> Option<Arc<ClientConfig>> {
        match (&self.whom, clock) {
            (Whom::Own, _) | (_, TlsClock::System) | (Whom::Keys(_), TlsClock::Unset) => {
                Some(self.config.clone())
            }
            (Whom::Authorities, TlsClock::Unset) if system_is_set() => Some(self.config.clone()),
            (Whom::Authorities, TlsClock::Unset) => None,
            (whom, TlsClock::Known(now)) => {
                let mut config = ClientConfig::clone(&self.config);
                config.time_provider = Arc::new(Told(now));
                if let Whom::Keys(dated) = whom {
                    config.dangerous().set_certificate_verifier(dated.clone());
                }
                Some(Arc::new(config))
            }
        }
    }
}

impl fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTrust")
    }
}

/// SHA-256 of a certificate's public key (its DER `SubjectPublicKeyInfo`), as 64 hex digits.
///
/// `openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum`
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpkiPin([u8; 32]);

/// A text is no [`SpkiPin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a pin has 64 hex digits: SHA-256 of the certificate's public key")]
pub struct SpkiPinError;

impl SpkiPin {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        Ok(Self(Sha256::digest(&spki).into()))
    }
}

impl FromStr for SpkiPin {
    type Err = SpkiPinError;

    fn from_str(text: &str) -> Result<Self, SpkiPinError> {
        let text = text.trim().as_bytes();
        let mut pin = [0; 32];
        if text.len() != 64 {
            return Err(SpkiPinError);
        }
        for (byte, digits) in pin.iter_mut().zip(text.chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| SpkiPinError)?;
            // `+f` is a number to the parser.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(SpkiPinError);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| SpkiPinError)?;
        }
        Ok(Self(pin))
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpkiPin({self})")
    }
}

/// The time of a session's handshake.
#[derive(Debug)]
struct Told(SystemTime);

impl TimeProvider for Told {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.duration_since(UNIX_EPOCH);
        since.ok().map(UnixTime::since_unix_epoch)
    }
}

/// Believes keys, not certificates.
#[derive(Debug, Clone)]
struct Pinned {
    pins: Vec<SpkiPin>,
    /// Whether a certificate must not have run out.
    dates: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.pins.contains(&SpkiPin::of(end_entity)?) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        if self.dates {
            let (first, last) = validity(end_entity).ok_or(CertificateError::BadEncoding)?;
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            if now < first {
                return Err(CertificateError::NotValidYet.into());
            }
            if now > last {
                return Err(CertificateError::Expired.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_need_a_clock_that_was_set() {
        let (public, pinned) = (TlsTrust::public(), TlsTrust::pinned([]));
        let (public, pinned) = (public.unwrap(), pinned.unwrap());
        let known = TlsClock::Known(SystemTime::now());
        for (clock, set, by_authorities) in [
            (TlsClock::Unset, false, false),
            (TlsClock::Unset, true, true),
            (TlsClock::System, false, true),
            (known, false, true),
        ] {
            let found = public.rustls_by(clock, || set);
            assert_eq!(found.is_some(), by_authorities, "{clock:?} {set}");
            assert!(pinned.rustls_by(clock, || set).is_some());
        }
    }

    #[test]
    fn pins_are_read_and_shown() {
        let text = "00ff".repeat(16);
        let pin: SpkiPin = text.parse().unwrap();
        assert_eq!(pin.to_string(), text);
        for wrong in [
            "",
            "00",
            &"0g".repeat(32),
            &"+f".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(wrong.parse::<SpkiPin>(), Err(SpkiPinError), "{wrong}");
        }
    }
}
