use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::relay::ring::{Keep, Ring};
use crate::relay::unit::{Charge, Unit, UnitFlags, Window};

const CHUNK: usize = 1000;

fn unit(number: u64, at: Instant, flags: UnitFlags) -> Unit {
    Unit {
        track: 0,
        flags,
        packets: 1,
        seq: 0,
        ts: 0,
        arrival: at,
        ntp: None,
        data: Bytes::from_static(&[0; 100]),
        // Ten units to a chunk.
        charge: Charge {
            chunk: number / 10,
            bytes: CHUNK,
        },
        udp: OnceLock::new(),
    }
}

fn key() -> UnitFlags {
    UnitFlags {
        key: true,
        ..UnitFlags::default()
    }
}

fn params() -> UnitFlags {
    UnitFlags {
        params_only: true,
        ..UnitFlags::default()
    }
}

fn bounds(ring: &Ring) -> (u64, u64) {
    let mut window = Window::default();
    ring.window(0, &mut window);
    (window.base, window.head)
}

/// Units at 100 ms; a key frame every `group`.
fn filled(count: u64, group: u64) -> (Ring, Instant) {
    let start = Instant::now();
    let mut ring = Ring::new([true].into_iter());
    let mut at = start;
    for number in 0..count {
        at = start + Duration::from_millis(100) * u32::try_from(number).unwrap();
        let flags = if number % group == 0 {
            key()
        } else {
            UnitFlags::default()
        };
        ring.push(unit(number, at, flags));
    }
    (ring, at)
}

#[test]
fn keeps_the_last_group_and_the_last_seconds() {
    let (mut ring, at) = filled(100, 50);
    ring.evict(Keep::new(usize::MAX, at, Duration::from_secs(2), u64::MAX));
    assert_eq!(
        bounds(&ring),
        (50, 100),
        "the last group reaches further back"
    );
    let (mut ring, at) = filled(100, 5);
    ring.evict(Keep::new(usize::MAX, at, Duration::from_secs(2), u64::MAX));
    assert_eq!(bounds(&ring), (79, 100), "two seconds reach further back");
    let (mut ring, at) = filled(100, 5);
    ring.evict(Keep::new(usize::MAX, at, Duration::from_secs(2), 40));
    assert_eq!(bounds(&ring), (40, 100), "a reader reaches further back");
}

#[test]
fn the_cap_goes_before_everything_and_is_counted() {
    let (mut ring, at) = filled(100, 100);
    ring.evict(Keep::new(15_000, at, Duration::from_secs(100), 0));
    assert!(ring.bytes() <= 15_000);
    assert_eq!(ring.group_over_cap(), 1);
    assert_eq!(ring.newest_start(0), None);
    let all = bounds(&ring).1;
    ring.evict(Keep::new(0, at, Duration::from_secs(100), 0));
    assert_eq!((bounds(&ring), ring.bytes()), ((all, all), 0));
}

#[test]
fn a_start_is_the_first_of_the_parameter_sets_before_the_key_frame() {
    let at = Instant::now();
    let mut ring = Ring::new([true].into_iter());
    for flags in [key(), UnitFlags::default(), params(), params(), key()] {
        ring.push(unit(0, at, flags));
    }
    assert_eq!(ring.newest_start(0), Some(2));
    for flags in [params(), UnitFlags::default(), key()] {
        ring.push(unit(0, at, flags));
    }
    assert_eq!(ring.newest_start(0), Some(7));
}

#[test]
fn a_window_begins_where_the_ring_does() {
    let (mut ring, at) = filled(100, 50);
    ring.evict(Keep::new(usize::MAX, at, Duration::ZERO, u64::MAX));
    let mut window = Window::default();
    ring.window(10, &mut window);
    assert_eq!((window.first, window.units.len()), (50, 50));
    assert!(window.unit(49).is_none() && window.unit(50).is_some());
    ring.window(98, &mut window);
    assert_eq!((window.first, window.units.len()), (98, 2));
    ring.window(1000, &mut window);
    assert_eq!((window.first, window.units.len()), (100, 0));
}
