//! Files in a loop: MP4 with H.264 or H.265 and AAC or Opus, raw H.264 and H.265.
//!
//! The index is read once, off the runtime's threads; media is read sample by sample when it is
//! due, so that long recordings cost no memory.

mod annexb;
mod boxes;
mod clip;
mod entry;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod movie;
mod play;

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use easydarwin_core::media::{AccessUnit, Codec, SessionDescription, Track, h264, h265};
use tokio::task::JoinHandle;

use self::clip::Clip;
use self::movie::MovieError;
use self::play::Playing;
use super::{MediaSource, SourceError};

/// Frames a second of raw streams that do not tell.
const DEFAULT_FPS: f64 = 25.0;

/// A file that is played in a loop, with timestamps that run on from loop to loop.
///
/// Raw streams must hold their pictures in display order: they carry no times, so that pictures
/// are dated in the order in which they are stored.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    fps: Option<f64>,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Opening(JoinHandle<Result<(Clip, File), SourceError>>),
    Playing(Box<Playing>),
}

impl FileSource {
    /// An MP4, or a raw stream when the name ends in `.h264`, `.264`, `.h265`, `.265` or `.hevc`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            fps: None,
            state: State::Closed,
        }
    }

    /// Frames a second of a raw stream, whatever the stream says.
    pub fn fps(mut self, fps: f64) -> Self {
        self.fps = (fps.is_finite() && fps > 0.0).then_some(fps.clamp(0.1, 240.0));
        self
    }
}

impl MediaSource for FileSource {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<SessionDescription, SourceError>> {
        if !matches!(self.state, State::Opening(_)) {
            let (path, fps) = (self.path.clone(), self.fps);
            self.state = State::Opening(tokio::task::spawn_blocking(move || load(&path, fps)));
        }
        let State::Opening(loading) = &mut self.state else {
            return Poll::Ready(Err(SourceError::Closed));
        };
        let loaded = ready!(Pin::new(loading).poll(cx));
        self.state = State::Closed;
        // The task is neither aborted nor does it panic; a runtime that ends drops it.
        let (clip, file) = loaded.unwrap_or(Err(SourceError::Closed))?;
        let description = clip.description.clone();
        self.state = State::Playing(Box::new(Playing::new(clip, file)));
        Poll::Ready(Ok(description))
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        unit: &mut AccessUnit,
    ) -> Poll<Result<(), SourceError>> {
        let State::Playing(playing) = &mut self.state else {
            return Poll::Ready(Err(SourceError::Closed));
        };
        let result = ready!(playing.poll_frame(cx, unit));
        Poll::Ready(result.map_err(|error| failed(&self.path, error)))
    }

    fn close(&mut self) {
        self.state = State::Closed;
    }
}

fn failed(path: &Path, error: MovieError) -> SourceError {
    let path = path.display().to_string();
    match error {
        MovieError::Io(source) => SourceError::File { path, source },
        MovieError::Format(reason) => SourceError::Format { path, reason },
    }
}

fn load(path: &Path, fps: Option<f64>) -> Result<(Clip, File), SourceError> {
    let read = || {
        let mut file = File::open(path)?;
        let clip = match raw_codec(path) {
            Some(codec) => load_raw(&mut file, codec, fps)?,
            None => movie::read(&mut file)?,
        };
        Ok((clip, file))
    };
    read().map_err(|error| failed(path, error))
}

fn raw_codec(path: &Path) -> Option<annexb::Codec> {
    let extension = path.extension()?.to_ascii_lowercase();
    match extension.to_str()? {
        "h264" | "264" | "avc" => Some(annexb::Codec::H264),
        "h265" | "265" | "hevc" => Some(annexb::Codec::H265),
        _ => None,
    }
}

fn load_raw<F: Read + Seek>(
    file: &mut F,
    codec: annexb::Codec,
    fps: Option<f64>,
) -> Result<Clip, MovieError> {
    let samples = annexb::index(file, codec)?;
    let first = samples.iter().find(|sample| sample.key).ok_or_else(|| {
        MovieError::Format("no key frame: no raw H.264 or H.265 stream".to_owned())
    })?;
    file.seek(io::SeekFrom::Start(first.offset))?;
    let mut bytes = Vec::new();
    file.take(first.size.into()).read_to_end(&mut bytes)?;
    let track = annexb::track(codec, &bytes);
    if track.reorder_depth() > 0 {
        tracing::warn!(
            "the raw stream may hold its pictures in another order than they are shown in; \
             if motion stutters put it into an MP4: ffmpeg -i IN -c copy OUT.mp4"
        );
    }
    let fps = fps.or_else(|| told_fps(&track)).unwrap_or(DEFAULT_FPS);
    Ok(annexb::clip(track, samples, fps))
}

/// Frames a second by the stream's own parameter sets.
fn told_fps(track: &Track) -> Option<f64> {
    let ticks = match &track.codec {
        Codec::H264(params) => h264::Sps::parse(params.sps.as_ref()?)
            .ok()?
            .frame_ticks(track.clock_rate)?,
        Codec::H265(params) => h265::Sps::parse(params.sps.as_ref()?)
            .ok()?
            .frame_ticks(track.clock_rate)?,
        _ => return None,
    };
    let fps = f64::from(track.clock_rate) / f64::from(i32::try_from(ticks).ok()?);
    (0.1..=240.0).contains(&fps).then_some(fps)
}

#[cfg(test)]
mod tests;
