//! Packets that ffmpeg and GStreamer make, put together again, and ours that they put together: the
//! frames are those that went in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod g726;
mod jpeg;
mod peers;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use easydarwin_core::media::{
    AccessUnit, Codec, SessionDescription, Track, aac::AdtsHeader, nal, sdp,
};
use easydarwin_core::rtp::{
    Depacketizer, MediaPacket, Reception, RtpPacket, TimestampUnwrapper, is_rtcp,
};

/// How long a read waits before it is looked whether the sender has ended.
const READ_WAIT: Duration = Duration::from_millis(100);
/// A sender that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn testdata(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    path.join(name).to_str().unwrap().to_owned()
}

fn ffmpeg(args: &[&str]) -> Command {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(args)
        .stdin(Stdio::null());
    command
}

/// What ffmpeg writes to stdout.
fn output(args: &[&str]) -> Vec<u8> {
    let output = ffmpeg(args)
        .output()
        .expect("ffmpeg is needed: apt-get install ffmpeg");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Lets ffmpeg send one track and returns its description and access units.
fn receive(args: &[&str]) -> (SessionDescription, Vec<AccessUnit>) {
    // ffmpeg sends RTCP to the port above, which need not exist.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(READ_WAIT)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let url = format!("rtp://127.0.0.1:{port}?pkt_size=1200");
    let mut all = vec!["-re"];
    all.extend_from_slice(args);
    all.extend_from_slice(&["-f", "rtp", &url]);
    let mut sender = ffmpeg(&all)
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is needed: apt-get install ffmpeg");
    let mut packets = Vec::new();
    let mut buffer = [0; 2048];
    let started = Instant::now();
    let mut ended = None;
    let sent = loop {
        match socket.recv(&mut buffer) {
            Ok(len) if !is_rtcp(&buffer[..len]) => packets.push(buffer[..len].to_vec()),
            Ok(_) => {}
            // Empty after the sender's end was seen: nothing more can come.
            Err(_) => match ended {
                Some(status) => break status,
                None => {
                    assert!(started.elapsed() < PATIENCE, "ffmpeg hangs");
                    ended = sender.try_wait().unwrap();
                }
            },
        }
    };
    assert!(sent.success());
    // The description is what ffmpeg prints.
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut sender.stdout.take().unwrap(), &mut text).unwrap();
    let description = sdp::parse(&text).unwrap();
    let track = &description.tracks[0];
    let units = units_of(track, &packets);
    (description, units)
}

/// What the packets of one track hold; none of them may be missing.
fn units_of(track: &Track, packets: &[Vec<u8>]) -> Vec<AccessUnit> {
    let mut depacketizer = Depacketizer::new(0, track);
    let mut reception = Reception::new(track.clock_rate);
    let mut times = TimestampUnwrapper::new();
    let mut units = Vec::new();
    for bytes in packets {
        let packet = RtpPacket::parse(bytes).unwrap();
        let arrival = Instant::now();
        let lost = reception.on_packet(
            packet.ssrc(),
            packet.sequence(),
            packet.timestamp(),
            arrival,
        );
        depacketizer
            .push(MediaPacket {
                payload: packet.payload(),
                marker: packet.marker(),
                timestamp: times.unwrap(packet.timestamp()),
                arrival,
                ntp: None,
                lost_before: lost > 0,
            })
            .unwrap();
        units.extend(std::iter::from_fn(|| depacketizer.pop()));
    }
    depacketizer.flush();
    units.extend(std::iter::from_fn(|| depacketizer.pop()));
    assert_eq!(reception.lost(), 0);
    assert!(units.iter().all(|unit| !unit.lossy && !unit.is_empty()));
    units
}

fn flat(units: &[AccessUnit]) -> Vec<Bytes> {
    units.iter().flat_map(|unit| unit.data.clone()).collect()
}

