use std::time::Duration;

use super::rig::{Camera, Peer, description, frames, hub, now, path, settle, video};
use crate::media::{Codec, G711Law, H264Params, Track};
use crate::registry::Principal;
use crate::relay::{EndReason, PublishError, ReaderEnd, ReaderOptions, TapEvent, TapOptions};

fn device(generation: u64) -> Principal {
    Principal::Device {
        serial: "cam".into(),
        generation,
    }
}

/// Readers see one stream: sequence and time go on, SSRC and payload type stay, and pictures
/// of the new publisher begin with a key frame.
#[tokio::test(start_paused = true)]
async fn readers_see_the_old_stream_continue() {
    let hub = hub();
    let publisher = hub.publish(&path(), description(true), device(1)).unwrap();
    let mut old = Camera::with(publisher, true);
    old.film_many(30).await;
    let peer = Peer::eager();
    let options = ReaderOptions::new("test");
    let handle = old.publisher.stream().prepare(options).start(peer.sink());
    let mut tap = old.publisher.stream().tap(TapOptions::new("tap"));
    old.film_many(10).await;

    let mut description = description(true);
    description.tracks[0].payload_type = 97;
    let publisher = hub.publish(&path(), description, device(2)).unwrap();
    assert_eq!(old.publisher.closed().await, EndReason::TakenOver);
    let mut new = Camera::with(publisher, true);
    // In the middle of a group, with other numbers.
    (new.picture, new.seq, new.ts, new.ssrc, new.payload_type) = (1020, 7, 1000, 55, 97);
    old.push_picture();
    assert!(!old.publisher.flush(now()), "the old one is told to go");
    new.film_many(30).await;
    settle().await;
    let all = frames(&peer.take());
    let pictures = video(&all);
    let first_new = pictures
        .iter()
        .position(|seen| seen.picture() > 1000)
        .unwrap();
    assert!(pictures[first_new].is_key());
    assert_eq!(pictures[first_new].picture(), 1025);
    for pair in pictures.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1));
        let step = pair[1].ts.wrapping_sub(pair[0].ts);
        assert!(step == 0 || step == 3600 || step == 6 * 3600, "{step}");
        assert_eq!(
            (pair[0].ssrc, pair[0].payload_type),
            (pair[1].ssrc, pair[1].payload_type)
        );
    }
    let sound: Vec<_> = all.iter().filter(|seen| seen.channel == 2).collect();
    assert!(
        sound
            .windows(2)
            .all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1))
    );
    assert_eq!(handle.info().skips_lag + handle.info().skips_overrun, 0);
    let info = new.publisher.stream().info();
    assert_eq!((info.takeovers, info.tracks[0].held_back), (1, 5 * 4));

    drop(new);
    let (mut discontinuities, mut last, mut count) = (0, [i64::MIN; 2], 0);
    while let Some(event) = tap.recv().await {
        match event {
            TapEvent::Discontinuity => discontinuities += 1,
            TapEvent::Unit(unit) => {
                assert!(unit.pts > last[unit.track]);
                last[unit.track] = unit.pts;
                count += 1;
            }
            _ => {}
        }
    }
    assert_eq!(discontinuities, 2, "one per track");
    assert_eq!(count, (15 + 25) + (15 + 30));
}

