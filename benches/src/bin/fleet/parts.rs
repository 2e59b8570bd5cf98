//! The processes of a measurement.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use easydarwin_benches::load::process::{Process, beside, free_port};
use serde::de::DeserializeOwned;

use super::api::Api;
use super::device::Way;
use super::identity::Identity;
use super::run::{Plan, Store};
use super::tls;

/// Where the parts listen and keep their files; the folder is removed at the end.
#[derive(Debug)]
pub struct Parts {
    folder: PathBuf,
    store: Store,
    tls: bool,
    cms_port: u16,
}

impl Parts {
    /// A folder and a port for this measurement.
    pub fn new(plan: &Plan) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("easydarwin-fleet-{}", std::process::id()));
        fs::create_dir_all(folder.join("cms"))?;
        if plan.tls {
            tls::make_certificate(&folder)?;
        }
        Ok(Self {
            folder,
            store: plan.store,
            tls: plan.tls,
            cms_port: listening_port()?,
        })
    }

    /// Lets the CMS know the devices. It has run once, so that it has a store, and does not run.
    pub fn provision(&self, plan: &Plan) -> io::Result<()> {
        let all = (0..plan.devices).map(|index| Identity::new(index, plan.ed1_share));
        if plan.store == Store::Memory {
            let lines: String = all.map(|identity| identity.line()).collect();
            return fs::write(self.folder.join("devices"), lines);
        }
        let rows: String = all.map(|identity| identity.row()).collect();
        let file = self.folder.join("devices.csv");
        fs::write(&file, format!("serial,key,token\n{rows}"))?;
        let mut import = self.command(&cms_program()?, "import.log")?;
        import.args(["device", "import"]).arg(&file);
        import.arg("--data").arg(self.folder.join("cms"));
        let done = import.output()?;
        if done.status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(self.folder.join("import.log"))?;
        Err(io::Error::other(format!("the import failed: {log}")))
    }

    /// The CMS that stands beside this program; `known`: the devices were provisioned.
    pub fn cms(&self, known: bool) -> io::Result<Process> {
        let mut command = self.command(&cms_program()?, "cms.log")?;
        command.args(["--listen", &format!("0.0.0.0:{}", self.cms_port)]);
        for (flag, file) in [
            ("--api-key-file", "cms/api-key"),
            ("--join-key-file", "cms/join-key"),
        ] {
            command.arg(flag).arg(self.folder.join(file));
        }
        match self.store {
            Store::Sqlite => command.arg("--data").arg(self.folder.join("cms")),
            Store::Memory if known => command.arg("--devices").arg(self.folder.join("devices")),
            Store::Memory => &mut command,
        };
        if self.tls {
            command
                .arg("--tls-cert")
                .arg(self.folder.join(tls::CERTIFICATE))
                .arg("--tls-key")
                .arg(self.folder.join(tls::KEY));
        }
        Process::start(command)
    }

    /// How clients ask it.
    pub fn api(&self) -> io::Result<Api> {
        let key = fs::read_to_string(self.folder.join("cms/api-key"))?;
        Ok(Api {
            cms: SocketAddr::from(([127, 0, 0, 1], self.cms_port)),
            key: key.trim().to_owned(),
        })
    }

    /// The media node.
    pub fn node(&self) -> io::Result<Process> {
        let program = beside(
            "easydarwin",
            "cargo build --release -p easydarwin-core --features cli --bin easydarwin",
        )?;
        let (rtsp, http) = (free_port()?.to_string(), free_port()?.to_string());
        let mut command = self.command(&program, "node.log")?;
        command
            .args(["--rtsp", &rtsp, "--http", &http])
            .args(["--cms", &format!("127.0.0.1:{}", self.cms_port)])
            .arg("--join-key-file")
            .arg(self.folder.join("cms/join-key"))
            .args(["--node-id", "fleet-node", "--idle", "3600"])
            // All viewers come from one address.
            .args(["--max-connections-per-address", "20000"]);
        Process::start(command)
    }

    /// The null server, and its port.
    pub fn null(&self, answer: usize) -> io::Result<(Process, u16)> {
        let port = listening_port()?;
        let mut command = self.command(&std::env::current_exe()?, "null.log")?;
        command
            .args(["null", "--listen", &format!("0.0.0.0:{port}")])
            .args(["--answer", &answer.to_string()]);
        Ok((Process::start(command)?, port))
    }

    /// The devices, at the CMS or at the null server's port.
    pub fn fleet(&self, plan: &Plan, null: Option<u16>) -> io::Result<Process> {
        let mut command = self.command(&std::env::current_exe()?, "fleet.log")?;
        command
            .arg("fleet")
            .args(["--devices", &plan.devices.to_string()])
            .args(["--port", &null.unwrap_or(self.cms_port).to_string()])
            .args(["--rate", &plan.rate.to_string()])
            .args(["--ed1-share", &plan.ed1_share.to_string()])
            .args(["--streams", &plan.streams.to_string()]);
        if plan.snapshots == Some(Way::Put) {
            command.args(["--snapshots", "put"]);
        }
        if null.is_some() {
            command.arg("--null");
        } else if self.tls {
            command
                .arg("--tls-trust")
                .arg(self.folder.join(tls::CERTIFICATE));
        }
        Process::start(command)
    }

    /// The viewers.
    pub fn viewers(&self) -> io::Result<Process> {
        let mut command = self.command(&std::env::current_exe()?, "viewers.log")?;
        command.arg("viewers");
        Process::start(command)
    }

    /// The end of a log, for whoever has to find out what went wrong.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for name in [
            "cms.log",
            "node.log",
            "fleet.log",
            "null.log",
            "viewers.log",
        ] {
            let log = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(8).collect();
            if !lines.is_empty() {
                text.push_str(&format!("--- {name}\n"));
            }
            for line in lines.into_iter().rev() {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    fn command(&self, program: &Path, log: &str) -> io::Result<Command> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(log))?;
        let mut command = Command::new(program);
        command.stderr(log);
        Ok(command)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn cms_program() -> io::Result<PathBuf> {
    beside(
        "easydarwin-cms",
        "cargo build --release -p easydarwin-cms --bin easydarwin-cms",
    )
}

/// A port for a server that listens on all addresses, below those from which the kernel takes the
/// devices' ports: each of them would stand in its way.
fn listening_port() -> io::Result<u16> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    (first..32_000)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .ok_or_else(|| io::Error::other("no port below 32000 is free"))
}

/// Asks one of our own processes.
pub fn ask<T: DeserializeOwned>(process: &mut Process, question: &str) -> io::Result<T> {
    Ok(serde_json::from_str(&process.ask(question)?)?)
}
