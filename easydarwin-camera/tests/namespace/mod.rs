//! Network namespaces of a test's own, of which nothing is left when it ends.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, geteuid, gettid};

const INSIDE: &str = "EASYDARWIN_NAMESPACE";

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this test again in a network namespace, as its root.
pub(crate) fn run_inside(test: &str) {
    let how = if geteuid().is_root() { "-n" } else { "-rn" };
    let output = Command::new("unshare")
        .arg(how)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is needed: see scripts/peers");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// A namespace for this thread alone. Returns the thread's id, by which others find it.
pub(crate) fn leave_namespace() -> Pid {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    gettid()
}

pub(crate) fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .expect("iproute2 is needed: see scripts/peers");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
}
