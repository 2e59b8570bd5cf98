//! kill -9 of CMS, media server and camera, at random moments, while viewers watch and devices
//! are taken in. What was acknowledged is there afterwards, and everybody sees pictures again.
//!
//! `CHAOS_SECONDS` (default 60) says how long, `CHAOS_SEED` repeats the moments of a run.

// A test may panic; that is how it fails.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use easydarwin_cms::SqliteStore;
use easydarwin_core::client::{ClientOptions, Player};
use easydarwin_core::protocol::{
    AppType, ErrorNum, FrameLimits, MessageReader, Register, RegisterAck, TerminalType,
};
use easydarwin_core::registry::{DeviceStore as _, EventFilter, EventKind, EventLog as _, Secret};
use easydarwin_test_support::api::{easy, eventually};
use easydarwin_test_support::process::{Process, Workdir, binary, free_port};

const CAMERAS: [&str; 2] = ["001001000001", "001001000002"];

/// A part that was killed stays away for at most this long.
const LONGEST_ABSENCE: Duration = Duration::from_secs(3);

/// Most time between two kills.
const LONGEST_PEACE: Duration = Duration::from_secs(5);

/// Within this everything has found together again: the waits of a camera that failed all the time
/// go up to 15 s, then it registers, and a viewer asks anew.
const BACK_WITHIN: Duration = Duration::from_secs(45);

/// A viewer that sees nothing for this long asks for its URL again.
const BLIND: Duration = Duration::from_secs(5);

/// Between two tries of somebody who was refused.
const RETRY: Duration = Duration::from_millis(300);

#[test]
fn killed_at_random_moments_nothing_acknowledged_is_lost_and_everybody_plays_again() {
    let seconds = number("CHAOS_SECONDS").unwrap_or(60);
    let seed = number("CHAOS_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(1, |since| since.as_secs())
    });
    eprintln!("{seconds} s; to repeat it: CHAOS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let mut parts = Parts::new(Workdir::new("chaos"));
    let mut cms = parts.cms();
    let keys = CAMERAS.map(|serial| parts.add_device(serial));
    let mut server = parts.server();
    let mut cameras = [0, 1].map(|n| parts.camera(n, &keys[n]));

    let stop = Arc::new(AtomicBool::new(false));
    let viewers = CAMERAS.map(|serial| Viewer::start(parts.cms, serial, &stop));
    let newcomers = Newcomers::start(parts.cms, &stop);
    for viewer in &viewers {
        viewer.plays_after(Instant::now(), "at first");
    }

    let mut killed = [0u32; 4];
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        thread::sleep(part_of(LONGEST_PEACE, &mut random));
        let absence = part_of(LONGEST_ABSENCE, &mut random);
        let victim = random.usize(..4);
        killed[victim] += 1;
        match victim {
            0 => {
                cms.kill();
                thread::sleep(absence);
                cms = parts.cms();
            }
            1 => {
                server.kill();
                thread::sleep(absence);
                server = parts.server();
            }
            camera => {
                let n = camera - 2;
                cameras[n].kill();
                thread::sleep(absence);
                cameras[n] = parts.camera(n, &keys[n]);
            }
        }
    }
    eprintln!(
        "killed: CMS {}, media server {}, cameras {}",
        killed[0],
        killed[1],
        killed[2] + killed[3]
    );

    let peace = Instant::now();
    for viewer in &viewers {
        viewer.plays_after(peace, "after the last kill");
    }
    let taken_in = newcomers.taken_in();
    let before = taken_in.len();
    eventually(
        "somebody is taken in after the last kill",
        BACK_WITHIN,
        || {
            let now = newcomers.taken_in().len();
            (now > before).then_some(()).ok_or(format!("still {now}"))
        },
    );
    stop.store(true, Ordering::Relaxed);
    for viewer in viewers {
        eprintln!(
            "{}: {} packets, asked {} times for its URL",
            viewer.serial,
            viewer.packets(),
            viewer.asked()
        );
        viewer.thread.join().expect("the viewer does not panic");
    }
    newcomers.thread.join().expect("the newcomers do not panic");
    let acknowledged = Arc::try_unwrap(newcomers.taken_in).expect("nobody else has it");
    let acknowledged = acknowledged.into_inner().expect("not poisoned");
    assert!(
        acknowledged.len() > 10,
        "only {} were taken in",
        acknowledged.len()
    );

    // The secret that was acknowledged is the one that counts.
    let (serial, token) = &acknowledged[0];
    assert_eq!(register(parts.cms, serial, token), Ok(ErrorNum::OK));
    assert_eq!(
        register(parts.cms, serial, "another"),
        Ok(ErrorNum::UNAUTHORIZED)
    );

    // Once more in the middle of everything, and nobody cleans up.
    cms.kill();
    parts.check_store();
    parts.has_all(&acknowledged);
    parts.events_tell(killed);
    eprintln!(
        "{} devices taken in meanwhile, none is missing",
        acknowledged.len()
    );
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a test does not last that long")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// A part of this time.
fn part_of(longest: Duration, random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(..millis(longest)))
}

