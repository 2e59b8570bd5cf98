//! Connections that end in each state, and time-outs.

use std::time::Duration;

use easydarwin_core::rtsp::CloseReason;
use easydarwin_core::sim::{
    Act, ClientOutcome, ConnectError, Happened, Link, Network, RtspClient, Script, ServerOutcome,
};

use crate::support::{PLAYER, PUBLISHER, SERVER, World};

#[derive(Clone, Copy)]
enum Fault {
    Cut,
    Reset,
    Close,
    Silence,
}

/// The connection ends after any number of events, by any cause: both sides know in the end,
/// the path is free again, and everything can begin anew.
#[test]
fn a_connection_may_end_in_each_state() {
    let mut states = std::collections::BTreeSet::new();
    for seed in 0..240 {
        let mut link = Link::with_delay(Duration::from_millis(3));
        link.random_cuts = true;
        link.segment = 200;
        let mut world = World::new(seed, link, seed % 2 == 1);
        let fault = [Fault::Cut, Fault::Reset, Fault::Close, Fault::Silence]
            [usize::try_from(seed / 2 % 4).unwrap()];
        world.publisher.start(&mut world.net);
        let end = world.publisher.end().unwrap();
        world.run(Duration::from_millis(seed / 8 * 2));
        states.insert(format!("{:?}", world.served));
        match fault {
            Fault::Cut => world.net.cut(end),
            Fault::Reset => world.net.reset(end),
            Fault::Close => world.net.close(end),
            Fault::Silence => world.net.silence(end),
        }
        // Longer than any time-out of ours and of the simulated kernel.
        world.run(Duration::from_secs(1200));
        assert_eq!(world.server.ends().count(), 0, "nothing is left behind");
        if matches!(fault, Fault::Cut) {
            let told = [ClientOutcome::Broken];
            let refused = [ClientOutcome::NotConnected(ConnectError::Refused)];
            assert!(world.published.ends_with(&told) || world.published.ends_with(&refused));
        }
        world.publisher.stop(&mut world.net);
        world.published.clear();
        world.begin();
    }
    assert!(states.len() >= 2, "{states:?}");
}

#[test]
fn a_silent_publisher_is_over_after_its_time() {
    for udp in [false, true] {
        let mut world = World::new(5, Link::default(), udp);
        world.begin();
        world.publish(3);
        world.run(Duration::from_secs(20));
        let over = ServerOutcome::Closed(CloseReason::PublisherSilent);
        assert!(world.served.contains(&over), "{:?}", world.served);
        assert_eq!(world.published.last(), Some(&ClientOutcome::Ended));
    }
}

#[test]
fn a_player_whose_power_fails_is_over_after_the_session_timeout() {
    let mut world = World::new(6, Link::default(), true);
    world.begin();
    world.net.stop_host(PLAYER);
    let packet = crate::support::packet(0, 0, 0);
    for seconds in 0..70 {
        let over = ServerOutcome::Closed(CloseReason::SessionTimeout);
        assert!(seconds > 50 || !world.served.contains(&over));
        world.publisher.send(&mut world.net, 0, &packet);
        world.run(Duration::from_secs(1));
    }
    let over = ServerOutcome::Closed(CloseReason::SessionTimeout);
    assert!(world.served.contains(&over));
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let mut world = World::new(7, Link::default(), false);
    let end = world
        .net
        .connect(PUBLISHER, "10.0.0.2:554".parse().unwrap());
    world.run(Duration::from_secs(9));
    assert!(world.net.is_open(end));
    world.run(Duration::from_secs(2));
    assert!(!world.net.is_open(end));
    assert_eq!(world.served, [ServerOutcome::Closed(CloseReason::Idle)]);
}

/// A slow-loris: a byte every few seconds makes no request.
#[test]
fn a_request_that_never_ends_is_closed() {
    let mut world = World::new(8, Link::default(), false);
    let end = world
        .net
        .connect(PUBLISHER, "10.0.0.2:554".parse().unwrap());
    for byte in b"OPTIONS rtsp://h/".chunks(1) {
        world.run(Duration::from_secs(3));
        world.net.send(end, byte);
    }
    assert_eq!(world.served, [ServerOutcome::Closed(CloseReason::Idle)]);
}

/// The path comes back before anybody has lost patience: nothing is lost.
#[test]
fn a_short_break_of_the_path_is_survived() {
    for seed in 0..20 {
        let mut world = World::new(seed, Link::default(), false);
        world.begin();
        world.net.set_path(SERVER, PLAYER, false);
        let sent = world.publish(5);
        assert_eq!(world.got(0).len(), 0);
        world.net.set_path(SERVER, PLAYER, true);
        world.run(Duration::from_secs(1));
        assert_eq!(world.got(0), sent[0]);
    }
}

#[test]
fn who_is_not_there_is_told_apart() {
    let mut net = Network::new(1);
    let url = easydarwin_core::rtsp::ClientUrl::parse("rtsp://10.0.0.2/a").unwrap();
    let mut player = RtspClient::player(PLAYER, "10.0.0.2:554".parse().unwrap(), &url);
    let mut ask = |net: &mut Network| {
        let before = net.elapsed();
        player.start(net);
        easydarwin_core::sim::run(net, &mut [&mut player], Duration::from_secs(200));
        let outcome = player.poll_outcome();
        let seen = |entry: &easydarwin_core::sim::Entry| {
            (entry.at >= before && matches!(entry.what, Happened::NotConnected(..)))
                .then(|| entry.at - before)
        };
        let after = net.trace().entries().find_map(seen).unwrap();
        (outcome, after)
    };
    let refused = ClientOutcome::NotConnected(ConnectError::Refused);
    assert_eq!(ask(&mut net), (Some(refused), Duration::from_millis(2)));
    net.stop_host(SERVER);
    let timed_out = ClientOutcome::NotConnected(ConnectError::TimedOut);
    assert_eq!(ask(&mut net), (Some(timed_out), Duration::from_secs(127)));
}

/// Peers that are no servers at all.
#[test]
fn odd_servers_end_a_client_in_order() {
    let cases: [(&str, ClientOutcome); 3] = [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            ClientOutcome::Unreadable(easydarwin_core::rtsp::ParseError::Junk),
        ),
        (
            "RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n",
            ClientOutcome::Refused(
                easydarwin_core::rtsp::Method::Describe,
                easydarwin_core::rtsp::Status::NOT_FOUND,
            ),
        ),
        (
            "TEARDOWN * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            ClientOutcome::Ended,
        ),
    ];
    for (answer, outcome) in cases {
        for seed in 0..20 {
            let mut net = Network::new(seed);
            let mut link = Link::default();
            link.random_cuts = true;
            link.segment = 9;
            net.set_default_link(link);
            let addr = "10.0.0.2:554".parse().unwrap();
            let acts = vec![
                Act::expect("\r\n\r\n"),
                Act::Wait(Duration::from_secs(3)),
                Act::send(answer),
            ];
            let mut odd = Script::listen(&mut net, addr, acts);
            let url = easydarwin_core::rtsp::ClientUrl::parse("rtsp://10.0.0.2/a").unwrap();
            let mut player = RtspClient::player(PLAYER, addr, &url);
            player.start(&mut net);
            let mut nodes: [&mut dyn easydarwin_core::sim::Node; 2] = [&mut odd, &mut player];
            easydarwin_core::sim::run(&mut net, &mut nodes, Duration::from_secs(9));
            assert_eq!(player.poll_outcome(), Some(outcome.clone()));
            assert!(odd.is_finished() && odd.connections() == 1);
        }
    }
}
