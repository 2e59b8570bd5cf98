//! The RTSP torture suite: data files (`torture/*.toml`) and what runs them against any server.

mod background;
mod peer;
mod vector;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use background::Background;
pub use peer::{Heard, Peer};
pub use vector::{Names, State, Vector, load};

/// A sound server answers a new connection within this.
const ANSWER: Duration = Duration::from_secs(5);
/// One that answers nobody for this long will not any more.
const RECOVERY: Duration = Duration::from_secs(60);

/// What came of a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server did what a sound one may do.
    Passed,
    /// It did something else.
    Failed(String),
    /// It cannot be brought into the state that the vector begins in.
    NotApplicable(String),
    /// Afterwards it answered nobody for a while.
    HeldUp(String),
    /// Afterwards it answered nobody any more.
    Crashed(String),
}

/// A vector that was run.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The file it is from.
    pub group: &'a str,
    /// It.
    pub vector: &'a Vector,
    /// What came of it.
    pub outcome: Outcome,
}

/// Runs vectors with this many at a time, until one crashes the server; in the order of the files.
pub fn run_all<'a>(
    addr: SocketAddr,
    names: &Names,
    vectors: &'a [(String, Vector)],
    jobs: usize,
) -> Vec<Verdict<'a>> {
    let next = AtomicUsize::new(0);
    let crashed = AtomicBool::new(false);
    let verdicts = Mutex::new(Vec::new());
    let work = || {
        while !crashed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((group, vector)) = vectors.get(index) else {
                break;
            };
            let mut names = names.clone();
            names.publisher = format!("publisher-{group}-{}", vector.name);
            let outcome = run(addr, vector, names);
            if matches!(outcome, Outcome::Crashed(_)) {
                crashed.store(true, Ordering::Relaxed);
            }
            let verdict = Verdict {
                group,
                vector,
                outcome,
            };
            verdicts.lock().unwrap().push((index, verdict));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn run(addr: SocketAddr, vector: &Vector, mut names: Names) -> Outcome {
    let mut peer = match Peer::connect(addr) {
        Ok(peer) => peer,
        Err(error) => return Outcome::Crashed(error.to_string()),
    };
    if let Err(what) = peer.bring_to(vector.state, &mut names) {
        // Servers without RECORD exist; that says nothing about this vector.
        return match vector.state {
            State::Announced | State::Recording | State::RecordingH265 => {
                Outcome::NotApplicable(what)
            }
            _ => Outcome::Failed(what),
        };
    }
    for (index, item) in vector.send.iter().enumerate() {
        if index > 0 {
            // Apart on the wire: the server is to see a write of its own.
            thread::sleep(Duration::from_millis(vector.pause_ms));
        }
        peer.send(&vector::expand(item, &names));
    }
    let verdict = judge(addr, &mut peer, vector, &names);
    drop(peer);
    let begin = Instant::now();
    loop {
        let what = match Peer::connect(addr).map(|mut other| other.options(&names.url)) {
            Ok(Heard::Answer(..)) if begin.elapsed() < ANSWER => return verdict,
            Ok(Heard::Answer(..)) => {
                let seconds = begin.elapsed().as_secs();
                return Outcome::HeldUp(format!("it answered nobody for {seconds} s"));
            }
            Ok(other) => format!("OPTIONS of a new connection: {other:?}"),
            Err(error) => format!("new connection: {error}"),
        };
        if begin.elapsed() > RECOVERY {
            return Outcome::Crashed(what);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn judge(addr: SocketAddr, peer: &mut Peer, vector: &Vector, names: &Names) -> Outcome {
    let patience = Duration::from_secs(vector.patience_s);
    for (index, wanted) in vector.expect.iter().enumerate() {
        let silence = wanted.split('|').any(|word| word == "silence");
        let heard = peer.answer(silence, patience);
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
    if let Err(what) = ask_other(addr, vector, names) {
        return Outcome::Failed(what);
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

/// What another connection says in between.
fn ask_other(addr: SocketAddr, vector: &Vector, names: &Names) -> Result<(), String> {
    let Some(send) = &vector.other_send else {
        return Ok(());
    };
    let mut other = Peer::connect(addr).map_err(|error| format!("second connection: {error}"))?;
    other.send(&vector::expand(send, names));
    let wanted = vector.other_expect.as_deref().unwrap_or("4xx");
    let heard = other.answer(false, Duration::from_secs(vector.patience_s));
    if wanted.split('|').any(|word| matches(word, &heard)) {
        Ok(())
    } else {
        let heard = short(&heard);
        Err(format!("second connection: wanted {wanted}, got {heard}"))
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
