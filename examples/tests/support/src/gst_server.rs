//! gst-rtsp-server: a server that we did not write, to pull from.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::{Process, Workdir};

/// The login that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// None.
    Open,
    /// Basic.
    Basic,
    /// Digest, with MD5.
    Digest,
}

/// `scripts/gst-rtsp-server` serving a file with H.264 and AAC, to each client from its beginning.
#[derive(Debug)]
pub struct GstServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The server itself; it ends when this is dropped.
    pub process: Process,
    scheme: &'static str,
    login: &'static str,
}

impl GstServer {
    /// Starts one on loopback and waits until it listens.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(workdir: &Workdir, file: &Path, guard: Guard) -> Self {
        Self::launch(workdir, file, guard, None)
    }

    /// The same over TLS, with a certificate and its key in one file.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_tls(workdir: &Workdir, file: &Path, pem: &Path) -> Self {
        Self::launch(workdir, file, Guard::Open, Some(pem))
    }

    fn launch(workdir: &Workdir, file: &Path, guard: Guard, pem: Option<&Path>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let mut command = Command::new(root.join("scripts/gst-rtsp-server"));
        command.arg(file);
        let method = match guard {
            Guard::Open => None,
            Guard::Basic => Some("basic"),
            Guard::Digest => Some("digest"),
        };
        if let Some(method) = method {
            command.args(["--auth", method, "--user", "viewer", "--password", "secret"]);
        }
        if let Some(pem) = pem {
            command.arg("--tls").arg(pem);
        }
        let process = Process::spawn_ready_peer(workdir, "gst-rtsp-server", command);
        let address = process
            .ready_line()
            .rsplit('=')
            .next()
            .and_then(|address| address.parse().ok())
            .expect("the ready line ends with an address");
        Self {
            address,
            process,
            scheme: if pem.is_some() { "rtsps" } else { "rtsp" },
            login: if method.is_some() {
                "viewer:secret@"
            } else {
                ""
            },
        }
    }

    /// The stream's URL, with the right login.
    pub fn url(&self) -> String {
        format!("{}://{}{}/film", self.scheme, self.login, self.address)
    }

    /// The stream's URL with a login that is wrong.
    pub fn wrong_url(&self) -> String {
        format!("rtsp://viewer:guess@{}/film", self.address)
    }
}
