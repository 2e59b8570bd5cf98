//! Child processes: our binaries and foreign peers, with their logs, never outliving the test.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often a child is asked whether it has ended: there is no portable event for it.
const POLL: Duration = Duration::from_millis(10);

/// How long one of our programs may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A folder of logs and recordings of one test, emptied at its start.
#[derive(Debug, Clone)]
pub struct Workdir(PathBuf);

impl Workdir {
    /// `target/test-logs/<name>/`.
    pub fn new(name: &str) -> Self {
        let dir = crate::target_dir().join("test-logs").join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).expect("old logs can be removed");
        }
        std::fs::create_dir_all(&dir).expect("target/ is writable");
        Self(dir)
    }

    /// A folder inside.
    pub fn sub(&self, name: &str) -> Self {
        let dir = self.0.join(name);
        std::fs::create_dir_all(&dir).expect("target/ is writable");
        Self(dir)
    }

    /// The path of a file inside.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// A running child. Killed when dropped; its log is printed when the test is failing then.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    lines: Option<Receiver<String>>,
    ready: String,
}

impl Process {
    /// Starts a peer; everything it says goes to `<name>.log`.
    pub fn spawn(workdir: &Workdir, name: &str, mut command: Command) -> Self {
        let log = workdir.file(&format!("{name}.log"));
        let file = File::create(&log).expect("target/ is writable");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be cloned"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            lines: None,
            ready: String::new(),
        }
    }

    /// Starts one of our programs and waits for the line by which it says that it is ready.
    pub fn spawn_ready<I, S>(workdir: &Workdir, name: &str, program: &str, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut process = Self::spawn_ours(workdir, name, program, args);
        process.wait_ready();
        process
    }

    /// Starts one of our programs without waiting for anything.
    pub fn spawn_ours<I, S>(workdir: &Workdir, name: &str, program: &str, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(binary(program));
        command.args(args).env("NO_COLOR", "1");
        Self::spawn_talking(workdir, name, command)
    }

    /// Starts a peer that says like our programs when it is ready, and waits for that line.
    pub fn spawn_ready_peer(workdir: &Workdir, name: &str, command: Command) -> Self {
        let mut process = Self::spawn_talking(workdir, name, command);
        process.wait_ready();
        process
    }

    /// Starts a program whose lines [`wait_line`](Self::wait_line) can wait for.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_talking(workdir: &Workdir, name: &str, mut command: Command) -> Self {
        let log = workdir.file(&format!("{name}.log"));
        let file = File::create(&log).expect("target/ is writable");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            name: name.to_owned(),
            child,
            log,
            lines: Some(lines),
            ready: String::new(),
        }
    }

    /// Waits for the ready line.
    pub fn wait_ready(&mut self) {
        let lines = self.lines.as_ref().expect("its output is read");
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if line.starts_with("ready") || line.contains(" ready") => {
                    self.ready = line;
                    return;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    panic!(
                        "{} was not ready within {READY_WITHIN:?}\n{}",
                        self.name,
                        self.log()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait();
                    panic!(
                        "{} ended before it was ready: {status:?}\n{}",
                        self.name,
                        self.log()
                    )
                }
            }
        }
    }

    /// Waits for a further line that contains `text`; not of programs that were only
    /// [spawned](Self::spawn).
    pub fn wait_line(&mut self, text: &str, limit: Duration) -> String {
        let lines = self.lines.as_ref().expect("only our programs say so");
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!(
                    "{} did not say {text:?} within {limit:?}: {error}\n{}",
                    self.name,
                    self.log()
                ),
            }
        }
    }

    /// The line by which the program said that it is ready.
    pub fn ready_line(&self) -> &str {
        &self.ready
    }

    /// What the process has written to its log so far.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits for the end; `None` (and killed) when it takes longer.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Some(status);
            }
            if Instant::now() >= deadline {
                self.kill();
                return None;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether it is still running.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The most memory it ever had, in KiB (`VmHWM`); `None` when it has ended.
    pub fn peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn terminate(&mut self, limit: Duration) -> Option<ExitStatus> {
        signal(self.child.id(), "TERM");
        self.wait(limit)
    }

    /// Stops it as if it hung (SIGSTOP).
    pub fn freeze(&self) {
        signal(self.child.id(), "STOP");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {}\n{}----", self.name, tail(&self.log(), 6000));
        }
    }
}

/// The end of a long text.
pub fn tail(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: there need be no such program.
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok(), "there is no shell: {status:?}");
}

/// Where one of our programs lies. `scripts/test` has built them all and says where
/// (`EASYDARWIN_BIN_DIR`); without it, cargo is asked once to bring them up to date.
pub fn binary(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        if let Some(dir) = std::env::var_os("EASYDARWIN_BIN_DIR") {
            return dir.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let release = !cfg!(debug_assertions);
        let status = Command::new(cargo)
            .args(["build", "--bins", "--features", "easydarwin-core/cli"])
            .args(["-p", "easydarwin-core", "-p", "easydarwin-cms"])
            .args(["-p", "easydarwin-camera", "-p", "easydarwin-examples"])
            .args(release.then_some("--release"))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."))
            .status()
            .expect("cargo can be started");
        assert!(status.success(), "our binaries do not build");
        crate::target_dir().join(if release { "release" } else { "debug" })
    });
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "{} is missing; `cargo build --workspace --all-features --bins` makes it",
        path.display()
    );
    path
}

/// Below the ports that systems give to outgoing connections: none of those can take a port
/// between its choice and its use.
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// A TCP and UDP port that is free on all of loopback, and that this process did not choose
/// before: tests run side by side, and some stop what listens there and start it again.
pub fn free_port() -> u16 {
    static CHOSEN: AtomicU32 = AtomicU32::new(0);
    let many = PORTS.end - PORTS.start;
    for _ in 0..many {
        // Test processes that follow each other do not begin at the same port.
        let step = CHOSEN.fetch_add(1, Ordering::Relaxed);
        let offset = std::process::id().wrapping_mul(97).wrapping_add(step) % many;
        let port = u16::try_from(PORTS.start + offset).expect("ports have 16 bits");
        let tcp = TcpListener::bind(("0.0.0.0", port));
        if tcp.is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