/// The processes, at fixed addresses.
struct Parts {
    workdir: Workdir,
    cms: SocketAddr,
    rtsp: SocketAddr,
    http: SocketAddr,
    starts: u32,
}

impl Parts {
    fn new(workdir: Workdir) -> Self {
        let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self {
            workdir,
            cms: local(),
            rtsp: local(),
            http: local(),
            starts: 0,
        }
    }

    fn data(&self) -> PathBuf {
        self.workdir.file("data")
    }

    /// Logs of a program that is started again get a name of their own.
    fn name(&mut self, program: &str) -> String {
        self.starts += 1;
        format!("{:03}-{program}", self.starts)
    }

    fn cms(&mut self) -> Process {
        let (listen, data) = (self.cms.to_string(), self.data());
        let name = self.name("cms");
        let args = ["--listen", &listen, "--policy", "adopt"];
        let args = args
            .into_iter()
            .chain(["--legacy-clients", "127.0.0.0/8", "--data"]);
        let args: Vec<_> = args.map(PathBuf::from).chain([data]).collect();
        Process::spawn_ready(&self.workdir, &name, "easydarwin-cms", args)
    }

    fn server(&mut self) -> Process {
        let (rtsp, http, cms) = (
            self.rtsp.to_string(),
            self.http.to_string(),
            self.cms.to_string(),
        );
        let key = self.data().join("join-key").display().to_string();
        let name = self.name("easydarwin");
        let args = [
            "--rtsp",
            &rtsp,
            "--http",
            &http,
            "--cms",
            &cms,
            "--join-key-file",
            &key,
            "--node-id",
            "node-1",
            "--idle",
            "600",
        ];
        Process::spawn_ready(&self.workdir, &name, "easydarwin", args)
    }

    fn camera(&mut self, n: usize, key: &str) -> Process {
        let cms = self.cms.to_string();
        let name = self.name("camera");
        let args = [
            "--cms", &cms, "--serial", CAMERAS[n], "--secret", key, "--source", "pattern",
        ];
        Process::spawn_ours(&self.workdir, &name, "easydarwin-camera", args)
    }

    /// Adds a device on the command line, beside the running CMS; its key.
    fn add_device(&self, serial: &str) -> String {
        let done = Command::new(binary("easydarwin-cms"))
            .args(["device", "add", serial, "--data"])
            .arg(self.data())
            .output()
            .expect("the CMS's program can be run");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let key = text.split_whitespace().find(|word| word.len() == 43);
        key.unwrap_or_else(|| panic!("no key in {text:?}"))
            .to_owned()
    }

