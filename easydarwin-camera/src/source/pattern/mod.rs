//! A moving test picture with a clock, and a beep each second.
//!
//! Everything is made in the program: the encoder is lossless and knows just enough of H.264
//! for drawn pictures, the sound is a loop encoded in advance.

mod audio;
mod bits;
mod font;
mod h264;
mod picture;
mod scene;
mod snapshot;

use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use easydarwin_core::media::{AccessUnit, H264Params, SessionDescription, Track};

use self::audio::Beep;
use self::h264::Encoder;
use self::scene::{HEIGHT, Scene, WIDTH};
use super::pace::Pacer;
use super::{MediaSource, SourceError};

const VIDEO_CLOCK: u64 = 90_000;
const DEFAULT_FPS: u32 = 25;
/// Seconds from one key frame to the next.
const KEY_INTERVAL: u64 = 2;
/// When the program was held up for longer than this, frames are left out.
const MAX_LAG: Duration = Duration::from_millis(500);

/// The test picture: 640 x 360, H.264 Constrained Baseline and AAC-LC.
#[derive(Debug)]
pub struct PatternSource {
    serial: String,
    fps: u32,
    audio: bool,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    scene: Scene,
    encoder: Encoder,
    beep: Option<Beep>,
    pacer: Pacer,
    /// Media time 0 on the monotonic clock.
    start: Instant,
    /// The same moment on the wall clock; later steps of that clock are not followed.
    wall: SystemTime,
    frame: u64,
    since_key: u64,
    key_wanted: bool,
}

impl PatternSource {
    /// A picture that shows this serial; 25 frames a second, with sound.
    pub fn new(serial: impl Into<String>) -> Self {
        Self {
            serial: serial.into(),
            fps: DEFAULT_FPS,
            audio: true,
            running: None,
        }
    }

    /// Another frame rate, 1 to 50 a second.
    pub fn fps(mut self, fps: u32) -> Self {
        self.fps = fps.clamp(1, 50);
        self
    }

    /// Without the beep.
    pub fn silent(mut self) -> Self {
        self.audio = false;
        self
    }
}

impl MediaSource for PatternSource {
    fn poll_open(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<SessionDescription, SourceError>> {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let encoder = Encoder::new(WIDTH, HEIGHT, self.fps);
        let params = H264Params {
            sps: Some(encoder.sps().clone()),
            pps: vec![encoder.pps().clone()],
        };
        let mut tracks = vec![Track::h264(96, params)];
        if self.audio {
            tracks.push(audio::track(97));
        }
        self.running = Some(Running {
            scene: Scene::new(&self.serial),
            encoder,
            beep: self.audio.then(|| Beep::starting(wall)),
            pacer: Pacer::new(start),
            start,
            wall,
            frame: 0,
            since_key: 0,
            key_wanted: true,
        });
        Poll::Ready(Ok(SessionDescription {
            name: self.serial.clone(),
            tracks,
            ..SessionDescription::default()
        }))
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        unit: &mut AccessUnit,
    ) -> Poll<Result<(), SourceError>> {
        let fps = u64::from(self.fps);
        let Some(running) = self.running.as_mut() else {
            return Poll::Ready(Err(SourceError::Closed));
        };
        running.catch_up(fps, Instant::now());
        let video_due = running.start + ticks(running.frame, fps);
        let audio_due = running
            .beep
            .as_ref()
            .map(|beep| running.start + audio_time(beep.pts()));
        let audio_first = audio_due.is_some_and(|due| due < video_due);
        let due = audio_due.unwrap_or(video_due).min(video_due);
        if running.pacer.poll_until(cx, due).is_pending() {
            return Poll::Pending;
        }
        unit.arrival = due;
        unit.ntp = None;
        unit.discontinuity = false;
        unit.lossy = false;
        unit.data.clear();
        match running.beep.as_mut().filter(|_| audio_first) {
            Some(beep) => {
                unit.track = 1;
                unit.pts = beep.pts();
                unit.key = true;
                unit.data.push(beep.take());
            }
            None => running.film(fps, unit),
        }
        Poll::Ready(Ok(()))
    }

    fn request_key_frame(&mut self) {
        if let Some(running) = self.running.as_mut() {
            running.key_wanted = true;
        }
    }

    fn close(&mut self) {
        self.running = None;
    }

    fn snapshot(&mut self) -> Option<Bytes> {
        if let Some(running) = &self.running {
            return snapshot::jpeg(running.scene.picture(), WIDTH, HEIGHT);
        }
        let mut scene = Scene::new(&self.serial);
        scene.draw(SystemTime::now(), 0);
        snapshot::jpeg(scene.picture(), WIDTH, HEIGHT)
    }
}

impl Running {
    fn film(&mut self, fps: u64, unit: &mut AccessUnit) {
        let key = self.key_wanted || self.since_key >= KEY_INTERVAL * fps;
        let picture = self
            .scene
            .draw(self.wall + ticks(self.frame, fps), self.frame);
        self.encoder.encode(picture, key, &mut unit.data);
        unit.track = 0;
        unit.pts = i64::try_from(self.frame * VIDEO_CLOCK / fps).unwrap_or(i64::MAX);
        unit.key = key;
        if key {
            self.since_key = 0;
            self.key_wanted = false;
        }
        self.since_key += 1;
        self.frame += 1;
    }

    /// A camera that was held up goes on with the present, not with what it missed.
    fn catch_up(&mut self, fps: u64, now: Instant) {
        let due = self.start + ticks(self.frame, fps);
        let lag = now.saturating_duration_since(due);
        if lag < MAX_LAG {
            return;
        }
        let missed = u64::try_from(lag.as_millis()).unwrap_or(0) * fps / 1_000;
        self.frame += missed;
        if let Some(beep) = self.beep.as_mut() {
            let elapsed = now.saturating_duration_since(self.start).as_millis();
            let samples = elapsed * u128::from(audio::SAMPLE_RATE) / 1_000;
            beep.skip_to(i64::try_from(samples).unwrap_or(0));
        }
    }
}

/// The time that `count` frames take.
fn ticks(count: u64, per_second: u64) -> Duration {
    Duration::new(
        count / per_second,
        u32::try_from(count % per_second * 1_000_000_000 / per_second).unwrap_or(0),
    )
}

fn audio_time(pts: i64) -> Duration {
    ticks(
        u64::try_from(pts).unwrap_or(0),
        u64::from(audio::SAMPLE_RATE),
    )
}

#[cfg(test)]
mod tests;
