//! Processes under measurement: started, asked over their standard streams, killed at the end.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A process that said it was ready. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it and waits for the line with which it says that it is ready.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| io::Error::other(format!("{command:?}: {e}")))?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no standard output"))?;
        let stdin = child.stdin.take();
        let mut process = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        let line = process.line()?;
        if line.contains("ready") {
            Ok(process)
        } else {
            Err(io::Error::other(format!(
                "{command:?} did not become ready: {line:?}"
            )))
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to it and reads the line that it answers.
    pub fn ask(&mut self, question: &str) -> io::Result<String> {
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| io::Error::other("no standard input"))?;
        writeln!(stdin, "{question}")?;
        stdin.flush()?;
        let line = self.line()?;
        if line.is_empty() {
            return Err(io::Error::other(format!(
                "the process ended instead of answering {question:?}"
            )));
        }
        Ok(line)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of 127.0.0.1 that nobody uses.
pub fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A program that was built into the folder of this one; `build` says how.
pub fn beside(name: &str, build: &str) -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(io::Error::other(format!(
        "{} is missing; build it with: {build}",
        path.display()
    )))
}

/// Raises this process's limit of open files, which its children inherit, as far as it may be
/// raised, and returns it.
pub fn raise_file_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
