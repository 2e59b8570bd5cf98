//! The delivered archive on another target: `scripts/firmware-targets` compiles the programs and says in
//! `EDC_PROGRAMS` where they are, and in `EDC_EMULATOR` what runs them.

use std::path::PathBuf;
use std::process::Command;

use easydarwin_test_support::api::wait_live;
use easydarwin_test_support::peers::{Transport, ffmpeg_read};
use easydarwin_test_support::process::{Process, Workdir};

use crate::film::{self, Film};
use crate::{LIMIT, easydarwin};

struct Target {
    programs: PathBuf,
    emulator: String,
}

impl Target {
    fn from_environment() -> Self {
        let programs =
            std::env::var_os("EDC_PROGRAMS").expect("scripts/firmware-targets runs this");
        Self {
            programs: programs.into(),
            emulator: std::env::var("EDC_EMULATOR").unwrap_or_default(),
        }
    }

    fn run(&self, workdir: &Workdir, program: &str, args: &[String]) -> Process {
        let program = self.programs.join(program);
        let mut words = self.emulator.split_whitespace();
        let mut command = match words.next() {
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.args(words).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.args(args);
        Process::spawn(workdir, "program", command)
    }
}

/// It ends well; returns what it said.
fn said(mut program: Process) -> String {
    let status = program.wait(LIMIT);
    let said = program.log();
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?}\n{said}"
    );
    said
}

#[test]
#[ignore = "scripts/firmware-targets compiles what it runs"]
fn the_archive_works_on_another_target() {
    let target = Target::from_environment();
    let workdir = Workdir::new("ffi-target");
    let (_server, url) = easydarwin(&workdir);
    let of = |name: &str| vec![format!("{url}-{name}")];

    // Nothing is printed but what is looked for here.
    let faults = target.run(&workdir.sub("faults"), "faults", &of("faults"));
    let archive = target.run(&workdir.sub("archive"), "archive", &of("archive"));

    let film = Film::make(&workdir, 12);
    let mut push = target.run(&workdir.sub("push"), "push_file", &film.args(&url));
    wait_live(&url, LIMIT);
    let received = ffmpeg_read(&workdir, film::CLIP, &url, Transport::Tcp);
    film.check_recorded(&workdir.file("video"), &received.unwrap());
    let mut memory = None;
    while push.running() {
        memory = push.peak_kib().or(memory);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    film.expect_all_sent(&said(push));

    assert_eq!(said(faults), "");
    let stack = said(archive);
    assert!(
        stack.starts_with("stack=") && stack.lines().count() == 1,
        "{stack}"
    );
    print!("{stack}");
    // An emulator's memory is its own.
    if !target.emulator.contains("qemu") {
        println!("rss_kib={}", memory.expect("it ran for a while"));
    }
}
