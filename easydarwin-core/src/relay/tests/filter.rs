//! What a filter leaves out and adds, as readers and taps see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::rig::{Camera, Peer, Seen, description, frames, hub, now, path, settle, video};
use crate::media::{Codec, MediaKind, Track};
use crate::registry::{Principal, StreamPath};
use crate::relay::{
    FilterTracks, FilterUnit, Hub, MediaFilter, OwnData, PublishError, ReaderOptions, RelayConfig,
    TapEvent, TapOptions, Verdict,
};

fn metadata() -> Track {
    Track {
        kind: MediaKind::Application,
        // Video has it already: the relay chooses another one.
        payload_type: 96,
        encoding: "vnd.onvif.metadata".to_owned(),
        clock_rate: 45_000,
        channels: 0,
        fmtp: None,
        control: None,
        codec: Codec::Other,
    }
}

/// Leaves sound out, tells the time of each picture, and pictures themselves while `closed`.
#[derive(Debug, Default)]
struct House {
    closed: Arc<AtomicBool>,
    own: Option<usize>,
    pictures: u32,
    note_len: usize,
}

impl MediaFilter for House {
    fn describe(&mut self, tracks: &mut FilterTracks) {
        for index in 0..tracks.offered().len() {
            if tracks.offered()[index].kind == MediaKind::Audio {
                tracks.leave_out(index);
            }
        }
        self.own = Some(tracks.add(metadata()));
    }

    fn unit(&mut self, unit: &FilterUnit<'_>, own: &mut OwnData) -> Verdict {
        assert_eq!((unit.track, &*unit.description.encoding), (0, "H264"));
        self.pictures += 1;
        let mut note = self.pictures.to_be_bytes().to_vec();
        note.resize(self.note_len.max(4), 0);
        own.push(self.own.unwrap(), note);
        if self.closed.load(Ordering::Relaxed) {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    }
}

fn filmed_through(hub: &Hub, filter: House) -> Camera {
    let publisher = hub.publish_filtered(&path(), description(true), Principal::Anonymous, filter);
    Camera::with(publisher.unwrap(), true)
}

fn contiguous(packets: &[Seen]) -> bool {
    packets
        .windows(2)
        .all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1))
}

#[tokio::test(start_paused = true)]
async fn without_sound_and_with_own_data() {
    let hub = hub();
    let mut camera = filmed_through(&hub, House::default());
    assert_eq!(camera.publisher.offered_tracks(), 2);
    let stream = camera.publisher.stream().clone();
    let described = stream.description();
    let kinds: Vec<_> = described.tracks.iter().map(|track| track.kind).collect();
    assert_eq!(kinds, [MediaKind::Video, MediaKind::Application]);
    assert_eq!(described.tracks[1].payload_type, 97);
    let peer = Peer::eager();
    let _handle = stream
        .prepare(ReaderOptions::new("test"))
        .start(peer.sink());
    let mut options = TapOptions::new("test");
    options.tracks = Some(vec![1]);
    let mut tap = stream.tap(options);
    camera.film_many(30).await;
    let all = frames(&peer.take());
    assert!(all.iter().all(|seen| matches!(seen.channel, 0..=3)));
    let pictures = video(&all);
    let notes: Vec<_> = all
        .iter()
        .filter(|seen| seen.channel == 2)
        .cloned()
        .collect();
    assert_eq!(notes.len(), 30);
    assert!(contiguous(&pictures) && contiguous(&notes));
    for (note, count) in notes.iter().zip(1_u32..) {
        assert_eq!((note.payload_type, note.marker), (97, true));
        assert_eq!(note.payload, count.to_be_bytes());
        // The time of its picture, in a clock of half the speed.
        let picture = pictures.iter().find(|seen| seen.picture() + 1 == count);
        let ahead = picture.unwrap().ts.wrapping_sub(pictures[0].ts);
        let ahead_own = note.ts.wrapping_sub(notes[0].ts);
        assert_eq!(ahead, ahead_own * 2);
    }
    for count in 1_u32..=30 {
        let Some(TapEvent::Unit(unit)) = tap.recv().await else {
            panic!("own data");
        };
        assert_eq!(unit.data[0][..], count.to_be_bytes());
    }
    let info = stream.info();
    assert_eq!((info.invalid, info.tracks.len()), (0, 2));
}

