//! A camera whose encoder takes advice: 25 pictures a second, of a size that follows the bitrate.

use std::time::{Duration, Instant};

use easydarwin_camera::feedback::{Advice, BitrateRange, RateConfig};
use easydarwin_camera::frames::{Frame, FrameSender, QueueConfig, queue};
use easydarwin_camera::{Camera, CameraEvent};
use easydarwin_core::media::{H264Params, Track};
use tokio::sync::{mpsc, oneshot};

use super::{MAX_LATENCY, Scene, link};

pub(crate) const PORT: u16 = 10_554;
pub(crate) const PATH: &str = "throttled/1";
/// The real clip's, so that the description is complete.
const SPS: &[u8] = &[
    0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0, 0, 3, 0, 0x40, 0, 0, 0x0c,
    0x83, 0xc6, 0x0c, 0xa8,
];
const PPS: &[u8] = &[0x68, 0xef, 0x3c, 0x80];
const START_CODE: &[u8] = &[0, 0, 0, 1];

const FRAME: Duration = Duration::from_millis(40);
const FRAMES_PER_SECOND: usize = 25;
/// Pictures from one key frame to the next, and how many times as large it is.
const GROUP: u64 = 50;
const KEY_WEIGHT: usize = 5;

/// What the encoder was told, and when, since the start of the test.
#[derive(Debug)]
pub(crate) struct Told {
    /// When media began to flow, and the first phase.
    pub(crate) began: Duration,
    /// What the encoder began with, and what it was told.
    bitrates: Vec<(Duration, u32)>,
}

impl Told {
    /// The mean of what was advised in this time.
    pub(crate) fn mean(&self, from: Duration, until: Duration) -> u32 {
        let holds = |at: Duration| {
            let before = self.bitrates.iter().rev().find(|(since, _)| *since <= at);
            before.unwrap().1
        };
        let step = (until - from) / 100;
        (0..100).map(|n| holds(from + step * n) / 100).sum()
    }
}

/// Pushes through all phases, in this thread's namespace.
pub(crate) fn run(start: Instant, scene: &Scene) -> Told {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(push(start, scene))
}

async fn push(start: Instant, scene: &Scene) -> Told {
    let params = H264Params {
        sps: Some(SPS.into()),
        pps: vec![PPS.into()],
    };
    let mut config = QueueConfig::default();
    config.max_latency = MAX_LATENCY;
    let (mut senders, feed) = queue(vec![Track::h264(96, params)], &config).unwrap();
    let (events, mut happened) = mpsc::channel(64);
    let camera = Camera::builder()
        .serial("throttled")
        .push_to(format!("rtsp://{}:{PORT}/{PATH}", link::FAR))
        .frames(1, feed)
        .rate(RateConfig {
            main: BitrateRange {
                min: 128_000,
                // A tenth less than the widest link: one that is always full makes its own delay before it shrinks.
                max: 3_600_000,
            },
            start: scene.bitrate,
            max_latency: MAX_LATENCY,
            ..RateConfig::default()
        })
        .events(events)
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let camera = tokio::spawn(camera.run(async move { stopped.await.unwrap_or(()) }));

    let mut encoder = Encoder {
        start,
        sender: senders.remove(0),
        bitrate: scene.bitrate,
        number: 0,
        in_group: 0,
    };
    let mut told = None;
    let mut phases = scene.phases.iter().copied();
    let mut ends = None;
    let mut ticks = tokio::time::interval(FRAME);
    loop {
        let end_of_phase = async {
            match ends {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = ticks.tick() => encoder.picture(),
            () = end_of_phase => {
                let Some(next) = phases.next() else {
                    break;
                };
                link::set_rate(next.rate);
                ends = ends.map(|end| end + next.lasts);
            }
            event = happened.recv() => match event.unwrap() {
                CameraEvent::PushStarted { .. } => {
                    assert!(told.is_none(), "the push was cut");
                    let began = start.elapsed();
                    told = Some(Told { began, bitrates: vec![(Duration::ZERO, scene.bitrate)] });
                    let first = phases.next().unwrap();
                    ends = Some(tokio::time::Instant::now() + first.lasts);
                }
                CameraEvent::KeyFrameWanted { .. } => encoder.in_group = 0,
                CameraEvent::Advice { advice: Advice::Bitrate(bitrate), .. } => {
                    if scene.obeys {
                        encoder.bitrate = bitrate;
                    }
                    let told = told.as_mut().unwrap();
                    told.bitrates.push((start.elapsed(), bitrate));
                }
                CameraEvent::PushRequested { .. } => {}
                other => panic!("{other:?}"),
            },
        }
    }
    stop.send(()).unwrap();
    camera.await.unwrap();
    told.unwrap()
}

struct Encoder {
    start: Instant,
    sender: FrameSender,
    bitrate: u32,
    number: u64,
    in_group: u64,
}

impl Encoder {
    /// A picture that says when it was captured, and which it is.
    fn picture(&mut self) {
        let key = self.in_group == 0;
        self.in_group = (self.in_group + 1) % GROUP;
        let captured = self.start.elapsed().as_micros();
        let group = usize::try_from(self.bitrate).unwrap() / 8 / FRAMES_PER_SECOND
            * usize::try_from(GROUP).unwrap();
        let usual = group / (usize::try_from(GROUP).unwrap() - 1 + KEY_WEIGHT);
        let size = if key { usual * KEY_WEIGHT } else { usual };
        // First slice of its picture.
        let mut slice = vec![if key { 0x65 } else { 0x41 }, 0x88];
        slice.extend_from_slice(format!("{captured:016}{:016}", self.number).as_bytes());
        slice.resize(size.max(slice.len()), 0xaa);
        self.number += 1;
        let parameters: [&[u8]; 4] = [START_CODE, SPS, START_CODE, PPS];
        let picture: [&[u8]; 2] = [START_CODE, &slice];
        let parts = [if key { &parameters[..] } else { &[] }, &picture[..]].concat();
        // What is dropped is missing on the far side.
        let _ = self.sender.push(&Frame {
            parts: &parts,
            pts_us: i64::try_from(captured).unwrap(),
            key,
        });
    }
}
