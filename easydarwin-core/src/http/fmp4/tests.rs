//! The muxer against ffmpeg: what ffmpeg encodes goes in as access units, what ffprobe reads of
//! the result is compared.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::boxes::{self, TrackRun};
use super::{Init, Muxed, Muxer, poster};
use crate::media::{
    AccessUnit, H264Params, H265Params, SessionDescription, Track, h264, h265, nal,
};

const FRAME: i64 = 3600;

/// A file name that no other test has, removed when dropped.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str) -> Self {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let file = format!("easydarwin-fmp4-{}-{number}-{name}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    output.stdout
}

/// Pictures of a test picture, split at access unit delimiters, in decoding order.
fn encode(codec: &str, options: &[&str]) -> Vec<Vec<Bytes>> {
    let (format, delimiter, aud) = match codec {
        "libx264" => ("h264", h264::NAL_AUD, "h264_metadata=aud=insert"),
        _ => ("hevc", h265::NAL_AUD, "hevc_metadata=aud=insert"),
    };
    let source = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x180:rate=25",
        "-t",
        "4",
    ];
    let mut arguments = source.to_vec();
    arguments.extend(["-pix_fmt", "yuv420p", "-c:v", codec, "-preset", "veryfast"]);
    arguments.extend(options);
    arguments.extend(["-bsf:v", aud, "-f", format, "-"]);
    let stream = Bytes::from(run("ffmpeg", &arguments));
    let mut pictures: Vec<Vec<Bytes>> = Vec::new();
    for unit in nal::split_annex_b(&stream) {
        let kind = match format {
            "h264" => h264::nal_type(&unit),
            _ => h265::nal_type(&unit),
        };
        if kind == Some(delimiter) || pictures.is_empty() {
            pictures.push(Vec::new());
        }
        pictures.last_mut().unwrap().push(unit);
    }
    pictures
}

/// Presentation order as ffprobe sees it in a file of the same encoding.
fn display_order(codec: &str, options: &[&str]) -> Vec<i64> {
    let file = TempFile::new(&format!("{codec}.mp4"));
    let path = file.0.to_str().unwrap();
    let mut arguments = vec!["-v", "error", "-y", "-f", "lavfi"];
    arguments.extend(["-i", "testsrc=size=320x180:rate=25", "-t", "4"]);
    arguments.extend(["-pix_fmt", "yuv420p", "-c:v", codec, "-preset", "veryfast"]);
    arguments.extend(options);
    arguments.extend(["-video_track_timescale", "90000", path]);
    run("ffmpeg", &arguments);
    packets(&file.0, "v")
        .into_iter()
        .map(|packet| packet.pts)
        .collect()
}

fn units(pictures: Vec<Vec<Bytes>>, pts: &[i64], track: usize) -> Vec<AccessUnit> {
    assert_eq!(pictures.len(), pts.len());
    let start = Instant::now();
    let is_key = |nals: &[Bytes]| {
        nals.iter().any(|unit| {
            h264::nal_type(unit) == Some(h264::NAL_IDR)
                || h265::nal_type(unit).is_some_and(h265::is_irap)
        })
    };
    (0u32..)
        .zip(pictures)
        .zip(pts)
        .map(|((n, data), &pts)| AccessUnit {
            track,
            pts,
            arrival: start + Duration::from_millis(40) * n,
            ntp: None,
            key: is_key(&data),
            discontinuity: false,
            lossy: false,
            data,
        })
        .collect()
}

fn description(track: Track) -> SessionDescription {
    SessionDescription {
        tracks: vec![track],
        ..SessionDescription::default()
    }
}

fn aac_frame(n: u32, start: Instant) -> AccessUnit {
    AccessUnit {
        track: 1,
        pts: 5_000_000 + i64::from(n) * 1024,
        arrival: start + Duration::from_nanos(21_333_333) * n,
        ntp: None,
        key: true,
        discontinuity: false,
        lossy: false,
        // A silent AAC-LC frame of one channel.
        data: vec![Bytes::from_static(&[0x01, 0x40, 0x20, 0x07])],
    }
}

