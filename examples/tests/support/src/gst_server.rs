//! gst-rtsp-server: a server that we did not write, to pull from and to push to.

use std::ffi::OsStr;
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

/// `scripts/gst-rtsp-server` serving a file with H.264 and AAC, to each client from its beginning,
/// or recording such a stream.
#[derive(Debug)]
pub struct GstServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The server itself; it ends when this is dropped.
    pub process: Process,
    scheme: &'static str,
    path: &'static str,
    login: &'static str,
}

impl GstServer {
    /// Starts one on loopback and waits until it listens.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(workdir: &Workdir, file: &Path, guard: Guard) -> Self {
        Self::launch(workdir, [file.as_os_str()], guard)
    }

    /// The same over TLS, with a certificate and its key in one file.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_tls(workdir: &Workdir, file: &Path, pem: &Path) -> Self {
        let args = [file.as_os_str(), "--tls".as_ref(), pem.as_os_str()];
        let mut server = Self::launch(workdir, args, Guard::Open);
        server.scheme = "rtsps";
        server
    }

    /// Starts one that takes a stream with H.264 and AAC and records it in `dir`, in the files
    /// `video` and `frames/…`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_recording(workdir: &Workdir, dir: &Path, guard: Guard) -> Self {
        let mut server = Self::launch(workdir, ["--record".as_ref(), dir.as_os_str()], guard);
        server.path = "in";
        server
    }

    fn launch<'a>(
        workdir: &Workdir,
        args: impl IntoIterator<Item = &'a OsStr>,
        guard: Guard,
    ) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let mut command = Command::new(root.join("scripts/gst-rtsp-server"));
        command.args(args);
        let method = match guard {
            Guard::Open => None,
            Guard::Basic => Some("basic"),
            Guard::Digest => Some("digest"),
        };
        if let Some(method) = method {
            command.args(["--auth", method, "--user", "viewer", "--password", "secret"]);
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
            scheme: "rtsp",
            path: "film",
            login: if method.is_some() {
                "viewer:secret@"
            } else {
                ""
            },
        }
    }

    /// The stream's URL, with the right login.
    pub fn url(&self) -> String {
        format!(
            "{}://{}{}/{}",
            self.scheme, self.login, self.address, self.path
        )
    }

    /// The stream's URL with a login that is wrong.
    pub fn wrong_url(&self) -> String {
        format!(
            "{}://viewer:guess@{}/{}",
            self.scheme, self.address, self.path
        )
    }
}
