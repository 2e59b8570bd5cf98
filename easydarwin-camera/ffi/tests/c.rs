//! The library as C and C++ programs see it: compiled with gcc and g++ against the header, linked
//! with the static library, run under valgrind, pushing to servers of ours and of others.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod cms;
mod peer;
mod program;
mod targets;

use std::net::SocketAddr;
use std::time::Duration;

use easydarwin_test_support::gst_server::{GstServer, Guard};
use easydarwin_test_support::media::Clip;
use easydarwin_test_support::peers::{Transport, ffmpeg_listen, ffmpeg_read, recorded};
use easydarwin_test_support::process::{Process, Workdir, free_port};

use program::{Files, Program};

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

#[test]
fn what_the_interface_promises() {
    let workdir = Workdir::new("ffi-abi");
    let mut program = Program::c("tests/c/abi.c").run::<&str>(&workdir, []);
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
    let clip = Clip::Aac;
    let files = Files::make(&workdir, clip, 12);
    let (_server, url) = easydarwin(&workdir);
    let mut program = Program::c("examples/push_file.c").run(&workdir, files.args(&url));
    easydarwin_test_support::api::wait_live(&url, LIMIT);
    let received = ffmpeg_read(&workdir, clip, &url, Transport::Tcp);
    let result = received.and_then(|received| received.check(clip, true));
    assert_eq!(result, Ok(()));
    program.expect_success(LIMIT);
    files.expect_all_sent(&program.output());
}

#[test]
fn a_file_pushed_to_servers_of_others_arrives_byte_for_byte() {
    let workdir = Workdir::new("ffi-push-others");
    let clip = Clip::Aac;
    let files = Files::make(&workdir, clip, 12);
    let program = Program::c("examples/push_file.c");

    let gst = workdir.sub("gst");
    let mut server = GstServer::start_recording(&gst, gst.path(), Guard::Open);
    let listening = format!("rtsp://127.0.0.1:{}/film", free_port());
    let ffmpeg = workdir.sub("ffmpeg");
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| ffmpeg_listen(&ffmpeg, clip, &listening));
        let mut to_gst = program.run(&gst, files.args(&server.url()));
        let mut to_ffmpeg = program.run(&ffmpeg, files.args(&listening));
        let frames = gst.path().join("frames");
        let received = recorded(&mut server.process, clip, &gst.file("video"), &frames);
        let result = received.and_then(|received| received.check(clip, true));
        assert_eq!(result, Ok(()), "gst-rtsp-server");
        let received = listener.join().expect("the listening thread");
        let result = received.and_then(|received| received.check(clip, true));
        assert_eq!(result, Ok(()), "ffmpeg, listening");
        to_gst.expect_success(LIMIT);
        // ffmpeg leaves when it has recorded enough; the camera takes that as it comes.
        to_ffmpeg.expect_success(LIMIT);
    });
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
    let clip = Clip::Aac;
    let files = Files::make(&workdir, clip, 12);
    let server = Secure::start(&workdir);
    let program = Program::with_mbedtls("examples/push_file.c");
    let program = program.with("EDC_CA", &server.certificate);
    let mut program = program.run(&workdir, files.args(&server.url));
    easydarwin_test_support::api::wait_live(&server.plain, LIMIT);
    let received = ffmpeg_read(&workdir, clip, &server.plain, Transport::Tcp);
    let result = received.and_then(|received| received.check(clip, true));
    assert_eq!(result, Ok(()));
    program.expect_success(LIMIT);
    files.expect_all_sent(&program.output());
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
fn commands_reach_callbacks_in_cpp_and_are_answered() {
    let workdir = Workdir::new("ffi-commands");
    let cms = cms::Listening::start();
    let program = Program::cpp("examples/commands.cpp");
    let args = [&cms.address.to_string(), cms::SERIAL, cms::TOKEN, "2"];
    let mut program = program.run(&workdir, args);
    let mut cms = cms.accept();
    assert_eq!(cms.ptz("UP").code(), 200);
    assert_eq!(cms.preset("3").code(), 501);
    program.expect_success(LIMIT);
    let said = program.output();
    for line in [
        "event 1 127.0.0.1",
        "event 32 UP SINGLE 1",
        "event 33 GOTO  3",
        "log 3 registered",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
}
