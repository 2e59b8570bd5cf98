//! Streams for the tests: what ffmpeg makes, published through the relay's own API.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use easydarwin_core::media::aac::AdtsHeader;
use easydarwin_core::media::{
    AccessUnit, H264Params, H265Params, SessionDescription, Track, h264, h265, nal,
};
use easydarwin_core::registry::{Principal, StreamPath};
use easydarwin_core::relay::{EndReason, Hub};
use easydarwin_core::server::{DemandError, OnDemand};

/// A clip as access units in decoding order.
pub(crate) struct Clip {
    pub(crate) description: SessionDescription,
    pub(crate) units: Vec<AccessUnit>,
}

impl Clip {
    /// The H.264 and AAC of the real clip.
    pub(crate) fn big_buck_bunny() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/bigbuckbunny.mp4");
        let mut clip = Self::video(&["-i", path, "-map", "0:v", "-c", "copy"], false);
        let adts = Bytes::from(run(
            "ffmpeg",
            &[
                "-v", "error", "-i", path, "-map", "0:a", "-c", "copy", "-f", "adts", "-",
            ],
        ));
        let header = AdtsHeader::parse(&adts).unwrap();
        let rate = header.config.sample_rate;
        let frame = header.config.frame_length;
        clip.description.tracks.push(Track::aac(
            97,
            rate,
            header.config.channels.into(),
            header.config.to_bytes(),
        ));
        let start = clip.units[0].arrival;
        let mut rest = adts;
        let mut n = 0;
        while !rest.is_empty() {
            let header = AdtsHeader::parse(&rest).unwrap();
            let unit = rest.split_to(header.frame_len).split_off(header.header_len);
            let offset = Duration::from_secs_f64(f64::from(n * frame) / f64::from(rate));
            let pts = i64::from(n * frame);
            clip.units
                .push(access_unit(1, pts, start + offset, true, vec![unit]));
            n += 1;
        }
        clip.units.sort_by_key(|unit| unit.arrival);
        clip
    }

    /// Six seconds of ffmpeg's test picture.
    pub(crate) fn test_picture(options: &[&str]) -> Self {
        let mut arguments = vec![
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=320x180:rate=25",
            "-t",
            "6",
        ];
        arguments.extend(["-pix_fmt", "yuv420p", "-preset", "veryfast"]);
        arguments.extend(options);
        Self::video(&arguments, options.contains(&"libx265"))
    }

    fn video(arguments: &[&str], h265: bool) -> Self {
        let (format, delimiter, filter) = match h265 {
            false => (
                "h264",
                h264::NAL_AUD,
                "h264_mp4toannexb,h264_metadata=aud=insert",
            ),
            true => (
                "hevc",
                h265::NAL_AUD,
                "hevc_mp4toannexb,hevc_metadata=aud=insert",
            ),
        };
        // One run for both outputs: the times belong to exactly these pictures.
        let file = std::env::temp_dir().join(format!(
            "easydarwin-http-{}-{}.mkv",
            std::process::id(),
            UNIQUE.fetch_add(1, Ordering::Relaxed)
        ));
        let path = file.to_str().unwrap();
        run(
            "ffmpeg",
            &[&["-v", "error", "-y"], arguments, &[path]].concat(),
        );
        let copy = [
            "-v", "error", "-i", path, "-c", "copy", "-bsf:v", filter, "-f", format, "-",
        ];
        let stream = Bytes::from(run("ffmpeg", &copy));
        let entries = ["-v", "error", "-select_streams", "v", "-show_entries"];
        let times = run(
            "ffprobe",
            &[&entries[..], &["packet=pts_time", "-of", "csv=p=0", path]].concat(),
        );
        let _ = std::fs::remove_file(&file);

        let kind = |unit: &Bytes| match h265 {
            false => h264::nal_type(unit).unwrap(),
            true => h265::nal_type(unit).unwrap(),
        };
        let mut pictures: Vec<Vec<Bytes>> = Vec::new();
        for unit in nal::split_annex_b(&stream) {
            if kind(&unit) == delimiter {
                pictures.push(Vec::new());
            }
            pictures.last_mut().unwrap().push(unit);
        }
        let times = String::from_utf8(times).unwrap();
        let times: Vec<f64> = times
            .lines()
            .map(|line| line.trim_end_matches(',').parse().unwrap())
            .collect();
        assert_eq!(times.len(), pictures.len());
        let start = Instant::now();
        let step = (times.iter().copied().fold(0.0, f64::max) - times[0]) / times.len() as f64;
        let units = (0u32..).zip(pictures).zip(times).map(|((n, data), time)| {
            let key = data.iter().any(|unit| match h265 {
                false => kind(unit) == h264::NAL_IDR,
                true => h265::is_irap(kind(unit)),
            });
            let arrival = start + Duration::from_secs_f64(step * f64::from(n));
            access_unit(0, (time * 90_000.0).round() as i64, arrival, key, data)
        });
        Self {
            description: SessionDescription {
                name: "test".to_owned(),
                tracks: vec![match h265 {
                    false => Track::h264(96, H264Params::default()),
                    true => Track::h265(96, H265Params::default()),
                }],
                ..SessionDescription::default()
            },
            units: units.collect(),
        }
    }

    pub(crate) fn count(&self, track: usize) -> usize {
        self.units.iter().filter(|unit| unit.track == track).count()
    }

    /// Publishes at `speed` times real time; `repeat`: for ever.
    pub(crate) async fn publish(
        self: Arc<Self>,
        hub: Hub,
        path: StreamPath,
        speed: f64,
        repeat: bool,
    ) {
        let description = self.description.clone();
        let mut publisher = hub
            .publish(&path, description, Principal::Anonymous)
            .unwrap();
        let first = self.units[0].arrival;
        let begin = tokio::time::Instant::now();
        let length = self.units.last().unwrap().arrival - first + Duration::from_millis(40);
        for round in 0u32.. {
            for unit in &self.units {
                let offset = unit.arrival - first + length * round;
                tokio::time::sleep_until(begin + offset.div_f64(speed)).await;
                let clock = f64::from(self.description.tracks[unit.track].clock_rate);
                let mut unit = unit.clone();
                unit.pts += ((length * round).as_secs_f64() * clock) as i64;
                unit.arrival = Instant::now();
                publisher.push_unit(&unit);
                if !publisher.flush(Instant::now()) {
                    return;
                }
            }
            if !repeat {
                break;
            }
        }
        publisher.end(EndReason::PublisherLeft);
    }
}

/// Publishes the clip when somebody asks for the stream.
pub(crate) struct Camera {
    pub(crate) hub: Hub,
    pub(crate) clip: Arc<Clip>,
    pub(crate) speed: f64,
    pub(crate) repeat: bool,
}

#[async_trait]
impl OnDemand for Camera {
    async fn demand(&self, path: &StreamPath, _viewer: &Principal) -> Result<(), DemandError> {
        if path.as_str().starts_with("none") {
            return Err(DemandError::NotFound);
        }
        let clip = self.clip.clone();
        tokio::spawn(clip.publish(self.hub.clone(), path.clone(), self.speed, self.repeat));
        Ok(())
    }
}

static UNIQUE: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    output.stdout
}

fn access_unit(
    track: usize,
    pts: i64,
    arrival: Instant,
    key: bool,
    data: Vec<Bytes>,
) -> AccessUnit {
    AccessUnit {
        track,
        pts,
        arrival,
        ntp: None,
        key,
        discontinuity: false,
        lossy: false,
        data,
    }
}
