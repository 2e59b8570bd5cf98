//! JPEG (RFC 2435) against ffmpeg and GStreamer. Headers are written anew on the way, so what is
//! compared is the scan, byte for byte, and everything that a decoder makes of the picture.

use bytes::Bytes;
use easydarwin_core::media::{Codec, Track};

use super::peers::{gstreamer, packet_stream, push_to_ffmpeg, split_stream, units};
use super::{flat, output, receive, testdata, units_of};

const PICTURES: usize = 10;

/// A stream of pictures, one after the other.
fn encode(more: &[&str]) -> Vec<Bytes> {
    let clip = testdata("bigbuckbunny.mp4");
    let args = [
        &["-i", &clip, "-an", "-frames:v", "10", "-s", "320x184"][..],
        &[
            "-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-huffman", "default",
        ],
        &["-q:v", "4", "-flags", "+bitexact"],
        more,
        &["-f", "mjpeg", "-"],
    ];
    let pictures = split(&output(&args.concat()));
    assert_eq!(pictures.len(), PICTURES);
    pictures
}

/// Cuts behind each EOI; there is none inside of these pictures.
fn split(stream: &[u8]) -> Vec<Bytes> {
    let mut pictures = Vec::new();
    let mut rest = stream;
    while let Some(end) = rest.windows(2).position(|two| two == [0xff, 0xd9]) {
        let (picture, after) = rest.split_at(end + 2);
        pictures.push(Bytes::copy_from_slice(picture));
        rest = after;
    }
    assert!(rest.is_empty());
    pictures
}

/// What follows the SOS segment: 14 bytes in which components have numbers of the writer's choice.
fn scans(pictures: &[Bytes]) -> Vec<Bytes> {
    let scan = |picture: &Bytes| {
        let sos = picture.windows(2).position(|two| two == [0xff, 0xda]);
        picture.slice(sos.unwrap() + 14..)
    };
    pictures.iter().map(scan).collect()
}

/// The pixels that ffmpeg decodes.
fn pixels(pictures: &[Bytes]) -> Vec<u8> {
    let file = std::env::temp_dir().join(format!(
        "easydarwin-{}-{:?}.mjpeg",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&file, pictures.concat()).unwrap();
    let name = file.to_str().unwrap();
    let decoded = output(&["-f", "mjpeg", "-i", name, "-f", "rawvideo", "-"]);
    std::fs::remove_file(&file).unwrap();
    decoded
}

fn assert_pictures(received: &[Bytes], sent: &[Bytes]) {
    super::assert_same(&scans(received), &scans(sent));
    let (received, sent) = (pixels(received), pixels(sent));
    assert!(!sent.is_empty());
    // Not `assert_eq`, which would print them.
    assert!(received == sent, "the decoded pictures differ");
}

const FROM_STREAM: &str = "fdsrc fd=0 ! \
    application/x-rtp-stream,media=video,clock-rate=90000,encoding-name=JPEG,payload=26 ! \
    rtpstreamdepay ! rtpjpegdepay ! fdsink fd=1";

#[test]
fn of_ffmpeg() {
    let sent = encode(&[]);
    let file = std::env::temp_dir().join(format!("easydarwin-{}.mjpeg", std::process::id()));
    std::fs::write(&file, sent.concat()).unwrap();
    let (description, units) = receive(&["-i", file.to_str().unwrap(), "-c", "copy"]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(description.tracks[0].codec, Codec::Jpeg);
    assert!(units.iter().all(|unit| unit.key && unit.data.len() == 1));
    assert_pictures(&flat(&units), &sent);
}

/// Colour at full height, as libjpeg writes it.
#[test]
fn of_gstreamer() {
    let raw = "videotestsrc num-buffers=10 ! \
        video/x-raw,format=Y42B,width=320,height=184,framerate=25/1 ! jpegenc !";
    let sent = split(&gstreamer(&format!("{raw} fdsink fd=1"), &[]));
    let pay = "rtpjpegpay mtu=1200 ! rtpstreampay ! fdsink fd=1";
    let packets = split_stream(&gstreamer(&format!("{raw} {pay}"), &[]));
    let units = units_of(&Track::jpeg(), &packets);
    assert_eq!(units.len(), PICTURES);
    assert_pictures(&flat(&units), &sent);
}

#[test]
fn to_gstreamer() {
    // Without and with restart markers.
    for more in [&[][..], &["-slices", "4", "-threads", "4"]] {
        let sent = encode(more);
        let restarts = sent[0].windows(2).any(|two| two == [0xff, 0xdd]);
        assert_eq!(restarts, !more.is_empty());
        let stream = packet_stream(&Track::jpeg(), &units(&sent, 3600));
        let received = split(&gstreamer(FROM_STREAM, &stream));
        assert_pictures(&received, &sent);
    }
}

#[tokio::test]
async fn to_ffmpeg() {
    let sent = encode(&[]);
    let written = push_to_ffmpeg(Track::jpeg(), &units(&sent, 3600), "mjpeg").await;
    let received = split(&written);
    // ffmpeg stops reading at TEARDOWN; what the kernel still held is its loss.
    assert!(received.len() * 10 >= sent.len() * 9, "{}", received.len());
    assert_pictures(&received, &sent[..received.len()]);
}