fn with_audio(video: Track) -> SessionDescription {
    let audio = Track::aac(97, 48_000, 1, Bytes::from_static(&[0x11, 0x88]));
    let g711 = Track::g711(crate::media::G711Law::A);
    SessionDescription {
        tracks: vec![video, audio, g711],
        ..SessionDescription::default()
    }
}

fn drain(muxer: &mut Muxer, out: &mut Vec<Muxed>) {
    while let Some(muxed) = muxer.pop() {
        out.push(muxed);
    }
}

fn mux(description: &SessionDescription, units: Vec<AccessUnit>) -> Vec<Muxed> {
    let mut muxer = Muxer::new(description);
    let mut out = Vec::new();
    for unit in units {
        muxer.push(unit).unwrap();
        drain(&mut muxer, &mut out);
    }
    muxer.finish();
    drain(&mut muxer, &mut out);
    assert_continuous(&out);
    out
}

/// One file with one fragment per sample.
fn file(muxed: &[Muxed]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 0;
    for event in muxed {
        match event {
            Muxed::Init(init) => out.extend_from_slice(&init.bytes),
            Muxed::Sample(sample) => {
                sequence += 1;
                let run = TrackRun {
                    id: sample.id,
                    samples: std::slice::from_ref(&sample.sample),
                };
                boxes::fragment(sequence, &[run], &mut out).unwrap();
            }
        }
    }
    out
}

fn inits<'a>(muxed: &'a [Muxed]) -> Vec<&'a Init> {
    let init = |event: &'a Muxed| match event {
        Muxed::Init(init) => Some(&**init),
        Muxed::Sample(_) => None,
    };
    muxed.iter().filter_map(init).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Packet {
    pts: i64,
    dts: i64,
    duration: i64,
    key: bool,
}

fn packets(file: &Path, stream: &str) -> Vec<Packet> {
    let entries = "packet=pts,dts,duration,flags";
    let path = file.to_str().unwrap();
    let text = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_entries",
            entries,
            "-of",
            "csv=p=0",
            path,
        ],
    );
    let line = |line: &str| {
        let mut fields = line.split(',');
        let mut number = || fields.next().unwrap().parse().unwrap();
        let (pts, dts, duration) = (number(), number(), number());
        Packet {
            pts,
            dts,
            duration,
            key: fields.next().unwrap().starts_with('K'),
        }
    };
    String::from_utf8(text).unwrap().lines().map(line).collect()
}

fn probe(name: &str, bytes: &[u8], stream: &str) -> Vec<Packet> {
    let file = TempFile::new(name);
    std::fs::write(&file.0, bytes).unwrap();
    // Every picture decodes without complaint.
    let path = file.0.to_str().unwrap();
    let arguments = [
        "-v", "error", "-xerror", "-i", path, "-map", "0:v", "-f", "null", "-",
    ];
    run("ffmpeg", &arguments);
    packets(&file.0, stream)
}

fn assert_monotonic(packets: &[Packet]) {
    for pair in packets.windows(2) {
        let [a, b] = pair else { unreachable!() };
        assert!(b.dts > a.dts, "{a:?} {b:?}");
        assert!(a.pts >= a.dts, "{a:?}");
    }
}

/// Each sample lasts until the next of its track: players see no hole.
fn assert_continuous(muxed: &[Muxed]) {
    for track in 1..=2 {
        let sample = |event: &Muxed| match event {
            Muxed::Sample(s) if s.id == track => Some((s.sample.dts, s.sample.duration)),
            _ => None,
        };
        let samples: Vec<_> = muxed.iter().filter_map(sample).collect();
        for pair in samples.windows(2) {
            assert_eq!(pair[0].0 + u64::from(pair[0].1), pair[1].0);
        }
    }
}

