//! Publish and play interleaved: whatever happens to the segments, all packets come, in order.

use std::time::Duration;

use easydarwin_core::sim::{ClientOutcome, Link, ServerOutcome};

use crate::support::World;

fn rough(seed: u64) -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(seed % 90);
    link.jitter = Duration::from_millis(seed % 40);
    link.random_cuts = true;
    link.segment = [1, 7, 100, 1460][usize::try_from(seed % 4).unwrap()];
    link.loss = [5, 0, 0][usize::try_from(seed % 3).unwrap()];
    // With segments of one byte, losses add up to minutes.
    if link.segment == 1 {
        link.loss = 0;
    }
    link.bandwidth = seed.is_multiple_of(5).then_some(3_000_000);
    link
}

#[test]
fn everything_comes_through_in_order() {
    for seed in 0..200 {
        let link = rough(seed);
        // Each byte is an event of its own.
        let packets = if link.segment == 1 { 2 } else { 12 };
        let mut world = World::new(seed, link, false);
        world.begin();
        let sent = world.publish(packets);
        world.run(Duration::from_secs(5));
        for (track, sent) in sent.iter().enumerate() {
            assert_eq!(&world.got(track), sent, "track {track}");
        }
        world.player.tear_down(&mut world.net);
        world.publisher.tear_down(&mut world.net);
        world.run(Duration::from_secs(5));
        assert_eq!(world.played.last(), Some(&ClientOutcome::TornDown));
        assert_eq!(world.published.last(), Some(&ClientOutcome::TornDown));
        let ended = ServerOutcome::TornDown("live/cam".to_owned());
        let ends = world.served.iter().filter(|outcome| **outcome == ended);
        assert_eq!(ends.count(), 2);
    }
}

#[test]
fn one_seed_has_one_trace() {
    let trace = |seed| {
        let mut world = World::new(seed, rough(seed), seed.is_multiple_of(2));
        world.begin();
        world.publish(8);
        let trace = world.net.trace();
        (trace.digest(), trace.count(), trace.to_string())
    };
    let mut digests = Vec::new();
    for seed in 0..40 {
        let first = trace(seed);
        assert_eq!(first, trace(seed), "seed {seed}");
        digests.push(first.0);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 40, "each seed has another trace");
}

/// Keep-alives hold a session whose media is silent in this direction: a day without time-out.
#[test]
fn a_player_stays_for_a_day() {
    let mut world = World::new(1, Link::default(), false);
    world.begin();
    let packet = crate::support::packet(0, 0, 0);
    // A publisher must send to be alive: once in eight seconds.
    for _ in 0..24 * 60 * 60 / 8 {
        world.publisher.send(&mut world.net, 0, &packet);
        world.run(Duration::from_secs(8));
    }
    assert_eq!(world.got(0).len(), 24 * 60 * 60 / 8);
    assert!(world.net.elapsed() > Duration::from_secs(24 * 60 * 60));
}
