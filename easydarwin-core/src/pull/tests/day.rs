//! A day of a camera's life, in virtual time.

use std::time::Duration;

use super::rig::spec;
use super::world::World;
use crate::pull::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn world(seed: u64) -> World {
    World::new(spec("rtsp://admin:first@camera/live"), seed)
}

/// After a success that lasted the waits begin anew: 1 s, 2 s, 4 s … 30 s, each between half of
/// it and the whole.
fn assert_bounds(world: &World) {
    let config = PullConfig::default();
    // Refused logins are counted apart from everything else.
    let (mut ordinary, mut denied) = (0, 0);
    let mut last: Option<Duration> = None;
    for (at, kind, wait) in &world.waits {
        let played = |from: &Duration| {
            world
                .states
                .iter()
                .any(|(time, state)| time > from && time < at && *state == LinkState::Playing)
        };
        if last.as_ref().is_none_or(played) {
            (ordinary, denied) = (0, 0);
        }
        let (config, in_a_row) = match kind {
            FailureKind::Unauthorized => (config.denied, &mut denied),
            _ => (config.backoff, &mut ordinary),
        };
        let bound = config.bound(*in_a_row);
        assert!(
            *wait >= bound / 2 && *wait <= bound,
            "{wait:?} after {in_a_row} failures ({kind:?} at {at:?})"
        );
        *in_a_row += 1;
        last = Some(*at);
    }
}

fn failures(world: &World, kind: FailureKind) -> u64 {
    let info = world.engine.info(world.now);
    info.counters.failures.get(&kind).copied().unwrap_or(0)
}

#[test]
fn reboots_with_and_without_goodbye() {
    let mut world = world(1);
    world.run_until(LinkState::Playing, 2 * SECOND);
    let mut random = fastrand::Rng::with_seed(99);
    for number in 1..=24_u32 {
        world.run(number * HOUR - 10 * MINUTE);
        assert_eq!(world.engine.state(), LinkState::Playing);
        let goodbye = number % 2 == 0;
        world.camera.up = false;
        world.camera.refuses = goodbye;
        world.cut(goodbye);
        let away = 20 * SECOND + SECOND * random.u32(..60);
        let down = world.time();
        if goodbye {
            // Known at once.
            assert!(world.run_until(LinkState::Waiting, SECOND) < SECOND);
        }
        world.run(down + away);
        world.camera.up = true;
        let back = world.run_until(LinkState::Playing, MINUTE);
        // The wait that was going on (at most 30 s), or a dial into nothing (5 s) and the next.
        assert!(back <= 36 * SECOND, "{back:?}");
        assert_eq!(world.camera.readers(), 1);
    }
    world.run(DAY);
    let info = world.engine.info(world.now);
    assert_eq!(info.state, LinkState::Playing);
    assert_eq!(info.counters.connects, 25);
    assert_eq!(info.counters.reconnects, 24);
    assert_eq!(failures(&world, FailureKind::Ended), 12);
    assert_eq!(failures(&world, FailureKind::Silent), 12);
    let known: u64 = info.counters.failures.values().sum();
    assert_eq!(
        info.counters.attempts,
        known + 1,
        "each failure led to one try"
    );
    assert_eq!(info.counters.packets, world.packets);
    // A second without media for each second away or waited, at most two minutes each time.
    assert!(world.packets > 86_400 - 24 * 130, "{}", world.packets);
    assert_bounds(&world);
}

#[test]
fn half_open_connections() {
    let mut world = world(2);
    for number in 1..=48_u32 {
        world.run(number * HOUR / 2 - MINUTE);
        assert_eq!(world.engine.state(), LinkState::Playing);
        world.half_open();
        let begin = world.time();
        world.run_until(LinkState::Waiting, MINUTE);
        let noticed = world.time() - begin;
        // Ten seconds after the last packet, and one for a TEARDOWN that nobody answers.
        assert!(
            noticed >= 10 * SECOND && noticed <= 12 * SECOND,
            "{noticed:?}"
        );
        let back = world.run_until(LinkState::Playing, MINUTE);
        // The first wait, and up to a second until the next packet.
        assert!(back <= 2 * SECOND + SECOND / 2, "{back:?}");
    }
    world.run(DAY);
    let info = world.engine.info(world.now);
    assert_eq!((info.counters.connects, info.counters.reconnects), (49, 48));
    assert_eq!(info.counters.attempts, 49);
    assert_eq!(failures(&world, FailureKind::Silent), 48);
    // Sessions of the dead connections expired at the camera.
    assert_eq!(world.camera.readers(), 1);
    assert_bounds(&world);
}

