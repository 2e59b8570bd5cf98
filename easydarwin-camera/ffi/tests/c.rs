//! The library as C and C++ programs see it: compiled with gcc and g++ against the header, linked
//! with the static library, run under valgrind, pushing to servers of ours and of others.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod cms;
mod film;
mod peer;
mod program;
mod targets;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use easydarwin_core::protocol::{ClockQuality, EventLevel};
use easydarwin_test_support::gst_server::{GstServer, Guard};
use easydarwin_test_support::peers::{SECONDS, Transport, ffmpeg_listen, ffmpeg_read, recorded};
use easydarwin_test_support::process::{Process, Workdir, free_port};
use easydarwin_test_support::proxy::Proxy;

use film::Film;
use program::Program;

/// A program under valgrind on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Our media server, which lets everybody in.
fn easydarwin(workdir: &Workdir) -> (Process, String) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let process = Process::spawn_ready(
        workdir,
        "easydarwin",
        "easydarwin",
        ["--rtsp", &address, "--http", "127.0.0.1:0", "--anonymous"],
    );
    (process, format!("rtsp://{address}/live/film"))
}

/// A way to the server of this URL on which it is seen what passes, and the URL that leads there.
fn tapped(url: &str) -> (Proxy, String) {
    let authority = url.split('/').nth(2).unwrap();
    let server = authority.parse().unwrap();
    let proxy = Proxy::start_keeping_media("127.0.0.1:0".parse().unwrap(), server);
    let url = url.replacen(authority, &proxy.address().to_string(), 1);
    (proxy, url)
}

#[test]
fn what_the_interface_promises() {
    let workdir = Workdir::new("ffi-abi");
    let mut program = Program::c("tests/c/abi.c").run::<&str>(&workdir, []);
    program.expect_silent_success(LIMIT);
}

#[test]
fn a_program_of_the_first_version_goes_on() {
    let workdir = Workdir::new("ffi-first-version");
    let header = format!("abi/{}", edc::EDC_ABI_VERSION);
    let mut program = Program::c_with(&header, "tests/c/abi.c").run::<&str>(&workdir, []);
    program.expect_silent_success(LIMIT);
}

#[test]
fn what_vendors_tell_is_checked() {
    let workdir = Workdir::new("ffi-report");
    let mut program = Program::c("tests/c/report.c").run::<&str>(&workdir, []);
    program.expect_silent_success(LIMIT);
}

#[test]
fn panics_are_told_and_healed() {
    let workdir = Workdir::new("ffi-faults");
    let (_server, url) = easydarwin(&workdir);
    let mut program = Program::c("tests/c/faults.c").run(&workdir, [&url]);
    program.expect_silent_success(LIMIT);
}

#[test]
fn a_peer_that_resets_does_not_end_the_process() {
    let workdir = Workdir::new("ffi-reset");
    let peer = peer::Resetting::start();
    let url = format!("rtsp://{}/live/film", peer.address);
    let mut program = Program::c("tests/c/reset.c").run(&workdir, [&url]);
    program.expect_silent_success(LIMIT);
}

#[test]
fn cameras_are_destroyed_while_encoders_push() {
    let workdir = Workdir::new("ffi-destroy");
    let (_server, url) = easydarwin(&workdir);
    let mut program = Program::c("tests/c/destroy.c").run(&workdir, [&url]);
    program.expect_silent_success(LIMIT);
}

#[test]
fn a_file_pushed_to_our_server_is_played_byte_for_byte() {
    let workdir = Workdir::new("ffi-push-ours");
    let film = Film::make(&workdir, 12);
    let (_server, url) = easydarwin(&workdir);
    let (wire, way) = tapped(&url);
    let mut program = Program::c("examples/push_file.c").run(&workdir, film.args(&way));
    easydarwin_test_support::api::wait_live(&url, LIMIT);
    let received = ffmpeg_read(&workdir, film::CLIP, &url, Transport::Tcp);
    film.check_recorded(&workdir.file("video"), &received.unwrap());
    program.expect_success(LIMIT);
    film.expect_all_sent(&program.output());
    film.check_wire(&wire, film.pictures());
}

