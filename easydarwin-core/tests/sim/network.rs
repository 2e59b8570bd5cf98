//! The network itself: what it promises to those who test with it.

use std::net::SocketAddr;
use std::time::Duration;

use easydarwin_core::sim::{ConnectError, End, Event, Link, Network};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn events(net: &mut Network, time: Duration) -> Vec<Event> {
    let until = net.now() + time;
    let mut events = Vec::new();
    while let Some((_, event)) = net.next(until) {
        events.push(event);
    }
    assert_eq!(net.now(), until);
    events
}

fn connected(net: &mut Network) -> (End, End) {
    let server = addr("10.0.0.2:80");
    net.listen(server);
    let end = net.connect("10.0.0.1".parse().unwrap(), server);
    let events = events(net, Duration::from_secs(1));
    assert_eq!(events.last(), Some(&Event::Connected { end }));
    (end, end.other())
}

#[test]
fn bandwidth_and_delay_take_their_time() {
    let mut net = Network::new(1);
    let mut link = Link::with_delay(Duration::from_millis(50));
    link.bandwidth = Some(8000);
    net.set_default_link(link);
    let (client, _) = connected(&mut net);
    // A thousand bytes at a thousand bytes a second, then the delay.
    net.send(client, vec![0; 1000]);
    assert_eq!(net.under_way(client), 1000);
    assert_eq!(events(&mut net, Duration::from_millis(1049)), []);
    assert_eq!(events(&mut net, Duration::from_millis(1)).len(), 1);
    assert_eq!(net.under_way(client), 0);
}

#[test]
fn a_close_comes_after_what_was_sent() {
    for seed in 0..100 {
        let mut net = Network::new(seed);
        let mut link = Link::default();
        link.jitter = Duration::from_millis(9);
        link.loss = 100;
        link.random_cuts = true;
        net.set_default_link(link);
        let (client, server) = connected_lossy(&mut net);
        net.send(client, vec![7; 5000]);
        net.close(client);
        assert!(!net.is_open(client));
        let events = events(&mut net, Duration::from_secs(60));
        let (last, data) = events.split_last().unwrap();
        assert_eq!(*last, Event::Closed { end: server });
        let len: usize = data
            .iter()
            .map(|event| match event {
                Event::Received { end, data } if *end == server => data.len(),
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(len, 5000);
    }
}

fn connected_lossy(net: &mut Network) -> (End, End) {
    let server = addr("10.0.0.2:80");
    net.listen(server);
    let end = net.connect("10.0.0.1".parse().unwrap(), server);
    events(net, Duration::from_secs(10));
    assert!(net.is_open(end) && net.is_open(end.other()));
    (end, end.other())
}

#[test]
fn what_was_never_accepted_is_nobodys() {
    let mut net = Network::new(1);
    let server = addr("10.0.0.2:80");
    net.listen(server);
    let client = "10.0.0.1".parse().unwrap();
    // Cut while it is asked for: the server never hears of it.
    let end = net.connect(client, server);
    net.cut(end);
    let error = ConnectError::Refused;
    let seen = events(&mut net, Duration::from_secs(200));
    assert_eq!(seen, [Event::NotConnected { end, error }]);
    // Asked for and given up while the server was off.
    net.stop_host(server.ip());
    let end = net.connect(client, server);
    assert_eq!(events(&mut net, Duration::from_secs(1)), []);
    net.start_host(server.ip());
    net.listen(server);
    net.close(end);
    assert_eq!(events(&mut net, Duration::from_secs(200)), []);
}

#[test]
fn half_open_is_noticed_by_who_sends() {
    let mut net = Network::new(1);
    let (client, server) = connected(&mut net);
    net.silence(client);
    assert_eq!(events(&mut net, Duration::from_secs(100_000)), []);
    net.send(client, "x");
    let events = events(&mut net, Duration::from_secs(1000));
    assert_eq!(events, [Event::Reset { end: client }]);
    assert!(net.is_open(server));
}

#[test]
fn patience_begins_anew_when_something_came_through() {
    let mut net = Network::new(1);
    let (client, server) = connected(&mut net);
    let hosts = (
        net.local(client).unwrap().ip(),
        net.local(server).unwrap().ip(),
    );
    for _ in 0..2 {
        net.set_path(hosts.0, hosts.1, false);
        net.send(client, "x");
        assert_eq!(events(&mut net, Duration::from_secs(600)), []);
        net.set_path(hosts.0, hosts.1, true);
        let came = events(&mut net, Duration::from_secs(1));
        assert!(matches!(came[..], [Event::Received { .. }]), "{came:?}");
    }
}

#[test]
fn a_host_that_was_off_resets_its_old_connections() {
    let mut net = Network::new(1);
    let (client, server) = connected(&mut net);
    let host = net.local(server).unwrap().ip();
    net.stop_host(host);
    net.send(client, "x");
    assert_eq!(events(&mut net, Duration::from_secs(100)), []);
    net.start_host(host);
    // What is sent again meets a host that knows nothing of it.
    assert_eq!(
        events(&mut net, Duration::from_secs(1)),
        [Event::Reset { end: client }]
    );
    // And so does who sends only now.
    let (client, _) = connected(&mut net);
    net.stop_host(host);
    net.start_host(host);
    assert_eq!(events(&mut net, Duration::from_secs(1)), []);
    net.send(client, "x");
    assert_eq!(
        events(&mut net, Duration::from_secs(1)),
        [Event::Reset { end: client }]
    );
}

#[test]
fn a_panic_prints_seed_and_trace() {
    // The text that the drop prints.
    let mut net = Network::new(77);
    net.note("something to find again");
    let (client, _) = connected(&mut net);
    net.cut(client);
    events(&mut net, Duration::from_secs(1));
    let text = net.to_string();
    assert!(text.contains("seed 77"), "{text}");
    assert!(text.contains("something to find again"), "{text}");
    assert!(text.contains("#1 client sees a reset"), "{text}");
    assert!(text.contains("#1 server sees a reset"), "{text}");
}
