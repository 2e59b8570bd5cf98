//! Our publisher against a server that we did not write: ffmpeg, listening.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use easydarwin_core::client::{ClientError, ClientOptions, ClientTransport, Publisher};
use easydarwin_core::media::{AccessUnit, H264Params, SessionDescription, Track, nal};

/// Longest wait for ffmpeg to listen, and for it to write its file.
const SOON: Duration = Duration::from_secs(30);

fn nals(file: &std::path::Path) -> Vec<Bytes> {
    nal::split_annex_b(&std::fs::read(file).unwrap().into())
}

fn kind(nal: &[u8]) -> u8 {
    nal[0] & 0x1f
}

fn is_picture(nal: &[u8]) -> bool {
    matches!(kind(nal), 1..=5)
}

/// Pictures with the parameter sets before them; 24 a second.
fn units(nals: &[Bytes]) -> Vec<AccessUnit> {
    let mut units: Vec<AccessUnit> = Vec::new();
    let mut data = Vec::new();
    for nal in nals {
        // first_mb_in_slice 0 begins a picture.
        let continues = is_picture(nal) && nal[1] & 0x80 == 0;
        if continues && let Some(last) = units.last_mut() {
            last.data.push(nal.clone());
            continue;
        }
        data.push(nal.clone());
        if is_picture(nal) {
            units.push(AccessUnit {
                track: 0,
                pts: i64::try_from(units.len()).unwrap() * 3750,
                arrival: Instant::now(),
                ntp: None,
                key: kind(nal) == 5,
                discontinuity: false,
                lossy: false,
                data: std::mem::take(&mut data),
            });
        }
    }
    units
}

async fn publish(transport: ClientTransport, name: &str) {
    let clip = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/bbb.h264");
    let sent = nals(&clip);
    let find = |wanted| sent.iter().find(|nal| kind(nal) == wanted).cloned();
    let params = H264Params {
        sps: find(7),
        pps: find(8).into_iter().collect(),
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let url = format!("rtsp://127.0.0.1:{port}/live");
    let file = std::env::temp_dir().join(format!("easydarwin-{name}-{port}.h264"));
    let mut ffmpeg = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-rtsp_flags", "listen"])
        .args(["-rtsp_transport", name, "-i", &url, "-c", "copy"])
        .arg(&file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("this test needs ffmpeg: apt-get install ffmpeg");

    let mut options = ClientOptions::default();
    options.transport = transport;
    let mut description = SessionDescription::default();
    description.tracks.push(Track::h264(96, params));
    let mut publisher = tokio::time::timeout(SOON, async {
        loop {
            match Publisher::connect(&url, description.clone(), options.clone()).await {
                // It does not listen yet, and tells nobody when it does.
                Err(ClientError::Connect { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                connected => return connected.unwrap(),
            }
        }
    })
    .await
    .expect("ffmpeg listens");
    for unit in units(&sent) {
        publisher.send(&unit).await.unwrap();
    }
    publisher.close().await.unwrap();
    let status = tokio::time::timeout(SOON, ffmpeg.wait())
        .await
        .expect("ffmpeg ends with the session")
        .unwrap();
    assert!(status.success(), "{status}");

    let received = nals(&file);
    std::fs::remove_file(&file).unwrap();
    let pictures = |nals: &[Bytes]| -> Vec<Bytes> {
        nals.iter().filter(|nal| is_picture(nal)).cloned().collect()
    };
    let (sent, received) = (pictures(&sent), pictures(&received));
    // ffmpeg stops reading at TEARDOWN; what the kernel still held is its loss.
    assert!(
        received.len() * 10 >= sent.len() * 9,
        "{} of {}",
        received.len(),
        sent.len()
    );
    assert!(
        sent.starts_with(&received),
        "something else came than was sent"
    );
}

#[tokio::test]
async fn ffmpeg_takes_what_we_push_over_tcp() {
    publish(ClientTransport::Tcp, "tcp").await;
}

#[tokio::test]
async fn ffmpeg_takes_what_we_push_over_udp() {
    publish(ClientTransport::Udp, "udp").await;
}
