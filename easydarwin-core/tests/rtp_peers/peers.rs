//! GStreamer behind pipes, and ffmpeg as an RTSP server that listens.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use easydarwin_core::client::{ClientError, ClientOptions, ClientTransport, Publisher};
use easydarwin_core::media::{AccessUnit, SessionDescription, Track};
use easydarwin_core::rtp::{PacketRun, Packetizer, PacketizerConfig};

/// Longest wait for ffmpeg to listen, and for it to write its file.
const SOON: Duration = Duration::from_secs(30);

/// Runs a pipeline with this standard input and returns its standard output.
pub(crate) fn gstreamer(pipeline: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gst-launch-1.0")
        .arg("-q")
        .args(pipeline.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs GStreamer: see scripts/peers");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // It may end before it has read all.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    output.stdout
}

/// Packets behind their lengths (RFC 4571), as `rtpstreampay` writes them.
pub(crate) fn split_stream(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk() {
        let (packet, after) = rest.split_at(u16::from_be_bytes(*length).into());
        packets.push(packet.to_vec());
        stream = after;
    }
    packets
}

/// Our packets of these access units, as `rtpstreamdepay` reads them.
pub(crate) fn packet_stream(track: &Track, units: &[AccessUnit]) -> Vec<u8> {
    let config = PacketizerConfig {
        payload_type: track.payload_type,
        ..PacketizerConfig::default()
    };
    let mut packetizer = Packetizer::new(track, config);
    let mut run = PacketRun::new();
    for unit in units {
        let time = u32::try_from(unit.pts).unwrap();
        packetizer.packetize(unit, time, &mut run).unwrap();
    }
    let mut stream = Vec::new();
    for packet in run.packets() {
        stream.extend_from_slice(&u16::try_from(packet.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(packet);
    }
    stream
}

/// Frames as access units of one track, `ticks` apart.
pub(crate) fn units(frames: &[Bytes], ticks: i64) -> Vec<AccessUnit> {
    let of = |(frame, n): (&Bytes, i64)| AccessUnit {
        track: 0,
        pts: n * ticks,
        arrival: std::time::Instant::now(),
        ntp: None,
        key: true,
        discontinuity: false,
        lossy: false,
        data: vec![frame.clone()],
    };
    frames.iter().zip(0..).map(of).collect()
}

/// Pushes to an ffmpeg that listens and copies to a file in this format; returns the file.
pub(crate) async fn push_to_ffmpeg(track: Track, units: &[AccessUnit], format: &str) -> Vec<u8> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let url = format!("rtsp://127.0.0.1:{port}/live");
    let file = std::env::temp_dir().join(format!("easydarwin-{format}-{port}"));
    let mut ffmpeg = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-rtsp_flags", "listen"])
        .args(["-rtsp_transport", "tcp", "-i", &url, "-c", "copy"])
        .args(["-f", format])
        .arg(&file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("this test needs ffmpeg: apt-get install ffmpeg");
    let mut options = ClientOptions::default();
    options.transport = ClientTransport::Tcp;
    let mut description = SessionDescription::default();
    description.tracks.push(track);
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
    for unit in units {
        publisher.send(unit).await.unwrap();
    }
    publisher.close().await.unwrap();
    let status = tokio::time::timeout(SOON, ffmpeg.wait())
        .await
        .expect("ffmpeg ends with the session")
        .unwrap();
    assert!(status.success(), "{status}");
    let written = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    written
}
