//! Two network namespaces and a link between them, of which nothing is left when the test ends.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, geteuid, gettid};

pub(crate) const FAR: &str = "10.77.0.1";
const NEAR: &str = "10.77.0.2";
const INSIDE: &str = "EASYDARWIN_THROTTLED";

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

/// Makes the link from this namespace to that of the thread.
pub(crate) fn make(thread: Pid) {
    run("ip link add far type veth peer name near");
    run(&format!("ip link set near netns {thread}"));
    run(&format!("ip addr add {FAR}/24 dev far"));
    run("ip link set far up");
}

/// The camera's end, with so many bits a second on the way out.
pub(crate) fn configure_near_end(rate: u32, congestion: Option<&str>) {
    if let Some(name) = congestion {
        // Of the namespace that this thread is in.
        std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", name).unwrap();
    }
    run(&format!("ip addr add {NEAR}/24 dev near"));
    run("ip link set near up");
    run(&bucket("add", rate));
}

/// Another rate, from now on.
pub(crate) fn set_rate(rate: u32) {
    run(&bucket("change", rate));
}

/// A router that holds 250 ms.
fn bucket(verb: &str, rate: u32) -> String {
    format!("tc qdisc {verb} dev near root tbf rate {rate}bit burst 6kb latency 250ms")
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .expect("iproute2 is needed: see scripts/peers");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
}
