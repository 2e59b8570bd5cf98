use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::segmenter::{Cut, Segment, Segmenter};
use super::window::Window;
use crate::http::fmp4::{Init, Muxed, MuxedSample, Sample};

const TARGET: Duration = Duration::from_secs(2);

fn init() -> Arc<Init> {
    Arc::new(Init {
        bytes: Bytes::from_static(b"init"),
        codecs: vec!["avc1.64001f".to_owned()],
        dimensions: Some((320, 180)),
        tracks: vec![entry()],
    })
}

fn entry() -> crate::http::fmp4::boxes::TrackEntry {
    crate::http::fmp4::boxes::TrackEntry {
        id: 1,
        timescale: 90_000,
        format: crate::http::fmp4::Format::Opus { channels: 2 },
    }
}

fn sample(n: u64, key: bool) -> Muxed {
    Muxed::Sample(MuxedSample {
        id: 1,
        leading: true,
        timescale: 90_000,
        sample: Sample {
            dts: n * 3600,
            cts: 0,
            duration: 3600,
            key,
            ntp: None,
            data: vec![Bytes::from_static(&[0; 100])],
            nal_units: true,
        },
    })
}

fn segment(millis: u64) -> Cut {
    Cut::Segment(Segment {
        init: 1,
        duration: Duration::from_millis(millis),
        discontinuity: false,
        independent: true,
        wall: None,
        bytes: Bytes::from_static(&[0; 1000]),
    })
}

fn durations(cuts: &[Cut]) -> Vec<(u128, bool)> {
    let segment = |cut: &Cut| match cut {
        Cut::Segment(s) => Some((s.duration.as_millis(), s.independent)),
        Cut::Init(..) => None,
    };
    cuts.iter().filter_map(segment).collect()
}

#[test]
fn segments_end_at_the_first_key_frame_after_the_target() {
    let mut segmenter = Segmenter::new(TARGET, 1 << 20);
    let mut cuts = segmenter.push(Muxed::Init(init())).unwrap();
    for n in 0..150 {
        // A key frame each 0.8 s: 2.4 s is the first one after 2 s.
        cuts.extend(segmenter.push(sample(n, n % 20 == 0)).unwrap());
    }
    cuts.extend(segmenter.finish().unwrap());
    assert_eq!(durations(&cuts), [(2400, true), (2400, true), (1200, true)]);
}

#[test]
fn a_group_without_end_is_cut_by_its_size() {
    let mut segmenter = Segmenter::new(TARGET, 40_000);
    let mut cuts = segmenter.push(Muxed::Init(init())).unwrap();
    for n in 0..250 {
        cuts.extend(segmenter.push(sample(n, n == 0)).unwrap());
    }
    let durations = durations(&cuts);
    assert_eq!(durations.len(), 2);
    assert_eq!(durations[1], (3880, false));
}

#[test]
fn a_new_init_segment_ends_the_segment_and_marks_the_next() {
    let mut segmenter = Segmenter::new(TARGET, 1 << 20);
    let mut cuts = segmenter.push(Muxed::Init(init())).unwrap();
    cuts.extend(segmenter.push(sample(0, true)).unwrap());
    cuts.extend(segmenter.push(Muxed::Init(init())).unwrap());
    cuts.extend(segmenter.push(sample(1, true)).unwrap());
    cuts.extend(segmenter.finish().unwrap());
    let [
        Cut::Init(1, _),
        Cut::Segment(a),
        Cut::Init(2, _),
        Cut::Segment(b),
    ] = &cuts[..]
    else {
        panic!("{cuts:?}");
    };
    assert_eq!((a.init, a.discontinuity), (1, false));
    assert_eq!((b.init, b.discontinuity), (2, true));
}

#[test]
fn a_playlist_lists_the_window() {
    let mut window = Window::new(3, 1 << 20, TARGET);
    window.push(Cut::Init(1, init()));
    for _ in 0..3 {
        window.push(segment(2000));
    }
    window.push(Cut::Init(2, init()));
    window.push(Cut::Segment(Segment {
        init: 2,
        duration: Duration::from_millis(2480),
        discontinuity: true,
        independent: true,
        wall: Some(UNIX_EPOCH + Duration::from_millis(1_709_210_096_789)),
        bytes: Bytes::new(),
    }));
    window.end();
    assert_eq!(
        window.playlist(),
        "#EXTM3U\n\
         #EXT-X-VERSION:7\n\
         #EXT-X-TARGETDURATION:3\n\
         #EXT-X-MEDIA-SEQUENCE:1\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MAP:URI=\"init-1.mp4\"\n\
         #EXTINF:2.00000,\nseg-1.m4s\n\
         #EXTINF:2.00000,\nseg-2.m4s\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-MAP:URI=\"init-2.mp4\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2024-02-29T12:34:56.789Z\n\
         #EXTINF:2.48000,\nseg-3.m4s\n\
         #EXT-X-ENDLIST\n"
    );
}

#[test]
fn the_window_is_bounded_by_count_and_bytes() {
    let mut window = Window::new(3, 1 << 20, TARGET);
    window.push(Cut::Init(1, init()));
    for _ in 0..100 {
        window.push(segment(2000));
    }
    assert!(window.segment(93).is_none());
    assert!(
        window.segment(94).is_some(),
        "kept for those who read an older playlist"
    );
    assert!(window.segment(99).is_some());
    assert!(window.segment(100).is_none());
    assert!(window.playlist().contains("MEDIA-SEQUENCE:97\n"));

    let mut window = Window::new(100, 2500, TARGET);
    for _ in 0..10 {
        window.push(segment(2000));
    }
    assert!(window.segment(7).is_none());
    assert!(window.segment(8).is_some());
}

#[test]
fn init_segments_go_with_their_last_segment_and_discontinuities_are_counted() {
    let mut window = Window::new(1, 1 << 20, TARGET);
    for init_number in 1..=4 {
        window.push(Cut::Init(init_number, init()));
        window.push(Cut::Segment(Segment {
            init: init_number,
            duration: TARGET,
            discontinuity: init_number > 1,
            independent: true,
            wall: None,
            bytes: Bytes::new(),
        }));
    }
    assert!(window.init(2).is_none());
    assert!(window.init(3).is_some());
    assert!(
        window
            .playlist()
            .contains("#EXT-X-DISCONTINUITY-SEQUENCE:2\n")
    );
}

#[test]
fn a_clock_that_says_anything_gives_a_date_or_none() {
    for wall in [
        UNIX_EPOCH - Duration::from_secs(1),
        UNIX_EPOCH + Duration::from_secs(1 << 40),
        SystemTime::now(),
    ] {
        let mut window = Window::new(1, 1 << 20, TARGET);
        window.push(Cut::Segment(Segment {
            init: 1,
            duration: TARGET,
            discontinuity: false,
            independent: true,
            wall: Some(wall),
            bytes: Bytes::new(),
        }));
        assert_eq!(window.playlist().contains("DATE-TIME"), wall >= UNIX_EPOCH);
    }
}
