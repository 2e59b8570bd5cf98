//! A certificate for servers on loopback.

use std::path::PathBuf;

use rcgen::PublicKeyData as _;
use sha2::{Digest as _, Sha256};

use crate::process::Workdir;

/// Writes a certificate for loopback and its key. Returns where.
pub fn self_signed(workdir: &Workdir) -> (PathBuf, PathBuf) {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let pair = rcgen::generate_simple_self_signed(names).expect("these names can be certified");
    let (certificate, key) = (workdir.file("cert.pem"), workdir.file("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).expect("target/ is writable");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("target/ is writable");
    (certificate, key)
}

/// Writes a certificate as a camera shows it, of no host, and its key, into one file. Returns where,
/// and the SHA-256 of its public key, in hex.
pub fn nameless(workdir: &Workdir) -> (PathBuf, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .expect("a certificate");
    let file = workdir.file("camera.pem");
    let text = certificate.pem() + &key.serialize_pem();
    std::fs::write(&file, text).expect("target/ is writable");
    let digest = Sha256::digest(key.subject_public_key_info());
    let pin = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    (file, pin)
}
