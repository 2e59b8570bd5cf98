use std::time::Duration;

use super::rig::{Camera, Peer, description, frames, hub, now, path, settle, video};
use crate::media::AccessUnit;
use crate::registry::Principal;
use crate::relay::{ReaderOptions, TapEvent, TapOptions};

#[tokio::test(start_paused = true)]
async fn a_tap_sees_access_units_from_a_key_frame_on() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    camera.film_many(27).await;
    let mut tap = camera.publisher.stream().tap(TapOptions::new("test"));
    let stream = camera.publisher.stream().clone();
    assert_eq!(stream.viewers(), 1);
    let task = tokio::spawn(async move {
        let mut units = Vec::new();
        while let Some(event) = tap.recv().await {
            match event {
                TapEvent::Unit(unit) => units.push(unit),
                TapEvent::End(_) => {}
                other => panic!("{other:?}"),
            }
        }
        (units, tap.info())
    });
    camera.film_many(30).await;
    drop(camera);
    let (units, info) = task.await.unwrap();
    assert_eq!(stream.viewers(), 0);
    let pictures: Vec<_> = units.iter().filter(|unit| unit.track == 0).collect();
    assert_eq!(pictures.len(), 32);
    assert!(pictures[0].key && pictures[25].key && !pictures[1].key);
    assert!(
        pictures
            .windows(2)
            .all(|pair| pair[1].pts - pair[0].pts == 3600)
    );
    assert_eq!(units.len() - pictures.len(), 32);
    assert_eq!((info.skips_lag, info.held_units, info.lag_ms), (0, 0, 0));
}

/// A consumer that sleeps gets a gap and then a key frame.
#[tokio::test(start_paused = true)]
async fn a_slow_tap_skips() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    // The first picture is complete when the second begins.
    camera.film_many(2).await;
    let mut options = TapOptions::new("test");
    options.max_lag = Some(Duration::from_secs(1));
    let mut tap = camera.publisher.stream().tap(options);
    assert!(matches!(tap.recv().await, Some(TapEvent::Unit(_))));
    camera.film_many(110).await;
    let mut key_next = false;
    let mut gaps = 0;
    drop(camera);
    while let Some(event) = tap.recv().await {
        match event {
            TapEvent::Gap => (key_next, gaps) = (true, gaps + 1),
            TapEvent::Unit(unit) => {
                assert!(unit.key || !key_next);
                key_next = false;
            }
            _ => {}
        }
    }
    assert_eq!(gaps, 1);
}

/// One that asked for it gets the sound between while pictures are skipped.
#[tokio::test(start_paused = true)]
async fn a_slow_tap_may_keep_the_sound() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    camera.film_many(2).await;
    let mut options = TapOptions::new("test");
    options.max_lag = Some(Duration::from_secs(1));
    options.keep_audio = true;
    let mut tap = camera.publisher.stream().tap(options);
    assert!(tap.recv().await.is_some());
    camera.film_many(60).await;
    drop(camera);
    let (mut pictures, mut sound, mut after_gap) = (Vec::new(), Vec::new(), false);
    while let Some(event) = tap.recv().await {
        match event {
            TapEvent::Gap => after_gap = true,
            TapEvent::Unit(unit) if after_gap && unit.track == 0 => pictures.push(unit),
            TapEvent::Unit(unit) if after_gap => sound.push(unit),
            _ => {}
        }
    }
    assert!(pictures[0].key);
    assert_eq!(pictures.len(), 62 - 50);
    assert!(sound.len() > pictures.len() + 25, "{}", sound.len());
    assert!(sound.windows(2).all(|two| two[1].pts - two[0].pts == 320));
    assert!(tap.info().keep_audio);
}

/// Published from code, read as packets and as access units.
#[tokio::test(start_paused = true)]
async fn publish_from_code() {
    let hub = hub();
    let mut publisher = hub
        .publish(&path(), description(false), Principal::Anonymous)
        .unwrap();
    let stream = publisher.stream().clone();
    let mut tap = stream.tap(TapOptions::new("test"));
    let peer = Peer::eager();
    let _handle = stream
        .prepare(ReaderOptions::new("test"))
        .start(peer.sink());
    let nal = |key: bool| {
        let mut nal = vec![if key { 0x65 } else { 0x41 }, 0x88];
        nal.resize(5000, 7);
        nal
    };
    for picture in 0..10_i64 {
        tokio::time::advance(Duration::from_millis(40)).await;
        publisher.push_unit(&AccessUnit {
            track: 0,
            pts: picture * 3600,
            arrival: now(),
            ntp: None,
            key: picture == 0,
            discontinuity: false,
            lossy: false,
            data: vec![nal(picture == 0).into()],
        });
        assert!(publisher.flush(now()));
    }
    settle().await;
    for picture in 0..10 {
        let Some(TapEvent::Unit(unit)) = tap.recv().await else {
            panic!("a unit");
        };
        assert_eq!((unit.key, unit.pts), (picture == 0, picture * 3600));
        assert_eq!(unit.data[0], nal(picture == 0));
    }
    assert_eq!(video(&frames(&peer.take())).len(), 40);
}