    /// As an operator would look at it.
    fn check_store(&self) {
        let checked = Command::new(binary("easydarwin-cms"))
            .args(["check", "--data"])
            .arg(self.data())
            .output()
            .expect("the CMS's program can be run");
        assert!(
            checked.status.success(),
            "{}{}",
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr)
        );
    }

    /// The log tells of each start after a kill, of streams that ended, and at last that both play.
    fn events_tell(&self, killed: [u32; 4]) {
        let database = self.data().join("cms.db");
        let store = SqliteStore::open(&database).expect("the store opens");
        let events = runtime().block_on(async {
            let mut cursor = store.bounds().await.expect("it can be read").oldest;
            let mut events = Vec::new();
            loop {
                let page = store.read(cursor, &EventFilter::all(), 1000).await;
                let page = page.expect("nothing was removed");
                events.extend(page.events.into_iter().map(|logged| logged.event));
                if !page.more {
                    return events;
                }
                cursor = page.next;
            }
        });
        let of = |kind: &EventKind| {
            events
                .iter()
                .filter(|e| e.kind == *kind)
                .collect::<Vec<_>>()
        };
        let started = of(&EventKind::CMS_STARTED);
        let count = u32::try_from(started.len()).expect("a small number");
        // One that was killed within 50 ms of its start may not have told of it.
        assert!(
            (killed[0]..=killed[0] + 1).contains(&count) && count > 0,
            "{count} starts with {} kills",
            killed[0]
        );
        for (number, event) in started.iter().enumerate() {
            assert_eq!(event.data["unclean"], number > 0, "start {number}");
        }
        assert!(of(&EventKind::CMS_STOPPED).is_empty());
        assert!(!of(&EventKind::NODE_JOINED).is_empty());
        let streams = [EventKind::STREAM_STARTED, EventKind::STREAM_ENDED];
        for (n, serial) in CAMERAS.into_iter().enumerate() {
            let of_camera: Vec<_> = events
                .iter()
                .filter(|e| e.serial.as_deref() == Some(serial) && streams.contains(&e.kind))
                .map(|e| e.kind.clone())
                .collect();
            assert_eq!(of_camera.last(), Some(&streams[0]), "{serial} plays");
            let ends = of_camera.iter().filter(|kind| **kind == streams[1]).count();
            assert!(
                ends > 0 || killed[1] + killed[2 + n] == 0,
                "{serial}: no end of a stream was told"
            );
        }
        eprintln!("{} events tell of it", events.len());
    }

    /// Every device that was acknowledged is there with its secret.
    fn has_all(&self, acknowledged: &[(String, String)]) {
        let database = self.data().join("cms.db");
        let store = SqliteStore::open(&database).expect("the store opens");
        let missing = runtime().block_on(async {
            assert_eq!(
                store.check().await.expect("it can be read").faults,
                Vec::<String>::new()
            );
            for serial in CAMERAS {
                let secrets = store.credentials(serial).await.expect("it can be read");
                assert!(
                    secrets.iter().any(|s| matches!(s.secret, Secret::Key(_))),
                    "{serial}"
                );
            }
            let mut missing = Vec::new();
            for (serial, _) in acknowledged {
                let known = store.get(serial).await.expect("it can be read").is_some();
                let secrets = store.credentials(serial).await.expect("it can be read");
                if !known || !secrets.iter().any(|s| matches!(s.secret, Secret::Token(_))) {
                    missing.push(serial);
                }
            }
            missing
        });
        assert!(
            missing.is_empty(),
            "acknowledged, but not in the store: {missing:?}"
        );
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Somebody who watches one camera, and asks for its URL again whenever the picture ends.
struct Viewer {
    serial: &'static str,
    seen: Arc<Seen>,
    thread: thread::JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    begun: Instant,
    /// Milliseconds from `begun` to the last packet.
    last: AtomicU64,
    packets: AtomicU64,
    asked: AtomicU64,
    trouble: Mutex<String>,
}

impl Viewer {
    fn start(cms: SocketAddr, serial: &'static str, stop: &Arc<AtomicBool>) -> Self {
        let seen = Arc::new(Seen {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            trouble: Mutex::default(),
        });
        let (watched, stop) = (seen.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime();
            while !stop.load(Ordering::Relaxed) {
                watched.asked.fetch_add(1, Ordering::Relaxed);
                let trouble = match url_of(cms, serial) {
                    Ok(url) => runtime.block_on(watch(&url, &watched, &stop)),
                    Err(trouble) => trouble,
                };
                *watched.trouble.lock().expect("not poisoned") = trouble;
                thread::sleep(RETRY);
            }
        });
        Self {
            serial,
            seen,
            thread,
        }
    }

    /// Waits for a packet that came after `moment`.
    fn plays_after(&self, moment: Instant, when: &str) {
        let moment = millis(moment.saturating_duration_since(self.seen.begun));
        let before = self.packets();
        eventually(
            &format!("{} plays {when}", self.serial),
            BACK_WITHIN,
            || {
                // Not what was on its way, but a stream that goes on.
                let plays = self.seen.last.load(Ordering::Relaxed) > moment + 1000
                    && self.packets() > before + 20;
                let trouble = || self.seen.trouble.lock().expect("not poisoned").clone();
                plays.then_some(()).ok_or_else(trouble)
            },
        );
    }

    fn packets(&self) -> u64 {
        self.seen.packets.load(Ordering::Relaxed)
    }

    fn asked(&self) -> u64 {
        self.seen.asked.load(Ordering::Relaxed)
    }
}