/// Sender reports keep own data and pictures together: the same moment has the same wall clock.
#[tokio::test(start_paused = true)]
async fn reports_of_own_tracks_follow_the_media() {
    let hub = hub();
    let mut camera = filmed_through(&hub, House::default());
    let stream = camera.publisher.stream().clone();
    let peer = Peer::eager();
    let _handle = stream
        .prepare(ReaderOptions::new("test"))
        .start(peer.sink());
    camera.film_many(26 * 10).await;
    let all = frames(&peer.take());
    let last = |channel: u8| all.iter().rfind(|seen| seen.channel == channel).unwrap();
    // Payload of a report after the SSRC: NTP time (8), RTP time (4); `Seen` reads them askew.
    let report = |channel: u8| {
        let rest = &last(channel).payload;
        u32::from_be_bytes(rest[4..8].try_into().unwrap())
    };
    let behind = report(1).wrapping_sub(last(0).ts).cast_signed();
    let behind_own = report(3).wrapping_sub(last(2).ts).cast_signed();
    assert!(
        (behind - behind_own * 2).abs() <= 2,
        "{behind} {behind_own}"
    );
}

/// Long data goes in several packets of one time, the last one marked.
#[tokio::test(start_paused = true)]
async fn long_data_takes_several_packets() {
    let hub = hub();
    let filter = House {
        note_len: 3000,
        ..House::default()
    };
    let mut camera = filmed_through(&hub, filter);
    let peer = Peer::eager();
    let stream = camera.publisher.stream().clone();
    let _handle = stream
        .prepare(ReaderOptions::new("test"))
        .start(peer.sink());
    camera.film_many(3).await;
    let all = frames(&peer.take());
    let notes: Vec<_> = all.iter().filter(|seen| seen.channel == 2).collect();
    assert_eq!(notes.len(), 9);
    for note in notes.chunks(3) {
        let marks: Vec<_> = note.iter().map(|packet| packet.marker).collect();
        assert_eq!(marks, [false, false, true]);
        assert_eq!(note[0].ts, note[2].ts);
        let len: usize = note.iter().map(|packet| packet.payload.len()).sum();
        assert_eq!(len, 3000);
    }
}

/// Privacy hours: no picture, then again from a key frame on; to readers it is a pause, not a loss.
#[tokio::test(start_paused = true)]
async fn dropped_pictures_are_a_pause_that_ends_with_a_key_frame() {
    let hub = hub();
    let closed = Arc::new(AtomicBool::new(false));
    let filter = House {
        closed: closed.clone(),
        ..House::default()
    };
    let mut camera = filmed_through(&hub, filter);
    let stream = camera.publisher.stream().clone();
    let peer = Peer::eager();
    let handle = stream
        .prepare(ReaderOptions::new("test"))
        .start(peer.sink());
    let mut tap = stream.tap(TapOptions::new("test"));
    let lossy = tokio::spawn(async move {
        let mut lossy = 0;
        while let Some(event) = tap.recv().await {
            match event {
                TapEvent::Unit(unit) => lossy += u32::from(unit.lossy),
                TapEvent::End(_) => {}
                other => panic!("{other:?}"),
            }
        }
        lossy
    });
    camera.film_many(10).await;
    closed.store(true, Ordering::Relaxed);
    camera.film_many(7).await;
    closed.store(false, Ordering::Relaxed);
    camera.film_many(40).await;
    // A loss on the way to us is still one.
    closed.store(true, Ordering::Relaxed);
    camera.film_many(1).await;
    closed.store(false, Ordering::Relaxed);
    camera.film_many(17).await;
    camera.seq = camera.seq.wrapping_add(3);
    camera.film_many(5).await;
    let pictures = video(&frames(&peer.take()));
    let mut seen: Vec<_> = pictures.iter().map(Seen::picture).collect();
    seen.dedup();
    let expected: Vec<u32> = (0..10).chain(25..57).chain(75..80).collect();
    assert_eq!(seen, expected);
    for pair in pictures.windows(2) {
        let step = pair[1].seq.wrapping_sub(pair[0].seq);
        let (from, to) = (pair[0].picture(), pair[1].picture());
        assert_eq!(step, if (from, to) == (56, 75) { 4 } else { 1 });
        assert_eq!(pair[1].ts.wrapping_sub(pair[0].ts), (to - from) * 3600);
        assert!(pair[1].is_key() || to <= from + 1);
    }
    let info = stream.info();
    assert_eq!(info.tracks[0].filtered, 7 * 4 + 4);
    assert_eq!(info.tracks[0].held_back, 8 * 4 + 17 * 4);
    assert_eq!((info.invalid, info.tracks[0].lost), (0, 3));
    assert_eq!(info.silent_ms, 0);
    let reader = handle.info();
    assert_eq!(reader.skips_lag + reader.skips_overrun, 0);
    drop(camera);
    assert_eq!(lossy.await.unwrap(), 1);
}

