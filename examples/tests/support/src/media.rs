//! Media for the tests, made with ffmpeg from the one real clip on first use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::units::{VideoCodec, VideoUnit, parse_hash, split_annexb, video_units};

/// A published file: about 26 seconds, so that nobody sees its end while it is published once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clip {
    /// The real clip as it is: H.264 without B-frames, AAC; a key frame each 5.28 s.
    Aac,
    /// H.264 with B-frames, Opus.
    BFrames,
    /// H.265 with B-frames, G.711 A-law.
    H265,
    /// H.264, G.711 µ-law.
    Mulaw,
}

/// How the audio of a clip is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audio {
    /// Frame by frame.
    Aac,
    /// Frame by frame.
    Opus,
    /// As a run of samples: whoever sends it cuts it as he likes.
    G711,
}

/// What was published, to compare with.
#[derive(Debug)]
pub struct Published {
    /// VCL NAL units in decoding order.
    pub video: Vec<VideoUnit>,
    /// Hashes of audio frames; empty for G.711.
    pub audio: Vec<[u8; 32]>,
    /// G.711 samples.
    pub samples: Vec<u8>,
}

impl Clip {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Aac, Self::BFrames, Self::H265, Self::Mulaw];

    /// Short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aac => "h264-aac",
            Self::BFrames => "h264b-opus",
            Self::H265 => "h265-pcma",
            Self::Mulaw => "h264-pcmu",
        }
    }

    /// Video codec.
    pub fn video(self) -> VideoCodec {
        match self {
            Self::H265 => VideoCodec::H265,
            _ => VideoCodec::H264,
        }
    }

    /// Audio codec.
    pub fn audio(self) -> Audio {
        match self {
            Self::Aac => Audio::Aac,
            Self::BFrames => Audio::Opus,
            Self::H265 | Self::Mulaw => Audio::G711,
        }
    }

    /// ffmpeg's raw format of the audio samples, for G.711.
    pub fn raw_audio_format(self) -> &'static str {
        match self {
            Self::H265 => "alaw",
            _ => "mulaw",
        }
    }

    /// The file, made if need be.
    pub fn path(self) -> PathBuf {
        static LOCK: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LOCK.lock();
        let dir = crate::target_dir().join("test-media");
        std::fs::create_dir_all(&dir).expect("target/ is writable");
        let (extension, encoder): (_, &[&str]) = match self {
            Self::Aac => ("mp4", &["-c", "copy"]),
            Self::BFrames => (
                "mp4",
                &[
                    "-vf",
                    "scale=640:360",
                    "-c:v",
                    "libx264",
                    "-preset",
                    "veryfast",
                    "-bf",
                    "3",
                    "-g",
                    "50",
                    "-c:a",
                    "libopus",
                    // RTP carries no more than two channels of it.
                    "-ac",
                    "2",
                    "-b:a",
                    "64k",
                ],
            ),
            Self::H265 => (
                "mov",
                &[
                    "-vf",
                    "scale=640:360",
                    "-c:v",
                    "libx265",
                    "-preset",
                    "ultrafast",
                    "-x265-params",
                    "log-level=error:keyint=50",
                    "-tag:v",
                    "hvc1",
                    "-c:a",
                    "pcm_alaw",
                    "-ar",
                    "8000",
                    "-ac",
                    "1",
                ],
            ),
            Self::Mulaw => (
                "mov",
                &[
                    "-c:v",
                    "copy",
                    "-c:a",
                    "pcm_mulaw",
                    "-ar",
                    "8000",
                    "-ac",
                    "1",
                ],
            ),
        };
        let path = dir.join(format!("{}.{extension}", self.name()));
        if !path.exists() {
            crate::require(&["ffmpeg"]);
            let partial = dir.join(format!(
                "partial-{}-{}.{extension}",
                self.name(),
                std::process::id()
            ));
            let output = Command::new("ffmpeg")
                .args(["-nostdin", "-y", "-v", "error", "-stream_loop", "4", "-i"])
                .arg(original())
                .args(encoder)
                .arg(&partial)
                .output()
                .expect("ffmpeg can be started");
            assert!(
                output.status.success(),
                "ffmpeg could not make {}: {}",
                path.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            std::fs::rename(&partial, &path).expect("target/ is writable");
        }
        path
    }

    /// What a publisher of this file sends.
    pub fn published(self) -> &'static Published {
        static ALL: OnceLock<Mutex<HashMap<Clip, &'static Published>>> = OnceLock::new();
        let mut all = ALL
            .get_or_init(Mutex::default)
            .lock()
            .expect("no panic inside");
        all.entry(self).or_insert_with(|| {
            let path = self.path();
            let elementary = ffmpeg_stdout(
                &path,
                &["-map", "0:v", "-c", "copy", "-f", self.video().format()],
            );
            let video = video_units(self.video(), split_annexb(&elementary));
            assert!(
                video.len() > 600,
                "{}: {} pictures",
                self.name(),
                video.len()
            );
            let (mut audio, mut samples) = (Vec::new(), Vec::new());
            if self.audio() == Audio::G711 {
                samples = ffmpeg_stdout(
                    &path,
                    &["-map", "0:a", "-c", "copy", "-f", self.raw_audio_format()],
                );
            } else {
                let frames = ffmpeg_stdout(
                    &path,
                    &[
                        "-map",
                        "0:a",
                        "-c",
                        "copy",
                        "-f",
                        "framehash",
                        "-hash",
                        "sha256",
                    ],
                );
                let text = String::from_utf8(frames).expect("framehash is text");
                audio = crate::units::parse_framehash(&text)
                    .into_iter()
                    .map(|packet| parse_hash(&packet.hash))
                    .collect();
            }
            Box::leak(Box::new(Published {
                video,
                audio,
                samples,
            }))
        })
    }
}

/// The real clip of the repository.
pub fn original() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let path = root.join("testdata/bigbuckbunny.mp4");
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

fn ffmpeg_stdout(input: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(input)
        .args(args)
        .arg("pipe:1")
        .output()
        .expect("ffmpeg can be started");
    assert!(
        output.status.success(),
        "ffmpeg cannot read {}: {}",
        input.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_is_what_the_tests_take_it_for() {
        for clip in Clip::ALL {
            let published = clip.published();
            assert!(
                published.video[0].key && published.video[0].first,
                "{clip:?}"
            );
            let pictures = published.video.iter().filter(|unit| unit.first).count();
            assert!(
                (640..700).contains(&pictures),
                "{clip:?}: {pictures} pictures"
            );
            match clip.audio() {
                Audio::G711 => assert!(published.samples.len() > 200_000, "{clip:?}"),
                Audio::Aac | Audio::Opus => assert!(published.audio.len() > 1200, "{clip:?}"),
            }
        }
    }
}