/// A new publisher describes other parameters, and sends none: taps are told all the same.
#[tokio::test(start_paused = true)]
async fn taps_are_told_of_parameters_that_only_the_description_has() {
    let hub = hub();
    let described = |sps: &[u8]| {
        let mut description = description(false);
        description.tracks[0].codec = Codec::H264(H264Params {
            sps: Some(sps.to_vec().into()),
            pps: vec![vec![0x68, 0xce, 0x38, 0x80].into()],
        });
        description
    };
    let small = [0x67, 0x42, 0xc0, 0x0a, 0xa6, 0x11, 0x11, 0xe8];
    let other = [0x67, 0x42, 0xc0, 0x1e, 0xa6, 0x11, 0x11, 0xe8];
    let mut told = 0;
    for (generation, sps) in [(2, small), (3, other)] {
        let publisher = hub.publish(&path(), described(&small), device(generation - 1));
        let mut old = Camera::with(publisher.unwrap(), false);
        old.film_many(5).await;
        let mut tap = old.publisher.stream().tap(TapOptions::new("tap"));
        let publisher = hub.publish(&path(), described(&sps), device(generation));
        let mut new = Camera::with(publisher.unwrap(), false);
        new.film_many(5).await;
        drop((old, new));
        while let Some(event) = tap.recv().await {
            if let TapEvent::ParamsChanged(now) = event {
                assert_eq!(now.tracks[0].codec, described(&other).tracks[0].codec);
                told += 1;
            }
        }
    }
    assert_eq!(told, 1, "the same parameters are no change");
}

/// The camera restarts its stream on a living connection.
#[tokio::test(start_paused = true)]
async fn a_new_ssrc_in_mid_stream() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    camera.film_many(5).await;
    let peer = Peer::eager();
    let options = ReaderOptions::new("test");
    let _handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(peer.sink());
    camera.film_many(5).await;
    (camera.ssrc, camera.seq, camera.ts) = (1, 30_000, 77);
    camera.film_many(20).await;
    // And its clock is set while it films.
    camera.ts = camera.ts.wrapping_add(3600 * 90_000);
    camera.film_many(3).await;
    let pictures = video(&frames(&peer.take()));
    assert_eq!(pictures.last().unwrap().picture(), 32);
    for pair in pictures.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1));
        let step = pair[1].ts.wrapping_sub(pair[0].ts);
        let jump = pair[1].picture() - pair[0].picture();
        assert!(step == jump * 3600, "{step} {jump}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_take_over() {
    let hub = hub();
    let taken = |principal| hub.publish(&path(), description(false), principal);
    let mut camera = Camera::with(taken(device(5)).unwrap(), false);
    camera.film_many(1).await;
    let stale = PublishError::Stale {
        offered: 4,
        current: 5,
    };
    assert_eq!(taken(device(4)).unwrap_err(), stale);
    assert!(matches!(
        taken(Principal::Anonymous),
        Err(PublishError::Busy(_))
    ));
    let other = Principal::Device {
        serial: "other".into(),
        generation: 9,
    };
    assert!(matches!(taken(other), Err(PublishError::Busy(_))));
    // The same device comes again: at once, but not all the time.
    let again = taken(device(5)).unwrap();
    assert!(matches!(taken(device(5)), Err(PublishError::Busy(_))));
    tokio::time::advance(Duration::from_secs(11)).await;
    let third = taken(device(5)).unwrap();
    drop((again, camera));
    assert!(
        hub.get(&path()).is_some(),
        "the live one is not ended by old ones"
    );
    drop(third);
    assert!(hub.get(&path()).is_none());

    let mut first = Camera::new(&hub, false);
    first.film_many(1).await;
    assert!(matches!(
        taken(Principal::Anonymous),
        Err(PublishError::Busy(_))
    ));
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(taken(Principal::Anonymous).is_ok());
}

/// Other tracks: nothing can continue.
#[tokio::test(start_paused = true)]
async fn other_tracks_end_the_readers() {
    let hub = hub();
    let publisher = hub.publish(&path(), description(true), device(1)).unwrap();
    let mut camera = Camera::with(publisher, true);
    camera.film_many(2).await;
    let peer = Peer::eager();
    let options = ReaderOptions::new("test");
    let handle = camera
        .publisher
        .stream()
        .prepare(options)
        .start(peer.sink());
    let mut other = description(false);
    other.tracks.push(Track::g711(G711Law::Mu));
    let publisher = hub.publish(&path(), other, device(2)).unwrap();
    assert_eq!(
        handle.ended().await,
        ReaderEnd::Stream(EndReason::TracksChanged)
    );
    assert_eq!(publisher.stream().info().units, 0);
    drop(camera);
    assert!(hub.get(&path()).is_some());
}
