//! A certificate for servers on loopback.

use std::path::PathBuf;

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
