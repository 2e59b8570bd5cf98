//! Processes under measurement: started for a round, killed after it.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use easydarwin_benches::handshake::Target;

/// A server process and where it listens.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// How to reach it.
    pub target: Target,
}

impl Server {
    /// The null relay, as a process of its own.
    pub fn null() -> io::Result<Self> {
        let addr = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["null", "--listen", &addr.to_string()]);
        Self::spawn(command, Target::Null { addr })
    }

    /// The media server `easydarwin` that stands beside this program.
    pub fn easydarwin() -> io::Result<Self> {
        let program = beside("easydarwin")?;
        let (rtsp, http) = (free_port()?, free_port()?);
        let mut command = Command::new(program);
        command.args([
            "--rtsp",
            &rtsp.to_string(),
            "--http",
            &http.to_string(),
            "--anonymous",
            // All readers come from one address.
            "--max-connections-per-address",
            "20000",
        ]);
        Self::spawn(
            command,
            Target::Rtsp {
                addr: rtsp,
                prefix: "load/s".to_owned(),
            },
        )
    }

    fn spawn(mut command: Command, target: Target) -> io::Result<Self> {
        let mut child = command
            .env("EASYDARWIN_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no standard output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if !line.contains("ready") {
            let _ = child.kill();
            return Err(io::Error::other(format!(
                "{command:?} did not become ready: {line}"
            )));
        }
        Ok(Self { child, target })
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn beside(name: &str) -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(io::Error::other(format!(
        "{} is missing; build it with: cargo build --release -p easydarwin-core --features cli --bin {name}",
        path.display()
    )))
}