#[test]
fn a_file_pushed_to_servers_of_others_arrives_byte_for_byte() {
    let workdir = Workdir::new("ffi-push-others");
    let film = Film::make(&workdir, 12);
    let program = Program::c("examples/push_file.c");

    let gst = workdir.sub("gst");
    let mut server = GstServer::start_recording(&gst, gst.path(), Guard::Open);
    let (gst_wire, to_gst) = tapped(&server.url());
    let listening = format!("rtsp://127.0.0.1:{}/film", free_port());
    let (ffmpeg_wire, to_ffmpeg) = tapped(&listening);
    let ffmpeg = workdir.sub("ffmpeg");
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| ffmpeg_listen(&ffmpeg, film::CLIP, &listening));
        let mut to_gst = program.run(&gst, film.args(&to_gst));
        let mut to_ffmpeg = program.run(&ffmpeg, film.args(&to_ffmpeg));
        let (video, frames) = (gst.file("video"), gst.path().join("frames"));
        let received = recorded(&mut server.process, film::CLIP, &video, &frames);
        film.check_recorded(&video, &received.expect("gst-rtsp-server records"));
        let received = listener.join().expect("the listening thread");
        film.check_recorded(&ffmpeg.file("video"), &received.expect("ffmpeg records"));
        to_gst.expect_success(LIMIT);
        film.expect_all_sent(&to_gst.output());
        // ffmpeg leaves when it has recorded enough; the camera takes that as it comes.
        to_ffmpeg.expect_success(LIMIT);
    });
    film.check_wire(&gst_wire, film.pictures());
    film.check_wire(&ffmpeg_wire, 25 * SECONDS);
}

/// Our media server, also behind TLS, where it shows a certificate for `localhost`.
struct Secure {
    _server: Process,
    plain: String,
    address: SocketAddr,
    url: String,
    certificate: String,
    /// What a program is given that shows the same certificate.
    shown: [String; 4],
}

impl Secure {
    fn start(workdir: &Workdir) -> Self {
        let (certificate, key) = easydarwin_test_support::tls::self_signed(workdir);
        let certificate = certificate.to_str().unwrap().to_owned();
        let key = key.to_str().unwrap();
        let shown = ["--tls-cert", &certificate, "--tls-key", key].map(str::to_owned);
        let [rtsp, rtsps] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let listen = ["--rtsp", &rtsp, "--rtsps", &rtsps, "--http", "127.0.0.1:0"];
        let args = listen.into_iter().chain(shown.iter().map(String::as_str));
        let args = args.chain(["--anonymous"]);
        let address: SocketAddr = rtsps.parse().unwrap();
        Self {
            _server: Process::spawn_ready(workdir, "easydarwin", "easydarwin", args),
            plain: format!("rtsp://{rtsp}/live/film"),
            address,
            url: format!("rtsps://localhost:{}/live/film", address.port()),
            certificate,
            shown,
        }
    }
}

#[test]
fn a_tls_library_is_a_table_of_functions() {
    let workdir = Workdir::new("ffi-tls-table");
    let server = Secure::start(&workdir);
    let url = format!("rtsps://{}/live/film", server.address);
    let mut program = Program::with_mbedtls("tests/c/tls.c").run(&workdir, ["table", &url]);
    program.expect_silent_success(LIMIT);
}

#[test]
fn through_mbedtls_it_registers_and_pushes_and_takes_no_memory() {
    let workdir = Workdir::new("ffi-tls-live");
    let server = Secure::start(&workdir);
    let cms = free_port();
    let key = "7f6d3bd3c1b98ae0b5fce1d0";
    let device = format!("{}={key}", cms::SERIAL);
    let listen = format!("127.0.0.1:{cms}");
    let data = workdir.sub("cms");
    let args = ["--listen", &listen, "--device", &device, "--data"];
    let args = args.into_iter().chain([data.path().to_str().unwrap()]);
    let args = args.chain(server.shown.iter().map(String::as_str));
    let _cms = Process::spawn_ready(&workdir, "easydarwin-cms", "easydarwin-cms", args);

    let program = Program::with_mbedtls("tests/c/tls.c");
    let cms = format!("tls://localhost:{cms}");
    let args = |mode, ca| [mode, ca, &*cms, cms::SERIAL, key, &*server.url].map(str::to_owned);
    let mut live = program.run(&workdir.sub("live"), args("live", &server.certificate));
    live.expect_silent_success(LIMIT);

    let others = workdir.sub("others");
    let (other, _) = easydarwin_test_support::tls::self_signed(&others);
    let mut refused = program.run(&others, args("refused", other.to_str().unwrap()));
    refused.expect_silent_success(LIMIT);
}

#[test]
fn through_mbedtls_a_reset_does_not_end_the_process() {
    let workdir = Workdir::new("ffi-tls-reset");
    let server = Secure::start(&workdir);
    let program = Program::with_mbedtls("tests/c/tls.c");
    for (mode, after) in [("shaken", 100), ("cut", 50_000)] {
        let way = peer::Cut::start(server.address, after);
        let url = format!("rtsps://localhost:{}/live/film", way.port);
        let mut program = program.run(&workdir.sub(mode), [mode, &server.certificate, &url]);
        program.expect_silent_success(LIMIT);
    }
}