#[test]
fn h264_without_b_frames_keeps_all_pictures_and_times() {
    let pictures = encode("libx264", &["-bf", "0", "-g", "25"]);
    let pts: Vec<_> = (0..100).map(|n| 1_000_000 + n * FRAME).collect();
    let muxed = mux(
        &description(Track::h264(96, H264Params::default())),
        units(pictures, &pts, 0),
    );
    let [init] = inits(&muxed)[..] else { panic!() };
    assert_eq!(init.dimensions, Some((320, 180)));
    assert!(
        init.mime().starts_with("video/mp4; codecs=\"avc1.64"),
        "{}",
        init.mime()
    );
    let found = probe("plain.mp4", &file(&muxed), "v");
    assert_eq!(found.len(), 100);
    assert_monotonic(&found);
    assert!(found.iter().all(|p| p.duration == FRAME));
    assert_eq!(found.iter().filter(|p| p.key).count(), 4);
}

#[test]
fn b_frames_get_growing_decode_times() {
    for (codec, track) in [
        ("libx264", Track::h264(96, H264Params::default())),
        ("libx265", Track::h265(96, H265Params::default())),
    ] {
        let options: &[&str] = match codec {
            "libx264" => &["-bf", "2", "-g", "25"],
            _ => &["-x265-params", "log-level=none:keyint=25:bframes=3"],
        };
        let pts = display_order(codec, options);
        assert!(pts.windows(2).any(|w| w[1] < w[0]), "no reordering to test");
        let muxed = mux(&description(track), units(encode(codec, options), &pts, 0));
        assert_eq!(inits(&muxed).len(), 1);
        let found = probe(&format!("b-{codec}.mp4"), &file(&muxed), "v");
        assert_eq!(found.len(), pts.len());
        assert_monotonic(&found);
        let shift = found[0].pts - pts[0];
        let shown: Vec<_> = found.iter().map(|p| p.pts - shift).collect();
        assert_eq!(shown, pts);
    }
}

#[test]
fn open_groups_begin_without_their_leading_pictures() {
    let options = [
        "-x265-params",
        "log-level=none:keyint=20:min-keyint=20:open-gop=1:bframes=3:scenecut=0",
    ];
    let pts = display_order("libx265", &options);
    let mut all = units(encode("libx265", &options), &pts, 0);
    let second = (1..all.len()).find(|&n| all[n].key).unwrap();
    let params = all[0].data.clone();
    all.drain(..second);
    all[0].data.splice(0..0, params.into_iter().take(4));
    let leading = all.iter().filter(|unit| unit.pts < all[0].pts).count();
    assert!(leading > 0, "no open group to test");
    let count = all.len();
    let muxed = mux(&description(Track::h265(96, H265Params::default())), all);
    let found = probe("open.mp4", &file(&muxed), "v");
    assert_eq!(found.len(), count - leading);
    assert_monotonic(&found);
}

#[test]
fn sound_is_placed_by_arrival_and_unknown_sound_is_left_out() {
    let pts: Vec<_> = (0..100).map(|n| n * FRAME).collect();
    let video = units(encode("libx264", &["-bf", "0", "-g", "25"]), &pts, 0);
    let start = video[0].arrival + Duration::from_millis(100);
    let mut all: Vec<_> = (0..180).map(|n| aac_frame(n, start)).collect();
    all.extend(video);
    all.sort_by_key(|unit| unit.arrival);
    let description = with_audio(Track::h264(96, H264Params::default()));
    let muxer = Muxer::new(&description);
    assert_eq!(muxer.left_out(), ["PCMA"]);
    let muxed = mux(&description, all);
    let [init] = inits(&muxed)[..] else { panic!() };
    assert_eq!(init.codecs.len(), 2);
    assert_eq!(init.codecs[1], "mp4a.40.2");
    let sound = probe("sound.mp4", &file(&muxed), "a");
    assert_eq!(sound.len(), 180);
    assert_monotonic(&sound);
    assert_eq!(sound[0].dts, 4800, "100 ms after the picture");
}

