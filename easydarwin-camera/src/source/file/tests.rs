use std::io::Cursor;
use std::path::PathBuf;
use std::sync::LazyLock;

use easydarwin_core::media::AccessUnit;
use proptest::prelude::*;

use super::annexb;
use super::*;
use crate::source::testing::{ffmpeg, open, run, take};

fn clip_path() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/bigbuckbunny.mp4").to_owned()
}

/// A file made by ffmpeg out of the real clip.
fn made(name: &str, args: &[&str]) -> PathBuf {
    let path =
        std::env::temp_dir().join(format!("easydarwin-camera-{}-{name}", std::process::id()));
    let clip = clip_path();
    let out = path.to_str().unwrap();
    ffmpeg(&[&["-y", "-i", &clip], args, &[out]].concat(), Vec::new());
    path
}

fn slices(units: &[AccessUnit], h265: bool) -> Vec<Vec<u8>> {
    let nals = units.iter().filter(|u| u.track == 0).flat_map(|u| &u.data);
    nals.map(|nal| nal.to_vec())
        .filter(|nal| is_slice(nal, h265))
        .collect()
}

fn is_slice(nal: &[u8], h265: bool) -> bool {
    if h265 {
        nal[0] >> 1 & 0x3f < 32
    } else {
        matches!(nal[0] & 0x1f, 1..=5)
    }
}

/// The slices as ffmpeg finds them.
fn slices_by_ffmpeg(path: &str, h265: bool) -> Vec<Vec<u8>> {
    let format = if h265 { "hevc" } else { "h264" };
    let stream = ffmpeg(
        &["-i", path, "-map", "0:v", "-c", "copy", "-f", format, "-"],
        Vec::new(),
    );
    let nals = annexb::units(&stream).map(|range| stream[range].to_vec());
    nals.filter(|nal| is_slice(nal, h265)).collect()
}

