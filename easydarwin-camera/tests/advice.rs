//! An uplink with room, over both transports: the encoder is told to use it.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use easydarwin_camera::feedback::{Advice, RateConfig};
use easydarwin_camera::frames::{Frame, QueueConfig, queue};
use easydarwin_camera::{Camera, CameraEvent, PushTransport};
use easydarwin_core::media::{H264Params, Track};
use easydarwin_core::registry::AllowAll;
use easydarwin_core::server::MediaServer;
use tokio::sync::{mpsc, oneshot};

const START: u32 = 500_000;
/// Two steps up take three seconds.
const SOON: Duration = Duration::from_secs(20);
const FRAME: Duration = Duration::from_millis(40);
/// Bytes of a picture at the bitrate that the encoder begins with.
const PICTURE: usize = 2500;

async fn advised(transport: PushTransport) -> u32 {
    let server = MediaServer::builder()
        .authorizer(AllowAll)
        .build()
        .await
        .unwrap();
    let url = format!("rtsp://{}/advice/1", server.rtsp_addr());
    let server = tokio::spawn(server.run(std::future::pending()));
    // The real clip's parameter sets, so that the description is complete.
    let params = H264Params {
        sps: Some(
            b"\x67\x4d\x40\x1f\xda\x01\x40\x16\xec\x04\x40\0\0\x03\0\x40\0\0\x0c\x83\xc6\x0c\xa8"
                .as_slice()
                .into(),
        ),
        pps: vec![b"\x68\xef\x3c\x80".as_slice().into()],
    };
    let (mut senders, feed) =
        queue(vec![Track::h264(96, params)], &QueueConfig::default()).unwrap();
    let mut sender = senders.remove(0);
    let (events, mut happened) = mpsc::channel(64);
    let camera = Camera::builder()
        .serial("advice")
        .push_to(url)
        .transport(transport)
        .frames(1, feed)
        .rate(RateConfig {
            start: START,
            ..RateConfig::default()
        })
        .events(events)
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let camera = tokio::spawn(camera.run(async move { stopped.await.unwrap_or(()) }));
    let start = Instant::now();
    let mut slice = vec![0x65, 0x88];
    slice.resize(PICTURE, 0xaa);
    let mut ticks = tokio::time::interval(FRAME);
    let bitrate = loop {
        tokio::select! {
            _ = ticks.tick() => {
                assert!(start.elapsed() < SOON, "no advice over {transport:?}");
                let _ = sender.push(&Frame {
                    parts: &[&[0, 0, 0, 1], &slice],
                    pts_us: i64::try_from(start.elapsed().as_micros()).unwrap(),
                    key: true,
                });
            }
            event = happened.recv() => match event.unwrap() {
                CameraEvent::Advice { advice: Advice::Bitrate(bitrate), .. } => break bitrate,
                CameraEvent::PushFailed { reason, .. } => panic!("{reason}"),
                _ => {}
            },
        }
    };
    stop.send(()).unwrap();
    camera.await.unwrap();
    server.abort();
    bitrate
}

#[tokio::test]
async fn an_uplink_with_room_is_used_over_tcp() {
    assert!(advised(PushTransport::Tcp).await > START);
}

#[tokio::test]
async fn an_uplink_with_room_is_used_over_udp() {
    assert!(advised(PushTransport::Udp).await > START);
}