#[test]
fn a_described_track_that_never_comes_is_left_out_and_joins_later() {
    let pts: Vec<_> = (0..100).map(|n| n * FRAME).collect();
    let video = units(encode("libx264", &["-bf", "0", "-g", "25"]), &pts, 0);
    let start = video[0].arrival + Duration::from_millis(1500);
    let mut all: Vec<_> = (0..100).map(|n| aac_frame(n, start)).collect();
    all.extend(video);
    all.sort_by_key(|unit| unit.arrival);
    let muxed = mux(&with_audio(Track::h264(96, H264Params::default())), all);
    let inits = inits(&muxed);
    assert_eq!(inits.len(), 2);
    assert_eq!(inits[0].codecs.len(), 1);
    assert_eq!(inits[1].codecs.len(), 2);
}

#[test]
fn new_parameters_make_a_new_init_segment() {
    let small = encode("libx264", &["-bf", "0", "-g", "25"]);
    let large = encode("libx264", &["-bf", "0", "-g", "25", "-s", "640x360"]);
    let pts: Vec<_> = (0..200).map(|n| n * FRAME).collect();
    let all = units([small, large].concat(), &pts, 0);
    let muxed = mux(&description(Track::h264(96, H264Params::default())), all);
    let inits = inits(&muxed);
    assert_eq!(inits.len(), 2);
    assert_eq!(inits[0].dimensions, Some((320, 180)));
    assert_eq!(inits[1].dimensions, Some((640, 360)));
    let samples = muxed
        .iter()
        .filter(|m| matches!(m, Muxed::Sample(_)))
        .count();
    assert_eq!(samples, 200);
    let second = muxed
        .iter()
        .rposition(|m| matches!(m, Muxed::Init(_)))
        .unwrap();
    assert!(matches!(&muxed[second + 1], Muxed::Sample(s) if s.sample.key));
}

#[test]
fn a_gap_resumes_at_a_key_frame_and_the_last_picture_stays() {
    let pictures = encode("libx264", &["-bf", "2", "-g", "25"]);
    let pts = display_order("libx264", &["-bf", "2", "-g", "25"]);
    let all = units(pictures, &pts, 0);
    let mut muxer = Muxer::new(&description(Track::h264(96, H264Params::default())));
    let mut muxed = Vec::new();
    for (n, unit) in all.into_iter().enumerate() {
        match n {
            30..40 => continue,
            40 => muxer.gap(),
            _ => {}
        }
        muxer.push(unit).unwrap();
        drain(&mut muxer, &mut muxed);
    }
    assert_continuous(&muxed);
    let found = probe("gap.mp4", &file(&muxed), "v");
    assert_eq!(found.len(), 30 + 50 - 1);
    assert_monotonic(&found);
    assert!(found[30].key);
    assert_eq!(found[30].pts - found[0].pts, pts[50] - pts[0]);
}

#[test]
fn a_poster_is_one_picture() {
    let mut all = units(encode("libx264", &["-bf", "0"])[..1].to_vec(), &[7], 0);
    let unit = all.remove(0);
    let track = Track::h264(96, H264Params::default());
    let bytes = poster(&track, &unit).unwrap().unwrap();
    let found = probe("poster.mp4", &bytes, "v");
    assert_eq!(found.len(), 1);
    assert!(found[0].key);
    let without_sets = AccessUnit {
        data: vec![unit.data.last().unwrap().clone()],
        ..unit
    };
    assert_eq!(poster(&track, &without_sets).unwrap(), None);
}

#[test]
fn odd_input_gives_nothing_and_does_not_panic() {
    let description = description(Track::h264(96, H264Params::default()));
    let mut muxer = Muxer::new(&description);
    for data in [
        vec![],
        vec![Bytes::new()],
        vec![Bytes::from_static(&[0x67])],
    ] {
        for pts in [i64::MIN, -1, i64::MAX] {
            let unit = AccessUnit {
                track: 0,
                pts,
                arrival: Instant::now(),
                ntp: None,
                key: true,
                discontinuity: false,
                lossy: false,
                data: data.clone(),
            };
            muxer.push(unit.clone()).unwrap();
            muxer.push(AccessUnit { track: 9, ..unit }).unwrap();
        }
    }
    assert!(muxer.pop().is_none());
}