#[test]
fn a_password_is_changed_and_changed_back() {
    let mut world = world(3);
    world.run(HOUR);
    world.camera.password = "second";
    world.cut(true);
    world.run_until(LinkState::Waiting, SECOND);
    world.run(7 * HOUR);
    let info = world.engine.info(world.now);
    assert_eq!(
        (info.state, info.reason),
        (LinkState::Waiting, Some(FailureKind::Unauthorized))
    );
    let tries = failures(&world, FailureKind::Unauthorized);
    // Six hours: 1, 2, 4, 8 min and then each 15 at most, 7.5 at least.
    assert!((26..=55).contains(&tries), "{tries}");
    world.camera.password = "first";
    let back = world.run_until(LinkState::Playing, HOUR);
    assert!(back <= 15 * MINUTE, "{back:?}");
    assert_eq!(world.engine.info(world.now).counters.reconnects, 1);

    // Changed again, and this time we are told.
    world.run(12 * HOUR);
    world.camera.password = "third";
    world.cut(true);
    world.run(13 * HOUR);
    world.update("rtsp://admin:third@camera/live");
    let back = world.run_until(LinkState::Playing, MINUTE);
    assert!(back <= 2 * SECOND, "{back:?}");
    world.run(DAY);
    let info = world.engine.info(world.now);
    assert_eq!((info.counters.connects, info.counters.reconnects), (3, 2));
    assert_eq!(failures(&world, FailureKind::Ended), 2);
    let known: u64 = info.counters.failures.values().sum();
    // The update began one that no failure did.
    assert_eq!(info.counters.attempts, known + 1);
    assert_bounds(&world);
}

#[test]
fn a_port_is_changed_and_told_by_an_update() {
    let mut world = world(4);
    for (number, port) in [(1_u32, 8554_u16), (2, 554), (3, 10_554)] {
        world.run(number * 7 * HOUR);
        assert_eq!(world.engine.state(), LinkState::Playing);
        world.camera.port = port;
        world.cut(true);
        world.run(number * 7 * HOUR + 10 * MINUTE);
        let info = world.engine.info(world.now);
        assert_eq!(
            (info.state, info.reason),
            (LinkState::Waiting, Some(FailureKind::Unreachable))
        );
        let url = format!("rtsp://admin:first@camera:{port}/live");
        world.update(&url);
        let back = world.run_until(LinkState::Playing, MINUTE);
        assert!(back <= 2 * SECOND, "{back:?}");
    }
    world.run(DAY);
    let info = world.engine.info(world.now);
    assert_eq!((info.counters.connects, info.counters.reconnects), (4, 3));
    assert_eq!(failures(&world, FailureKind::Ended), 3);
    // Ten minutes of at most 30 s and at least 15 s: no storm, no sleep.
    let refused = failures(&world, FailureKind::Unreachable);
    assert!((3 * 20..=3 * 45).contains(&refused), "{refused}");
    assert_bounds(&world);

    // An update while it plays: it leaves with TEARDOWN and comes back at once.
    world.update("rtsp://admin:first@camera:10554/other");
    let back = world.run_until(LinkState::Connecting, SECOND);
    assert!(back <= SECOND / 10, "{back:?}");
    world.run_until(LinkState::Playing, 2 * SECOND);
    assert_eq!(world.camera.readers(), 1);
}

#[test]
fn the_same_seed_gives_the_same_day() {
    let day = |seed| {
        let mut world = world(seed);
        for number in 1..=5_u32 {
            world.run(number * HOUR);
            world.camera.up = false;
            world.cut(true);
            world.run(number * HOUR + 5 * MINUTE);
            world.camera.up = true;
        }
        world.run(6 * HOUR);
        (world.states, world.waits)
    };
    assert_eq!(day(5), day(5));
    assert_ne!(day(5).1, day(6).1);
}
