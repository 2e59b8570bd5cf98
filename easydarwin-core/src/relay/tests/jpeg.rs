use std::time::Duration;

use super::rig::{Peer, frames, hub, now, path, settle, video};
use crate::media::jpeg::{Shape, quantisers, write};
use crate::media::{AccessUnit, SessionDescription, Track};
use crate::registry::Principal;
use crate::relay::{ReaderOptions, TapEvent, TapOptions};

/// Pictures that each stand for themselves: readers begin with the newest one, never inside of
/// one, and get its payloads as they are.
#[tokio::test(start_paused = true)]
async fn a_reader_begins_with_a_whole_picture() {
    let shape = Shape {
        width: 640,
        height: 480,
        half_height: true,
        restart_interval: 0,
    };
    let picture = |number: u8| write(&shape, &quantisers(60), &[number; 4000]);
    let hub = hub();
    let mut description = SessionDescription::default();
    description.tracks.push(Track::jpeg());
    let mut publisher = hub
        .publish(&path(), description, Principal::Anonymous)
        .unwrap();
    let stream = publisher.stream().clone();
    let mut tap = stream.tap(TapOptions::new("test"));
    let mut readers = Vec::new();
    for number in 0..10_u8 {
        tokio::time::advance(Duration::from_millis(40)).await;
        publisher.push_unit(&AccessUnit {
            track: 0,
            pts: i64::from(number) * 3600,
            arrival: now(),
            ntp: None,
            key: true,
            discontinuity: false,
            lossy: false,
            data: vec![picture(number).into()],
        });
        assert!(publisher.flush(now()));
        settle().await;
        let peer = Peer::eager();
        let prepared = stream.prepare(ReaderOptions::new("test"));
        readers.push((prepared.start(peer.sink()), peer, number));
    }
    settle().await;
    for number in 0..10 {
        let Some(TapEvent::Unit(unit)) = tap.recv().await else {
            panic!("a unit");
        };
        assert!(unit.key && !unit.lossy);
        assert_eq!(unit.data[0], picture(number));
    }
    for (_handle, peer, joined) in readers {
        let seen = video(&frames(&peer.take()));
        // Three packets a picture, from the one that was the newest.
        assert_eq!(seen.len(), 3 * usize::from(10 - joined), "{joined}");
        let begins = |payload: &[u8]| payload[1..4] == [0, 0, 0];
        assert!(begins(&seen[0].payload));
        assert_eq!(seen[0].payload.last(), Some(&joined));
        let starts = seen.iter().filter(|seen| begins(&seen.payload)).count();
        assert_eq!(starts, usize::from(10 - joined));
    }
}
