//! Two network namespaces and a link between them.

#[path = "../namespace/mod.rs"]
mod namespace;

use nix::unistd::Pid;

use self::namespace::run;
pub(crate) use self::namespace::{is_inside, leave_namespace, run_inside};

pub(crate) const FAR: &str = "10.77.0.1";
const NEAR: &str = "10.77.0.2";

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