#[test]
fn a_file_pushed_through_mbedtls_is_played_byte_for_byte() {
    let workdir = Workdir::new("ffi-push-mbedtls");
    let film = Film::make(&workdir, 12);
    let server = Secure::start(&workdir);
    let program = Program::with_mbedtls("examples/push_file.c");
    let program = program.with("EDC_CA", &server.certificate);
    let mut program = program.run(&workdir, film.args(&server.url));
    easydarwin_test_support::api::wait_live(&server.plain, LIMIT);
    let received = ffmpeg_read(&workdir, film::CLIP, &server.plain, Transport::Tcp);
    film.check_recorded(&workdir.file("video"), &received.unwrap());
    program.expect_success(LIMIT);
    film.expect_all_sent(&program.output());
}

#[test]
fn a_cms_that_proves_nothing_is_refused() {
    let workdir = Workdir::new("ffi-unproven");
    let cms = cms::Listening::start();
    let address = cms.address.to_string();
    cms.open();
    let mut program = Program::c("tests/c/unproven.c").run(&workdir, [&address]);
    program.expect_silent_success(LIMIT);
}

#[test]
fn who_asks_for_a_login_gets_a_digest() {
    let workdir = Workdir::new("ffi-login");
    let film = Film::make(&workdir, 6);
    let program = Program::c("examples/push_file.c");

    // MD5, of others.
    let gst = workdir.sub("gst");
    let mut server = GstServer::start_recording(&gst, gst.path(), Guard::Digest);
    // SHA-256 alone.
    let users = workdir.file("users.toml");
    let user = "[[user]]\nname = \"viewer\"\npassword = \"secret\"\npublish = [\"live/film\"]\n";
    std::fs::write(&users, user).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let args = [
        "--rtsp",
        &address,
        "--http",
        "127.0.0.1:0",
        "--digest",
        "sha-256",
        "--users",
    ];
    let args = args.into_iter().chain(users.to_str());
    let _ours = Process::spawn_ready(&workdir, "easydarwin", "easydarwin", args);
    let ours = format!("rtsp://viewer:secret@{address}/live/film");

    let mut to_gst = program.run(&gst, film.args(&server.url()));
    let mut to_ours = program.run(&workdir.sub("ours"), film.args(&ours));
    let (video, frames) = (gst.file("video"), gst.path().join("frames"));
    let received = recorded(&mut server.process, film::CLIP, &video, &frames);
    film.check_recorded(&video, &received.expect("gst-rtsp-server records"));
    for program in [&mut to_gst, &mut to_ours] {
        program.expect_success(LIMIT);
        film.expect_all_sent(&program.output());
    }
    let wrong = server.url().replace("secret", "guess");
    let mut refused = program.run(&workdir.sub("wrong"), film.args(&wrong));
    refused.expect_failure(LIMIT);
    let said = refused.output();
    assert!(
        said.contains("does not accept this user and password"),
        "{said}"
    );
}

#[test]
fn commands_reach_callbacks_in_cpp_and_are_answered() {
    let workdir = Workdir::new("ffi-commands");
    let cms = cms::Listening::start();
    let program = Program::cpp("examples/commands.cpp");
    let (jpeg, interface) = (workdir.file("picture.jpg"), "lo");
    std::fs::write(&jpeg, b"\xff\xd8jpeg\xff\xd9").unwrap();
    let address = cms.address.to_string();
    let args = [
        &*address,
        cms::SERIAL,
        cms::TOKEN,
        "2",
        interface,
        jpeg.to_str().unwrap(),
    ];
    let mut program = program.run(&workdir, args);
    let mut cms = cms.accept();
    // Wanted after each registration, and when somebody asks.
    let picture = (1, "/9hqcGVn/9k=".to_owned());
    assert_eq!(cms.snapshot(), picture);
    assert_eq!(cms.want_snapshot().code(), 200);
    assert_eq!(cms.snapshot(), picture);
    assert_eq!(cms.ptz("UP").code(), 200);
    let told = [cms.event(), cms.event()];
    let health = told.iter().find(|event| event.health).expect("a health");
    assert_eq!(health.data.to_json(), r#"{"celsius":41.5}"#);
    let moved = told.iter().find(|event| !event.health).expect("an event");
    assert_eq!((&*moved.name, moved.channel), ("lens.moved", Some(1)));
    assert_eq!(
        (moved.level, moved.data.to_json()),
        (EventLevel::Info, r#"{"to":"UP"}"#.into())
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let off = now.abs_diff(Duration::from_millis(
        moved.time_ms.expect("it knows the time"),
    ));
    assert!(off < LIMIT, "{off:?}");
    cms.wait_clock(ClockQuality::Rtc);
    assert_eq!(cms.preset("3").code(), 501);
    program.expect_success(LIMIT);
    let said = program.output();
    for line in [
        "event 1 127.0.0.1",
        "event 39 ",
        "event 7 ",
        "event 32 UP SINGLE 1",
        "event 33 GOTO  3",
        "log 3 registered",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
}
