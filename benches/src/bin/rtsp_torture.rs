//! Sends odd, broken and hostile RTSP to a server and tells what it made of it.
//!
//! The vectors are data (`torture/*.toml` beside this package's manifest). Each says what a sound
//! server may answer, why it matters and where it comes from. After each the server must still
//! answer a new connection.

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use easydarwin_benches::handshake::{self, Target};
use easydarwin_benches::synthetic::{self, FRAME_RATE, FrameMaker};

mod peer;
mod vector;

use peer::{Heard, Peer};
use vector::{Names, State, Vector};

#[derive(Debug, Parser)]
#[command(about = "Sends odd, broken and hostile RTSP to a server and tells what it made of it")]
struct Cli {
    /// The stream that readers are to use, for example rtsp://127.0.0.1:8554/torture.
    url: String,
    /// The stream is there already; otherwise it is published first.
    #[arg(long)]
    existing: bool,
    /// Only vectors whose group or name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Folder with the vectors.
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Prints a line for each vector, not only for those that failed.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    NotApplicable(String),
    Crashed(String),
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let cli = Cli::parse();
    let rest = cli
        .url
        .strip_prefix("rtsp://")
        .ok_or("the URL begins with rtsp://")?;
    let (host, path) = rest.split_once('/').ok_or("the URL needs a path")?;
    let addr = host
        .to_socket_addrs()?
        .next()
        .ok_or("the host has no address")?;
    let folder = cli
        .vectors
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("torture"));
    let vectors = vector::load(&folder)?;

    let publisher = if cli.existing {
        None
    } else {
        Some(Background::start(addr, path)?)
    };
    let track = Peer::connect(addr)?.first_track(&cli.url)?;
    let names = Names {
        url: cli.url.clone(),
        host: host.to_owned(),
        path: path.to_owned(),
        track,
        session: String::new(),
    };

    let (mut passed, mut failed, mut skipped, mut crashed) = (0, 0, 0, 0);
    for (group, vector) in &vectors {
        let full = format!("{group}/{}", vector.name);
        if cli
            .only
            .as_ref()
            .is_some_and(|only| !full.contains(only.as_str()))
        {
            continue;
        }
        match run(addr, vector, names.clone()) {
            Outcome::Passed => {
                passed += 1;
                if cli.verbose {
                    println!("passed          {full}");
                }
            }
            Outcome::Failed(what) => {
                failed += 1;
                println!(
                    "failed          {full}: {what}\n                {} ({})",
                    vector.why, vector.source
                );
            }
            Outcome::NotApplicable(what) => {
                skipped += 1;
                println!("not applicable  {full}: {what}");
            }
            Outcome::Crashed(what) => {
                crashed += 1;
                println!("crashed         {full}: {what}");
                break;
            }
        }
    }
    let disturbed = publisher.is_some_and(|publisher| !publisher.finish());
    if disturbed {
        println!("the good publisher was cut off by what others sent");
    }
    println!("{passed} passed, {failed} failed, {skipped} not applicable, {crashed} crashed");
    Ok(ExitCode::from(u8::from(failed + crashed > 0 || disturbed)))
}

fn run(addr: SocketAddr, vector: &Vector, mut names: Names) -> Outcome {
    let mut peer = match Peer::connect(addr) {
        Ok(peer) => peer,
        Err(error) => return Outcome::Crashed(error.to_string()),
    };
    if let Err(what) = peer.bring_to(vector.state, &mut names) {
        // Servers without RECORD exist; that says nothing about this vector.
        return match vector.state {
            State::Announced | State::Recording => Outcome::NotApplicable(what),
            _ => Outcome::Failed(what),
        };
    }
    for (index, item) in vector.send.iter().enumerate() {
        if index > 0 {
            // Apart on the wire: the server is to see a write of its own.
            thread::sleep(Duration::from_millis(20));
        }
        peer.send(&vector::expand(item, &names));
    }
    let verdict = judge(&mut peer, vector, &names);
    drop(peer);
    match Peer::connect(addr).map(|mut other| other.request("OPTIONS", &names.url, "", "")) {
        Ok(Heard::Answer(..)) => verdict,
        Ok(other) => Outcome::Crashed(format!("OPTIONS of a new connection: {other:?}")),
        Err(error) => Outcome::Crashed(format!("new connection: {error}")),
    }
}

fn judge(peer: &mut Peer, vector: &Vector, names: &Names) -> Outcome {
    for (index, wanted) in vector.expect.iter().enumerate() {
        let heard = peer.answer(wanted.split('|').any(|word| word == "silence"));
        if !wanted.split('|').any(|word| matches(word, &heard)) {
            return Outcome::Failed(format!(
                "answer {}: wanted {wanted}, got {}",
                index + 1,
                short(&heard)
            ));
        }
        match &heard {
            Heard::Close => return Outcome::Passed,
            Heard::Answer(_, head) if index == 0 => {
                for text in &vector.answer_has {
                    let text = String::from_utf8_lossy(&vector::expand(text, names)).to_lowercase();
                    if !head.to_lowercase().contains(&text) {
                        return Outcome::Failed(format!("the answer lacks `{text}`: {head}"));
                    }
                }
            }
            _ => {}
        }
    }
    let session = if names.session.is_empty() {
        String::new()
    } else {
        format!("Session: {}\r\n", names.session)
    };
    match peer.request("OPTIONS", &names.url, &session, "") {
        Heard::Answer(..) => Outcome::Passed,
        Heard::Close if !vector.survives => Outcome::Passed,
        Heard::Silence if vector.unfinished => Outcome::Passed,
        other => Outcome::Failed(format!(
            "afterwards, on the same connection: {}",
            short(&other)
        )),
    }
}

fn matches(word: &str, heard: &Heard) -> bool {
    match heard {
        Heard::Close => word == "close",
        Heard::Silence => word == "silence",
        Heard::Answer(status, _) => match word.strip_suffix("xx") {
            Some(class) => class == (status / 100).to_string(),
            None => word == status.to_string(),
        },
    }
}

fn short(heard: &Heard) -> String {
    match heard {
        Heard::Answer(_, head) => head.lines().next().unwrap_or_default().to_owned(),
        Heard::Close => "connection closed".to_owned(),
        Heard::Silence => "nothing".to_owned(),
    }
}

/// The good publisher beside all this.
struct Background {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<bool>,
}

impl Background {
    fn start(addr: SocketAddr, path: &str) -> Result<Self, Box<dyn Error>> {
        let target = Target::Path {
            addr,
            path: path.to_owned(),
        };
        let mut tcp = handshake::publish(&target, 0)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::spawn(move || {
            use std::io::Write;
            let mut maker = FrameMaker::new(200_000, 7);
            let mut frame = Vec::new();
            while !flag.load(Ordering::Relaxed) {
                maker.next_frame(synthetic::wall_ns(), &mut frame);
                if tcp.write_all(&frame).is_err() {
                    return false;
                }
                thread::sleep(Duration::from_secs(1) / FRAME_RATE);
            }
            true
        });
        Ok(Self { stop, thread })
    }

    /// Whether it could publish to the end.
    fn finish(self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(false)
    }
}