/// Tells where they differ without printing a clip.
fn assert_same(received: &[Bytes], sent: &[Bytes]) {
    let lengths = |frames: &[Bytes]| frames.iter().map(Bytes::len).collect::<Vec<_>>();
    assert_eq!(lengths(received), lengths(sent));
    let differing = received.iter().zip(sent).position(|(a, b)| a != b);
    assert_eq!(differing, None);
}

#[test]
fn h264_of_ffmpeg() {
    let clip = testdata("bbb.h264");
    let (description, units) = receive(&["-i", &clip, "-c", "copy"]);
    let sent = nal::split_annex_b(&std::fs::read(&clip).unwrap().into());
    assert_same(&flat(&units), &sent);
    assert_eq!(units.len(), 20);
    assert!(units[0].key && !units[1].key);
    assert_eq!(units[1].pts - units[0].pts, 3600);
    assert_eq!(description.tracks[0].dimensions(), Some((1280, 720)));
}

#[test]
fn h265_of_ffmpeg() {
    let clip = testdata("slices.h265");
    let (description, units) = receive(&["-i", &clip, "-c", "copy"]);
    let sent = nal::split_annex_b(&std::fs::read(&clip).unwrap().into());
    // ffmpeg takes the first byte of the next picture's start code for the end of a slice.
    let mut received = flat(&units);
    for nal in &mut received {
        nal.truncate(nal.iter().rposition(|&byte| byte != 0).unwrap() + 1);
    }
    assert_same(&received, &sent);
    assert_eq!(units.len(), 12);
    assert_eq!(description.tracks[0].dimensions(), Some((320, 180)));
}

#[test]
fn aac_of_ffmpeg() {
    let clip = testdata("bigbuckbunny.mp4");
    // Small frames: ffmpeg puts several into a packet.
    let encode = [
        "-i",
        &clip,
        "-t",
        "1",
        "-vn",
        "-ac",
        "1",
        "-c:a",
        "aac",
        "-b:a",
        "24k",
        "-flags",
        "+bitexact",
    ];
    let (description, units) = receive(&encode);
    let mut stream = Bytes::from(output(&[&encode[..], &["-f", "adts", "-"]].concat()));
    let mut sent = Vec::new();
    while !stream.is_empty() {
        let header = AdtsHeader::parse(&stream).unwrap();
        sent.push(
            stream
                .split_to(header.frame_len)
                .split_off(header.header_len),
        );
    }
    // ffmpeg collects frames for a packet and forgets the last ones when it ends.
    let received = flat(&units);
    assert!(received.len() + 10 > sent.len(), "{}", received.len());
    assert_same(&received, &sent[..received.len()]);
    assert!(units.windows(2).all(|two| two[1].pts - two[0].pts == 1024));
    let codec = description.tracks[0].codec_string();
    assert_eq!(codec.as_deref(), Some("mp4a.40.2"));
}

#[test]
fn opus_of_ffmpeg() {
    let clip = testdata("bigbuckbunny.mp4");
    let (description, units) = receive(&[
        "-i", &clip, "-t", "1", "-vn", "-ac", "2", "-c:a", "libopus", "-b:a", "64k",
    ]);
    assert_eq!(description.tracks[0].codec, Codec::Opus);
    assert!((50..=51).contains(&units.len()), "{}", units.len());
    assert!(units.windows(2).all(|two| two[1].pts - two[0].pts == 960));
}

#[test]
fn g711_of_ffmpeg() {
    let clip = testdata("bigbuckbunny.mp4");
    let encode = [
        "-i", &clip, "-t", "1", "-vn", "-ac", "1", "-ar", "8000", "-c:a", "pcm_alaw",
    ];
    let (description, units) = receive(&encode);
    assert!(matches!(description.tracks[0].codec, Codec::G711(_)));
    let sent = output(&[&encode[..], &["-f", "alaw", "-"]].concat());
    assert_eq!(flat(&units).concat(), sent);
}
