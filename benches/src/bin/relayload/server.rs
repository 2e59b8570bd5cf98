//! Processes under measurement: started for a round, killed after it.

use std::io;
use std::process::Command;

use easydarwin_benches::handshake::Target;
use easydarwin_benches::load::process::{Process, beside, free_port};

/// A server process and where it listens.
#[derive(Debug)]
pub struct Server {
    process: Process,
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
        let program = beside(
            "easydarwin",
            "cargo build --release -p easydarwin-core --features cli --bin easydarwin",
        )?;
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
        command.env("EASYDARWIN_LOG", "warn");
        let process = Process::start(command)?;
        Ok(Self { process, target })
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