/// A publisher whose pictures are all dropped is not silent: nobody may take its place for that.
#[tokio::test(start_paused = true)]
async fn a_filtered_publisher_is_alive() {
    let hub = hub();
    let filter = House {
        closed: Arc::new(AtomicBool::new(true)),
        ..House::default()
    };
    let mut camera = filmed_through(&hub, filter);
    camera.film_many(100).await;
    let other = hub.publish(&path(), description(true), Principal::Anonymous);
    assert!(matches!(other, Err(PublishError::Busy(_))));
    assert_eq!(camera.publisher.last_packet(), now());
}

/// The next publisher of a stream is filtered as well, and continues own tracks too.
#[tokio::test(start_paused = true)]
async fn own_tracks_continue_over_a_swap() {
    let hub = Hub::with_filters(
        RelayConfig::default(),
        |path: &StreamPath, _: &Principal| -> Option<Box<dyn MediaFilter>> {
            (path.as_str() == "cam/1").then(|| Box::<House>::default() as Box<dyn MediaFilter>)
        },
    );
    let mut camera = Camera::new(&hub, true);
    let stream = camera.publisher.stream().clone();
    assert_eq!(stream.description().tracks.len(), 2);
    camera.film_many(5).await;
    let peer = Peer::eager();
    let handle = stream
        .prepare(ReaderOptions::new("test"))
        .start(peer.sink());
    camera.film_many(5).await;
    tokio::time::advance(Duration::from_secs(3)).await;
    let mut next = Camera::new(&hub, true);
    (next.seq, next.ts, next.ssrc, next.picture) = (9, 9, 9, 25);
    next.film_many(10).await;
    settle().await;
    let all = frames(&peer.take());
    let notes: Vec<_> = all
        .iter()
        .filter(|seen| seen.channel == 2)
        .cloned()
        .collect();
    assert_eq!(notes.len(), 20);
    assert!(contiguous(&notes) && contiguous(&video(&all)));
    let times = |seen: &[Seen]| seen.last().unwrap().ts.wrapping_sub(seen[0].ts);
    assert_eq!(times(&video(&all)), times(&notes) * 2);
    assert_eq!(stream.info().takeovers, 1);
    assert_eq!(handle.info().skips_overrun, 0);

    let other = StreamPath::parse("cam/2").unwrap();
    let publisher = hub.publish(&other, description(true), Principal::Anonymous);
    let unfiltered = publisher.unwrap();
    let description = unfiltered.stream().description();
    assert_eq!(description.tracks[1].kind, MediaKind::Audio);
}

#[derive(Debug)]
struct Nothing;

impl MediaFilter for Nothing {
    fn describe(&mut self, tracks: &mut FilterTracks) {
        for track in 0..tracks.offered().len() {
            tracks.leave_out(track);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_leaves_nothing_is_told_so() {
    let hub = hub();
    let refused = hub.publish_filtered(&path(), description(true), Principal::Anonymous, Nothing);
    assert_eq!(refused.unwrap_err(), PublishError::NoTracks);
    assert!(hub.get(&path()).is_none());
}