/// pts, dts and key flag of the packets of a stream as ffprobe finds them, in seconds.
fn packets_by_ffprobe(path: &str, stream: &str) -> Vec<(f64, f64, bool)> {
    let args = [
        "-v",
        "error",
        "-select_streams",
        stream,
        "-show_entries",
        "packet=pts_time,dts_time,flags",
        "-of",
        "csv=p=0",
        path,
    ];
    let text = String::from_utf8(run("ffprobe", &args, Vec::new())).unwrap();
    // Side data makes lines of its own.
    text.lines()
        .filter(|line| line.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
        .map(|line| {
            let fields: Vec<_> = line.split(',').collect();
            (
                fields[0].parse().unwrap(),
                fields[1].parse().unwrap(),
                fields[2].contains('K'),
            )
        })
        .collect()
}

/// Times of one track, in seconds, compared with ffprobe's; both may begin anywhere.
fn assert_times(units: &[AccessUnit], track: usize, clock: f64, expected: &[(f64, f64, bool)]) {
    let units: Vec<_> = units.iter().filter(|u| u.track == track).collect();
    assert!(units.len() >= expected.len());
    let offset = units[0].pts as f64 / clock - expected[0].0;
    for (unit, (pts, _, key)) in units.iter().zip(expected) {
        assert!(
            (unit.pts as f64 / clock - offset - pts).abs() < 0.0001,
            "{unit:?} {pts}"
        );
        assert_eq!(unit.key, *key);
    }
}

#[tokio::test(start_paused = true)]
async fn mp4_gives_what_ffmpeg_finds() {
    let mut source = FileSource::new(clip_path());
    let description = open(&mut source).await;
    assert_eq!(description.tracks.len(), 2);
    assert_eq!(description.tracks[1].clock_rate, 48_000);
    let units = take(&mut source, 132 + 249).await;
    assert!(units.windows(2).all(|w| w[0].arrival <= w[1].arrival));

    assert!(slices(&units, false) == slices_by_ffmpeg(&clip_path(), false));
    assert_times(&units, 0, 90_000.0, &packets_by_ffprobe(&clip_path(), "v"));
    assert_times(&units, 1, 48_000.0, &packets_by_ffprobe(&clip_path(), "a"));
    let first = units.iter().find(|u| u.track == 0).unwrap();
    assert_eq!(
        first.data[0][0] & 0x1f,
        7,
        "a key frame brings its parameter sets"
    );

    let adts = ffmpeg(
        &["-i", &clip_path(), "-vn", "-c", "copy", "-f", "adts", "-"],
        Vec::new(),
    );
    let mut rest = &adts[..];
    for unit in units.iter().filter(|u| u.track == 1) {
        assert_eq!(unit.data.len(), 1);
        assert_eq!(unit.data[0], rest[7..7 + unit.data[0].len()]);
        rest = &rest[7 + unit.data[0].len()..];
    }
    assert!(rest.is_empty());
}

#[tokio::test(start_paused = true)]
async fn mp4_runs_on_from_loop_to_loop() {
    let mut source = FileSource::new(clip_path());
    open(&mut source).await;
    let units = take(&mut source, 3 * (132 + 249)).await;
    for (track, step, longest) in [(0, 3_600, 2 * 3_600), (1, 1_024, 3 * 1_024)] {
        let pts: Vec<_> = units
            .iter()
            .filter(|u| u.track == track)
            .map(|u| u.pts)
            .collect();
        for pair in pts.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap >= step - 1 && gap <= longest, "track {track}: {gap}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b_frames_keep_their_times() {
    let path = made(
        "b.mp4",
        &[
            "-an", "-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "30", "-t", "2",
        ],
    );
    let mut source = FileSource::new(&path);
    open(&mut source).await;
    let expected = packets_by_ffprobe(path.to_str().unwrap(), "v");
    let units = take(&mut source, 2 * expected.len()).await;
    assert_times(&units, 0, 90_000.0, &expected);
    let mut pts: Vec<_> = units.iter().map(|u| u.pts).collect();
    assert!(!pts.is_sorted(), "there are B-frames");
    pts.sort_unstable();
    assert!(
        pts.windows(2).all(|p| (p[1] - p[0] - 3_600).abs() <= 1),
        "{pts:?}"
    );
    assert!(
        slices(&units[..expected.len()], false) == slices_by_ffmpeg(path.to_str().unwrap(), false)
    );
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn h265_and_opus_in_mp4() {
    let path = made(
        "h265.mp4",
        &[
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=none",
            "-c:a",
            "libopus",
            "-b:a",
            "64k",
            "-t",
            "1",
        ],
    );
    let mut source = FileSource::new(&path);
    let description = open(&mut source).await;
    let video = packets_by_ffprobe(path.to_str().unwrap(), "v");
    let audio = packets_by_ffprobe(path.to_str().unwrap(), "a");
    let units = take(&mut source, video.len() + audio.len()).await;
    assert!(slices(&units, true) == slices_by_ffmpeg(path.to_str().unwrap(), true));
    assert_times(&units, 0, 90_000.0, &video);
    assert_eq!(description.tracks[1].encoding, "opus");
    assert_eq!(units.iter().filter(|u| u.track == 1).count(), audio.len());
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn g711_in_quicktime_is_sent_in_frames() {
    let path = made(
        "g711.mov",
        &[
            "-vn", "-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1", "-t", "2",
        ],
    );
    let mut source = FileSource::new(&path);
    let description = open(&mut source).await;
    assert_eq!(description.tracks[0].encoding, "PCMA");
    let expected = ffmpeg(
        &[
            "-i",
            path.to_str().unwrap(),
            "-c",
            "copy",
            "-f",
            "alaw",
            "-",
        ],
        Vec::new(),
    );
    let mut received = Vec::new();
    while received.len() < expected.len() {
        let unit = &take(&mut source, 1).await[0];
        assert_eq!(unit.pts, i64::try_from(received.len()).unwrap());
        assert!(unit.len() <= 160);
        received.extend_from_slice(&unit.data[0]);
    }
    assert!(received == expected);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn raw_streams_are_cut_into_pictures() {
    for (name, h265) in [("raw.h264", false), ("raw.h265", true)] {
        let codec: &[&str] = if h265 {
            &[
                "-c:v",
                "libx265",
                "-preset",
                "ultrafast",
                "-bf",
                "0",
                "-x265-params",
                "log-level=none:slices=2",
            ]
        } else {
            &[
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-bf",
                "0",
                "-x264-params",
                "slices=3:aud=1",
            ]
        };
        let path = made(name, &[codec, &["-an", "-t", "1"]].concat());
        let mut source = FileSource::new(&path).fps(50.0);
        let description = open(&mut source).await;
        let units = take(&mut source, 25).await;
        let all = slices_by_ffmpeg(path.to_str().unwrap(), h265);
        assert!(slices(&units, h265) == all);
        assert!(units[0].key && !units[1].key);
        let again = take(&mut source, 25).await;
        assert!(slices(&again, h265) == all);
        let pts: Vec<_> = units.iter().chain(&again).map(|u| u.pts).collect();
        assert!(pts.windows(2).all(|p| p[1] - p[0] == 1_800));
        assert!(match &description.tracks[0].codec {
            Codec::H264(params) => params.sps.is_some() && params.pps.len() == 1,
            Codec::H265(params) => params.vps.is_some() && params.sps.is_some(),
            _ => false,
        });
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn what_is_no_media_is_refused() {
    let open = |path: &str| {
        let mut source = FileSource::new(path);
        async move { std::future::poll_fn(|cx| source.poll_open(cx)).await }
    };
    assert!(matches!(
        open("/nowhere.mp4").await,
        Err(SourceError::File { .. })
    ));
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert!(matches!(
        open(readme).await,
        Err(SourceError::Format { .. })
    ));
    let fragmented = made(
        "frag.mp4",
        &["-c", "copy", "-movflags", "frag_keyframe+empty_moov"],
    );
    let error = open(fragmented.to_str().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("fragmented"), "{error}");
    std::fs::remove_file(fragmented).unwrap();
}

static MOOV: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let clip = std::fs::read(clip_path()).unwrap();
    boxes::child(&clip, b"moov").unwrap().to_vec()
});

proptest! {
    #[test]
    fn damaged_files_never_panic(
        cut in 0usize..20_000,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut moov = MOOV.clone();
        for (at, byte) in damage {
            let at = at.index(moov.len());
            moov[at] = byte;
        }
        let _ = movie::parse(&moov);
        moov.truncate(cut);
        let _ = movie::parse(&moov);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = movie::read(&mut Cursor::new(&bytes));
        let _ = movie::parse(&bytes);
        let _ = annexb::index(&mut Cursor::new(&bytes), annexb::Codec::H264);
        let _ = annexb::units(&bytes).count();
    }

    #[test]
    fn arbitrary_sample_descriptions_never_panic(
        kind in prop::sample::select(vec![*b"avc1", *b"hvc1", *b"mp4a", *b"Opus"]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let size = u32::try_from(body.len() + 8).unwrap();
        let mut stsd = vec![0; 8];
        stsd.extend(size.to_be_bytes());
        stsd.extend(kind);
        stsd.extend(body);
        let _ = entry::read(&stsd);
    }
}
