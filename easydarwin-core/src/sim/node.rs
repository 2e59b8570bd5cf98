use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::trace::Happened;
use super::{Event, Network};

/// How long a node that is still due after it was woken waits: it must not stop the time.
const PATIENCE: Duration = Duration::from_millis(1);

/// What runs on a host: an engine with its glue, or a script.
pub trait Node {
    /// The host. There is one node on each.
    fn host(&self) -> IpAddr;

    /// Takes what the host noticed.
    fn handle(&mut self, event: Event, net: &mut Network);

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// It is that time. Not called while the host is down.
    fn handle_timeout(&mut self, net: &mut Network) {
        let _ = net;
    }
}

/// Goes on by one event or one timer of these nodes, at most to `until`. `false`: it is `until`
/// now. Events of hosts without node are lost.
pub fn step(net: &mut Network, nodes: &mut [&mut dyn Node], until: Instant) -> bool {
    let now = net.now();
    let woken = net.woken;
    let due = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| net.is_up(node.host()))
        .filter_map(|(index, node)| {
            let again = woken == Some((node.host(), now));
            let earliest = if again { now + PATIENCE } else { now };
            Some((node.poll_timeout()?.max(earliest), index))
        })
        .min();
    match due {
        Some((at, index)) if at <= until && net.next_at().is_none_or(|next| at < next) => {
            net.advance_to(at);
            if let Some(node) = nodes.get_mut(index) {
                net.woken = Some((node.host(), at));
                net.record(Happened::Timer(node.host()));
                node.handle_timeout(net);
            }
            true
        }
        _ => {
            let until_timer = due.map_or(until, |(at, _)| at.min(until));
            match net.next(until_timer) {
                Some((host, event)) => {
                    if let Some(node) = nodes.iter_mut().find(|node| node.host() == host) {
                        node.handle(event, net);
                    }
                    true
                }
                None => until_timer < until,
            }
        }
    }
}

/// Runs these nodes for a while.
pub fn run(net: &mut Network, nodes: &mut [&mut dyn Node], time: Duration) {
    let until = net.now() + time;
    while step(net, nodes, until) {}
}