fn url_of(cms: SocketAddr, serial: &str) -> Result<String, String> {
    let request = format!("getdevicestream?device={serial}&channel=1&protocol=RTSP");
    let (number, body) = easy(&format!("http://{cms}/api/v1/{request}"))?;
    match body["URL"].as_str() {
        Some(url) if number == "200" => Ok(url.to_owned()),
        _ => Err(format!("ErrorNum {number}: {body}")),
    }
}

/// Plays until the stream ends; why it did.
async fn watch(url: &str, seen: &Seen, stop: &AtomicBool) -> String {
    let mut options = ClientOptions::default();
    options.silence_timeout = BLIND;
    let mut player = match Player::connect(url, options).await {
        Ok(player) => player,
        Err(error) => return error.to_string(),
    };
    while !stop.load(Ordering::Relaxed) {
        match player.next_packet().await {
            Ok(Some(_)) => {
                let now = millis(seen.begun.elapsed());
                seen.last.store(now, Ordering::Relaxed);
                seen.packets.fetch_add(1, Ordering::Relaxed);
            }
            Ok(None) => return "the stream ended".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
    String::new()
}

/// Old devices that nobody knows, one after the other: the CMS writes each down before it
/// acknowledges it.
struct Newcomers {
    taken_in: Arc<Mutex<Vec<(String, String)>>>,
    thread: thread::JoinHandle<()>,
}

impl Newcomers {
    fn start(cms: SocketAddr, stop: &Arc<AtomicBool>) -> Self {
        let taken_in = Arc::new(Mutex::new(Vec::new()));
        let (list, stop) = (taken_in.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (serial, token) = (format!("new-{number:06}"), format!("token-{number}"));
                match register(cms, &serial, &token) {
                    Ok(ErrorNum::OK) => list.lock().expect("not poisoned").push((serial, token)),
                    // Not acknowledged: it may be there or not.
                    Ok(_) | Err(_) => thread::sleep(RETRY),
                }
            }
        });
        Self { taken_in, thread }
    }

    fn taken_in(&self) -> Vec<(String, String)> {
        self.taken_in.lock().expect("not poisoned").clone()
    }
}

/// Registers as an old device does, and leaves.
fn register(cms: SocketAddr, serial: &str, token: &str) -> Result<ErrorNum, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut register = Register::new(serial, AppType::EasyCamera, TerminalType::ArmLinux);
    register.token = Some(token.to_owned());
    let mut tcp = TcpStream::connect(cms).map_err(|e| failed(&e))?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(|e| failed(&e))?;
    tcp.write_all(&register.to_envelope(1).to_request("chaos"))
        .map_err(|e| failed(&e))?;
    let mut reader = MessageReader::new(FrameLimits::default());
    let mut piece = [0; 2048];
    loop {
        let length = tcp.read(&mut piece).map_err(|e| failed(&e))?;
        if length == 0 {
            return Err("the connection ended".to_owned());
        }
        reader.push(&piece[..length]);
        if let Some(message) = reader.next_message().map_err(|e| failed(&e))? {
            let message = message.envelope().map_err(|e| failed(&e))?;
            let ack = RegisterAck::from_envelope(&message).map_err(|e| failed(&e))?;
            return Ok(ack.error);
        }
    }
}
